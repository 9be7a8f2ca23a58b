"""Pooling: the maximum or the mean of windows of images."""

import math
from functools import lru_cache

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty
from minidl.ops.conv import geometry, lifted, two


def max_of_windows(x, size, kernel, stride, padding, dilation):
    """(maxima, their places in the flat plane as int32) of x (B, C, *S)."""
    image = np.ascontiguousarray(lifted(x))
    planes = image.reshape(image.shape[0] * image.shape[1], *image.shape[2:])
    out = empty((len(planes), *two(size)), x.dtype)
    argmax = empty(out.shape, np.int32)
    windows = *two(kernel), *geometry(stride, padding, dilation)
    if _is_quads(windows, planes, out):
        _math.suited(kernels.max_of_four_forward, planes)(planes, out, argmax)
    else:
        _math.suited(kernels.max_pool_forward, planes)(planes, *windows, out, argmax)
    shape = (*x.shape[:2], *size)
    return out.reshape(shape), argmax.reshape(shape)


def _is_quads(windows, images, out):
    """Whether all windows are 2 x 2, side by side and inside."""
    inside = 2 * out.shape[1] <= images.shape[1] and 2 * out.shape[2] <= images.shape[2]
    return inside and windows == (2, 2, 2, 2, 0, 0, 1, 1)


def flat_places(argmax, shape):
    """Places in a flat plane as places in a flat array of `shape` (B, C, *S)."""
    planes = math.prod(shape[:2])
    starts = np.arange(planes).reshape(*shape[:2], *(1,) * (len(shape) - 2))
    return argmax + starts * math.prod(shape[2:])


class MaxPool(Op):
    """The largest element of each window (Zhou & Chellappa 1988; Ranzato et al. 2007; the sizes:
    Dumoulin & Visin 2016, arXiv:1603.07285, chapter 3).

        out[b, c, r] = max_k x[b, c, r * stride + k * dilation - padding],   over the taps k inside
        dx[b, c, s]  = sum of dout[b, c, r] over the windows r whose maximum stood at s

    Where elements of a window are equal the first of them gets the gradient; NaN is larger than
    all else, and of several the last counts: as in PyTorch.

    Shapes: x (B, C, *S), out (B, C, *size).
    """

    saves = ("argmax", "shape")

    @staticmethod
    def forward(x, *, size, kernel, stride, padding, dilation):
        out, argmax = max_of_windows(x, size, kernel, stride, padding, dilation)
        return out, (argmax, x.shape)

    @staticmethod
    def backward(dout, saved, needs, *, kernel, stride, padding, dilation, **_):
        argmax, shape = saved
        if not isinstance(dout, np.ndarray):
            return (dout.add_flat(flat_places(_math.values(argmax), shape), shape),)
        planes = math.prod(shape[:2])
        dx = empty((planes, *two(shape[2:])), dout.dtype)
        windows = (planes, *two(argmax.shape[2:]))
        dout = np.ascontiguousarray(dout).reshape(windows)
        quads = _is_quads((*two(kernel), *geometry(stride, padding, dilation)), dx, dout)
        run = kernels.max_of_four_backward if quads else kernels.max_pool_backward
        _math.suited(run, dx)(dout, argmax.reshape(windows), dx)
        return (dx.reshape(shape),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """One comparison an element of x, for windows that do not overlap."""
        return math.prod(shapes[0])


@lru_cache(maxsize=256)
def windows(size, rule):
    """(starts, stops, lengths) of the windows along an axis of `size`, clipped to it.

    rule: ("adaptive", count), windows that share the axis evenly: from floor(i * size / count) to
    ceil((i + 1) * size / count); or ("regular", count, kernel, stride, padding, whole), where whole
    windows count the padding in their length.
    """
    if rule[0] == "adaptive":
        i = np.arange(rule[1])
        starts, stops = i * size // rule[1], -(-(i + 1) * size // rule[1])
        return starts, stops, (stops - starts).astype(np.float64)
    _, count, kernel, stride, padding, whole = rule
    starts = np.arange(count) * stride - padding
    stops = np.minimum(starts + kernel, size + padding)
    lengths = stops - starts
    starts, stops = np.maximum(starts, 0), np.minimum(stops, size)
    if not whole:
        lengths = stops - starts
    return starts, np.maximum(stops, starts), lengths.astype(np.float64)


def _geometry(size, rules, divisor):
    """What the kernels want to know of the windows over images of `size`."""
    if len(rules) == 1:
        rules = (("adaptive", 1), *rules)
    top, bottom, height = windows(two(size)[0], rules[0])
    left, right, width = windows(size[-1], rules[1])
    if divisor is not None:
        height, width = np.full(len(top), float(divisor)), np.ones(len(left))
    return top, bottom, left, right, height, width


class AvgPool(Op):
    """The mean of each window (LeCun et al. 1989 and 1998: subsampling).

        out[b, c, r] = sum of x[b, c, s] over s in window r, / (its size, or divisor)
        dx[b, c, s]  = sum of dout[b, c, r] / (its size, or divisor) over the windows r with s

    rules: for each axis how its windows lie, see `windows`: in steps, or adaptive, by sharing the
    axis evenly (He et al. 2014, arXiv:1406.4729, 2.2). Windows are clipped to the image; the part
    in the padding is 0, and counts in the size where the rule says so.

    Shapes: x (B, C, *S), out (B, C, *R), one rule an axis.
    """

    saves = ("size",)

    @staticmethod
    def forward(x, *, rules, divisor):
        image = np.ascontiguousarray(lifted(x))
        planes = image.reshape(image.shape[0] * image.shape[1], *image.shape[2:])
        parts = _geometry(x.shape[2:], rules, divisor)
        out = empty((len(planes), len(parts[0]), len(parts[2])), x.dtype)
        _math.suited(kernels.avg_pool_forward, planes)(planes, *parts, out)
        return out.reshape(*x.shape[:2], *[r[1] for r in rules]), (x.shape[2:],)

    @staticmethod
    def backward(dout, saved, needs, *, rules, divisor):
        return (_math.applied(AvgPoolSpread, dout, size=saved[0], rules=rules, divisor=divisor),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """One addition an element of x, for windows that do not overlap."""
        return math.prod(shapes[0])


class AvgPoolSpread(Op):
    """The transpose of AvgPool: each element shared out evenly over its window.

        out[b, c, s] = sum of x[b, c, r] / (window size, or divisor) over the windows r with s
        dx = the means of dout's windows (AvgPool)

    Shapes: x (B, C, *R), out (B, C, *size).
    """

    @staticmethod
    def forward(x, *, size, rules, divisor):
        image = np.ascontiguousarray(lifted(x))
        planes = image.reshape(image.shape[0] * image.shape[1], *image.shape[2:])
        out = empty((len(planes), *two(size)), x.dtype)
        parts = _geometry(size, rules, divisor)
        _math.suited(kernels.avg_pool_backward, out)(planes, *parts, out)
        return out.reshape(*x.shape[:2], *size), ()

    @staticmethod
    def backward(dout, saved, needs, *, size, rules, divisor):
        return (_math.applied(AvgPool, dout, rules=rules, divisor=divisor),)
