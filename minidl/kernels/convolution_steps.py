"""Convolutions over sequences whose channels lie last in memory, as those of embedded words do.

Where x is (B, T, C) in memory, the window of output r is one run of K * C numbers, from row
r * stride on. So the windows of a sequence are the rows of a matrix, though they overlap,

    windows[b] (R, K * C),    windows[b, r, k * C + c] = x[b, r * stride + k, c],

and both gradients are products with it as it lies, with nothing laid out:

    dweight = sum over b of dout[b] @ windows[b],    windows[b] of dx += dout[b].T @ weight.

Its columns are cut into panels for `_tile`; the last one begins early enough to be whole. For the
outputs themselves, weight @ windows[b].T, sequences are turned once, and panels of 32 positions
are cut from that: so no column of a panel is wasted, whatever the number of outputs.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._lanes import move, turn
from minidl.kernels._tile import clear_rows, tile, tile_rows

_COLUMNS = 128  # that a piece turns
_ROWS = 64  # of dout that stay in the first cache while all panels of the weight go by
_INNER = 256  # rows of a panel that stay there while all outputs go by


def turn_planes_ref(x, out):
    out[:] = x.swapaxes(1, 2)


@piece
def _turn_columns(x, b, first, last, out):
    """Columns first to last of x[b]."""
    rows, columns = x.shape[1], x.shape[2]
    come, go = b * rows * columns + first, (b * columns + first) * rows
    turn(x.reshape(x.size), come, columns, rows, last - first, out.reshape(out.size), go, rows)


@kernel(reference=turn_planes_ref, parallel=True)
def turn_planes(x, out):
    """x (B, N, M); out (B, M, N), each matrix turned."""
    parts = (x.shape[2] + _COLUMNS - 1) // _COLUMNS
    for p in prange(x.shape[0] * parts):
        first = p % parts * _COLUMNS
        _turn_columns(x, p // parts, first, min(first + _COLUMNS, x.shape[2]), out)


def steps_forward_ref(x, weight, bias, padding, blocks, out):
    time, rows = x.shape[1], out.shape[2]
    out[:] = bias[:, None]
    for k in range(weight.shape[2]):
        first, last = max(0, padding - k), min(rows, time + padding - k)
        if first < last:
            seen = x[:, first + k - padding : last + k - padding]
            out[:, :, first:last] += weight[:, :, k] @ seen.swapaxes(1, 2)


@piece
def _cut_panel(turned, wide, q, rows, time, taps, panel):
    """panel (C * K, width), flat: the windows of `width` positions from q on, of all sequences.

    Whole vectors are copied; what is too much, the part of the next sequence writes over.
    """
    lanes = 64 // panel.itemsize
    width, go, end = 2 * lanes, 0, panel.size - 2 * lanes
    b, r = q // rows, q % rows
    start, here = b * time + r, rows - r
    while go < end:
        for k in range(taps):
            come = start + k
            move(turned, come, panel, go)
            move(turned, come + lanes, panel, go + lanes)
            come, t = come - r + time, here
            while t < width:
                move(turned, come, panel, go + t)
                move(turned, come + lanes, panel, go + t + lanes)
                come, t = come + time, t + rows
            go += width
        start += wide


@piece
def _put_panel(sums, bias, first, q, count, rows, top, out):
    """`count` positions of sums (O, width), from q on, with bias, to sequences from `first` on."""
    t = 0
    while t < count:
        b, r = (q + t) // rows, (q + t) % rows
        many = min(count - t, rows - r)
        for o in range(sums.shape[0]):
            start, source = bias[o], sums[o, t : t + many]
            target = out[first + b, o, top + r : top + r + many]
            for i in range(source.size):
                target[i] = source[i] + start
        t += many


@piece
def _forward_block(x, weight, bias, padding, block, out):
    outputs, channels, taps = weight.shape
    first, images, top, rows = block[0], block[1] - block[0], block[2], block[3] - block[2]
    time = rows - 1 + taps  # of a sequence, that the block sees
    lanes = 64 // x.itemsize
    width, depth = 2 * lanes, channels * taps
    # an odd number of vectors: rows that are a power of two apart would drive each other out
    wide = ((images * time + width) // lanes | 1) * lanes
    size = channels * wide + 2 * width
    turned = np.zeros(size, x.dtype) if padding else np.empty(size, x.dtype)
    source = x.reshape(x.size)
    for b in range(images):
        start, stop = max(0, padding - top), min(time, x.shape[1] + padding - top)
        if start < stop:
            come = ((first + b) * x.shape[1] + top - padding + start) * channels
            turn(source, come, channels, stop - start, channels, turned, b * time + start, wide)
    panel = np.empty((depth + 2) * width, x.dtype)
    windows = panel[: depth * width].reshape(depth, width)
    matrix, sums = weight.reshape(outputs, depth), np.empty((outputs, width), x.dtype)
    for q in range(0, images * rows, width):
        _cut_panel(turned, wide, q, rows, time, taps, panel[: (depth + 1) * width])
        o = 0
        while o < outputs:
            n = tile_rows(outputs - o)
            tile(matrix[o : o + n], windows, n, False, sums[o : o + n])
            o += n
        _put_panel(sums, bias, first, q, min(width, images * rows - q), rows, top, out)


@kernel(reference=steps_forward_ref, parallel=True, serial_below=2_000)
def steps_forward(x, weight, bias, padding, blocks, out):
    """x (B, T, C), weight (O, C, K), bias (O,); blocks: as in `convolve`; out (B, O, R).

    out[b, o, r] = bias[o] + sum over k and c of weight[o, c, k] * x[b, r + k - padding, c].
    """
    for p in prange(len(blocks)):
        _forward_block(x, weight, bias, padding, blocks[p], out)


@helper
def _panel_start(p, width, columns):
    return min(p * width, columns - width)


def steps_input_ref(dout, weight, stride, packed, dx):
    dx[:] = 0
    for k in range(weight.shape[2]):
        seen = dx[:, k : k + (dout.shape[2] - 1) * stride + 1 : stride]
        seen += dout.swapaxes(1, 2) @ weight[:, :, k]
    flat = weight.swapaxes(1, 2).reshape(len(weight), -1)
    for p in range(len(packed)):
        start = _panel_start(p, packed.shape[2], flat.shape[1])
        packed[p] = flat[:, start : start + packed.shape[2]]
        packed[p, :, : p * packed.shape[2] - start] = 0


@piece
def _pack_weight(weight, p, panel):
    """panel (O, width): columns of the weight (O, K * C); 0 where the panel before has them."""
    channels, width = weight.shape[1], panel.shape[1]
    start = _panel_start(p, width, channels * weight.shape[2])
    for o in range(panel.shape[0]):
        for j in range(width):
            k, c = (start + j) // channels, (start + j) % channels
            panel[o, j] = weight[o, c, k] if start + j >= p * width else 0


@piece
def _input_of_one(dout, stride, packed, taps, dx):
    """dout (O, R), dx (T, C) of one sequence."""
    clear_rows(dx)
    channels, rows, width = dx.shape[1], dout.shape[1], packed.shape[2]
    size = dx.itemsize
    steps = (stride * channels * size, size)
    windows = np.lib.stride_tricks.as_strided(dx, (rows, taps * channels), steps)
    turned = dout.T
    for first in range(0, rows, _ROWS):
        last = min(first + _ROWS, rows)
        for p in range(packed.shape[0]):
            start = _panel_start(p, width, taps * channels)
            r = first
            while r < last:  # windows of a tile may overlap: it adds to one row after the other
                n = tile_rows(last - r)
                seen = windows[r : r + n, start : start + width]
                tile(turned[r : r + n], packed[p], n, True, seen)
                r += n


@kernel(reference=steps_input_ref, parallel=True, serial_below=2_000)
def steps_input(dout, weight, stride, packed, dx):
    """dout (B, O, R), weight (O, C, K); packed (panels, O, width), to work in; dx (B, T, C).

    dx[b, r * stride + k, c] = sum over o, and all such r and k, of dout[b, o, r] * weight[o, c, k].
    K * C must be a panel at least.
    """
    for p in prange(packed.shape[0]):
        _pack_weight(weight, p, packed[p])
    for b in prange(dx.shape[0]):
        _input_of_one(dout[b], stride, packed, weight.shape[2], dx[b])


def steps_weight_ref(x, dout, stride, sums, dweight):
    for k in range(dweight.shape[2]):
        seen = x[:, k : k + (dout.shape[2] - 1) * stride + 1 : stride]
        dweight[:, :, k] = np.einsum("bor,brc->oc", dout, seen, optimize=True)
    flat = dweight.swapaxes(1, 2).reshape(len(dweight), -1)
    for p in range(len(sums)):
        start = _panel_start(p, sums.shape[2], flat.shape[1])
        sums[p] = flat[:, start : start + sums.shape[2]]


@piece
def _weight_panels(x, dout, stride, first, last, sums, dweight):
    """Panels first to last of sums (panels, O, width), and what they hold of dweight."""
    outputs, channels, taps = dweight.shape
    rows, width, size = dout.shape[2], sums.shape[2], x.itemsize
    steps = (x.shape[1] * channels * size, stride * channels * size, size)
    windows = np.lib.stride_tricks.as_strided(x, (x.shape[0], rows, taps * channels), steps)
    for b in range(x.shape[0]):
        for p in range(first, last):
            start = _panel_start(p, width, taps * channels)
            for r in range(0, rows, _INNER):
                end = min(r + _INNER, rows)
                panel = windows[b, r:end, start : start + width]
                o = 0
                while o < outputs:
                    n = tile_rows(outputs - o)
                    tile(dout[b, o : o + n, r:end], panel, n, b + r > 0, sums[p, o : o + n])
                    o += n
    for p in range(first, last):
        start = _panel_start(p, width, taps * channels)
        for j in range(width):
            k, c = (start + j) // channels, (start + j) % channels
            for o in range(outputs):
                dweight[o, c, k] = sums[p, o, j]


@kernel(reference=steps_weight_ref, parallel=True, serial_below=2_000)
def steps_weight(x, dout, stride, sums, dweight):
    """x (B, T, C), dout (B, O, R); sums (panels, O, width), to work in; dweight (O, C, K).

    dweight[o, c, k] = sum over b and r of dout[b, o, r] * x[b, r * stride + k, c].
    K * C must be a panel at least.
    """
    panels = sums.shape[0]
    pieces = (panels + 7) // 8 * 2  # up to four panels: a sequence of dout is read once for them
    for i in prange(pieces):
        first, last = i * panels // pieces, (i + 1) * panels // pieces
        _weight_panels(x, dout, stride, first, last, sums, dweight)
