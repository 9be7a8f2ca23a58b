"""Maximum and mean over windows of images, forward and backward, a plane (H, W) at a time."""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._maxima import (
    back_to_four,
    better,
    better_second,
    better_third,
    largest_of_four,
)
from minidl.kernels._pieces import count_pieces, rows_a_piece
from minidl.kernels.conv import end_inside, first_inside, span_ref

_PIECE = 16_384  # elements of the images


def max_pool_forward_ref(x, kh, kw, sh, sw, ph, pw, dh, dw, out, argmax):
    height, width = x.shape[1:]
    rows, across = out.shape[1:]
    out[:] = -np.inf
    h = np.arange(rows) * sh - ph
    w = np.arange(across) * sw - pw
    h = np.where(h < 0, h + -(h // dh) * dh, h)
    w = np.where(w < 0, w + -(w // dw) * dw, w)
    argmax[:] = np.minimum(h[:, None] * width + w, height * width - 1)
    places = np.arange(height * width).reshape(height, width)
    for i in range(kh):
        here, there = span_ref(i, sh, ph, dh, height, rows)
        for j in range(kw):
            across_, taken = span_ref(j, sw, pw, dw, width, across)
            value, best = x[:, there, taken], out[:, here, across_]
            better = ~(value <= best) & ((value > best) | np.isnan(value))
            out[:, here, across_] = np.where(better, value, best)
            argmax[:, here, across_] = np.where(
                better, places[there, taken], argmax[:, here, across_]
            )


@piece
def _max_windows(x, kh, kw, sh, sw, ph, pw, dh, dw, out, argmax):
    """A row of outputs for each tap at once; before the first tap all is -inf, at its place."""
    height, width = x.shape
    count, lanes = out.shape[1], 64 // x.itemsize
    last = height * width - 1
    source = x.reshape(x.size)
    best, places = np.empty(count + lanes, x.dtype), np.empty(count + lanes, np.int32)
    lefts = np.empty((kw, 2), np.int64)
    for j in range(kw):
        lefts[j, 0] = first_inside(j * dw - pw, sw)
        lefts[j, 1] = end_inside(j * dw - pw, sw, width, count)
    for o in range(out.shape[0]):
        top = o * sh - ph
        if top < 0:  # the first tap inside
            top += (dh - 1 - top) // dh * dh
        for t in range(best.size):
            best[t] = -np.inf
            places[t] = min(top * width + t * sw - pw, last)
        for t in range(min(count, (pw + sw - 1) // sw)):
            left = t * sw - pw
            left += (dw - 1 - left) // dw * dw
            places[t] = min(top * width + left, last)
        for i in range(kh):
            h = o * sh + i * dh - ph
            if h < 0 or h >= height:
                continue
            for j in range(kw):
                place = h * width + j * dw - pw
                t, end = lefts[j, 0], lefts[j, 1]
                while t < end:
                    here, many = place + t * sw, min(lanes, end - t)
                    if sw == 1:
                        better(source, here, many, best, places, t)
                    elif sw == 2:
                        better_second(source, here, many, best, places, t)
                    elif sw == 3:
                        better_third(source, here, many, best, places, t)
                    else:
                        for k in range(many):
                            value, known = source[here + k * sw], best[t + k]
                            if value > known or value != value:
                                best[t + k] = value
                                places[t + k] = here + k * sw
                    t += lanes
        for t in range(count):
            out[o, t] = best[t]
            argmax[o, t] = places[t]


@kernel(reference=max_pool_forward_ref, parallel=True, serial_below=60_000)
def max_pool_forward(x, kh, kw, sh, sw, ph, pw, dh, dw, out, argmax):
    """x (N, H, W); kernel, stride, padding, dilation; out (N, OH, OW); argmax alike, int32.

    argmax is the place in the flat plane: h * W + w.
    """
    for n in prange(x.shape[0]):
        _max_windows(x[n], kh, kw, sh, sw, ph, pw, dh, dw, out[n], argmax[n])


def max_pool_backward_ref(dout, argmax, dx):
    starts = np.arange(len(dx))[:, None, None] * (dx.shape[1] * dx.shape[2])
    places = (argmax + starts).reshape(argmax.size)
    dx[:] = np.bincount(places, dout.reshape(dout.size), minlength=dx.size).reshape(dx.shape)


@piece
def _scatter(dout, argmax, dx):
    zero = dx.dtype.type(0)
    for t in range(dx.size):
        dx[t] = zero
    for t in range(dout.size):
        dx[np.uint32(argmax[t])] += dout[t]


@kernel(reference=max_pool_backward_ref, parallel=True, serial_below=60_000, size_of="dx")
def max_pool_backward(dout, argmax, dx):
    """dout, argmax (N, OH, OW); dx (N, H, W).  dx = 0, then dx[n].flat[argmax] += dout[n]."""
    inside, around = dout.shape[1] * dout.shape[2], dx.shape[1] * dx.shape[2]
    for n in prange(dout.shape[0]):
        _scatter(dout[n].reshape(inside), argmax[n].reshape(inside), dx[n].reshape(around))


# ------------------------------------------------------------- windows of 2 x 2, side by side


def max_of_four_forward_ref(x, out, argmax):
    max_pool_forward_ref(x, 2, 2, 2, 2, 0, 0, 1, 1, out, argmax)


@helper
def _following(o, t, count):
    """(o, t), or the beginning of the next row where t is behind the end."""
    return (o, t) if t < count else (o + 1, 0)


@piece
def _max_of_four(x, begin, end, out, argmax):
    """Windows of 2 x 2, side by side, by vectors: two runs of them at once."""
    width, rows, count, half = x.shape[2], out.shape[1], out.shape[2], 32 // x.itemsize
    source, best, places = x.reshape(x.size), out.reshape(out.size), argmax.reshape(argmax.size)
    inside, around = rows * count, x.shape[1] * width
    for n in range(begin, end):
        plane = source[n * around : (n + 1) * around]
        o, t, go = 0, 0, n * inside
        while o < rows:
            a, s, many = 2 * o * width + 2 * t, go + o * count + t, min(half, count - t)
            o, t = _following(o, t + half, count)
            b, s_2, more = 2 * o * width + 2 * t, go + o * count + t, min(half, count - t)
            if o < rows:
                o, t = _following(o, t + half, count)
            else:
                b, s_2, more = a, s, 0
            largest_of_four(plane, a, b, width, many, more, best, places, s, s_2)


@kernel(reference=max_of_four_forward_ref, parallel=True, serial_below=60_000)
def max_of_four_forward(x, out, argmax):
    """`max_pool_forward` for windows of 2 x 2: x (N, H, W); out, argmax (N, H // 2, W // 2)."""
    # some planes at once: to call a piece takes as long as a small one
    step = rows_a_piece(x.shape[1] * x.shape[2], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        _max_of_four(x, p * step, min(p * step + step, x.shape[0]), out, argmax)


@piece
def _scatter_to_four(dout, argmax, begin, end, dx):
    """Of windows of 2 x 2, side by side, by vectors; an odd row or column behind them is 0."""
    width, rows, count, half = dx.shape[2], dout.shape[1], dout.shape[2], 32 // dx.itemsize
    source, places, target = dout.reshape(dout.size), argmax.reshape(dout.size), dx.reshape(dx.size)
    inside, around = rows * count, dx.shape[1] * width
    for n in range(begin, end):
        plane = target[n * around : (n + 1) * around]
        o, t, come = 0, 0, n * inside
        while o < rows:
            a, s, many = 2 * o * width + 2 * t, come + o * count + t, min(half, count - t)
            o, t = _following(o, t + half, count)
            b, s_2, more = 2 * o * width + 2 * t, come + o * count + t, min(half, count - t)
            if o < rows:
                o, t = _following(o, t + half, count)
            else:
                b, s_2, more = a, s, 0
            back_to_four(source, places, s, s_2, many, more, width, plane, a, b)
        if 2 * count < width:
            for h in range(2 * rows):
                for w in range(h * width + 2 * count, (h + 1) * width):
                    plane[w] = 0
        for w in range(2 * rows * width, around):
            plane[w] = 0


@kernel(reference=max_pool_backward_ref, parallel=True, serial_below=60_000, size_of="dx")
def max_of_four_backward(dout, argmax, dx):
    """`max_pool_backward` for windows of 2 x 2, each argmax in its own."""
    step = rows_a_piece(dx.shape[1] * dx.shape[2], _PIECE)
    for p in prange(count_pieces(dx.shape[0], step)):
        _scatter_to_four(dout, argmax, p * step, min(p * step + step, dx.shape[0]), dx)


def avg_pool_forward_ref(x, top, bottom, left, right, height, width, out):
    for o in range(len(top)):
        band = x[:, top[o] : bottom[o]].sum(axis=1, dtype=np.float64)  # (N, W)
        for t in range(len(left)):
            total = band[:, left[t] : right[t]].sum(axis=1)
            out[:, o, t] = total / (height[o] * width[t])


@piece
def _mean_windows(x, top, bottom, left, right, height, width, out):
    band = np.empty(x.shape[1], np.float64)
    for o in range(out.shape[0]):
        band[:] = 0.0
        for h in range(top[o], bottom[o]):
            row = x[h]
            for w in range(band.size):
                band[w] += row[w]
        target = out[o]
        for t in range(target.size):
            total = 0.0
            for w in range(left[t], right[t]):
                total += band[w]
            target[t] = total / (height[o] * width[t])


@kernel(reference=avg_pool_forward_ref, parallel=True, serial_below=60_000)
def avg_pool_forward(x, top, bottom, left, right, height, width, out):
    """x (N, H, W); top, bottom, height (OH,), left, right, width (OW,); out (N, OH, OW).

    out[n, o, t] = sum of x[n, top[o] : bottom[o], left[t] : right[t]] / (height[o] * width[t]).
    """
    for n in prange(x.shape[0]):
        _mean_windows(x[n], top, bottom, left, right, height, width, out[n])


def avg_pool_backward_ref(dout, top, bottom, left, right, height, width, dx):
    dx[:] = 0
    share = (dout / (height[:, None] * width)).astype(dx.dtype)
    for o in range(len(top)):
        for t in range(len(left)):
            dx[:, top[o] : bottom[o], left[t] : right[t]] += share[:, o, t, None, None]


@piece
def _share_windows(dout, top, bottom, left, right, height, width, dx):
    zero = dx.dtype.type(0)
    for h in range(dx.shape[0]):
        row = dx[h]
        for w in range(row.size):
            row[w] = zero
    band = np.empty(dx.shape[1], dx.dtype)
    for o in range(dout.shape[0]):
        for w in range(band.size):
            band[w] = zero
        for t in range(dout.shape[1]):
            share = dx.dtype.type(dout[o, t] / (height[o] * width[t]))
            for w in range(left[t], right[t]):
                band[w] += share
        for h in range(top[o], bottom[o]):
            row = dx[h]
            for w in range(band.size):
                row[w] += band[w]


@kernel(reference=avg_pool_backward_ref, parallel=True, serial_below=60_000, size_of="dx")
def avg_pool_backward(dout, top, bottom, left, right, height, width, dx):
    """The transpose of avg_pool_forward: dx[n, top : bottom, left : right] += dout's share."""
    for n in prange(dout.shape[0]):
        _share_windows(dout[n], top, bottom, left, right, height, width, dx[n])
