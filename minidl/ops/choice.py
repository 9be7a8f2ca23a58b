"""Functions that choose: limits, larger and smaller, steps, remainders, branches."""

import numpy as np

from minidl.ops import _math
from minidl.ops._op import Op, shape_of, sum_to


def _sign(x):
    """-1, 0 or 1; 0 of NaN, as in PyTorch."""
    return np.subtract(x > 0, x < 0, dtype=x.dtype)


class Abs(Op):
    """Absolute value; the derivative at 0 is 0.

        out = |x|;   dx = dout * sign(x)

    Shapes: out as x.
    """

    saves = ("x",)

    @staticmethod
    def forward(x):
        return np.abs(x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        return (dout * _sign(_math.values(x)),)


class Step(Op):
    """A step function: sign, floor, ceil, trunc or round (halves to even), the setting `name`.

        out = name(x);   dx = 0 * dout

    Shapes: out as x.
    """

    @staticmethod
    def forward(x, *, name, decimals=0):
        if name == "sign":
            return _sign(x), ()
        if name == "round":
            with np.errstate(all="ignore"):
                return np.round(x, decimals), ()
        return getattr(np, name)(x), ()

    @staticmethod
    def backward(dout, saved, needs, *, name, decimals=0):
        return (_math.masked(np.zeros(dout.shape, bool), dout),)


class Where(Op):
    """x where a condition holds, y elsewhere.

        out = keep ? x : y;   dx = keep ? dout : 0,   dy = keep ? 0 : dout

    Shapes: keep, x, y broadcast to out.
    """

    saves = ("keep", "shapes")

    @staticmethod
    def forward(keep, x, y):
        return _math.chosen(keep, x, y), (keep, (shape_of(x), shape_of(y)))

    @staticmethod
    def backward(dout, saved, needs):
        keep, (x_shape, y_shape) = saved
        keep = np.broadcast_to(_math.values(keep), dout.shape)
        dx = sum_to(_math.masked(keep, dout), x_shape) if needs[1] else None
        return None, dx, sum_to(_math.masked(~keep, dout), y_shape) if needs[2] else None


class Clamp(Op):
    """x limited to [low, high], numbers or None.

        out = min(max(x, low), high);   dx = dout where low < x < high, else 0

    At the limits themselves dx is dout if `closed` (clamp), 0 if not (hardtanh).
    Shapes: out as x.
    """

    saves = ("x",)

    @staticmethod
    def forward(x, *, low, high, closed):
        return np.clip(x, low, high), (x,)

    @staticmethod
    def backward(dout, saved, needs, *, low, high, closed):
        (x,) = saved
        x = _math.values(x)
        keep = np.ones(x.shape, bool)
        if low is not None:
            keep &= x >= low if closed else x > low
        if high is not None:
            keep &= x <= high if closed else x < high
        return (_math.masked(keep, dout),)


class Maximum(Op):
    """The larger of two; NaN if one is NaN.

        out = max(x, y);   dx = dout where x > y,   dy = dout where y > x

    Equal ones divide the gradient: x has `share` of it, y the rest. Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")

    @staticmethod
    def forward(x, y, *, share):
        return np.maximum(x, y), (x, y)

    @staticmethod
    def backward(dout, saved, needs, *, share):
        x, y = saved
        return _shared(dout, x, y, _math.values(x) > _math.values(y), share, needs)


class Minimum(Op):
    """The smaller of two; NaN if one is NaN.

        out = min(x, y);   dx = dout where x < y,   dy = dout where y < x

    Equal ones divide the gradient: x has `share` of it, y the rest. Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")

    @staticmethod
    def forward(x, y, *, share):
        return np.minimum(x, y), (x, y)

    @staticmethod
    def backward(dout, saved, needs, *, share):
        x, y = saved
        return _shared(dout, x, y, _math.values(x) < _math.values(y), share, needs)


def _shared(dout, x, y, first, share, needs):
    """The gradients of a choice between x and y: `first` says where x was the one."""
    tie = _math.values(x) == _math.values(y)
    lost = _math.values(x) != _math.values(x)  # NaN: the result depends on both, as in PyTorch
    lost = lost | (_math.values(y) != _math.values(y))
    dtype = dout.dtype
    dx = dy = None
    if needs[0]:
        part = _math.masked(first | tie | lost, dout)
        dx = sum_to(part * np.where(tie, dtype.type(share), dtype.type(1)), x.shape)
    if needs[1]:
        part = _math.masked(~first, dout)
        dy = sum_to(part * np.where(tie, dtype.type(1 - share), dtype.type(1)), y.shape)
    return dx, dy


class Modulo(Op):
    """Remainder of a division whose quotient is rounded down (`floor`), or towards 0.

        out = x - y q,   q = floor(x / y) or trunc(x / y);   dx = dout,   dy = -dout * q

    Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")

    @staticmethod
    def forward(x, y, *, floor):
        with np.errstate(all="ignore"):
            return (np.remainder if floor else np.fmod)(x, y), (x, y)

    @staticmethod
    def backward(dout, saved, needs, *, floor):
        x, y = saved
        dx = sum_to(dout, x.shape) if needs[0] else None
        dy = None
        if needs[1]:
            x, y = _math.values(x), _math.values(y)
            quotient = np.floor_divide(x, y) if floor else np.trunc(x / y)
            dy = sum_to(_math.untaken(dout, -dout * quotient), y.shape)
        return dx, dy


class Copysign(Op):
    """The size of x with the sign of y.

        out = |x| sign(y);   dx = dout * out / x, and 0 where x is 0,   dy = 0 * dout

    Shapes: x, y broadcast to out.
    """

    saves = ("x", "y")
    to_float = True

    @staticmethod
    def forward(x, y):
        return np.copysign(x, y), (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        turn = np.sign(_math.values(x)) * np.copysign(1, _math.values(y)).astype(dout.dtype)
        dx = sum_to(dout * turn, x.shape) if needs[0] else None
        dy = sum_to(_math.masked(np.zeros(dout.shape, bool), dout), y.shape) if needs[1] else None
        return dx, dy
