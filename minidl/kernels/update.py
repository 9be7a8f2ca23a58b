"""Optimizer steps in one pass over flat buffers: gradient, state and parameter are read once.

The formulas are those of torch.optim (single tensor); scalars that need no array are computed in
float64 and rounded once. `sign` is 1.0 to minimise, -1.0 to maximise. Parameters and states come
last and are changed in place; a state that a setting does not use is an empty array.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds

_PIECE = 8_192  # elements
_SERIAL_BELOW = 150_000  # memory-bound: about 0.2 ns an element and array


def sgd_ref(
    grad, lr, momentum, dampening, weight_decay, nesterov, sign, first, param, buffer
):
    g = sign * grad + weight_decay * param
    if momentum != 0:
        buffer[:] = g if first else momentum * buffer + (1 - dampening) * g
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


@kernel(reference=sgd_ref, parallel=True, serial_below=_SERIAL_BELOW)
def sgd(grad, lr, momentum, dampening, weight_decay, nesterov, sign, first, param, buffer):
    """grad, param (N,); buffer (N,), or (0,) without momentum; `first`: the buffer is new.

        g = sign grad + weight_decay param;  buffer = momentum buffer + (1 - dampening) g
        param -= lr (g + momentum buffer  with nesterov, else buffer)

    A new buffer must hold zeros. Sutskever et al. 2013 for Nesterov's form.
    """
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _sgd(
            grad[s:e], lr, momentum, dampening, weight_decay, nesterov, sign, first,
            param[s:e], buffer[s:e],
        )


def adam_ref(
    grad, step, lr, beta1, beta2, eps, weight_decay, decoupled, sign, param, m, v, vmax
):
    g = sign * grad
    if decoupled:
        param *= 1 - lr * weight_decay
    else:
        g = g + weight_decay * param
    m += (1 - beta1) * (g - m)
    v[:] = beta2 * v + (1 - beta2) * g * g
    top = v
    if vmax.size:
        np.maximum(vmax, v, out=vmax)
        top = vmax
    denominator = np.sqrt(top) / np.sqrt(1 - beta2**step) + eps
    param -= lr / (1 - beta1**step) * m / denominator


@piece
def _adam(grad, rate, new1, beta2, new2, root, eps, decay, shrink, sign, param, m, v, vmax):
    amsgrad = vmax.size > 0
    for i in range(param.size):
        weight = param[i] * shrink
        g = sign * grad[i] + decay * weight
        mean = m[i] + new1 * (g - m[i])
        square = beta2 * v[i] + new2 * g * g
        m[i] = mean
        v[i] = square
        if amsgrad:
            square = vmax[i] if vmax[i] > square else square  # a NaN comes through
            vmax[i] = square
        param[i] = weight - rate * mean / (np.sqrt(square) * root + eps)


@kernel(reference=adam_ref, parallel=True, serial_below=_SERIAL_BELOW)
def adam(grad, step, lr, beta1, beta2, eps, weight_decay, decoupled, sign, param, m, v, vmax):
    """grad, param, m, v (N,); vmax (N,) with AMSGrad, else (0,); step counts from 1.

        m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
        param -= lr / (1 - beta1^step) m / (sqrt(v / (1 - beta2^step)) + eps)

    Kingma & Ba 2015, arXiv:1412.6980. decoupled (AdamW, arXiv:1711.05101): the decay shrinks the
    parameter by lr weight_decay instead of joining g. AMSGrad (Reddi et al. 2018): vmax for v.
    """
    real = param.dtype.type
    rate = real(lr / (1.0 - beta1**step))
    root = real(1.0 / np.sqrt(1.0 - beta2**step))
    shrink = real(1.0 - lr * weight_decay if decoupled else 1.0)
    decay = real(0.0 if decoupled else weight_decay)
    new1, old2, new2 = real(1.0 - beta1), real(beta2), real(1.0 - beta2)
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _adam(
            grad[s:e], rate, new1, old2, new2, root, real(eps), decay, shrink, real(sign),
            param[s:e], m[s:e], v[s:e], vmax[s:e],
        )


def adagrad_ref(grad, step, lr, lr_decay, weight_decay, eps, sign, param, total):
    g = sign * grad + weight_decay * param
    total += g * g
    param -= lr / (1 + (step - 1) * lr_decay) * g / (np.sqrt(total) + eps)


@piece
def _adagrad(grad, rate, decay, eps, sign, param, total):
    for i in range(param.size):
        g = sign * grad[i] + decay * param[i]
        square = total[i] + g * g
        total[i] = square
        param[i] -= rate * g / (np.sqrt(square) + eps)


@kernel(reference=adagrad_ref, parallel=True, serial_below=_SERIAL_BELOW)
def adagrad(grad, step, lr, lr_decay, weight_decay, eps, sign, param, total):
    """grad, param, total (N,); step counts from 1.  Duchi, Hazan & Singer 2011.

        total += g^2;  param -= lr / (1 + (step - 1) lr_decay) g / (sqrt(total) + eps)
    """
    real = param.dtype.type
    rate = real(lr / (1.0 + (step - 1) * lr_decay))
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _adagrad(
            grad[s:e], rate, real(weight_decay), real(eps), real(sign), param[s:e], total[s:e]
        )


def rmsprop_ref(
    grad, lr, alpha, eps, weight_decay, momentum, sign, param, square, mean, buffer
):
    g = sign * grad + weight_decay * param
    square[:] = alpha * square + (1 - alpha) * g * g
    variance = square
    if mean.size:
        mean += (1 - alpha) * (g - mean)
        variance = square - mean * mean
    update = g / (np.sqrt(variance) + eps)
    if momentum > 0:
        buffer[:] = momentum * buffer + update
        update = buffer
    param -= lr * update


@piece
def _rmsprop(grad, lr, alpha, new, eps, decay, momentum, sign, param, square, mean, buffer):
    centered, heavy = mean.size > 0, buffer.size > 0
    for i in range(param.size):
        g = sign * grad[i] + decay * param[i]
        variance = alpha * square[i] + new * g * g
        square[i] = variance
        if centered:
            average = mean[i] + new * (g - mean[i])
            mean[i] = average
            variance = variance - average * average
        update = g / (np.sqrt(variance) + eps)
        if heavy:
            update = momentum * buffer[i] + update
            buffer[i] = update
        param[i] -= lr * update


@kernel(reference=rmsprop_ref, parallel=True, serial_below=_SERIAL_BELOW)
def rmsprop(grad, lr, alpha, eps, weight_decay, momentum, sign, param, square, mean, buffer):
    """grad, param, square (N,); mean (N,) if centered, else (0,); buffer (N,) with momentum.

        square = alpha square + (1 - alpha) g^2;  update = g / (sqrt(square - mean^2) + eps)

    Hinton 2012, lecture 6e; centered: Graves 2013, arXiv:1308.0850.
    """
    real = param.dtype.type
    for p in prange(count_pieces(param.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, param.size)
        _rmsprop(
            grad[s:e], real(lr), real(alpha), real(1.0 - alpha), real(eps), real(weight_decay),
            real(momentum), real(sign), param[s:e], square[s:e], mean[s:e], buffer[s:e],
        )
