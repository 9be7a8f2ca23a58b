"""Running sums, products and log-sum-exps along the last axis."""

import math

import numpy as np

from minidl.ops import _math
from minidl.ops._op import Op


def running_sum(x, reverse=False):
    """Cumulative sum along the last axis; float32 is added in float64."""
    wide = np.dtype(np.float64 if x.dtype.kind == "f" else np.int64)
    if reverse:
        x = x[..., ::-1]
    out = np.cumsum(x, axis=-1, dtype=wide)
    if x.dtype.kind == "f":
        out = out.astype(x.dtype, copy=False)
    return out[..., ::-1] if reverse else out


def _running_sum(x, reverse):
    return running_sum(x, reverse) if isinstance(x, np.ndarray) else x.running_sum(reverse)


class CumSum(Op):
    """Running sum along the last axis, from its end if `reverse`.

        out_k = sum_{j <= k} x_j;   dx_j = sum_{k >= j} dout_k

    Shapes: out as x.
    """

    @staticmethod
    def forward(x, *, reverse):
        return running_sum(x, reverse), ()

    @staticmethod
    def backward(dout, saved, needs, *, reverse):
        return (_running_sum(dout, not reverse),)


class CumProd(Op):
    """Running product along the last axis.

        out_k = prod_{j <= k} x_j;   dx_i = sum_{k >= i} dout_k prod_{j <= k, j != i} x_j

    The product is out_k / x_i, so dx = reversed running sum of (dout out), over x. Before the first
    0 of a row that still holds; at it the 0 is left out of the products; after it dx is 0.
    Shapes: out as x, (..., K).
    """

    saves = ("x", "out")

    @staticmethod
    def forward(x):
        if x.dtype.kind != "f":
            return np.cumprod(x, axis=-1, dtype=np.int64), (x, None)
        out = np.cumprod(x, axis=-1)
        return out, (x, out)

    @staticmethod
    def backward(dout, saved, needs):
        x, out = saved
        zero = _math.values(x) == 0
        if not zero.any():
            return (_running_sum(dout * out, True) / x,)
        size = x.shape[-1]
        if isinstance(dout, np.ndarray):
            first = zero & (np.cumsum(zero, axis=-1) == 1)
            before = np.cumsum(zero, axis=-1) == 0
            lifted = np.cumprod(np.where(first, x.dtype.type(1), x), axis=-1)
            at_first = running_sum(dout * lifted, True)
            safe = np.where(zero, x.dtype.type(1), x)
            earlier = np.where(before, running_sum(dout * out, True) / safe, x.dtype.type(0))
            return (np.where(first, at_first, earlier),)
        one = np.eye(size, dtype=bool)  # the row, once for each i, with 1 in place of x_i
        wide = (*x.shape[:-1], size, size)
        rows = _math.expand(x.reshape((*x.shape[:-1], 1, size)), wide)
        rows = _math.masked(np.broadcast_to(~one, wide), rows) + one.astype(x.dtype)
        parts = rows.cumprod(-1) * dout.reshape((*x.shape[:-1], 1, size))
        later = np.triu(np.ones((size, size), bool))  # k >= i
        return (_math.masked(np.broadcast_to(later, wide), parts).sum(axis=-1),)


class LogCumSumExp(Op):
    """Running log-sum-exp along the last axis, without overflow.

        out_k = log sum_{j <= k} e^x_j;   dx_i = sum_{k >= i} dout_k e^(x_i - out_k)

    The sums of the positive and of the negative dout_k are taken in logarithms.
    Shapes: out as x, (..., K).
    """

    saves = ("x", "out")

    @staticmethod
    def forward(x):
        wide = x.astype(np.float64, copy=False)
        with np.errstate(all="ignore"):
            out = np.logaddexp.accumulate(wide, axis=-1) if x.shape[-1] else wide
        out = out.astype(x.dtype, copy=False)
        return out, (x, out)

    @staticmethod
    def backward(dout, saved, needs):
        x, out = saved
        if isinstance(dout, np.ndarray) and x.dtype.itemsize < 8:  # out is rounded: 1e-3 at 1e4
            with np.errstate(all="ignore"):
                out = np.logaddexp.accumulate(x.astype(np.float64), axis=-1)
        begun = ~np.isneginf(_math.values(out))
        if not begun.all():
            out = _math.masked(begun, out)  # of -inf alone: e^-inf, not NaN
        if isinstance(dout, np.ndarray):
            dx = np.zeros(x.shape, np.float64)
            with np.errstate(all="ignore"):
                for sign in (1, -1):
                    logs = np.log(np.maximum(sign * dout, 0).astype(np.float64)) - out
                    sums = np.logaddexp.accumulate(logs[..., ::-1], axis=-1)[..., ::-1]
                    dx += sign * np.exp(sums + x)
            return (dx.astype(x.dtype, copy=False),)
        size = x.shape[-1]
        wide = (*x.shape[:-1], size, size)
        later = np.broadcast_to(np.triu(np.ones((size, size), bool)), wide)  # k >= i
        one, row = (*x.shape[:-1], size, 1), (*x.shape[:-1], 1, size)
        gap = _math.masked(later, x.reshape(one) - out.reshape(row))  # (..., i, k), never above 0
        parts = _math.masked(later, _math.exp(gap) * dout.reshape(row))
        return (parts.sum(axis=-1),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """A difference, exponential, logarithm and two sums each."""
        return 5 * math.prod(shapes[0])
