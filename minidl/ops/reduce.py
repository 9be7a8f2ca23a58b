"""Reductions over axes.

Axes come as an ascending tuple of non-negative numbers, or None for all.
"""

import math

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._math import expand
from minidl.ops._op import Op, empty
from minidl.ops._sums import total


def opened(reduced, shape, dim, keepdim):
    """A reduced array or Tensor with 1 in the place of each axis that was dropped."""
    if keepdim:
        return reduced
    axes = range(len(shape)) if dim is None else [d % len(shape) for d in dim]
    return reduced.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape)))


class Sum(Op):
    """Sum over the axes `dim` (all of them for None).

        out = sum x;   dx = dout, broadcast back

    Shapes: x any; out without the axes, or with 1 in their place if `keepdim`.
    """

    saves = ("shape",)

    @staticmethod
    def forward(x, *, dim, keepdim):
        return total(x, dim, keepdim), (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, dim, keepdim):
        (shape,) = saved
        return (expand(opened(dout, shape, dim, keepdim), shape),)


class Mean(Op):
    """Arithmetic mean over the axes `dim` (all of them for None).

        out = sum x / n;   dx = dout / n, broadcast back

    n is the number of elements that meet in one. Shapes: as Sum.
    """

    saves = ("shape",)

    @staticmethod
    def forward(x, *, dim, keepdim):
        count = x.size if dim is None else math.prod([x.shape[d] for d in dim])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # NaN of nothing
            if x.dtype == np.float16:  # its sum may overflow where the mean fits
                out = np.add.reduce(x, axis=dim, keepdims=keepdim, dtype=np.float32) / count
                return np.asarray(out).astype(x.dtype), (x.shape,)
            return total(x, dim, keepdim) / x.dtype.type(count), (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, dim, keepdim):
        (shape,) = saved
        count = math.prod(shape) if dim is None else math.prod([shape[d] for d in dim])
        part = dout
        if count:  # float16 ends at 65504: a count may not fit, its reciprocal does
            half = dout.dtype == np.float16
            part = dout * (1.0 / count) if half else dout / dout.dtype.type(count)
        return (expand(opened(part, shape, dim, keepdim), shape),)


class Prod(Op):
    """Product along the last axis.

        out = prod_k x_k;   dx_k = dout * prod_{j != k} x_j

    The other factors are out / x_k; in a row with one 0 only that place has a derivative, and in a
    row with two none has. Shapes: x (..., K), out (...).
    """

    saves = ("x", "out")

    @staticmethod
    def forward(x):
        if x.dtype.kind != "f":
            return x.prod(axis=-1, dtype=np.int64), (x, None)
        out = x.prod(axis=-1)
        return out, (x, out)

    @staticmethod
    def backward(dout, saved, needs):
        x, out = saved
        zero = _math.values(x) == 0  # (..., K)
        wide = dout.reshape((*dout.shape, 1))
        if not zero.any():
            return (wide * out.reshape((*dout.shape, 1)) / x,)
        if type(dout) is np.ndarray:
            rest = np.where(zero, x.dtype.type(1), x)
            rest = rest.prod(axis=-1, keepdims=True)  # (..., 1), the product without zeros
            count = zero.sum(axis=-1, keepdims=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                others = np.where(count == 0, rest / x, np.where(zero & (count == 1), rest, 0))
            return (wide * others.astype(x.dtype),)
        size = x.shape[-1]  # the row, once for each k, with 1 in place of x_k
        one = np.eye(size, dtype=bool)
        rows = expand(x.reshape((*dout.shape, 1, size)), (*dout.shape, size, size))
        rows = _math.masked(np.broadcast_to(~one, rows.shape), rows) + one.astype(x.dtype)
        return (wide * rows.prod(-1),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """A product each."""
        return math.prod(shapes[0])


def _rows(x, dim):
    """x as rows (N, K) where dim are its last axes and it is worth a kernel, else None."""
    if dim is None or dim != tuple(range(x.ndim - len(dim), x.ndim)) or not _math.large(x):
        return None
    return np.ascontiguousarray(x).reshape(-1, math.prod(x.shape[x.ndim - len(dim) :]))


def _shared(dout, x, out, dim, keepdim):
    """dout to the elements that equal the result, in equal parts."""
    if type(dout) is np.ndarray and (rows := _rows(x, dim)) is not None:
        dx = empty(x.shape, x.dtype)
        kernels.share_rows(rows, out.reshape(-1), dout.reshape(-1), dx.reshape(rows.shape))
        return (dx,)
    array = _math.values(x)
    best = opened(_math.values(out), array.shape, dim, keepdim)
    equal = (array == best) | ((array != array) & (best != best))  # NaN is its own kind
    count = equal.sum(axis=dim, keepdims=True)
    share = equal.astype(array.dtype) / count.astype(array.dtype)
    wide = expand(opened(dout, array.shape, dim, keepdim), array.shape)
    return (wide * share,)


class Amax(Op):
    """The largest element over the axes `dim`; NaN where there is one.

        out = max x;   dx = dout at the largest, which share it equally

    Shapes: as Sum. Not differentiable at ties: the equal shares are PyTorch's subgradient.
    """

    saves = ("x", "out")

    @staticmethod
    def forward(x, *, dim, keepdim):
        rows = _rows(x, dim)
        if rows is None:
            out = x.max(axis=dim, keepdims=keepdim)
        else:
            shape = x.shape[: x.ndim - len(dim)] + (1,) * len(dim) * keepdim
            out = empty(shape, x.dtype)
            kernels.max_rows(rows, out.reshape(-1))
        return out, (x, out)

    @staticmethod
    def backward(dout, saved, needs, *, dim, keepdim):
        x, out = saved
        return _shared(dout, x, out, dim, keepdim)

    @classmethod
    def flops(cls, *shapes, **settings):
        """A comparison each."""
        return math.prod(shapes[0])


class Amin(Op):
    """The smallest element over the axes `dim`; NaN where there is one.

        out = min x;   dx = dout at the smallest, which share it equally

    Shapes: as Sum. Not differentiable at ties: the equal shares are PyTorch's subgradient.
    """

    saves = ("x", "out")

    @staticmethod
    def forward(x, *, dim, keepdim):
        out = x.min(axis=dim, keepdims=keepdim)
        return out, (x, out)

    @staticmethod
    def backward(dout, saved, needs, *, dim, keepdim):
        x, out = saved
        return _shared(dout, x, out, dim, keepdim)

    @classmethod
    def flops(cls, *shapes, **settings):
        """A comparison each."""
        return math.prod(shapes[0])


class Median(Op):
    """The median of all elements: the lower of the middle two.

        out = sorted(x)[(n - 1) // 2];   dx = dout at its equals, which share it equally

    NaN if there is one, unless `ignore_nan`. Shapes: x any, not empty; out ().
    """

    saves = ("x", "out")

    @staticmethod
    def forward(x, *, ignore_nan):
        flat = np.sort(x.reshape(-1))  # NaN last
        known = flat.size - np.isnan(flat).sum() if x.dtype.kind == "f" else flat.size
        if known < flat.size and (known == 0 or not ignore_nan):
            out = flat[-1]
        else:
            out = flat[(known - 1) // 2]
        return out, (x, out)

    @staticmethod
    def backward(dout, saved, needs, *, ignore_nan):
        x, out = saved
        return _shared(dout, x, out, None, False)

    @classmethod
    def flops(cls, *shapes, **settings):
        """log2 n comparisons each."""
        n = math.prod(shapes[0])
        return n * max(1, n.bit_length())


class LogSumExp(Op):
    """Logarithm of the sum of exponentials along the last axis, without overflow.

        out = log sum_k e^x_k;   dx = dout * softmax(x)

    The softmax is computed anew: e^(x - out) would have out's rounding error, 1e-3 at 1e4 in
    float32. A row of -inf alone has derivative 0. Shapes: x (..., K), K >= 1; out (...).
    """

    saves = ("x", "out")

    @staticmethod
    def forward(x):
        out = empty(x.shape[:-1], x.dtype)
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        if out.size:
            _math.suited(kernels.logsumexp, rows)(rows, out.reshape(-1))
        return out, (x, out)

    @staticmethod
    def backward(dout, saved, needs):
        x, out = saved
        alone = np.broadcast_to(np.isneginf(_math.values(out))[..., None], x.shape)
        if alone.any():
            x = _math.masked(~alone, x)
        share = _math.softmax(x)
        if alone.any():
            share = _math.masked(~alone, share)
        infinite = np.isposinf(_math.values(out))[..., None]
        if infinite.any():  # beside an infinite element the finite ones have no share
            own = np.where(np.isposinf(_math.values(x)), np.nan, 0).astype(x.dtype)
            share = _math.masked(np.broadcast_to(~infinite, x.shape), share)
            share = share + np.where(infinite, own, own.dtype.type(0))
        wide = dout.reshape((*dout.shape, 1))
        return (_math.untaken(wide, wide * share),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """Maximum, difference, exponential and sum of each element."""
        return 4 * math.prod(shapes[0])
