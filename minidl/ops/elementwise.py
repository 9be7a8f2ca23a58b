"""Arithmetic with broadcasting. A Python scalar may stand for either array: it has no gradient."""

import numpy as np

from minidl.ops._op import Op, shape_of, sum_to


class Add(Op):
    """Sum.

        out = x + y;   dx = dout, dy = dout, each summed over its broadcast axes

    Shapes: x, y broadcast to out.
    """

    saves = ("shapes",)

    @staticmethod
    def forward(x, y):
        return x + y, (shape_of(x), shape_of(y))

    @staticmethod
    def backward(dout, saved, needs):
        x_shape, y_shape = saved
        dx = sum_to(dout, x_shape) if needs[0] else None
        dy = sum_to(dout, y_shape) if needs[1] else None
        return dx, dy


class Sub(Op):
    """Difference.

        out = x - y;   dx = dout, dy = -dout, each summed over its broadcast axes

    Shapes: x, y broadcast to out.
    """

    saves = ("shapes",)

    @staticmethod
    def forward(x, y):
        return x - y, (shape_of(x), shape_of(y))

    @staticmethod
    def backward(dout, saved, needs):
        x_shape, y_shape = saved
        dx = sum_to(dout, x_shape) if needs[0] else None
        dy = sum_to(-dout, y_shape) if needs[1] else None
        return dx, dy


class Mul(Op):
    """Product.

        out = x * y;   dx = dout * y, dy = dout * x, each summed over its broadcast axes

    Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")

    @staticmethod
    def forward(x, y):
        return x * y, (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        dx = sum_to(dout * y, shape_of(x)) if needs[0] else None
        dy = sum_to(dout * x, shape_of(y)) if needs[1] else None
        return dx, dy


class Tanh(Op):
    """Hyperbolic tangent.

        out = tanh(x);   dx = dout * (1 - out^2)

    Shapes: out as x.
    """

    saves = ("out",)

    @staticmethod
    def forward(x):
        out = np.tanh(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (dout * (1 - out * out),)
