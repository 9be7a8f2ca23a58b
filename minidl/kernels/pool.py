"""Maximum and mean over windows of images, forward and backward, a plane (H, W) at a time."""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels.conv import end_inside, first_inside, span_ref


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
def _max_of_four(x, out, argmax):
    """Windows of 2 x 2, side by side: without branches, so that the loop becomes SIMD."""
    width = x.shape[1]
    for o in range(out.shape[0]):
        upper, lower, best, places = x[2 * o], x[2 * o + 1], out[o], argmax[o]
        first = np.int32(2 * o * width)
        below = np.int32(width)
        for t in range(best.size):
            place = first + np.int32(2) * np.int32(t)
            value, where = upper[2 * t], place
            other = upper[2 * t + 1]
            take = (other > value) | (other != other)
            value, where = (other if take else value), (place + np.int32(1) if take else where)
            other = lower[2 * t]
            take = (other > value) | (other != other)
            value, where = (other if take else value), (place + below if take else where)
            other = lower[2 * t + 1]
            take = (other > value) | (other != other)
            best[t] = other if take else value
            places[t] = place + below + np.int32(1) if take else where


@piece
def _better(source, step, place, best, argmax):
    """Take each value that is larger, or NaN: as PyTorch, the first of equals, the last NaN."""
    if step == 1:
        for t in range(best.size):
            value, known, where = source[t], best[t], argmax[t]
            take = (value > known) | (value != value)
            best[t] = value if take else known
            argmax[t] = place + np.int32(t) if take else where
    elif step == 2:
        for t in range(best.size):
            value, known, where = source[2 * t], best[t], argmax[t]
            take = (value > known) | (value != value)
            best[t] = value if take else known
            argmax[t] = place + np.int32(2 * t) if take else where
    else:
        for t in range(best.size):
            value, known, where = source[t * step], best[t], argmax[t]
            take = (value > known) | (value != value)
            best[t] = value if take else known
            argmax[t] = place + np.int32(t * step) if take else where


@piece
def _max_windows(x, kh, kw, sh, sw, ph, pw, dh, dw, out, argmax):
    """A row of outputs for each tap at once; before the first tap all is -inf, at its place."""
    height, width = x.shape
    last = height * width - 1
    low = x.dtype.type(-np.inf)
    for o in range(out.shape[0]):
        top = o * sh - ph
        if top < 0:  # the first tap inside
            top += (dh - 1 - top) // dh * dh
        best, places = out[o], argmax[o]
        for t in range(best.size):
            best[t] = low
            places[t] = min(top * width + t * sw - pw, last)
        for t in range(min(best.size, (pw + sw - 1) // sw)):
            left = t * sw - pw
            left += (dw - 1 - left) // dw * dw
            places[t] = min(top * width + left, last)
        for i in range(kh):
            h = o * sh + i * dh - ph
            if h < 0 or h >= height:
                continue
            for j in range(kw):
                shift = j * dw - pw
                left = first_inside(shift, sw)
                right = end_inside(shift, sw, width, best.size)
                if right > left:
                    start = left * sw + shift
                    place = np.int32(h * width + start)
                    _better(x[h, start:], sw, place, best[left:right], places[left:right])


@kernel(reference=max_pool_forward_ref, parallel=True, serial_below=60_000)
def max_pool_forward(x, kh, kw, sh, sw, ph, pw, dh, dw, out, argmax):
    """x (N, H, W); kernel, stride, padding, dilation; out (N, OH, OW); argmax alike, int32.

    argmax is the place in the flat plane: h * W + w.
    """
    halves = kh == 2 and kw == 2 and sh == 2 and sw == 2 and ph == 0 and pw == 0
    inside = 2 * out.shape[1] <= x.shape[1] and 2 * out.shape[2] <= x.shape[2]
    simple = halves and inside and dh == 1 and dw == 1
    for n in prange(x.shape[0]):
        if simple:
            _max_of_four(x[n], out[n], argmax[n])
        else:
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
