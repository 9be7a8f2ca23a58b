"""Convolutions by Winograd's minimal filtering, with step 1 or 2; their transposes and gradients.

Tiles of m x m outputs are computed from n x n inputs by way of n^2 products, one a point, over all
tiles and channels, instead of m^2 r^2 for r x r taps: see `_winograd`. Per point the sum over
channels is a matrix product (tiles, C) @ (C, O), in registers (`_tile`).

With step 2 each of the 4 remainders (a, e) of a position meets taps 2i + a, 2j + e of the kernel
alone: a convolution with step 1. A convolution is the sum of these four, one product over 4 C
channels; of a transposed one each gives a quarter of the outputs, from the same tiles of input.

Work goes by blocks of tiles, whose images are turned so that channels come last, 64 bytes of them,
a vector, at a time; all that a block lays out stays in the second-level cache. Channels with their
remainders stand by vectors of channels, and within them by remainder: `winograd_order`.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._prefetch import prefetch
from minidl.kernels._tile import tile, tile_rows
from minidl.kernels._winograd import (
    dout_4_3,
    dout_5_4,
    dout_6_2,
    dout_6_4,
    from_4_3,
    from_5_4,
    from_6_2,
    from_6_4,
    gather_lanes,
    into_4,
    into_5,
    into_6,
    put_lanes,
    winograd_matrices,
)


def winograd_order(channels, step, itemsize):
    """(a * step + e, channel) of each place in K = step^2 channels."""
    lanes = 64 // itemsize
    return [
        (phase, c)
        for first in range(0, channels, lanes)
        for phase in range(step * step)
        for c in range(first, min(first + lanes, channels))
    ]


@helper
def _pitch(channels, phases, itemsize):
    """Numbers from point to point in a square: K, and what the last vector has too much."""
    lanes = 64 // itemsize
    most = (phases - 1) * channels + (channels + lanes - 1) // lanes * lanes
    return (most + lanes - 1) // lanes * lanes


@helper
def _stride(points, pitch, itemsize):
    """Numbers from tile to tile: a vector more, or all tiles would fall on the same cache lines."""
    return points * pitch + 64 // itemsize


@helper
def _room(size, x):
    """A new flat array that begins with a cache line: vectors across two took a quarter longer."""
    whole = np.empty(size + 64 // x.itemsize, x.dtype)
    skip = -whole.ctypes.data % 64 // x.itemsize
    return whole[skip : skip + size]


@helper
def _zeros(size, x):
    """The same, of zeros."""
    whole = np.zeros(size + 64 // x.itemsize, x.dtype)
    skip = -whole.ctypes.data % 64 // x.itemsize
    return whole[skip : skip + size]


@piece
def _turn_rows(x, b, first, top, left, height, width, padded):
    """padded (height, width, lanes), flat: a vector's channels, from (top, left) of image b on.

    What lies outside of the image stays as it is.
    """
    lanes = 64 // x.itemsize
    rows, across = x.shape[2], x.shape[3]
    source, last = x.reshape(x.size), min(lanes, x.shape[1] - first) - 1
    start, stop = max(0, -left), min(width, across - left)
    for h in range(max(0, -top), min(height, rows - top)):
        begin = ((b * x.shape[1] + first) * rows + h + top) * across + left
        w = start
        while w < stop:  # behind a row stand zeros, which the next row writes over
            gather_lanes(
                source, begin + w, rows * across, padded, (h * width + w) * lanes, last,
                min(lanes, stop - w),
            )
            w += lanes


@piece
def _points_of(x, block, begin, step, sizes, across, pitch, squares):
    """squares (tiles, ·): of each tile of the block (n^2, pitch), x at the points.

    The first window of the image begins at `begin`; the others outputs * step on.
    """
    side, outputs = sizes
    lanes, stride = 64 // x.itemsize, squares.shape[1]
    rows, target = block[3] - block[2], squares.reshape(squares.size)
    height, width = rows * outputs + side - outputs, across * outputs + side - outputs
    height, width = height * step, width * step
    padded = _zeros((height * width + lanes) * lanes, x)
    for first in range(0, x.shape[1], lanes):
        many, place = min(lanes, x.shape[1] - first), first * step * step
        for b in range(block[0], block[1]):
            top = begin[0] + block[2] * outputs * step
            _turn_rows(x, b, first, top, begin[1], height, width, padded)
            for r in range(rows):
                for t in range(across):
                    # in this order: what a vector has too much the next one writes over
                    for phase in range(step * step):
                        come = (r * width + t) * outputs * step
                        come = (come + phase // step * width + phase % step) * lanes
                        row, column = width * step * lanes, step * lanes
                        go = place + phase * many
                        if side == 4:
                            into_4(padded, come, row, column, target, go, 4 * pitch, pitch)
                        elif side == 5:
                            into_5(padded, come, row, column, target, go, 5 * pitch, pitch)
                        else:
                            into_6(padded, come, row, column, target, go, 6 * pitch, pitch)
                    place += stride


@piece
def _products_of(squares, pitch, weight, sums):
    """sums (tiles, n^2 * panels * width) = squares (tiles, n^2 * pitch) @ weight, by points."""
    count, points = squares.shape[0], weight.shape[1]
    panels, depth, width = weight.shape[0], weight.shape[2], weight.shape[3]
    line, size = 64 // weight.itemsize, depth * width
    share = (size + count - 1) // count
    for k in range(points):
        for p in range(panels):
            # the next panel comes from the third cache; asked for beforehand, a tenth is won
            then = p * points + k + points if p < panels - 1 else k + 1
            n = 0
            while n < count:
                m = tile_rows(count - n)
                if then < panels * points:
                    for i in range(n * share, min(size, (n + m) * share), line):
                        prefetch(weight, then * size + i)
                a = squares[n : n + m, k * pitch : k * pitch + depth]
                c = (k * panels + p) * width
                tile(a, weight[p, k], m, False, sums[n : n + m, c : c + width])
                n += m


@piece
def _outputs_of(sums, block, step, sizes, across, pitch, bias, corner, out):
    """The block's part of out (B, O, OH, OW), from sums (tiles, n^2 * pitch) at points.

    A block's plane holds tiles of all remainders; out begins at its place `corner`.
    """
    side, outputs = sizes
    lanes, stride = 64 // out.itemsize, sums.shape[1]
    source, target = sums.reshape(sums.size), out.reshape(out.size)
    rows, height, width = block[3] - block[2], out.shape[2], out.shape[3]
    top = block[2] * outputs * step - corner[0]
    skip = max(0, -top)
    high = min(rows * outputs * step - skip, height - max(0, top))
    # with step 1 rows follow one another as in out, and what a tile writes beyond its row others
    # write over
    one = step == 1 and corner[1] == 0
    wide = width if one else across * outputs * step
    plane = _room((rows * outputs * step + 1) * max(wide, outputs) * lanes + lanes * lanes, out)
    for first in range(0, out.shape[1], lanes):
        last = min(lanes, out.shape[1] - first) - 1
        for b in range(block[0], block[1]):
            tiles = (b - block[0]) * rows * across
            for phase in range(step * step):
                for r in range(rows):
                    for t in range(across - 1, -1, -1):
                        come = (tiles + r * across + t) * stride
                        come += first * step * step + phase * (last + 1)
                        go = ((r * outputs * step + phase // step) * wide + phase % step) * lanes
                        go += t * outputs * step * lanes
                        row, column = wide * step * lanes, step * lanes
                        if side == 4:
                            from_4_3(source, come, 4 * pitch, pitch, plane, go, row, column)
                        elif side == 5:
                            from_5_4(source, come, 5 * pitch, pitch, plane, go, row, column)
                        elif outputs == 2:
                            from_6_2(source, come, 6 * pitch, pitch, plane, go, row, column)
                        else:
                            from_6_4(source, come, 6 * pitch, pitch, plane, go, row, column)
            begin = ((b * out.shape[1] + first) * height + max(0, top)) * width
            runs, length = (1, high * width) if one else (high, width)
            for h in range(runs):
                p = 0
                while p < length:
                    come = (skip + h) * wide + corner[1] + p
                    put_lanes(
                        plane, come * lanes, bias, first, target, begin + h * width + p,
                        height * width, last, min(lanes, length - p),
                    )
                    p += lanes


def squares_ref(x, rows, across, begin, step, sizes):
    """The squares (step^2, B, C, rows, across, n, n) that tiles see; x (B, C, H, W)."""
    side, outputs = sizes
    high, broad = ((n * outputs + side - outputs) * step for n in (rows, across))
    whole = np.zeros((*x.shape[:2], high, broad), x.dtype)
    top, left = (max(0, n) for n in begin)
    seen = x[:, :, top : begin[0] + high, left : begin[1] + broad]
    top, left = (max(0, -n) for n in begin)
    whole[:, :, top : top + seen.shape[2], left : left + seen.shape[3]] = seen
    found = [
        np.lib.stride_tricks.sliding_window_view(
            whole[:, :, a::step, e::step], (side, side), axis=(2, 3)
        )[:, :, ::outputs, ::outputs]
        for a in range(step)
        for e in range(step)
    ]
    return np.stack(found)


def _points_ref(x, rows, across, begin, step, sizes):
    """(n, n, B, K, rows, across): x at the points."""
    into = winograd_matrices(*sizes)[0].astype(x.dtype)
    seen = squares_ref(x, rows, across, begin, step, sizes)
    points = np.einsum("ia,pbcrtae,je->ijpbcrt", into, seen, into, optimize=True)
    places = tuple(np.transpose(winograd_order(x.shape[1], step, x.itemsize)))
    return points.swapaxes(3, 2)[:, :, :, places[0], places[1]]


def winograd_convolve_ref(x, weight, bias, blocks, begin, steps, sizes, across, corner, out):
    side, outputs = sizes
    back = winograd_matrices(*sizes)[2].astype(x.dtype)
    panels, _, depth, width = weight.shape
    step = steps[1]
    rows = blocks[:, 3].max(initial=0)
    points = _points_ref(x, rows, across, begin, steps[0], sizes)
    factors = weight.transpose(1, 2, 0, 3).reshape(side, side, depth, panels * width)
    order = winograd_order(out.shape[1], step, x.itemsize)
    factors = factors[..., : len(order)]
    sums = np.einsum("ijbcrt,ijco->ijbort", points, factors, optimize=True)
    made = np.einsum("ai,ijbort,ej->borate", back, sums, back, optimize=True)
    made = made.reshape(*made.shape[:2], rows * outputs, across * outputs)
    whole = np.zeros((*out.shape[:2], rows * outputs * step, across * outputs * step), x.dtype)
    for k, (phase, c) in enumerate(order):
        whole[:, c, phase // step :: step, phase % step :: step] = made[:, k]
    top, left = corner
    part = whole[:, :, top : top + out.shape[2], left : left + out.shape[3]]
    out[:] = part + bias[: out.shape[1], None, None]


@piece
def _convolve_tiles(x, weight, bias, block, begin, steps, sizes, across, corner, out):
    count = (block[1] - block[0]) * (block[3] - block[2]) * across
    points = weight.shape[1]
    pitch = _pitch(x.shape[1], steps[0] * steps[0], x.itemsize)
    stride = _stride(points, pitch, x.itemsize)
    squares = _room(count * stride, x).reshape(count, stride)
    _points_of(x, block, begin, steps[0], sizes, across, pitch, squares)
    columns = weight.shape[0] * weight.shape[3]
    stride = _stride(points, columns, x.itemsize)
    sums = _room(count * stride, x).reshape(count, stride)
    _products_of(squares, pitch, weight, sums)
    _outputs_of(sums, block, steps[1], sizes, across, columns, bias, corner, out)


@kernel(reference=winograd_convolve_ref, parallel=True, serial_below=2_000)
def winograd_convolve(x, weight, bias, blocks, begin, steps, sizes, across, corner, out):
    """x (B, C, H, W); weight (panels, n^2, K, width), at the points; bias (O,), and a vector more.

    blocks (n, 4): first image, last, first row of tiles, last; across: tiles of a row. begin: where
    in x the first tile's window begins; steps: of the windows, and of the outputs (one of them is
    1); sizes: n, m. out (B, O, OH, OW) begins at `corner` of what the tiles give.
    """
    for p in prange(len(blocks)):
        _convolve_tiles(x, weight, bias, blocks[p], begin, steps, sizes, across, corner, out)


def winograd_weight_ref(x, dout, blocks, begin, step, sizes, parts):
    outputs = sizes[1]
    back = winograd_matrices(*sizes)[2].astype(x.dtype)
    rows, across = (-(-n // outputs) for n in dout.shape[2:])
    points = _points_ref(x, rows, across, begin, step, sizes)
    whole = np.zeros((*dout.shape[:2], rows * outputs, across * outputs), x.dtype)
    whole[:, :, : dout.shape[2], : dout.shape[3]] = dout
    whole = whole.reshape(*dout.shape[:2], rows, outputs, across, outputs)
    ours = np.einsum("ai,borate,ej->ijbort", back, whole, back, optimize=True)
    made = np.einsum("ijbcrt,ijbort->ijco", points, ours, optimize=True)
    _, panels, area, depth, width = parts.shape
    wide = np.zeros((area, depth, panels * width), x.dtype)
    count, lanes = dout.shape[1], 64 // x.itemsize
    wide[..., :count] = made.reshape(area, depth, -1)
    wide[..., count : -(-count // lanes) * lanes] = wide[..., count - 1 : count]
    parts[:] = 0
    parts[0] = wide.reshape(area, depth, panels, width).transpose(2, 0, 1, 3)


@piece
def _points_of_dout(dout, block, first, sizes, across, ours):
    """ours (tiles, ·): of each tile (n^2, panel), dout of a panel of outputs at the points."""
    side, outputs = sizes
    lanes, stride = 64 // dout.itemsize, ours.shape[1]
    target, rows = ours.reshape(ours.size), block[3] - block[2]
    height, width = rows * outputs, across * outputs
    padded = _zeros((height * width + lanes) * lanes, dout)
    for half in range(2):
        if first + half * lanes >= dout.shape[1]:  # there stands the panel before
            for n in range(ours.shape[0]):
                for k in range(side * side):
                    row = ours[n, k * 2 * lanes + lanes : (k + 1) * 2 * lanes]
                    for o in range(row.size):
                        row[o] = 0
            return
        place = half * lanes
        for b in range(block[0], block[1]):
            top = block[2] * outputs
            _turn_rows(dout, b, first + half * lanes, top, 0, height, width, padded)
            for r in range(rows):
                for t in range(across):
                    s = (r * width + t) * outputs * lanes
                    row, pitch = width * lanes, 2 * lanes
                    if side == 4:
                        dout_4_3(padded, s, row, lanes, target, place, 4 * pitch, pitch)
                    elif side == 5:
                        dout_5_4(padded, s, row, lanes, target, place, 5 * pitch, pitch)
                    elif outputs == 2:
                        dout_6_2(padded, s, row, lanes, target, place, 6 * pitch, pitch)
                    else:
                        dout_6_4(padded, s, row, lanes, target, place, 6 * pitch, pitch)
                    place += stride


@piece
def _weight_tiles(x, dout, block, begin, step, sizes, start, total):
    """total (panels, n^2, K, width) += the block's part, or = if start."""
    panels, points = total.shape[0], total.shape[1]
    depth, width = total.shape[2], total.shape[3]
    across = (dout.shape[3] + sizes[1] - 1) // sizes[1]
    count = (block[1] - block[0]) * (block[3] - block[2]) * across
    pitch = _pitch(x.shape[1], step * step, x.itemsize)
    stride = _stride(points, pitch, x.itemsize)
    squares = _room(count * stride, x).reshape(count, stride)
    _points_of(x, block, begin, step, sizes, across, pitch, squares)
    stride = _stride(points, width, x.itemsize)
    ours = _room(count * stride, x).reshape(count, stride)
    for p in range(panels):
        _points_of_dout(dout, block, p * width, sizes, across, ours)
        for k in range(points):
            panel = ours[:, k * width : (k + 1) * width]
            n = 0
            while n < depth:
                m = tile_rows(depth - n)
                a = squares[:, k * pitch + n : k * pitch + n + m].T
                tile(a, panel, m, not start, total[p, k, n : n + m])
                n += m


@kernel(reference=winograd_weight_ref, parallel=True, serial_below=2_000)
def winograd_weight(x, dout, blocks, begin, step, sizes, parts):
    """x (B, C, H, W); dout (B, O, OH, OW); blocks, begin, sizes as in `winograd_convolve`.

    parts (n, panels, n^2, K, width): the gradient in the weight at the points, in n sums over
    equally many blocks. Behind the last output stands the same again, to the end of a vector.
    """
    count, runs = len(blocks), parts.shape[0]
    for n in prange(runs):
        first = n * count // runs
        for k in range(first, (n + 1) * count // runs):
            _weight_tiles(x, dout, blocks[k], begin, step, sizes, k == first, parts[n])
