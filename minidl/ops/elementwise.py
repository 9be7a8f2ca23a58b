"""Arithmetic with broadcasting. A Python scalar may stand for either array: it has no gradient."""

import numpy as np

from minidl import kernels
from minidl.kernels._ways import ADD, DIV, MUL, SUB
from minidl.ops import _math
from minidl.ops._arithmetic import MANY, arithmetic
from minidl.ops._op import Op, shape_of, sum_to

_ndarray = np.ndarray
_ONES = {np.dtype(name): np.ones((), name) for name in ("f4", "f8")}
_SHARED_FROM = 50_000  # elements from which the kernel shares its work


class Add(Op):
    """Sum.

        out = x + y;   dx = dout, dy = dout, each summed over its broadcast axes

    Shapes: x, y broadcast to out.
    """

    saves = ("x_shape", "y_shape")

    @staticmethod
    def forward(x, y):
        array = type(x) is _ndarray
        out = arithmetic(ADD, x, y) if array and x.size >= MANY else x + y
        y_shape = y.shape if type(y) is _ndarray else shape_of(y)  # a call costs 60 ns
        return out, (x.shape if array else shape_of(x), y_shape)

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

    saves = ("x_shape", "y_shape")

    @staticmethod
    def forward(x, y):
        array = type(x) is _ndarray
        out = arithmetic(SUB, x, y) if array and x.size >= MANY else x - y
        y_shape = y.shape if type(y) is _ndarray else shape_of(y)  # a call costs 60 ns
        return out, (x.shape if array else shape_of(x), y_shape)

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
    crossed = True

    @staticmethod
    def forward(x, y):
        if type(x) is _ndarray and x.size >= MANY:
            return arithmetic(MUL, x, y), (x, y)
        return x * y, (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        if type(dout) is _ndarray and dout.size >= MANY:
            dx = sum_to(arithmetic(MUL, dout, y), shape_of(x)) if needs[0] else None
            dy = sum_to(arithmetic(MUL, dout, x), shape_of(y)) if needs[1] else None
            return dx, dy
        dx = sum_to(dout * y, shape_of(x)) if needs[0] else None
        dy = sum_to(dout * x, shape_of(y)) if needs[1] else None
        return dx, dy


class Div(Op):
    """Quotient.

        out = x / y;   dx = dout / y, dy = -dout * out / y, each summed over its broadcast axes

    Where dout is 0 both are 0, even at y = 0. Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")
    to_float = True

    @staticmethod
    def forward(x, y):
        if type(x) is _ndarray and x.size >= MANY:
            return arithmetic(DIV, x, y), (x, y)
        with np.errstate(all="ignore"):
            return x / y, (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        if type(y) in (float, int) and y:  # no pole
            large = type(dout) is _ndarray and dout.size >= MANY
            return arithmetic(DIV, dout, y) if large else dout / y, None
        part = _math.untaken(dout, dout / y)
        dx = sum_to(part, shape_of(x)) if needs[0] else None
        dy = sum_to(_math.untaken(dout, -part * (x / y)), shape_of(y)) if needs[1] else None
        return dx, dy


class Neg(Op):
    """Negative.

        out = -x;   dx = -dout

    Shapes: out as x.
    """

    @staticmethod
    def forward(x):
        return -x, ()

    @staticmethod
    def backward(dout, saved, needs):
        return (-dout,)


class Exp(Op):
    """Exponential.

        out = e^x;   dx = dout * out

    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        if _math.large(x):  # 512 x 1024: 82 µs, 242 of NumPy's
            out = _math.run(kernels.exp_forward, x)
        else:
            with np.errstate(all="ignore"):
                out = np.exp(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (_math.untaken(dout, dout * out),)


class Log(Op):
    """Natural logarithm; NaN below 0, -inf at 0.

        out = log(x);   dx = dout / x, and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.log(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout / x),)


class Sqrt(Op):
    """Square root; NaN below 0.

        out = sqrt(x);   dx = dout / (2 out), and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            out = np.sqrt(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (_math.untaken(dout, dout / (out * 2)),)


class Masked(Op):
    """x where a constant mask is true, 0 elsewhere.

        out = x if keep else 0;   dx = dout if keep else 0

    Shapes: out as x; keep broadcasts to it.
    """

    saves = ("keep",)

    @staticmethod
    def forward(x, keep):
        return _math.masked(keep, x), (keep,)

    @staticmethod
    def backward(dout, saved, needs):
        (keep,) = saved
        return _math.masked(_math.values(keep), dout), None


class Tanh(Op):
    """Hyperbolic tangent.

        out = tanh(x);   dx = dout * (1 - out^2)

    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        # NumPy's is as quick on one core: the kernel wins by its threads
        many = x.size >= _SHARED_FROM and _math.large(x)
        out = _math.run(kernels.tanh_forward, x) if many else np.tanh(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        if _math.large(dout):
            return (_math.run(kernels.tanh_backward, dout, out),)
        one = _ONES.get(out.dtype, 1)  # of 8 x 8 a number takes 600 ns to subtract, an array 340
        return (dout * (one - out * out),)


class Alias(Op):
    """The tensor itself, as a node of its own.

        out = x;   dx = dout

    Shapes: out as x.
    """

    @staticmethod
    def forward(x):
        return x, ()

    @staticmethod
    def backward(dout, saved, needs):
        return (dout,)
