"""Matrix products, and affine maps with what may follow them."""

import math

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, shape_of, sum_to
from minidl.ops._product import affine, affine_gradients, matmul, product
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
        return _affine(x, weight, bias, False), (x, weight)

    @staticmethod
    def backward(dout, saved, needs):
        x, weight = saved
        return _gradients(dout, x, weight, needs)

    @classmethod
    def flops(cls, *shapes, **settings):
        """A multiplication and an addition for each row, input and output."""
        x, weight = shapes[0], shapes[1]
        return 2 * math.prod(x[:-1]) * weight[0] * weight[1]


class LinearRelu(Op):
    """An affine map of the last axis and a rectifier, in one pass.

        out = max(x @ weight^T + bias, 0)
        dx = d @ weight,   dweight = d^T @ x,   dbias = sum(d),   d = dout where out > 0, else 0

    What lies between the two is never stored. At 0 and NaN as `Relu`.
    Shapes: x (..., D), weight (O, D), bias (O,) or None, out (..., O).
    """

    saves = ("x", "weight", "out")

    @staticmethod
    def forward(x, weight, bias):
        out = _affine(x, weight, bias, True)
        return out, (x, weight, out)

    @staticmethod
    def backward(dout, saved, needs):
        x, weight, out = saved
        if _math.large(dout):
            inside = _math.run(kernels.relu_backward, dout, out)
        else:
            inside = _math.masked(~(_math.values(out) <= 0), dout)
        return _gradients(inside, x, weight, needs)

    @classmethod
    def flops(cls, *shapes, **settings):
        """Those of `Linear`, and one for each output."""
        return Linear.flops(*shapes) + math.prod(shapes[0][:-1]) * shapes[1][0]


def _affine(x, weight, bias, relu):
    out = affine(x if x.ndim == 2 else x.reshape(-1, x.shape[-1]), weight, bias, relu)  # (N, O)
    return out if x.ndim == 2 else out.reshape(*x.shape[:-1], len(weight))


def _gradients(dout, x, weight, needs):
    """Of an affine map, of those that are needed."""
    rows, inputs = dout, x
    if x.ndim != 2:
        rows = dout.reshape((-1, dout.shape[-1]))  # (N, O)
        inputs = x.reshape((-1, x.shape[-1]))  # (N, D)
    dx = matmul(rows, weight) if needs[0] else None
    if dx is not None and x.ndim != 2:
        dx = dx.reshape(x.shape)
    dweight = dbias = None
    plain = isinstance(rows, np.ndarray) and isinstance(inputs, np.ndarray)
    if needs[1] and plain:
        dweight, dbias = affine_gradients(rows, inputs, needs[2])
    elif needs[1]:
        dweight = matmul(rows.swapaxes(0, 1), inputs)
    if needs[2] and dbias is None:
        dbias = sum_rows(rows) if isinstance(rows, np.ndarray) else rows.sum(axis=0)
    return dx, dweight, dbias
