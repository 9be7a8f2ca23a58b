"""Activation functions."""

import math

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op

_EXACT = 20.0  # from here on x and log(1 + e^x) differ by less than 3e-9


class Sigmoid(Op):
    """Logistic function, without overflow.

        out = 1 / (1 + e^-x);   dx = dout * out * (1 - out)

    Shapes: out as x.
    """

    saves = ("out",)
    to_float = True

    @staticmethod
    def forward(x):
        out = _math.sigmoid(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        if _math.large(dout):
            return (_math.run(kernels.sigmoid_backward, dout, out),)
        return (dout * out * (1 - out),)


class Logit(Op):
    """Inverse of the logistic function; NaN outside [0, 1].

        out = log(x / (1 - x));   dx = dout / (x (1 - x)), 0 where dout is 0, NaN outside [0, 1]

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        with np.errstate(all="ignore"):
            return np.log(x / (1 - x)), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        dx = dout / (x * (1 - x))
        outside = (_math.values(x) < 0) | (_math.values(x) > 1)
        if outside.any():
            dx = dx + np.where(outside, dout.dtype.type(np.nan), dout.dtype.type(0))
        return (_math.untaken(dout, dx),)


class Softplus(Op):
    """A smooth max(x, 0) (Dugas et al. 2001), without overflow.

        out = log(1 + e^(beta x)) / beta;   dx = dout * sigmoid(beta x)

    Where beta x > threshold the function is x itself, and dx = dout. Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x, *, beta, threshold):
        if beta == 1:
            out = _math.run(kernels.softplus_forward, x)
        else:
            out = _math.run(kernels.softplus_forward, x * beta) / beta
        if threshold < _EXACT:
            out = np.where(x * beta > threshold, x, out)
        return out, (x,)

    @staticmethod
    def backward(dout, saved, needs, *, beta, threshold):
        (x,) = saved
        if beta == 1 and threshold >= _EXACT and _math.large(dout):
            return (_math.run(kernels.softplus_backward, dout, x),)
        straight = _math.values(x) * beta > threshold
        if not straight.any():
            return (dout * _math.sigmoid(x * beta),)
        bent = _math.masked(~straight, dout) * _math.sigmoid(x * beta)
        return (_math.masked(straight, dout) + bent,)


class Relu(Op):
    """Rectifier (Nair & Hinton 2010); the derivative at 0 is 0, at NaN 1, as in PyTorch.

        out = max(x, 0);   dx = dout where x > 0, else 0

    Shapes: out as x.
    """

    saves = ("out",)

    @staticmethod
    def forward(x):
        out = _math.run(kernels.relu_forward, x) if _math.large(x) else np.maximum(x, 0)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        if _math.large(dout):
            return (_math.run(kernels.relu_backward, dout, out),)
        return (_math.masked(~(_math.values(out) <= 0), dout),)


class LeakyRelu(Op):
    """Rectifier with a slope below 0 (Maas, Hannun & Ng 2013); the derivative at 0 is the slope.

        out = x if x > 0 else slope * x;   dx = dout where x > 0, else slope * dout

    Shapes: out as x.
    """

    saves = ("x",)

    @staticmethod
    def forward(x, *, slope):
        return _math.run(kernels.leaky_relu_forward, x, numbers=(slope,)), (x,)

    @staticmethod
    def backward(dout, saved, needs, *, slope):
        (x,) = saved
        if _math.large(dout):
            return (_math.run(kernels.leaky_relu_backward, dout, x, numbers=(slope,)),)
        slopes = (_math.values(x) > 0).astype(dout.dtype) * (1 - slope) + slope
        return (dout * slopes,)


class Elu(Op):
    """Exponential linear unit (Clevert et al. 2015, arXiv:1511.07289); SELU and CELU by settings.

        out = scale x if x > 0, else scale alpha (e^(rate x) - 1)
        dx = dout scale where x > 0, else dout scale alpha rate e^(rate x)

    Shapes: out as x.
    """

    saves = ("x",)

    @staticmethod
    def forward(x, *, alpha, scale, rate):
        if rate < 0:  # a celu of alpha < 0
            below = np.expm1(np.minimum(x, 0) * rate) * (alpha * scale)
            return np.maximum(x, 0) * scale + below, (x,)
        return _math.run(kernels.elu_forward, x, numbers=(alpha, scale, rate)), (x,)

    @staticmethod
    def backward(dout, saved, needs, *, alpha, scale, rate):
        (x,) = saved
        if rate > 0 and _math.large(dout):
            return (_math.run(kernels.elu_backward, dout, x, numbers=(alpha, scale, rate)),)
        above = _math.values(x) > 0
        bend = _math.exp(_math.masked(~above, x) * rate) * (alpha * scale * rate)
        return (_math.masked(above, dout) * scale + _math.masked(~above, dout) * bend,)


class Silu(Op):
    """Sigmoid linear unit, or swish (Elfwing et al. 2017, arXiv:1702.03118).

        out = x s,   s = sigmoid(x);   dx = dout * s * (1 + x (1 - s))

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        return _math.run(kernels.silu_forward, x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        if isinstance(dout, np.ndarray):
            return (_math.run(kernels.silu_backward, dout, x),)
        s = _math.sigmoid(x)
        return (dout * s * (1 + x * (1 - s)),)


class Hardswish(Op):
    """Swish in straight lines (Howard et al. 2019, arXiv:1905.02244).

        out = x min(max(x + 3, 0), 6) / 6
        dx = dout (x / 3 + 1 / 2) where -3 < x < 3,   dout from 3 on,   0 up to -3

    Shapes: out as x.
    """

    saves = ("x",)

    @staticmethod
    def forward(x):
        return _math.run(kernels.hardswish_forward, x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        if isinstance(dout, np.ndarray):
            return (_math.run(kernels.hardswish_backward, dout, x),)
        inside = (_math.values(x) > -3) & (_math.values(x) < 3)
        bent = _math.masked(inside, dout * (x * (1 / 3) + 0.5))
        return (bent + _math.masked(_math.values(x) >= 3, dout),)


class Gelu(Op):
    """Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv:1606.08415).

        out = x Phi(x),   Phi(x) = (1 + erf(x / sqrt 2)) / 2;   dx = dout * (Phi(x) + x phi(x))

    phi is the density of the normal distribution. Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        return _math.run(kernels.gelu_forward, x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        if isinstance(dout, np.ndarray):
            return (_math.run(kernels.gelu_backward, dout, x),)
        density = _math.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
        return (dout * ((_math.erf(x * math.sqrt(0.5)) + 1) * 0.5 + x * density),)


class GeluTanh(Op):
    """The approximation of GELU by tanh (Hendrycks & Gimpel 2016, arXiv:1606.08415).

        out = x/2 (1 + t),   t = tanh(u),   u = sqrt(2 / pi) (x + 0.044715 x^3)
        dx = dout/2 * (1 + t + x (1 - t^2) u')

    Shapes: out as x.
    """

    saves = ("x",)
    to_float = True

    @staticmethod
    def forward(x):
        return _math.run(kernels.gelu_tanh_forward, x), (x,)

    @staticmethod
    def backward(dout, saved, needs):
        (x,) = saved
        if isinstance(dout, np.ndarray):
            return (_math.run(kernels.gelu_tanh_backward, dout, x),)
        root, cube = math.sqrt(2 / math.pi), 0.044715
        t = _math.tanh((x + x * x * x * cube) * root)
        slope = (x * x * (3 * cube) + 1) * root
        return (dout * (1 + t + x * (1 - t * t) * slope) * 0.5,)
