"""Gradients of convolutions over sequences whose channels lie last, as embedded words do.

Where x is (B, T, C) in memory, the window of output r is one run of K * C numbers, from row
r * stride on. So the windows of a sequence are the rows of a matrix, though they overlap,

    windows[b] (R, K * C),    windows[b, r, k * C + c] = x[b, r * stride + k, c],

and both gradients are products with it as it lies, with nothing laid out:

    dweight = sum over b of dout[b] @ windows[b],    windows[b] of dx += dout[b].T @ weight.

Its columns are cut into panels for `_tile`; the last one begins early enough to be whole.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._tile import clear_rows, tile, tile_rows

_ROWS = 64  # of dout that stay in the first cache while all panels of the weight go by
_INNER = 256  # rows of a panel that stay there while all outputs go by


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
        start = _panel_start.function(p, packed.shape[2], flat.shape[1])
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
        start = _panel_start.function(p, sums.shape[2], flat.shape[1])
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
