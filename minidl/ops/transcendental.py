"""Functions of each element beyond arithmetic: trigonometry, powers, branches, activations."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty, shape_of, sum_to


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


class Expm1(Op):
    """e^x - 1, exact near 0.

        out = e^x - 1;   dx = dout * (out + 1)

    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            out = np.expm1(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (_math.untaken(dout, dout * (out + 1)),)


class Log1p(Op):
    """log(1 + x), exact near 0; NaN below -1.

        out = log(1 + x);   dx = dout / (1 + x), and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.log1p(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout / (1 + x)),)


class Pow(Op):
    """Power.

        out = x^y;   dx = dout * y * x^(y - 1),   dy = dout * out * log(x)

    Each is 0 where dout or its factor (y, or out) is 0, so x = 0 sends no NaN back.
    Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")

    @staticmethod
    def forward(x, y):
        with np.errstate(all="ignore"):
            return x**y, (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        dx = dy = None
        if needs[0]:
            part = dout * y * x ** (y - 1)
            zero = np.broadcast_to(np.asarray(_math.values(y)) == 0, part.shape)
            dx = sum_to(_math.untaken(dout, _math.masked(~zero, part)), shape_of(x))
        if needs[1]:
            base = _math.values(x) if not isinstance(x, (int, float)) else np.asarray(x, dout.dtype)
            above = np.broadcast_to(base != 0, dout.shape)
            safe = x if isinstance(x, (int, float)) else _math.masked(base != 0, x) + (base == 0)
            logs = np.log(base) if isinstance(x, (int, float)) else _math.log(safe)
            dy = sum_to(_math.masked(above, dout * x**y * logs), shape_of(y))
        return dx, dy


class Abs(Op):
    """Absolute value; the derivative at 0 is 0.

        out = |x|;   dx = dout * sign(x)

    Shapes: out as x.
    """

    saves = ("sign",)

    @staticmethod
    def forward(x):
        return np.abs(x), (np.sign(x),)

    @staticmethod
    def backward(dout, saved, needs):
        (sign,) = saved
        return (dout * sign,)


class Where(Op):
    """x where a condition holds, y elsewhere.

        out = keep ? x : y;   dx = keep ? dout : 0,   dy = keep ? 0 : dout

    Shapes: keep, x, y broadcast to out.
    """

    saves = ("keep", "shapes")

    @staticmethod
    def forward(keep, x, y):
        return np.where(keep, x, y), (keep, (shape_of(x), shape_of(y)))

    @staticmethod
    def backward(dout, saved, needs):
        keep, (x_shape, y_shape) = saved
        keep = np.broadcast_to(_math.values(keep), dout.shape)
        dx = sum_to(_math.masked(keep, dout), x_shape) if needs[1] else None
        return None, dx, sum_to(_math.masked(~keep, dout), y_shape) if needs[2] else None


class Scaled(Op):
    """x times a constant array of its shape: a derivative known beforehand, 0, 1/2 or 1.

        out = value;   dx = dout * slope

    value is computed by the caller (clamp, maximum, floor); slope has no derivative.
    Shapes: x, value, slope and out are equal.
    """

    saves = ("slope",)

    @staticmethod
    def forward(x, value, slope):
        return value, (slope,)

    @staticmethod
    def backward(dout, saved, needs):
        (slope,) = saved
        slope = _math.values(slope)
        return _math.masked(slope != 0, dout) * slope, None, None


class Sigmoid(Op):
    """Logistic function, by a kernel without overflow.

        out = 1 / (1 + e^-x);   dx = dout * out * (1 - out)

    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        flat = np.ascontiguousarray(x).reshape(-1)
        out = empty(flat.shape, x.dtype)
        kernels.sigmoid_forward(flat, out)
        out = out.reshape(x.shape)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (dout * out * (1 - out),)


class Softplus(Op):
    """A smooth max(x, 0) (Dugas et al. 2001), by a kernel without overflow.

        out = log(1 + e^x);   dx = dout * sigmoid(x)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        flat = np.ascontiguousarray(x).reshape(-1)
        out = empty(flat.shape, x.dtype)
        kernels.softplus_forward(flat, out)
        return out.reshape(x.shape), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (dout * _math.sigmoid(x),)


class Relu(Op):
    """Rectifier (Nair & Hinton 2010); the derivative at 0 is 0.

        out = max(x, 0);   dx = dout where x > 0, else 0

    Shapes: out as x.
    """

    saves = ("out",)

    @staticmethod
    def forward(x):
        out = np.maximum(x, 0)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (_math.masked(_math.values(out) > 0, dout),)
