"""Filters at Winograd's points, and their gradients back from there: for `winograd`."""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds
from minidl.kernels._tile import tile, tile_rows
from minidl.kernels.winograd import winograd_order

_CHANNELS = 16  # of a piece


@helper
def _tap(i, phase, steps, taps, kernel):
    """Where tap i of a remainder stands in a kernel's axis; it may lie outside.

    With a step of the outputs each of them meets every step-th tap, from the last on backwards: the
    kernel is turned already.
    """
    if steps[1] == 1:
        return i * steps[0] + phase
    return i * steps[1] + kernel - 1 - steps[1] * (taps - 1) - phase


def taps_ref(weight, steps, count):
    """(remainders, O, C, r, r): the taps that each remainder meets; r^2 = count."""
    step, taps = steps[0] * steps[1], round(count**0.5)
    found = np.zeros((step * step, *weight.shape[:2], taps, taps), weight.dtype)
    for phase in range(step * step):
        for i in range(taps):
            h = _tap(i, phase // step, steps, taps, weight.shape[2])
            for j in range(taps):
                w = _tap(j, phase % step, steps, taps, weight.shape[3])
                if 0 <= h < weight.shape[2] and 0 <= w < weight.shape[3]:
                    found[phase, :, :, i, j] = weight[:, :, h, w]
    return found


def winograd_filters_ref(weight, matrix, steps, packed):
    panels, points, depth, width = packed.shape
    outputs, channels = weight.shape[:2]
    taps = taps_ref(weight, steps, matrix.shape[1])
    made = np.einsum("kt,poct->pkoc", matrix, taps.reshape(*taps.shape[:3], -1), optimize=True)
    whole = np.zeros((points, depth, panels * width), packed.dtype)
    if steps[1] == 1:
        for k, (phase, c) in enumerate(winograd_order(channels, steps[0], packed.itemsize)):
            whole[:, k, :outputs] = made[phase, :, :, c]
    else:
        for k, (phase, o) in enumerate(winograd_order(outputs, steps[1], packed.itemsize)):
            whole[:, :, k] = made[phase, :, o]
    packed[:] = whole.reshape(points, depth, panels, width).transpose(2, 0, 1, 3)


@helper
def _place(k, channels, phases, lanes):
    """(remainder, channel) of place k of `winograd_order`."""
    first = k // (lanes * phases) * lanes
    many, rest = min(lanes, channels - first), k - first * phases
    return rest // many, first + rest % many


@helper
def _root(count):
    side = 1
    while side * side < count:
        side += 1
    return side


@helper
def _depth_of(c, phase, channels, phases, lanes):
    """The place in `winograd_order` of a channel's remainder."""
    first = c // lanes * lanes
    return first * phases + phase * min(lanes, channels - first) + c - first


@piece
def _filters_of_panel(weight, matrix, steps, first, begin, end, packed):
    """packed (n^2, K, width), of channels begin to end: a panel of outputs and remainders."""
    points, width = packed.shape[0], packed.shape[2]
    lanes, outputs, channels = 64 // weight.itemsize, weight.shape[0], weight.shape[1]
    side, step = _root(matrix.shape[1]), steps[0] * steps[1]
    # all divisions beforehand: they took most of the time
    rows = np.empty((2, step * step, side), np.int64)
    for phase in range(step * step):
        for i in range(side):
            h = _tap(i, phase // step, steps, side, weight.shape[2])
            w = _tap(i, phase % step, steps, side, weight.shape[3])
            rows[0, phase, i] = h if h < weight.shape[2] else -1
            rows[1, phase, i] = w if w < weight.shape[3] else -1
    places = np.empty((width, 2), np.int64)
    columns = min(width, outputs * steps[1] * steps[1] - first)
    for n in range(columns):
        places[n, 0], places[n, 1] = _place(first + n, outputs, steps[1] * steps[1], lanes)
    taps = np.zeros((side * side, width), weight.dtype)
    inner = steps[0] * steps[0]
    for c in range(begin, end):
        for phase in range(inner):
            for n in range(columns):
                one, o = phase + places[n, 0], places[n, 1]
                for i in range(side):
                    h = rows[0, one, i]
                    for j in range(side):
                        w = rows[1, one, j]
                        taps[i * side + j, n] = weight[o, c, h, w] if h >= 0 and w >= 0 else 0
            k = _depth_of(c, phase, channels, inner, lanes)
            p = 0
            while p < points:
                m = tile_rows(points - p)
                tile(matrix[p : p + m], taps, m, False, packed[p : p + m, k])
                p += m


@kernel(reference=winograd_filters_ref, parallel=True, serial_below=60_000, any_strides=True,
        size_of="packed")  # fmt: skip
def winograd_filters(weight, matrix, steps, packed):
    """Filters at the points: weight (O, C, KH, KW), of any strides; matrix (n^2, r^2).

    packed (panels, n^2, K, width): with steps[0] the step of the windows, K = steps[0]^2 C, and
    columns are steps[1]^2 O outputs, 0 behind the last. One of the steps is 1.
    """
    width, channels = packed.shape[3], weight.shape[1]
    pieces = count_pieces(channels, _CHANNELS)
    for p in prange(packed.shape[0] * pieces):
        s, e = piece_bounds(p % pieces, _CHANNELS, channels)
        n = p // pieces
        _filters_of_panel(weight, matrix, steps, n * width, s, e, packed[n])


def winograd_taps_ref(parts, matrix, step, dweight):
    outputs, channels = dweight.shape[:2]
    points = parts.sum(axis=0).transpose(1, 2, 0, 3)  # (n^2, K, panels, width)
    points = points.reshape(*points.shape[:2], -1)[..., :outputs]
    taps = np.einsum("kt,kco->oct", matrix, points, optimize=True)
    side = round(matrix.shape[1] ** 0.5)
    for k, (phase, c) in enumerate(winograd_order(channels, step, parts.itemsize)):
        part = taps[:, k].reshape(outputs, side, side)
        to = dweight[:, c, phase // step :: step, phase % step :: step]
        to[:] = part[:, : to.shape[1], : to.shape[2]]


@piece
def _taps_of_points(parts, matrix, step, p, begin, end, dweight):
    """dweight's taps of a panel of outputs, of channels begin to end."""
    width, side, lanes = parts.shape[4], _root(matrix.shape[1]), 64 // parts.itemsize
    channels, height, across = dweight.shape[1], dweight.shape[2], dweight.shape[3]
    area = side * side
    taps = np.empty((step * step * area, width), parts.dtype)
    places = np.empty(height * across, np.int64)
    for h in range(height):
        for w in range(across):
            phase = h % step * step + w % step
            places[h * across + w] = phase * area + h // step * side + w // step
    for c in range(begin, end):
        for phase in range(step * step):
            k, t = _depth_of(c, phase, channels, step * step, lanes), 0
            while t < area:
                m, go = tile_rows(area - t), phase * area + t
                for n in range(parts.shape[0]):
                    points = parts[n, p, :, k]
                    tile(matrix[:, t : t + m].T, points, m, n > 0, taps[go : go + m])
                t += m
        for o in range(min(width, dweight.shape[0] - p * width)):
            row = dweight[p * width + o, c].reshape(height * across)
            for t in range(row.size):
                row[t] = taps[places[t], o]


@kernel(reference=winograd_taps_ref, parallel=True, serial_below=60_000)
def winograd_taps(parts, matrix, step, dweight):
    """The way back: parts (n, panels, n^2, K, width), matrix (n^2, r^2); dweight (O, C, KH, KW).

    The sum of the parts at the points; matrix^T times it gives the taps of each remainder.
    """
    channels = dweight.shape[1]
    pieces = count_pieces(channels, _CHANNELS)
    for p in prange(parts.shape[1] * pieces):
        s, e = piece_bounds(p % pieces, _CHANNELS, channels)
        _taps_of_points(parts, matrix, step, p // pieces, s, e, dweight)
