"""Powers, logarithms and the error function of each element."""

import math

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, shape_of, sum_to

_LOG_2, _LOG_10 = math.log(2.0), math.log(10.0)
_TWO_BY_ROOT_PI = 2.0 / math.sqrt(math.pi)
_NUMBERS = (int, float)


class Exp2(Op):
    """Power of 2, exact for whole numbers.

        out = 2^x;   dx = dout * out * log 2

    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            out = np.exp2(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (_math.untaken(dout, dout * out * _LOG_2),)


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


class Log2(Op):
    """Logarithm to base 2, exact for powers of 2; NaN below 0.

        out = log2(x);   dx = dout / (x log 2), and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            out = np.log2(x)
        return out, (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout / (x * _LOG_2)),)


class Log10(Op):
    """Logarithm to base 10, exact for powers of 10; NaN below 0.

        out = log10(x);   dx = dout / (x log 10), and 0 where dout is 0

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            out = np.log10(x)
        return out, (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (_math.untaken(dout, dout / (x * _LOG_10)),)


class Pow(Op):
    """Power.

        out = x^y;   dx = dout * y * x^(y - 1),   dy = dout * out * log(x)

    Each is 0 where dout is 0; dx also where y is 0, dy also where x is 0 and y not below 0.
    Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")

    @staticmethod
    def forward(x, y):
        with np.errstate(all="ignore"):
            return _math.power(x, y), (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        dx = dy = None
        if needs[0]:
            square = type(y) in _NUMBERS and y == 2
            part = dout * y * (x if square else _math.power(x, y - 1))
            zero = np.broadcast_to(np.asarray(_math.values(y)) == 0, part.shape)
            part = _math.masked(~zero, part) if zero.any() else part
            dx = sum_to(_math.untaken(dout, part), shape_of(x))
        if needs[1]:
            if type(x) in _NUMBERS:
                x = np.asarray(x, dout.dtype)
            base, exponent = _math.values(x), _math.values(y)
            pole = base == 0
            keep = ~np.broadcast_to(pole & (exponent >= 0), dout.shape)
            if (base > 0).all():
                logs = _math.log(x)
            else:  # no logarithm where it will not be used: its derivative would be inf or NaN
                none = pole | ((base < 0) & (_math.values(dout) == 0))
                logs = _math.log(_math.masked(~none, _math.expand(x, none.shape)) + none)
                logs = logs + np.where(pole, dout.dtype.type(-np.inf), dout.dtype.type(0))
            part = dout * x**y * logs
            dy = sum_to(_math.untaken(dout, _math.masked(keep, part)), y.shape)
        return dx, dy


class LogAddExp(Op):
    """Logarithm of a sum of powers of e (or, if `binary`, of 2) without overflow.

        out = log(e^x + e^y);   dx = dout * sigmoid(x - y),   dy = dout * sigmoid(y - x)

    With base 2 the difference in the sigmoid is times log 2. Equal infinities share the gradient.
    Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")
    to_float = True

    @staticmethod
    def forward(x, y, *, binary):
        with np.errstate(all="ignore"):
            return (np.logaddexp2 if binary else np.logaddexp)(x, y), (x, y)

    @staticmethod
    def backward(dout, saved, needs, *, binary):
        x, y = saved
        tie = np.isinf(_math.values(x)) & (_math.values(x) == _math.values(y))
        gap = _math.masked(~tie, x - y) * (_LOG_2 if binary else 1.0)
        dx = sum_to(dout * _math.sigmoid(gap), x.shape) if needs[0] else None
        dy = sum_to(dout * _math.sigmoid(-gap), y.shape) if needs[1] else None
        return dx, dy


class XLogY(Op):
    """x log(y), and 0 where x is 0 unless y is NaN.

        out = x log(y);   dx = dout * log(y),   dy = dout * x / y

    Each is 0 where dout is 0; dx also where x is 0 and y not above 0, dy where x is 0.
    Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")
    to_float = True

    @staticmethod
    def forward(x, y):
        with np.errstate(all="ignore"):
            return np.where((x == 0) & ~np.isnan(y), 0, x * np.log(y)).astype(x.dtype), (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        nothing = _math.values(x) == 0
        dx = dy = None
        if needs[0]:
            keep = ~(nothing & (_math.values(y) <= 0))
            part = _math.untaken(dout, dout * _math.log(y))
            dx = sum_to(_math.masked(keep, _math.expand(part, keep.shape)), x.shape)
        if needs[1]:
            part = _math.untaken(dout, dout * x / y)
            dy = sum_to(_math.masked(np.broadcast_to(~nothing, part.shape), part), y.shape)
        return dx, dy


class Erf(Op):
    """Error function.

        out = 2 / sqrt(pi) * integral from 0 to x of e^(-t^2);   dx = dout * 2 / sqrt(pi) * e^(-x^2)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            out = _math.erf(x)
        return out, (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (dout * _math.exp(-x * x) * _TWO_BY_ROOT_PI,)


class Erfc(Op):
    """1 - erf(x), exact in the far tail.

        out = 1 - erf(x);   dx = -dout * 2 / sqrt(pi) * e^(-x^2)

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            out = _math.run(kernels.erfc_forward, x)
        return out, (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (dout * _math.exp(-x * x) * -_TWO_BY_ROOT_PI,)


class Erfinv(Op):
    """The number whose error function is x; NaN outside [-1, 1], infinite at its ends.

        erf(out) = x;   dx = dout * sqrt(pi) / 2 * e^(out^2)

    A start by Winitzki (2008), then Halley's method: on erfc in the tails, where erf has no digits
    left. The error goes from 2e-3 to about its third power at each of three steps.
    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            size = np.abs(x).astype(np.float64)
            log = np.log1p(-size * size)
            half = 2 / (np.pi * 0.147) + log / 2
            y = np.sqrt(np.sqrt(half * half - log / 0.147) - half)
            for _ in range(3):
                tail = _math.run(kernels.erfc_forward, y) - (1 - size)
                gap = np.where(size < 0.5, size - _math.erf(y), tail)
                step = gap / (_TWO_BY_ROOT_PI * np.exp(-y * y))
                y = y + step / (1 - y * step)
            y = np.where(size == 1, np.inf, y)
            out = np.copysign(y, x).astype(x.dtype)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        endless = np.isinf(_math.values(out))
        if endless.any():  # inf where dout is 0 would be NaN in the second derivative
            out = _math.masked(~(endless & (_math.values(dout) == 0)), out)
        return (_math.untaken(dout, dout * _math.exp(out * out) * (1 / _TWO_BY_ROOT_PI)),)
