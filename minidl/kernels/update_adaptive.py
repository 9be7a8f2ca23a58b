"""More optimizer steps in one pass: Adadelta, Adamax, and the steps in g and m of NAdam and RAdam.

As in `update`, a kernel steps all parameters of a group, and gets the places of their arrays;
numbers that need no array are computed in float64 and rounded once.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._windows import window
from minidl.kernels.update import SERIAL_BELOW, windows_ref


def adadelta_ref(places, pieces, shares, each, lr, rho, eps, weight_decay, sign, base):
    for cut in pieces:
        grad, param, square, moved = windows_ref(places, cut, base)
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


@kernel(reference=adadelta_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def adadelta(places, pieces, shares, each, lr, rho, eps, weight_decay, sign, base):
    """Gradients, parameters, square, moved.  Zeiler 2012, arXiv:1212.5701, algorithm 1.

        square = rho square + (1 - rho) g^2;  delta = sqrt(moved + eps) / sqrt(square + eps) g
        moved = rho moved + (1 - rho) delta^2;  param -= lr delta
    """
    real = base.dtype.type
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _adadelta(
                window(base, places[0, k] + s, places[0, k] + e),
                real(lr), real(rho), real(1.0 - rho), real(eps), real(weight_decay), real(sign),
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
                window(base, places[3, k] + s, places[3, k] + e),
            )


def adamax_ref(places, pieces, shares, each, lr, beta1, beta2, eps, weight_decay, sign, base):
    for cut in pieces:
        grad, param, m, top = windows_ref(places, cut, base)
        g = sign * grad + weight_decay * param
        m += (1 - beta1) * (g - m)
        np.maximum(beta2 * top, np.abs(g) + eps, out=top)
        param -= lr / (1 - beta1 ** each[cut[0], 0]) * m / top


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


@kernel(reference=adamax_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def adamax(places, pieces, shares, each, lr, beta1, beta2, eps, weight_decay, sign, base):
    """Gradients, parameters, m, top; each: [step].  Kingma & Ba 2015, algorithm 2.

        m = beta1 m + (1 - beta1) g;  top = max(beta2 top, |g| + eps)
        param -= lr / (1 - beta1^step) m / top
    """
    real = base.dtype.type
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _adamax(
                window(base, places[0, k] + s, places[0, k] + e),
                real(lr / (1.0 - beta1 ** each[k, 0])), real(1.0 - beta1), real(beta2),
                real(eps), real(weight_decay), real(sign),
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
                window(base, places[3, k] + s, places[3, k] + e),
            )


def adam_mixed_ref(
    places, pieces, shares, each, beta1, beta2, eps, decay, shrink, sign, base
):
    for cut in pieces:
        grad, param, m, v = windows_ref(places, cut, base)
        now, ahead, plain, root = each[cut[0]]
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


@kernel(reference=adam_mixed_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def adam_mixed(
    places, pieces, shares, each, beta1, beta2, eps, decay, shrink, sign, base
):
    """Adam's moments, and a step in the gradient as well as its mean.

    Gradients, parameters, m, v; each: [now, ahead, plain, root].

        param *= shrink;  g = sign grad + decay param
        m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
        param -= (now g + ahead m) / (sqrt(v) root + eps) + plain m

    NAdam (Dozat 2016) has now and ahead; RAdam (Liu et al. 2020) `plain` in its first steps, then
    `ahead`. eps must be above 0 if `now` and `ahead` are 0, for v may be 0.
    """
    real = base.dtype.type
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _mixed(
                window(base, places[0, k] + s, places[0, k] + e),
                real(each[k, 0]), real(each[k, 1]), real(each[k, 2]), real(1.0 - beta1),
                real(beta2), real(1.0 - beta2), real(each[k, 3]), real(eps), real(decay),
                real(shrink), real(sign),
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
                window(base, places[3, k] + s, places[3, k] + e),
            )
