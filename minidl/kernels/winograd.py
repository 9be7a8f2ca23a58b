"""Convolutions of 3 x 3 and 5 x 5 by Winograd's minimal filtering; gradients in the weight.

Tiles of 4 x 4 outputs (2 x 2 where the kernel is 5 x 5) are computed from 6 x 6 inputs by way of 36
products, one a point, over all tiles and channels, instead of 144 (100): see `_winograd`. Per point
the sum over channels is a matrix product (tiles, C) @ (C, O), in registers (`_tile`).

Work goes by blocks of tiles, whose images are turned so that channels come last, 64 bytes of them
at a time; all that a block lays out stays in the second-level cache.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._tile import tile, tile_rows
from minidl.kernels._winograd import (
    IN,
    OUT_2,
    OUT_4,
    dout_points_2,
    dout_points_4,
    from_points_2,
    from_points_4,
    gather_lanes,
    into_points,
    scatter_lanes,
)

_SIDE = 6
_AREA = 36


def winograd_filters_ref(weight, matrix, packed):
    panels, points, channels, width = packed.shape
    whole = np.zeros((points, channels, panels * width), packed.dtype)
    taps = weight.reshape(*weight.shape[:2], matrix.shape[1])
    whole[..., : len(weight)] = np.einsum("kt,oct->kco", matrix, taps)
    packed[:] = whole.reshape(points, channels, panels, width).transpose(2, 0, 1, 3)


@piece
def _filters_at_points(weight, matrix, first, c, packed):
    taps = np.zeros((matrix.shape[1], packed.shape[2]), packed.dtype)
    side = weight.shape[2]
    for o in range(min(packed.shape[2], weight.shape[0] - first)):
        for i in range(side):
            for j in range(side):
                taps[i * side + j, o] = weight[first + o, c, i, j]
    k = 0
    while k < matrix.shape[0]:
        m = tile_rows(matrix.shape[0] - k)
        tile(matrix[k : k + m], taps, m, False, packed[k : k + m, c])
        k += m


@kernel(reference=winograd_filters_ref, parallel=True, serial_below=60_000, any_strides=True,
        size_of="packed")  # fmt: skip
def winograd_filters(weight, matrix, packed):
    """Filters at the points: weight (O, C, r, r), matrix (36, r * r).

    packed (panels, 36, C, width):
    packed[p, k, c, o] = sum over t of matrix[k, t] * weight[p * width + o, c, t]; 0 for others.
    """
    channels, width = packed.shape[2], packed.shape[3]
    for p in prange(packed.shape[0] * channels):
        _filters_at_points(
            weight, matrix, p // channels * width, p % channels, packed[p // channels]
        )


def winograd_taps_ref(parts, matrix, dweight):
    points = parts.sum(axis=0).transpose(1, 2, 0, 3)  # (36, C, panels, width)
    points = points.reshape(*points.shape[:2], -1)[..., : len(dweight)]
    dweight[:] = np.einsum("kt,kco->oct", matrix, points).reshape(dweight.shape)


@piece
def _taps_of_points(parts, matrix, p, c, dweight):
    width, side = parts.shape[4], dweight.shape[2]
    total = np.zeros((parts.shape[2], width), parts.dtype)
    for n in range(parts.shape[0]):
        for k in range(parts.shape[2]):
            source, row = parts[n, p, k, c], total[k]
            for o in range(row.size):
                row[o] += source[o]
    taps = np.empty((matrix.shape[1], width), parts.dtype)
    t = 0
    while t < matrix.shape[1]:
        m = tile_rows(matrix.shape[1] - t)
        tile(matrix[:, t : t + m].T, total, m, False, taps[t : t + m])
        t += m
    for o in range(min(width, dweight.shape[0] - p * width)):
        for i in range(side):
            for j in range(side):
                dweight[p * width + o, c, i, j] = taps[i * side + j, o]


@kernel(reference=winograd_taps_ref, parallel=True, serial_below=60_000)
def winograd_taps(parts, matrix, dweight):
    """The way back: parts (n, panels, 36, C, width), matrix (36, r * r); dweight (O, C, r, r).

    dweight[p * width + o, c, t] = sum over n, k of matrix[k, t] * parts[n, p, k, c, o].
    """
    channels = parts.shape[3]
    for p in prange(parts.shape[1] * channels):
        _taps_of_points(parts, matrix, p // channels, p % channels, dweight)


def _transforms(outputs):
    return IN, OUT_4 if outputs == 4 else OUT_2


def tiles_ref(x, size, padding, outputs):
    """The squares (B, C, rows, columns, 6, 6) that tiles of x's convolution see."""
    rows, across = (-(-n // outputs) for n in size)
    high, broad = rows * outputs + 6 - outputs, across * outputs + 6 - outputs
    whole = np.zeros((*x.shape[:2], high, broad), x.dtype)
    top, left = padding
    part = x[:, :, : high - top, : broad - left]
    whole[:, :, top : top + part.shape[2], left : left + part.shape[3]] = part
    seen = np.lib.stride_tricks.sliding_window_view(whole, (6, 6), axis=(2, 3))
    return seen[:, :, ::outputs, ::outputs]


@piece
def _turn_rows(x, b, first, top, left, height, width, padded):
    """padded (height, width, lanes): a vector's channels from `first`, image rows from top on."""
    lanes = 64 // x.itemsize
    channels, rows, across = x.shape[1], x.shape[2], x.shape[3]
    source, last = x.reshape(x.size), min(lanes, channels - first) - 1
    count = min(across, width - left)
    for h in range(max(0, -top), min(height, rows - top)):
        begin = ((b * channels + first) * rows + h + top) * across
        place = (h * width + left) * lanes
        w = 0
        while w < count:  # behind a row stand zeros, which the next row writes over
            gather_lanes(
                source, begin + w, rows * across, padded, place + w * lanes, last,
                min(lanes, count - w),
            )
            w += lanes


@helper
def _stride(vectors, itemsize):
    """Numbers from tile to tile: a vector more, or all tiles would fall on the same cache lines."""
    return (_AREA * vectors + 1) * 64 // itemsize


@helper
def _vectors(channels, itemsize):
    return (channels * itemsize + 63) // 64


@piece
def _points_of(x, block, padding, outputs, across, squares):
    """squares, flat: of each tile of the block (36, C in whole vectors), x at the points."""
    lanes = 64 // x.itemsize
    channels = _vectors(x.shape[1], x.itemsize)
    stride = _stride(channels, x.itemsize)
    rows = block[3] - block[2]
    height, width = rows * outputs + _SIDE - outputs, across * outputs + _SIDE - outputs
    padded = np.zeros((height * width + lanes) * lanes, x.dtype)
    for c in range(channels):
        place = c * lanes
        for b in range(block[0], block[1]):
            top = block[2] * outputs - padding[0]
            _turn_rows(x, b, c * lanes, top, padding[1], height, width, padded)
            for r in range(rows):
                for t in range(across):
                    into_points(
                        padded, (r * width + t) * outputs * lanes, width * lanes, lanes, squares,
                        place, _SIDE * channels * lanes, channels * lanes,
                    )
                    place += stride


@piece
def _outputs_of(sums, block, outputs, across, bias, first, plane, out):
    """The block's part of out's channels from `first` on, a panel of them, from sums at points."""
    lanes = 64 // out.itemsize
    stride = _stride(2, out.itemsize)
    height, width = out.shape[2], out.shape[3]
    top = block[2] * outputs
    count = (min(block[3] * outputs, height) - top) * width
    target = out.reshape(out.size)
    for half in range(2):
        if first + half * lanes >= out.shape[1]:
            return
        place = half * lanes
        last = min(lanes, out.shape[1] - first - half * lanes) - 1
        for b in range(block[0], block[1]):
            for r in range(block[3] - block[2]):
                # from the right: what a tile writes beyond its row, others write over
                for t in range(across - 1, -1, -1):
                    s, go = place + t * stride, (r * width + t) * outputs * lanes
                    if outputs == 4:
                        from_points_4(
                            sums, s, 2 * _SIDE * lanes, 2 * lanes, plane, go, width * lanes, lanes
                        )
                    else:
                        from_points_2(
                            sums, s, 2 * _SIDE * lanes, 2 * lanes, plane, go, width * lanes, lanes
                        )
                place += across * stride
            begin = ((b * out.shape[1] + first + half * lanes) * height + top) * width
            _scatter_plane(plane, count, height * width, last, begin, target)
            for c in range(last + 1):
                start = bias[first + half * lanes + c]
                row = target[begin + c * height * width : begin + c * height * width + count]
                for p in range(row.size):
                    row[p] += start


@piece
def _scatter_plane(plane, count, step, last, begin, target):
    """target[begin + c * step + p] = plane[p, c] for p < count and c <= last."""
    lanes = 64 // target.itemsize
    if count < lanes:
        for c in range(last + 1):
            for p in range(count):
                target[begin + c * step + p] = plane[p * lanes + c]
        return
    p = 0
    while p < count:
        p = min(p, count - lanes)  # the last vector writes some once more
        scatter_lanes(plane, p * lanes, step, target, begin + p, last, lanes)
        p += lanes


def winograd_convolve_ref(x, weight, bias, blocks, padding, outputs, out):
    into, back = (matrix.astype(x.dtype) for matrix in _transforms(outputs))
    seen = tiles_ref(x, out.shape[2:], padding, outputs)
    points = np.einsum("ia,bcrtae,je->ijbcrt", into, seen, into, optimize=True)
    panels, _, channels, width = weight.shape
    factors = weight.reshape(panels, 6, 6, channels, width)
    factors = factors.transpose(1, 2, 3, 0, 4).reshape(6, 6, channels, panels * width)
    factors = factors[..., : len(bias)]
    sums = np.einsum("ijbcrt,ijco->ijbort", points, factors, optimize=True)
    made = np.einsum("ai,ijbort,ej->borate", back, sums, back, optimize=True)
    rows, across = made.shape[2] * outputs, made.shape[4] * outputs
    whole = made.reshape(*made.shape[:2], rows, across)
    out[:] = whole[:, :, : out.shape[2], : out.shape[3]] + bias[:, None, None]


@piece
def _convolve_tiles(x, weight, bias, block, padding, outputs, out):
    itemsize = x.itemsize
    channels, width = weight.shape[2], weight.shape[3]
    across = (out.shape[3] + outputs - 1) // outputs
    count = (block[1] - block[0]) * (block[3] - block[2]) * across
    step = _vectors(channels, itemsize) * 64 // itemsize
    squares = np.empty((count, _stride(_vectors(channels, itemsize), itemsize)), x.dtype)
    _points_of(x, block, padding, outputs, across, squares.reshape(squares.size))
    sums = np.empty((count, _stride(2, itemsize)), x.dtype)
    rows = (block[3] - block[2]) * outputs + 1
    plane = np.empty(rows * max(out.shape[3], outputs) * 64 // itemsize, x.dtype)
    for p in range(weight.shape[0]):
        for k in range(_AREA):
            n = 0
            while n < count:
                m = tile_rows(count - n)
                a = squares[n : n + m, k * step : k * step + channels]
                tile(a, weight[p, k], m, False, sums[n : n + m, k * width : (k + 1) * width])
                n += m
        _outputs_of(
            sums.reshape(sums.size), block, outputs, across, bias, p * width, plane, out
        )


@kernel(reference=winograd_convolve_ref, parallel=True, serial_below=2_000)
def winograd_convolve(x, weight, bias, blocks, padding, outputs, out):
    """x (B, C, H, W); weight (panels, 36, C, width), at the points, outputs last; bias (O,).

    blocks (n, 4): first image, last, first row of tiles, last. padding (top, left), not negative;
    outputs: 4 or 2, of a tile's side; out (B, O, OH, OW).
    """
    for p in prange(len(blocks)):
        _convolve_tiles(x, weight, bias, blocks[p], padding, outputs, out)


def winograd_weight_ref(x, dout, blocks, padding, outputs, parts):
    into, back = (matrix.astype(x.dtype) for matrix in _transforms(outputs))
    points = np.einsum(
        "ia,bcrtae,je->ijbcrt", into, tiles_ref(x, dout.shape[2:], padding, outputs), into,
        optimize=True,
    )
    rows, across = points.shape[4:]
    whole = np.zeros((*dout.shape[:2], rows * outputs, across * outputs), x.dtype)
    whole[:, :, : dout.shape[2], : dout.shape[3]] = dout
    whole = whole.reshape(*dout.shape[:2], rows, outputs, across, outputs)
    ours = np.einsum("ai,borate,ej->ijbort", back, whole, back, optimize=True)
    made = np.einsum("ijbcrt,ijbort->ijco", points, ours, optimize=True)
    panels, channels, width = parts.shape[1], parts.shape[3], parts.shape[4]
    outputs = np.arange(panels * width)
    lanes = 64 // x.itemsize
    wide = made.reshape(36, channels, -1)[..., np.minimum(outputs, dout.shape[1] - 1)]
    wide[..., -(-dout.shape[1] // lanes) * lanes :] = 0
    parts[:] = 0
    parts[0] = wide.reshape(36, channels, panels, width).transpose(2, 0, 1, 3)


@piece
def _points_of_dout(dout, block, first, outputs, across, squares):
    """squares, flat: of each tile (36, panel), the block's dout of a panel of outputs at points."""
    lanes = 64 // dout.itemsize
    stride = _stride(2, dout.itemsize)
    rows = block[3] - block[2]
    height, width = rows * outputs, across * outputs
    padded = np.zeros((height * width + lanes) * lanes, dout.dtype)
    for half in range(2):
        if first + half * lanes >= dout.shape[1]:  # there stands the panel before
            for n in range(squares.size // stride):
                for k in range(_AREA):
                    place = n * stride + (2 * k + half) * lanes
                    for o in range(place, place + lanes):
                        squares[o] = 0
            return
        place = half * lanes
        for b in range(block[0], block[1]):
            _turn_rows(
                dout, b, first + half * lanes, block[2] * outputs, 0, height, width, padded
            )
            for r in range(rows):
                for t in range(across):
                    s = (r * width + t) * outputs * lanes
                    row, y_row = width * lanes, 2 * _SIDE * lanes
                    if outputs == 4:
                        dout_points_4(padded, s, row, lanes, squares, place, y_row, 2 * lanes)
                    else:
                        dout_points_2(padded, s, row, lanes, squares, place, y_row, 2 * lanes)
                    place += stride


@piece
def _weight_tiles(x, dout, block, padding, outputs, begin, total):
    """total (panels, 36, C, width) += the block's part, or = if begin."""
    itemsize = x.itemsize
    panels, channels, width = total.shape[0], total.shape[2], total.shape[3]
    across = (dout.shape[3] + outputs - 1) // outputs
    count = (block[1] - block[0]) * (block[3] - block[2]) * across
    step = _vectors(channels, itemsize) * 64 // itemsize
    squares = np.empty((count, _stride(_vectors(channels, itemsize), itemsize)), x.dtype)
    _points_of(x, block, padding, outputs, across, squares.reshape(squares.size))
    ours = np.zeros((count, _stride(2, itemsize)), x.dtype)
    for p in range(panels):
        _points_of_dout(dout, block, p * width, outputs, across, ours.reshape(ours.size))
        for k in range(_AREA):
            panel = ours[:, k * width : (k + 1) * width]
            n = 0
            while n < channels:
                m = tile_rows(channels - n)
                a = squares[:, k * step + n : k * step + n + m].T
                tile(a, panel, m, not begin, total[p, k, n : n + m])
                n += m


@kernel(reference=winograd_weight_ref, parallel=True, serial_below=2_000)
def winograd_weight(x, dout, blocks, padding, outputs, parts):
    """x (B, C, H, W); dout (B, O, OH, OW); blocks, padding, outputs as in `winograd_convolve`.

    parts (n, panels, 36, C, width): the gradient in the weight at the points, in n sums over
    equally many blocks. The last output stands behind it again, up to a whole vector; then 0.
    """
    count, runs = len(blocks), parts.shape[0]
    for n in prange(runs):
        first = n * count // runs
        for k in range(first, (n + 1) * count // runs):
            _weight_tiles(x, dout, blocks[k], padding, outputs, k == first, parts[n])
