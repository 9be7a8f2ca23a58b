"""Optimizer steps of a size of their own, of which the gradient gives the sign: Rprop and Lion.

And the running average of weights. As in `update`, one call is for all parameters of a group.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._windows import window
from minidl.kernels.update import SERIAL_BELOW, windows_ref


def rprop_ref(places, pieces, shares, each, less, more, low, high, sign, base):
    for cut in pieces:
        grad, param, before, size = windows_ref(places, cut, base)
        g = sign * grad
        product = g * before
        factor = np.where(product > 0, more, np.where(product < 0, less, 1.0))
        size[:] = np.clip(size * factor.astype(base.dtype), low, high)
        g = np.where(product < 0, 0, g).astype(base.dtype)
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


@kernel(reference=rprop_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def rprop(places, pieces, shares, each, less, more, low, high, sign, base):
    """Gradients, parameters, gradients before, sizes.

    Riedmiller & Braun 1993, without weight backtracking:

        size *= more where g before > 0, less where < 0, kept within low ... high
        g = 0 where g before < 0;  param -= sign(g) size;  before = g
    """
    real = base.dtype.type
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _rprop(
                window(base, places[0, k] + s, places[0, k] + e),
                real(less), real(more), real(low), real(high), real(sign),
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
                window(base, places[3, k] + s, places[3, k] + e),
            )


def lion_ref(places, pieces, shares, each, lr, beta1, beta2, shrink, sign, base):
    for cut in pieces:
        grad, param, m = windows_ref(places, cut, base)
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


@kernel(reference=lion_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def lion(places, pieces, shares, each, lr, beta1, beta2, shrink, sign, base):
    """Gradients, parameters, m.  Chen et al. 2023, arXiv:2302.06675.

        param = shrink param - lr sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
    """
    real = base.dtype.type
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _lion(
                window(base, places[0, k] + s, places[0, k] + e),
                real(lr), real(beta1), real(1.0 - beta1), real(beta2), real(1.0 - beta2),
                real(shrink), real(sign),
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
            )


def move_average_ref(places, pieces, shares, each, base):
    for cut in pieces:
        values, mean = windows_ref(places, cut, base)
        mean += each[cut[0], 0] * (values - mean)


@piece
def _move(values, weight, mean):
    for i in range(mean.size):
        mean[i] += weight * (values[i] - mean[i])


@kernel(reference=move_average_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def move_average(places, pieces, shares, each, base):
    """Values, means; each: [weight].  mean += weight (values - mean), in one pass."""
    real = base.dtype.type
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _move(
                window(base, places[0, k] + s, places[0, k] + e), real(each[k, 0]),
                window(base, places[1, k] + s, places[1, k] + e),
            )
