"""Optimizer steps over all parameters of a group in one call: SGD, Adam, Adagrad, RMSprop.

Gradient, state and parameter are read once. A kernel gets no arrays but the places where they
begin, so that a model of 20 small parameters starts one parallel region, and not 20:

    places (A, P)   row a is where array a of each parameter begins in `base`, in elements (see
                    `_windows`): row 0 gradients, row 1 parameters, then states, which change in
                    place with the parameters; the row of a state that a setting does not use is 0
    pieces (Q, 3)   a parameter's number, its first element and the one after the last
    shares (S+1,)   share i has the pieces shares[i] ... shares[i+1] - 1, about 8,192 elements
    each (P, J)     float64, numbers of each parameter: its count of steps

The formulas are those of torch.optim (single tensor); scalars that need no array are computed in
float64 and rounded once. `sign` is 1.0 to minimise, -1.0 to maximise.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._windows import window, window_ref

SERIAL_BELOW = 8  # shares of 8,192 elements
"""Memory-bound: about 0.2 ns an element and array."""


def windows_ref(places, cut, base):
    """The arrays of one piece, in the order of `places`."""
    k, start, stop = cut
    return [window_ref(base, place + start, place + stop) for place in places[:, k]]


def sgd_ref(
    places, pieces, shares, each, lr, momentum, dampening, weight_decay, nesterov, sign, base
):
    for cut in pieces:
        grad, param, buffer = windows_ref(places, cut, base)
        g = sign * grad + weight_decay * param
        if momentum != 0:
            buffer[:] = g if each[cut[0], 0] == 1 else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        param -= lr * g


@piece
def _sgd(grad, lr, momentum, dampening, weight_decay, nesterov, sign, first, param, buffer):
    real = param.dtype.type
    rate, decay, signed = real(lr), real(weight_decay), real(sign)
    if momentum == 0.0:
        for i in range(param.size):
            param[i] -= rate * (signed * grad[i] + decay * param[i])
        return
    # the first step's buffer is the gradient, undampened
    old = real(0.0 if first else momentum)
    new = real(1.0 if first else 1.0 - dampening)
    # nesterov: g + momentum * buffer; else: buffer
    own, ahead = real(1.0 if nesterov else 0.0), real(momentum if nesterov else 1.0)
    for i in range(param.size):
        g = signed * grad[i] + decay * param[i]
        b = old * buffer[i] + new * g
        buffer[i] = b
        param[i] -= rate * (own * g + ahead * b)


@kernel(reference=sgd_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def sgd(
    places, pieces, shares, each, lr, momentum, dampening, weight_decay, nesterov, sign, base
):
    """Gradients, parameters, and buffers if there is momentum; each: [1.0 if the buffer is new].

        g = sign grad + weight_decay param;  buffer = momentum buffer + (1 - dampening) g
        param -= lr (g + momentum buffer  with nesterov, else buffer)

    A new buffer must hold zeros. Sutskever et al. 2013 for Nesterov's form.
    """
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _sgd(
                window(base, places[0, k] + s, places[0, k] + e),
                lr, momentum, dampening, weight_decay, nesterov, sign, each[k, 0] == 1.0,
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
            )


def adam_ref(
    places, pieces, shares, each, lr, beta1, beta2, eps, weight_decay, decoupled, amsgrad, sign,
    base,
):
    for cut in pieces:
        grad, param, m, v, vmax = windows_ref(places, cut, base)
        step = each[cut[0], 0]
        g = sign * grad
        if decoupled:
            param *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * param
        m += (1 - beta1) * (g - m)
        v[:] = beta2 * v + (1 - beta2) * g * g
        top = v
        if amsgrad:
            top = np.maximum(vmax, v, out=vmax)
        denominator = np.sqrt(top) / np.sqrt(1 - beta2**step) + eps
        param -= lr / (1 - beta1**step) * m / denominator


@piece
def _adam(
    grad, step, lr, beta1, beta2, eps, weight_decay, decoupled, amsgrad, sign, param, m, v, vmax
):
    real = param.dtype.type
    rate = real(lr / (1.0 - beta1**step))
    root = real(1.0 / np.sqrt(1.0 - beta2**step))
    shrink = real(1.0 - lr * weight_decay if decoupled else 1.0)
    decay = real(0.0 if decoupled else weight_decay)
    new1, old2, new2 = real(1.0 - beta1), real(beta2), real(1.0 - beta2)
    tiny, signed = real(eps), real(sign)
    for i in range(param.size):
        weight = param[i] * shrink
        g = signed * grad[i] + decay * weight
        mean = m[i] + new1 * (g - m[i])
        square = old2 * v[i] + new2 * g * g
        m[i] = mean
        v[i] = square
        if amsgrad:
            square = vmax[i] if vmax[i] > square else square  # a NaN comes through
            vmax[i] = square
        param[i] = weight - rate * mean / (np.sqrt(square) * root + tiny)


@kernel(reference=adam_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def adam(
    places, pieces, shares, each, lr, beta1, beta2, eps, weight_decay, decoupled, amsgrad, sign,
    base,
):
    """Gradients, parameters, m, v, and vmax with AMSGrad; each: [step], which counts from 1.

        m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
        param -= lr / (1 - beta1^step) m / (sqrt(v / (1 - beta2^step)) + eps)

    Kingma & Ba 2015, arXiv:1412.6980. decoupled (AdamW, arXiv:1711.05101): the decay shrinks the
    parameter by lr weight_decay instead of joining g. AMSGrad (Reddi et al. 2018): vmax for v.
    """
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _adam(
                window(base, places[0, k] + s, places[0, k] + e),
                each[k, 0], lr, beta1, beta2, eps, weight_decay, decoupled, amsgrad, sign,
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
                window(base, places[3, k] + s, places[3, k] + e),
                window(base, places[4, k] + s, places[4, k] + e),
            )


def adagrad_ref(places, pieces, shares, each, lr, lr_decay, weight_decay, eps, sign, base):
    for cut in pieces:
        grad, param, total = windows_ref(places, cut, base)
        g = sign * grad + weight_decay * param
        total += g * g
        param -= lr / (1 + (each[cut[0], 0] - 1) * lr_decay) * g / (np.sqrt(total) + eps)


@piece
def _adagrad(grad, rate, weight_decay, eps, sign, param, total):
    real = param.dtype.type
    step, decay, tiny, signed = real(rate), real(weight_decay), real(eps), real(sign)
    for i in range(param.size):
        g = signed * grad[i] + decay * param[i]
        square = total[i] + g * g
        total[i] = square
        param[i] -= step * g / (np.sqrt(square) + tiny)


@kernel(reference=adagrad_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def adagrad(places, pieces, shares, each, lr, lr_decay, weight_decay, eps, sign, base):
    """Gradients, parameters, sums of squares; each: [step].  Duchi, Hazan & Singer 2011.

        total += g^2;  param -= lr / (1 + (step - 1) lr_decay) g / (sqrt(total) + eps)
    """
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _adagrad(
                window(base, places[0, k] + s, places[0, k] + e),
                lr / (1.0 + (each[k, 0] - 1.0) * lr_decay), weight_decay, eps, sign,
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
            )


def rmsprop_ref(
    places, pieces, shares, each, lr, alpha, eps, weight_decay, momentum, centered, sign, base
):
    for cut in pieces:
        grad, param, square, mean, buffer = windows_ref(places, cut, base)
        g = sign * grad + weight_decay * param
        square[:] = alpha * square + (1 - alpha) * g * g
        variance = square
        if centered:
            mean += (1 - alpha) * (g - mean)
            variance = square - mean * mean
        update = g / (np.sqrt(variance) + eps)
        if momentum > 0:
            buffer[:] = momentum * buffer + update
            update = buffer
        param -= lr * update


@piece
def _rmsprop(
    grad, lr, alpha, eps, weight_decay, momentum, centered, sign, param, square, mean, buffer
):
    real = param.dtype.type
    rate, old, new, tiny = real(lr), real(alpha), real(1.0 - alpha), real(eps)
    decay, heavy, signed = real(weight_decay), real(momentum), real(sign)
    for i in range(param.size):
        g = signed * grad[i] + decay * param[i]
        variance = old * square[i] + new * g * g
        square[i] = variance
        if centered:
            average = mean[i] + new * (g - mean[i])
            mean[i] = average
            variance = variance - average * average
        update = g / (np.sqrt(variance) + tiny)
        if momentum > 0.0:
            update = heavy * buffer[i] + update
            buffer[i] = update
        param[i] -= rate * update


@kernel(reference=rmsprop_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def rmsprop(
    places, pieces, shares, each, lr, alpha, eps, weight_decay, momentum, centered, sign, base
):
    """Gradients, parameters, squares, means if centered, buffers with momentum.

        square = alpha square + (1 - alpha) g^2;  update = g / (sqrt(square - mean^2) + eps)

    Hinton 2012, lecture 6e; centered: Graves 2013, arXiv:1308.0850.
    """
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _rmsprop(
                window(base, places[0, k] + s, places[0, k] + e),
                lr, alpha, eps, weight_decay, momentum, centered, sign,
                window(base, places[1, k] + s, places[1, k] + e),
                window(base, places[2, k] + s, places[2, k] + e),
                window(base, places[3, k] + s, places[3, k] + e),
                window(base, places[4, k] + s, places[4, k] + e),
            )
