"""Circular and hyperbolic functions of each element, and their inverses."""

import numpy as np

from minidl.ops import _math
from minidl.ops._op import Op, sum_to


class Sin(Op):
    """Sine of radians.

        out = sin(x);   dx = dout * cos(x)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.sin(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (dout * _math.cos(x),)


class Cos(Op):
    """Cosine of radians.

        out = cos(x);   dx = -dout * sin(x)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.cos(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (-dout * _math.sin(x),)


class Tan(Op):
    """Tangent of radians.

        out = tan(x);   dx = dout * (1 + out^2)

    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            out = np.tan(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (dout * (1 + out * out),)


class Asin(Op):
    """Arc sine; NaN outside [-1, 1].

        out = asin(x);   dx = dout / sqrt(1 - x^2), and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.arcsin(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout / _math.sqrt(1 - x * x)),)


class Acos(Op):
    """Arc cosine; NaN outside [-1, 1].

        out = acos(x);   dx = -dout / sqrt(1 - x^2), and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.arccos(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, -dout / _math.sqrt(1 - x * x)),)


class Atan(Op):
    """Arc tangent.

        out = atan(x);   dx = dout / (1 + x^2)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        return np.arctan(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (dout / (1 + x * x),)


class Atan2(Op):
    """Angle of the point (y, x), in (-pi, pi].

        out = atan2(y, x);   dy = dout * x / (x^2 + y^2),   dx = -dout * y / (x^2 + y^2)

    Both are 0 where dout is 0, and at the origin. Shapes: y, x broadcast to out.
    """

    saves = ("y", "x")
    to_float = True

    @staticmethod
    def forward(y, x):
        return np.arctan2(y, x), (y, x)

    @staticmethod
    def backward(dout, saved, needs):
        y, x = saved
        square = x * x + y * y
        part = _math.masked(_math.values(square) != 0, dout / square)
        dy = sum_to(_math.untaken(dout, part * x), y.shape) if needs[0] else None
        dx = sum_to(_math.untaken(dout, -part * y), x.shape) if needs[1] else None
        return dy, dx


class Hypot(Op):
    """Length of the vector (x, y), without overflow of the squares.

        out = sqrt(x^2 + y^2);   dx = dout * x / out,   dy = dout * y / out

    Both are 0 where dout is 0. Shapes: x, y broadcast to out.
    """

    saves = ("x", "y", "out")
    to_float = True

    @staticmethod
    def forward(x, y):
        with np.errstate(all="ignore"):
            out = np.hypot(x, y)
        return out, (x, y, out)

    @staticmethod
    def backward(dout, saved, needs):
        x, y, out = saved
        dx = sum_to(_math.untaken(dout, dout * (x / out)), x.shape) if needs[0] else None
        dy = sum_to(_math.untaken(dout, dout * (y / out)), y.shape) if needs[1] else None
        return dx, dy


class Sinh(Op):
    """Hyperbolic sine.

        out = sinh(x);   dx = dout * cosh(x)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.sinh(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout * (_math.exp(x) + _math.exp(-x)) / 2),)


class Cosh(Op):
    """Hyperbolic cosine.

        out = cosh(x);   dx = dout * sinh(x)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.cosh(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout * _math.sinh(x)),)


class Asinh(Op):
    """Inverse hyperbolic sine.

        out = asinh(x);   dx = dout / sqrt(1 + x^2)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        return np.arcsinh(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (dout / _math.sqrt(1 + x * x),)


class Acosh(Op):
    """Inverse hyperbolic cosine; NaN below 1.

        out = acosh(x);   dx = dout / sqrt(x^2 - 1), and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.arccosh(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout / _math.sqrt(x * x - 1)),)


class Atanh(Op):
    """Inverse hyperbolic tangent; NaN outside [-1, 1].

        out = atanh(x);   dx = dout / (1 - x^2), and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.arctanh(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout / (1 - x * x)),)
