"""More optimizer steps in one pass: Adadelta, Adamax, and the steps in g and m of NAdam and RAdam.

As in `update`: all arrays are flat (N,), states come last and change in place, numbers that need no
array are computed in float64 and rounded once.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds

_PIECE = 8_192  # elements
_SERIAL_BELOW = 150_000  # as in `update`


def adadelta_ref(grad, lr, rho, eps, weight_decay, sign, param, square, moved):
    g = sign * grad + weight_decay * param
    square[:] = rho * square + (1 - rho) * g * g
    delta = np.sqrt(moved + eps) / np.sqrt(square + eps) * g
    moved[:] = rho * moved + (1 - rho) * delta * delta
    param -= lr * delta


@piece
def _adadelta(grad, lr, rho, new, eps, decay, sign, param, square, moved):
    for i in range(param.size):
        g = sign * grad[i] + decay * param[i]
        s = rho * square[i] + new * g * g
        delta = np.sqrt(moved[i] + eps) / np.sqrt(s + eps) * g
        square[i] = s
        moved[i] = rho * moved[i] + new * delta * delta
        param[i] -= lr * delta


@kernel(reference=adadelta_ref, parallel=True, serial_below=_SERIAL_BELOW)
def adadelta(grad, lr, rho, eps, weight_decay, sign, param, square, moved):
    """grad, param, square, moved (N,).  Zeiler 2012, arXiv:1212.5701, algorithm 1.

        square = rho square + (1 - rho) g^2;  delta = sqrt(moved + eps) / sqrt(square + eps) g
        moved = rho moved + (1 - rho) delta^2;  param -= lr delta
    """
    real = param.dtype.type
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _adadelta(
            grad[s:e], real(lr), real(rho), real(1.0 - rho), real(eps), real(weight_decay),
            real(sign), param[s:e], square[s:e], moved[s:e],
        )


def adamax_ref(grad, step, lr, beta1, beta2, eps, weight_decay, sign, param, m, top):
    g = sign * grad + weight_decay * param
    m += (1 - beta1) * (g - m)
    np.maximum(beta2 * top, np.abs(g) + eps, out=top)
    param -= lr / (1 - beta1**step) * m / top


@piece
def _adamax(grad, rate, new1, beta2, eps, decay, sign, param, m, top):
    for i in range(param.size):
        g = sign * grad[i] + decay * param[i]
        mean = m[i] + new1 * (g - m[i])
        old, now = beta2 * top[i], np.abs(g) + eps
        most = old if old > now else now  # a NaN in g comes through
        m[i] = mean
        top[i] = most
        param[i] -= rate * mean / most


@kernel(reference=adamax_ref, parallel=True, serial_below=_SERIAL_BELOW)
def adamax(grad, step, lr, beta1, beta2, eps, weight_decay, sign, param, m, top):
    """grad, param, m, top (N,); step counts from 1.  Kingma & Ba 2015, algorithm 2.

        m = beta1 m + (1 - beta1) g;  top = max(beta2 top, |g| + eps)
        param -= lr / (1 - beta1^step) m / top
    """
    real = param.dtype.type
    rate = real(lr / (1.0 - beta1**step))
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _adamax(
            grad[s:e], rate, real(1.0 - beta1), real(beta2), real(eps), real(weight_decay),
            real(sign), param[s:e], m[s:e], top[s:e],
        )


def adam_mixed_ref(
    grad, now, ahead, plain, beta1, beta2, root, eps, decay, shrink, sign, param, m, v
):
    param *= shrink
    g = sign * grad + decay * param
    m += (1 - beta1) * (g - m)
    v[:] = beta2 * v + (1 - beta2) * g * g
    param -= (now * g + ahead * m) / (np.sqrt(v) * root + eps) + plain * m


@piece
def _mixed(
    grad, now, ahead, plain, new1, beta2, new2, root, eps, decay, shrink, sign, param, m, v
):
    for i in range(param.size):
        weight = shrink * param[i]
        g = sign * grad[i] + decay * weight
        mean = m[i] + new1 * (g - m[i])
        square = beta2 * v[i] + new2 * g * g
        m[i] = mean
        v[i] = square
        scaled = (now * g + ahead * mean) / (np.sqrt(square) * root + eps)
        param[i] = weight - scaled - plain * mean


@kernel(reference=adam_mixed_ref, parallel=True, serial_below=_SERIAL_BELOW)
def adam_mixed(
    grad, now, ahead, plain, beta1, beta2, root, eps, decay, shrink, sign, param, m, v
):
    """grad, param, m, v (N,): Adam's moments, and a step in the gradient as well as its mean.

        param *= shrink;  g = sign grad + decay param
        m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
        param -= (now g + ahead m) / (sqrt(v) root + eps) + plain m

    NAdam (Dozat 2016) has now and ahead; RAdam (Liu et al. 2020) `plain` in its first steps, then
    `ahead`. eps must be above 0 if `now` and `ahead` are 0, for v may be 0.
    """
    real = param.dtype.type
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _mixed(
            grad[s:e], real(now), real(ahead), real(plain), real(1.0 - beta1), real(beta2),
            real(1.0 - beta2), real(root), real(eps), real(decay), real(shrink), real(sign),
            param[s:e], m[s:e], v[s:e],
        )
