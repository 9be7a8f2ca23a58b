"""Convolutions of few channels, as of a picture's one or three, and transposed ones to few.

With K = C * KH * KW of some tens, all windows of a block of rows are a matrix (K, positions) in the
first-level cache (im2col: Chellapilla, Puri & Simard 2006), which the products in registers of
`_tile` read as it lies. Outputs go straight to their places: an output's positions follow one
another. A transposed convolution to few channels is the other way round: the product reads the
input as it lies, and its columns are added into images.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._lanes import add_few, put_few, put_pairs, window, window_second
from minidl.kernels._tile import tile, tile_rows
from minidl.kernels.conv import span_ref

_POSITIONS = 256  # of a block: with 17 rows of columns it has 20 KB


@helper
def _rows(height, across):
    """(rows of outputs of a block, blocks of an image)"""
    rows = max(1, min(height, _POSITIONS // max(1, across)))
    count = (height + rows - 1) // rows
    return (height + count - 1) // count, count


@helper
def _pitch(rows, across):
    """Numbers from tap to tap in columns: whole panels of 32 positions, and room for a vector."""
    return (rows * across + 63) // 32 * 32


@helper
def _zeros(cols, place, count):
    for t in range(place, place + count):
        cols[t] = 0


@piece
def _columns(x, b, top, rows, across, kernel, geometry, pitch, cols):
    """cols (C * KH * KW, pitch), flat: the windows of image b at `rows` rows of outputs."""
    sh, sw, ph, pw, dh, dw = geometry
    height, width = x.shape[2], x.shape[3]
    source, lanes = x.reshape(x.size), 64 // x.itemsize
    for k in range(x.shape[1] * kernel[0] * kernel[1]):
        c, i, j = k // (kernel[0] * kernel[1]), k // kernel[1] % kernel[0], k % kernel[1]
        shift, down = j * dw - pw, top * sh + i * dh - ph
        # rows and columns of outputs whose tap lies in the image
        begin = min(rows, max(0, (sh - 1 - down) // sh))
        stop = max(begin, min(rows, (height - 1 - down) // sh + 1))
        first, end = max(0, (sw - 1 - shift) // sw), (width - 1 - shift) // sw + 1
        plane = (b * x.shape[1] + c) * height * width + shift
        for r in range(begin):
            _zeros(cols, k * pitch + r * across, across)
        for t in range(0, across, lanes):  # rows inside, for which masks stay
            count = min(lanes, across - t)
            high = max(0, min(count, end - t))
            low = min(max(0, first - t), high)
            for r in range(begin, stop):
                start, go = plane + (down + r * sh) * width + t * sw, k * pitch + r * across + t
                if sw == 1:
                    window(source, start, low, high, cols, go, count)
                elif sw == 2:
                    window_second(source, start, low, high, cols, go, count)
                else:
                    for u in range(count):
                        cols[go + u] = source[start + u * sw] if low <= u < high else 0
        for r in range(stop, rows):
            _zeros(cols, k * pitch + r * across, across)


def columns_ref(x, size, kernel, geometry):
    """(B, C * KH * KW, OH * OW)"""
    sh, sw, ph, pw, dh, dw = geometry
    images, channels = x.shape[:2]
    cols = np.zeros((images, channels, *kernel, *size), x.dtype)
    for i in range(kernel[0]):
        rows, sources = span_ref(i, sh, ph, dh, x.shape[2], size[0])
        for j in range(kernel[1]):
            across, taken = span_ref(j, sw, pw, dw, x.shape[3], size[1])
            cols[:, :, i, j, rows, across] = x[:, :, sources, taken]
    return cols.reshape(images, channels * kernel[0] * kernel[1], size[0] * size[1])


def thin_convolve_ref(x, weight, kernel, geometry, out):
    cols = columns_ref(x, out.shape[2:], kernel, geometry)
    made = np.einsum("ok,bkp->bop", weight[:, :-1], cols, optimize=True) + weight[:, -1:]
    out[:] = made.reshape(out.shape)


@piece
def _products(matrix, panels, count, target, start, edge):
    """target (N, ·) from column `start` on = matrix (N, K) @ panels (K, ·), `count` columns."""
    lanes = edge.shape[1]
    q = 0
    while q < count:
        if count >= lanes:
            q = min(q, count - lanes)  # the last panel computes some once more
        n = 0
        while n < matrix.shape[0]:
            m = tile_rows(matrix.shape[0] - n)
            a, panel = matrix[n : n + m], panels[:, q : q + lanes]
            if count >= lanes:
                tile(a, panel, m, False, target[n : n + m, start + q : start + q + lanes])
            else:
                tile(a, panel, m, False, edge[:m])
                for k in range(m):
                    for p in range(count):
                        target[n + k, start + p] = edge[k, p]
            n += m
        q += lanes


@piece
def _convolve_rows(x, b, top, rows, weight, kernel, geometry, out):
    across, depth = out.shape[3], weight.shape[1]
    lanes, pitch = 128 // x.itemsize, _pitch(rows, out.shape[3])
    cols = np.empty((depth + 1) * pitch, x.dtype)
    _columns(x, b, top, rows, across, kernel, geometry, pitch, cols)
    for p in range((depth - 1) * pitch, depth * pitch):
        cols[p] = 1  # for the bias
    planes = out[b].reshape(out.shape[1], out.shape[2] * across)
    edge = np.empty((8, lanes), x.dtype)
    panels = cols[: depth * pitch].reshape(depth, pitch)
    _products(weight, panels, rows * across, planes, top * across, edge)


@kernel(reference=thin_convolve_ref, parallel=True, serial_below=2_000)
def thin_convolve(x, weight, kernel, geometry, out):
    """x (B, C, H, W); weight (O, C * KH * KW + 1), the bias last; out (B, O, OH, OW)."""
    rows, blocks = _rows(out.shape[2], out.shape[3])
    for p in prange(out.shape[0] * blocks):
        top = p % blocks * rows
        count = min(rows, out.shape[2] - top)
        _convolve_rows(x, p // blocks, top, count, weight, kernel, geometry, out)


def thin_spread_ref(x, weight, bias, kernel, geometry, out):
    sh, sw, ph, pw, dh, dw = geometry
    size, channels = x.shape[2:], out.shape[1]
    cols = np.einsum("ko,borT->bkrT", weight, x, optimize=True)
    cols = cols.reshape(len(x), channels, *kernel, *size)
    out[:] = bias[:, None, None]
    for i in range(kernel[0]):
        rows, targets = span_ref(i, sh, ph, dh, out.shape[2], size[0])
        for j in range(kernel[1]):
            across, met = span_ref(j, sw, pw, dw, out.shape[3], size[1])
            out[:, :, targets, met] += cols[:, :, i, j, rows, across]


@piece
def _spread_image(x, b, weight, bias, kernel, geometry, out):
    sh, sw, ph, pw, dh, dw = geometry
    height, width, across = out.shape[2], out.shape[3], x.shape[3]
    plane, lanes = x.shape[2] * across, 64 // x.itemsize
    rows, blocks = _rows(x.shape[2], across)
    pitch = _pitch(rows, across)
    cols = np.empty(weight.shape[0] * pitch + lanes, x.dtype)
    edge = np.empty((8, 2 * lanes), x.dtype)
    # sums by remainder of the column, (C, H, sw, ·), with margins where columns fall outside
    left = max(0, (pw + sw - 1) // sw)
    right = ((kernel[1] - 1) * dw - pw) // sw + across
    line = left + max((width + sw - 1) // sw, right) + 1
    sums = np.zeros(out.shape[1] * height * sw * line + 2 * lanes, x.dtype)
    source = x[b].reshape(x.shape[1], plane)
    if plane < 2 * lanes:  # a panel would reach beyond the image
        wide = np.zeros((x.shape[1], 2 * lanes), x.dtype)
        for o in range(x.shape[1]):
            for p in range(plane):
                wide[o, p] = source[o, p]
        source = wide
    for block in range(blocks):
        top = block * rows
        high = min(rows, x.shape[2] - top)
        # some positions more where a panel would not be whole otherwise
        count = max(high * across, 2 * lanes)
        begin = min(top * across, source.shape[1] - count)
        skip = top * across - begin
        to = cols[: weight.shape[0] * pitch].reshape(weight.shape[0], pitch)
        _products(weight, source[:, begin:], count, to, 0, edge)
        for k in range(weight.shape[0]):
            c, i, j = k // (kernel[0] * kernel[1]), k // kernel[1] % kernel[0], k % kernel[1]
            shift = j * dw - pw
            column = shift // sw
            for r in range(high):
                h = (top + r) * sh + i * dh - ph
                if not 0 <= h < height:
                    continue
                go = ((c * height + h) * sw + shift - column * sw) * line + left + column
                come = k * pitch + skip + r * across
                t = 0
                while t < across:
                    add_few(cols, come + t, sums, go + t, min(lanes, across - t))
                    t += lanes
    target = out.reshape(out.size)
    for c in range(out.shape[1]):
        start = bias[c]
        for h in range(height):
            come = (c * height + h) * sw * line + left
            go = ((b * out.shape[1] + c) * height + h) * width
            t = 0
            while sw <= 2 and t < width:
                if sw == 1:
                    put_few(sums, come + t, start, target, go + t, min(lanes, width - t))
                    t += lanes
                else:
                    s = come + t // 2
                    put_pairs(sums, s, s + line, start, target, go + t, min(2 * lanes, width - t))
                    t += 2 * lanes
            for w in range(t, width):
                target[go + w] = sums[come + w % sw * line + w // sw] + start


@kernel(reference=thin_spread_ref, parallel=True, serial_below=2_000)
def thin_spread(x, weight, bias, kernel, geometry, out):
    """x (B, O, R, T); weight (C * KH * KW, O); bias (C,); out (B, C, H, W): the transpose."""
    for b in prange(out.shape[0]):
        _spread_image(x, b, weight, bias, kernel, geometry, out)
