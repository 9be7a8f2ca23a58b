"""Matrix products: each is one call of BLAS, forward and for each gradient."""

import numpy as np

from minidl.ops._op import Op, shape_of, sum_to
from minidl.ops._product import affine, matmul, product
from minidl.ops._sums import sum_rows


class MatMul(Op):
    """Matrix product of the last two axes, broadcast over the others.

        out = x @ y;   dx = dout @ y^T, dy = x^T @ dout, each summed over its broadcast axes

    Shapes: x (..., N, D), y (..., D, M), out (..., N, M).
    """

    saves = ("x", "y")
    crossed = True

    @staticmethod
    def forward(x, y):
        return product(x, y), (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        dx = sum_to(matmul(dout, y.swapaxes(-1, -2)), shape_of(x)) if needs[0] else None
        dy = sum_to(matmul(x.swapaxes(-1, -2), dout), shape_of(y)) if needs[1] else None
        return dx, dy

    @classmethod
    def flops(cls, *shapes, **settings):
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
        out = affine(x if x.ndim == 2 else x.reshape(-1, x.shape[-1]), weight, bias)  # (N, O)
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
        dx = matmul(rows, weight) if needs[0] else None
        if dx is not None and x.ndim != 2:
            dx = dx.reshape(x.shape)
        dweight = matmul(rows.swapaxes(0, 1), inputs) if needs[1] else None
        if not needs[2]:
            return dx, dweight, None
        return dx, dweight, sum_rows(rows) if isinstance(rows, np.ndarray) else rows.sum(axis=0)

    @classmethod
    def flops(cls, *shapes, **settings):
        """A multiplication and an addition for each row, input and output."""
        x, weight = shapes[0], shapes[1]
        rows = 1
        for n in x[:-1]:
            rows *= n
        return 2 * rows * weight[0] * weight[1]
