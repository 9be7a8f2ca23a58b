"""Optimizer steps of a size of their own, of which the gradient gives the sign: Rprop and Lion.

And the running average of weights. As in `update`, arrays are flat (N,) and change in place.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds

_PIECE = 8_192  # elements
_SERIAL_BELOW = 150_000  # as in `update`


def rprop_ref(grad, less, more, low, high, sign, param, before, size):
    g = sign * grad
    product = g * before
    factor = np.where(product > 0, more, np.where(product < 0, less, 1.0)).astype(param.dtype)
    size[:] = np.clip(size * factor, low, high)
    g = np.where(product < 0, 0, g).astype(param.dtype)
    param -= np.sign(g) * size
    before[:] = g


@piece
def _rprop(grad, less, more, low, high, sign, param, before, size):
    zero, one = param.dtype.type(0.0), param.dtype.type(1.0)
    for i in range(param.size):
        g = sign * grad[i]
        product = g * before[i]
        factor = more if product > zero else (less if product < zero else one)
        step = size[i] * factor
        step = low if step < low else (high if step > high else step)
        g = zero if product < zero else g
        direction = one if g > zero else (-one if g < zero else g)
        size[i] = step
        before[i] = g
        param[i] -= direction * step


@kernel(reference=rprop_ref, parallel=True, serial_below=_SERIAL_BELOW)
def rprop(grad, less, more, low, high, sign, param, before, size):
    """grad, param, before, size (N,).  Riedmiller & Braun 1993, without weight backtracking.

        size *= more where g before > 0, less where < 0, kept within low ... high
        g = 0 where g before < 0;  param -= sign(g) size;  before = g
    """
    real = param.dtype.type
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _rprop(
            grad[s:e], real(less), real(more), real(low), real(high), real(sign),
            param[s:e], before[s:e], size[s:e],
        )


def lion_ref(grad, lr, beta1, beta2, shrink, sign, param, m):
    g = sign * grad
    param *= shrink
    param -= lr * np.sign(beta1 * m + (1 - beta1) * g)
    m[:] = beta2 * m + (1 - beta2) * g


@piece
def _lion(grad, rate, beta1, new1, beta2, new2, shrink, sign, param, m):
    zero, one = param.dtype.type(0.0), param.dtype.type(1.0)
    for i in range(param.size):
        g = sign * grad[i]
        mixed = beta1 * m[i] + new1 * g
        direction = one if mixed > zero else (-one if mixed < zero else mixed)
        m[i] = beta2 * m[i] + new2 * g
        param[i] = shrink * param[i] - rate * direction


@kernel(reference=lion_ref, parallel=True, serial_below=_SERIAL_BELOW)
def lion(grad, lr, beta1, beta2, shrink, sign, param, m):
    """grad, param, m (N,).  Chen et al. 2023, arXiv:2302.06675.

        param = shrink param - lr sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
    """
    real = param.dtype.type
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _lion(
            grad[s:e], real(lr), real(beta1), real(1.0 - beta1), real(beta2), real(1.0 - beta2),
            real(shrink), real(sign), param[s:e], m[s:e],
        )


def move_average_ref(values, weight, mean):
    mean += weight * (values - mean)


@piece
def _move(values, weight, mean):
    for i in range(mean.size):
        mean[i] += weight * (values[i] - mean[i])


@kernel(reference=move_average_ref, parallel=True, serial_below=_SERIAL_BELOW)
def move_average(values, weight, mean):
    """values, mean (N,).  mean += weight (values - mean): an average of weights, one pass."""
    share = mean.dtype.type(weight)
    for p in prange(count_pieces(mean.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, mean.size)
        _move(values[s:e], share, mean[s:e])
