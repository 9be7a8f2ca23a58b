"""Functions of each element and their derivatives, over flat contiguous arrays.

Only what beats NumPy's own loops stands here. All arrays have shape (N,); an op reshapes.
"""

import math

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._math import erf, exp, sigmoid, tanh
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds

_PIECE = 8_192  # elements
_SERIAL_BELOW = 50_000  # at 0.3–0.6 ns an element

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


@QUIET
def exp_forward_ref(x, y):
    y[:] = np.exp(x)


@piece
def _exp_forward(x, y):
    for i in range(x.size):
        y[i] = exp(x[i])


@kernel(reference=exp_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def exp_forward(x, y):
    """y = exp(x)."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _exp_forward(x[s:e], y[s:e])


@QUIET
def tanh_forward_ref(x, y):
    y[:] = np.tanh(x)


@piece
def _tanh_forward(x, y):
    for i in range(x.size):
        y[i] = tanh(x[i])


@kernel(reference=tanh_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def tanh_forward(x, y):
    """y = tanh(x)."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _tanh_forward(x[s:e], y[s:e])


@QUIET
def tanh_backward_ref(dy, y, dx):
    dx[:] = dy * (1 - y * y)


@piece
def _tanh_backward(dy, y, dx):
    one = y.dtype.type(1.0)
    for i in range(dy.size):
        dx[i] = dy[i] * (one - y[i] * y[i])


@kernel(reference=tanh_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def tanh_backward(dy, y, dx):
    """dx = dy (1 - y^2), y the forward's output."""
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _tanh_backward(dy[s:e], y[s:e], dx[s:e])


@QUIET
def sigmoid_forward_ref(x, y):
    e = np.exp(-np.abs(x))  # at most 1: no overflow
    y[:] = np.where(x < 0, e, 1) / (1 + e)


@piece
def _sigmoid_forward(x, y):
    for i in range(x.size):
        y[i] = sigmoid(x[i])


@kernel(reference=sigmoid_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def sigmoid_forward(x, y):
    """y = 1 / (1 + exp(-x))."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _sigmoid_forward(x[s:e], y[s:e])


@QUIET
def sigmoid_backward_ref(dy, y, dx):
    dx[:] = dy * (1 - y) * y


@piece
def _sigmoid_backward(dy, y, dx):
    one = y.dtype.type(1.0)
    for i in range(dy.size):
        dx[i] = dy[i] * (one - y[i]) * y[i]


@kernel(reference=sigmoid_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def sigmoid_backward(dy, y, dx):
    """dx = dy y (1 - y), y the forward's output."""
    for p in prange(count_pieces(dy.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, dy.size)
        _sigmoid_backward(dy[s:e], y[s:e], dx[s:e])


@QUIET
def erf_forward_ref(x, y):
    y[:] = _erf(x)


@piece
def _erf_forward(x, y):
    for i in range(x.size):
        y[i] = erf(x[i])


@kernel(reference=erf_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def erf_forward(x, y):
    """y = erf(x)."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _erf_forward(x[s:e], y[s:e])


@QUIET
def erfc_forward_ref(x, y):
    y[:] = _erfc(x)


@piece
def _erfc_forward(x, y):
    for i in range(x.size):
        y[i] = math.erfc(x[i])  # libm's: rare, and its tails are hard to match


@kernel(reference=erfc_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def erfc_forward(x, y):
    """y = 1 - erf(x), exact in the far tail."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _erfc_forward(x[s:e], y[s:e])
