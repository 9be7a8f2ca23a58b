"""Activation functions, forward and backward, over flat contiguous arrays (N,); an op reshapes."""

import math

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._math import exp, log1p, quick_erf, sigmoid, tanh
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds
from minidl.kernels.elementwise import sigmoid_forward_ref

_PIECE = 8_192  # elements
_SERIAL_BELOW = 50_000  # at 0.3–0.6 ns an element

_SQRT_HALF = math.sqrt(0.5)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)  # of the normal distribution at 0
_TANH_SCALE = math.sqrt(2.0 / math.pi)
_TANH_CUBE = 0.044715

_erf = np.vectorize(math.erf, otypes=[np.float64])


@QUIET
def relu_forward_ref(x, y):
    np.maximum(x, 0, out=y)


@piece
def _relu_forward(x, y):
    zero = x.dtype.type(0.0)
    for i in range(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@kernel(reference=relu_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def relu_forward(x, y):
    """y = max(x, 0), NaN where x is."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _relu_forward(x[s:e], y[s:e])


@QUIET
def relu_backward_ref(dy, y, dx):
    dx[:] = np.where(y <= 0, 0, dy)


@piece
def _relu_backward(dy, y, dx):
    zero = y.dtype.type(0.0)
    for i in range(dy.size):
        dx[i] = zero if y[i] <= zero else dy[i]


@kernel(reference=relu_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def relu_backward(dy, y, dx):
    """dx = 0 where y <= 0, else dy (also where y is NaN); y is the forward's output or input."""
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _relu_backward(dy[s:e], y[s:e], dx[s:e])


@QUIET
def leaky_relu_forward_ref(x, slope, y):
    y[:] = np.where(x > 0, x, x * slope)


@piece
def _leaky_relu_forward(x, slope, y):
    zero = x.dtype.type(0.0)
    for i in range(x.size):
        y[i] = x[i] if x[i] > zero else x[i] * slope


@kernel(reference=leaky_relu_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def leaky_relu_forward(x, slope, y):
    """y = x where x > 0, else slope * x."""
    scale = x.dtype.type(slope)
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _leaky_relu_forward(x[s:e], scale, y[s:e])


@QUIET
def leaky_relu_backward_ref(dy, x, slope, dx):
    dx[:] = np.where(x > 0, dy, dy * slope)


@piece
def _leaky_relu_backward(dy, x, slope, dx):
    zero, one = x.dtype.type(0.0), x.dtype.type(1.0)
    for i in range(dy.size):  # one product: dy[i] read on two branches did not become SIMD
        dx[i] = dy[i] * (one if x[i] > zero else slope)


@kernel(reference=leaky_relu_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def leaky_relu_backward(dy, x, slope, dx):
    """dx = dy where x > 0, else slope * dy."""
    scale = x.dtype.type(slope)
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _leaky_relu_backward(dy[s:e], x[s:e], scale, dx[s:e])


@QUIET
def elu_forward_ref(x, alpha, scale, rate, y):
    y[:] = np.where(x > 0, x * scale, np.expm1(np.minimum(x, 0) * rate) * (alpha * scale))


@piece
def _elu_forward(x, below, scale, rate, y):
    zero, one, two = x.dtype.type(0.0), x.dtype.type(1.0), x.dtype.type(2.0)
    for i in range(x.size):
        v = zero if x[i] > zero else x[i]
        t = tanh(v * rate / two)  # e^v - 1 = 2 t / (1 - t), t = tanh(v / 2): exact near 0 too
        y[i] = x[i] * scale if x[i] > zero else two * t / (one - t) * below


@kernel(reference=elu_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def elu_forward(x, alpha, scale, rate, y):
    """y = scale x where x > 0, else scale alpha (exp(rate x) - 1); rate > 0."""
    below, above = x.dtype.type(alpha * scale), x.dtype.type(scale)
    steep = x.dtype.type(rate)
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _elu_forward(x[s:e], below, above, steep, y[s:e])


@QUIET
def elu_backward_ref(dy, x, alpha, scale, rate, dx):
    bend = np.exp(np.minimum(x, 0) * rate) * (alpha * scale * rate)
    dx[:] = np.where(x > 0, dy * scale, dy * bend)


@piece
def _elu_backward(dy, x, below, scale, rate, dx):
    zero = x.dtype.type(0.0)
    for i in range(dy.size):
        v = zero if x[i] > zero else x[i]
        dx[i] = dy[i] * scale if x[i] > zero else dy[i] * below * exp(v * rate)


@kernel(reference=elu_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def elu_backward(dy, x, alpha, scale, rate, dx):
    """dx = scale dy where x > 0, else scale alpha rate exp(rate x) dy; rate > 0."""
    below, above = x.dtype.type(alpha * scale * rate), x.dtype.type(scale)
    steep = x.dtype.type(rate)
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _elu_backward(dy[s:e], x[s:e], below, above, steep, dx[s:e])


@QUIET
def hardswish_forward_ref(x, y):
    y[:] = x * np.clip(x + 3, 0, 6) / 6


@piece
def _hardswish_forward(x, y):
    zero, three, six = x.dtype.type(0.0), x.dtype.type(3.0), x.dtype.type(6.0)
    for i in range(x.size):
        gate = x[i] + three
        gate = zero if gate < zero else gate
        gate = six if gate > six else gate
        y[i] = x[i] * gate / six


@kernel(reference=hardswish_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def hardswish_forward(x, y):
    """y = x min(max(x + 3, 0), 6) / 6."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _hardswish_forward(x[s:e], y[s:e])


@QUIET
def hardswish_backward_ref(dy, x, dx):
    dx[:] = np.where(x <= -3, 0, np.where(x >= 3, dy, dy * (x / 3 + 0.5)))


@piece
def _hardswish_backward(dy, x, dx):
    zero, half, three = x.dtype.type(0.0), x.dtype.type(0.5), x.dtype.type(3.0)
    for i in range(dy.size):
        inside = dy[i] * (x[i] / three + half)
        inside = dy[i] if x[i] >= three else inside
        dx[i] = zero if x[i] <= -three else inside


@kernel(reference=hardswish_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def hardswish_backward(dy, x, dx):
    """dx = dy (x / 3 + 1 / 2) where -3 < x < 3, dy above, 0 below."""
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _hardswish_backward(dy[s:e], x[s:e], dx[s:e])


@QUIET
def silu_forward_ref(x, y):
    s = np.empty_like(x)
    sigmoid_forward_ref(x, s)
    y[:] = x * s


@piece
def _silu_forward(x, y):
    for i in range(x.size):
        y[i] = x[i] * sigmoid(x[i])


@kernel(reference=silu_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def silu_forward(x, y):
    """y = x sigmoid(x) (Elfwing et al. 2017, arXiv:1702.03118)."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _silu_forward(x[s:e], y[s:e])


@QUIET
def silu_backward_ref(dy, x, dx):
    s = np.empty_like(x)
    sigmoid_forward_ref(x, s)
    dx[:] = dy * s * (1 + x * (1 - s))


@piece
def _silu_backward(dy, x, dx):
    one = x.dtype.type(1.0)
    for i in range(dy.size):
        s = sigmoid(x[i])
        dx[i] = dy[i] * s * (one + x[i] * (one - s))


@kernel(reference=silu_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def silu_backward(dy, x, dx):
    """dx = dy s (1 + x (1 - s)), s = sigmoid(x)."""
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _silu_backward(dy[s:e], x[s:e], dx[s:e])


@QUIET
def softplus_forward_ref(x, y):
    y[:] = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@piece
def _softplus_forward(x, y):
    zero = x.dtype.type(0.0)
    for i in range(x.size):
        y[i] = (zero if x[i] < zero else x[i]) + log1p(exp(-abs(x[i])))


@kernel(reference=softplus_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def softplus_forward(x, y):
    """y = log(1 + exp(x)). log sigmoid(x) is -softplus(-x)."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _softplus_forward(x[s:e], y[s:e])


@QUIET
def softplus_backward_ref(dy, x, dx):
    s = np.empty_like(x)
    sigmoid_forward_ref(x, s)
    dx[:] = dy * s


@piece
def _softplus_backward(dy, x, dx):
    for i in range(dy.size):
        dx[i] = dy[i] * sigmoid(x[i])


@kernel(reference=softplus_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def softplus_backward(dy, x, dx):
    """dx = dy sigmoid(x)."""
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _softplus_backward(dy[s:e], x[s:e], dx[s:e])


@QUIET
def gelu_forward_ref(x, y):
    y[:] = 0.5 * x * (1 + _erf(x * _SQRT_HALF))


@piece
def _gelu_forward(x, y):
    one, half, scale = x.dtype.type(1.0), x.dtype.type(0.5), x.dtype.type(_SQRT_HALF)
    for i in range(x.size):
        y[i] = half * x[i] * (one + quick_erf(x[i] * scale))


@kernel(reference=gelu_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def gelu_forward(x, y):
    """y = x Phi(x) = x/2 (1 + erf(x / sqrt 2)) (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _gelu_forward(x[s:e], y[s:e])


@QUIET
def gelu_backward_ref(dy, x, dx):
    density = _DENSITY * np.exp(-0.5 * x * x)
    dx[:] = dy * (0.5 * (1 + _erf(x * _SQRT_HALF)) + x * density)


@piece
def _gelu_backward(dy, x, dx):
    one, half, scale = x.dtype.type(1.0), x.dtype.type(0.5), x.dtype.type(_SQRT_HALF)
    peak = x.dtype.type(_DENSITY)
    for i in range(dy.size):
        phi = half * (one + quick_erf(x[i] * scale))
        dx[i] = dy[i] * (phi + x[i] * peak * exp(-half * x[i] * x[i]))


@kernel(reference=gelu_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def gelu_backward(dy, x, dx):
    """dx = dy (Phi(x) + x phi(x)), phi the density of the normal distribution."""
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _gelu_backward(dy[s:e], x[s:e], dx[s:e])


@QUIET
def gelu_tanh_forward_ref(x, y):
    u = _TANH_SCALE * (x + _TANH_CUBE * x * x * x)
    y[:] = 0.5 * x * (1 + np.tanh(u))


@piece
def _gelu_tanh_forward(x, y):
    one, half = x.dtype.type(1.0), x.dtype.type(0.5)
    scale, cube = x.dtype.type(_TANH_SCALE), x.dtype.type(_TANH_CUBE)
    for i in range(x.size):
        u = scale * (x[i] + cube * x[i] * x[i] * x[i])
        y[i] = half * x[i] * (one + tanh(u))


@kernel(reference=gelu_tanh_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def gelu_tanh_forward(x, y):
    """y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): the paper's approximation of GELU."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _gelu_tanh_forward(x[s:e], y[s:e])


@QUIET
def gelu_tanh_backward_ref(dy, x, dx):
    t = np.tanh(_TANH_SCALE * x * (1 + _TANH_CUBE * x * x))
    du = _TANH_SCALE * (1 + 3 * _TANH_CUBE * x * x)
    dx[:] = dy * 0.5 * (1 + t + x * (1 - t * t) * du)


@piece
def _gelu_tanh_backward(dy, x, dx):
    one, half, three = x.dtype.type(1.0), x.dtype.type(0.5), x.dtype.type(3.0)
    scale, cube = x.dtype.type(_TANH_SCALE), x.dtype.type(_TANH_CUBE)
    for i in range(dy.size):
        square = x[i] * x[i]
        t = tanh(scale * x[i] * (one + cube * square))
        du = scale * (one + three * cube * square)
        dx[i] = dy[i] * half * (one + t + x[i] * (one - t * t) * du)


@kernel(reference=gelu_tanh_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def gelu_tanh_backward(dy, x, dx):
    """dx = dy/2 (1 + t + x (1 - t^2) u'), t = tanh(u), u = sqrt(2/pi) (x + 0.044715 x^3)."""
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _gelu_tanh_backward(dy[s:e], x[s:e], dx[s:e])
