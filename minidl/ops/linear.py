"""Matrix products: each is one call of BLAS, forward and for each gradient."""

import numpy as np

from minidl.ops._op import Op, shape_of, sum_to
from minidl.ops._sums import sum_rows, total

_HALF = np.dtype("float16")


def half_product(x, y):
    """x @ y of float16 in float32: BLAS knows no float16, and 11 bits are too few to sum in."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(x.astype(np.float32) @ y.astype(np.float32)).astype(_HALF)


def _half_backward(dout, x, y, needs):
    """MatMul's gradients, for float16."""
    dx = sum_to(half_product(dout, y.swapaxes(-1, -2)), shape_of(x)) if needs[0] else None
    dy = sum_to(half_product(x.swapaxes(-1, -2), dout), shape_of(y)) if needs[1] else None
    return dx, dy


class MatMul(Op):
    """Matrix product of the last two axes, broadcast over the others.

        out = x @ y;   dx = dout @ y^T, dy = x^T @ dout, each summed over its broadcast axes

    Shapes: x (..., N, D), y (..., D, M), out (..., N, M).
    """

    saves = ("x", "y")
    crossed = True

    @staticmethod
    def forward(x, y):
        return (half_product(x, y) if x.dtype is _HALF else x @ y), (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        if dout.dtype is _HALF and type(dout) is np.ndarray:
            return _half_backward(dout, x, y, needs)
        dx = sum_to(dout @ y.swapaxes(-1, -2), shape_of(x)) if needs[0] else None
        dy = sum_to(x.swapaxes(-1, -2) @ dout, shape_of(y)) if needs[1] else None
        return dx, dy

    @classmethod
    def flops(cls, *shapes):
        """A multiplication and an addition for each of N, D, M."""
        x, y = shapes
        batch = super().flops(x[:-2], y[:-2])
        return 2 * batch * x[-2] * x[-1] * y[-1]


class Linear(Op):
    """An affine map of the last axis.

        out = x @ weight^T + bias
        dx = dout @ weight,   dweight = dout^T @ x,   dbias = sum(dout), over all rows

    One product each way on the rows of x, whatever axes they come from.
    Shapes: x (..., D), weight (O, D), bias (O,) or None, out (..., O).
    """

    saves = ("x", "weight")

    @staticmethod
    def forward(x, weight, bias):
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        out = half_product(rows, weight.T) if x.dtype is _HALF else rows @ weight.T  # (N, O)
        if bias is not None:
            out += bias
        if x.ndim != 2:
            out = out.reshape(*x.shape[:-1], len(weight))
        return out, (x, weight)

    @staticmethod
    def backward(dout, saved, needs):
        x, weight = saved
        rows, inputs = dout, x
        if x.ndim != 2:
            rows = dout.reshape((-1, dout.shape[-1]))  # (N, O)
            inputs = x.reshape((-1, x.shape[-1]))  # (N, D)
        if type(dout) is np.ndarray and dout.dtype is _HALF:
            dx = half_product(rows, weight).reshape(x.shape) if needs[0] else None
            dweight = half_product(rows.T, inputs) if needs[1] else None
            return dx, dweight, total(rows, (0,), False) if needs[2] else None
        dx = rows @ weight if needs[0] else None
        if dx is not None and x.ndim != 2:
            dx = dx.reshape(x.shape)
        dweight = rows.swapaxes(0, 1) @ inputs if needs[1] else None
        if not needs[2]:
            return dx, dweight, None
        return dx, dweight, sum_rows(rows) if isinstance(rows, np.ndarray) else rows.sum(axis=0)

    @classmethod
    def flops(cls, *shapes):
        """A multiplication and an addition for each row, input and output."""
        x, weight = shapes[0], shapes[1]
        rows = 1
        for n in x[:-1]:
            rows *= n
        return 2 * rows * weight[0] * weight[1]
