"""Losses of paired numbers, element by element: binary cross-entropy on logits, BPR."""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._math import exp, log1p, sigmoid
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds

_PIECE = 8_192  # elements


@QUIET
def bce_with_logits_forward_ref(x, target, loss):
    share = np.where(x < 0, target, 1 - target)
    loss[:] = np.where(share == 0, 0, share * np.abs(x)) + np.log1p(np.exp(-np.abs(x)))


@piece
def _bce_forward(x, target, loss):
    zero, one = x.dtype.type(0.0), x.dtype.type(1.0)
    for i in range(x.size):
        far = abs(x[i])
        share = target[i] if x[i] < zero else one - target[i]
        line = zero if share == zero else share * far  # not 0 * inf: a sure logit may be right
        loss[i] = line + log1p(exp(-far))


@kernel(reference=bce_with_logits_forward_ref, parallel=True, serial_below=50_000)
def bce_with_logits_forward(x, target, loss):
    """x logits, target in [0, 1], loss (N,).  loss = -t log s(x) - (1-t) log(1-s(x)), s sigmoid.

    Computed as |x| (t if x < 0 else 1 - t) + log(1 + e^-|x|), which is right at infinity as well.
    """
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _bce_forward(x[s:e], target[s:e], loss[s:e])


@QUIET
def bce_with_logits_backward_ref(dloss, x, target, dx):
    e = np.exp(-np.abs(x))
    dx[:] = dloss * (np.where(x < 0, e, 1.0) / (1.0 + e) - target)


@piece
def _bce_backward(dloss, x, target, dx):
    for i in range(x.size):
        dx[i] = dloss[i] * (sigmoid(x[i]) - target[i])


@kernel(reference=bce_with_logits_backward_ref, parallel=True, serial_below=50_000)
def bce_with_logits_backward(dloss, x, target, dx):
    """All (N,).  dx = dloss (sigmoid(x) - target)."""
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        _bce_backward(dloss[s:e], x[s:e], target[s:e], dx[s:e])


@QUIET
def bpr_forward_ref(positive, negative, loss):
    d = positive - negative
    loss[:] = np.maximum(-d, 0.0) + np.log1p(np.exp(-np.abs(d)))


@piece
def _bpr_forward(positive, negative, loss):
    zero = positive.dtype.type(0.0)
    for i in range(positive.size):
        d = positive[i] - negative[i]
        loss[i] = (zero if d > zero else -d) + log1p(exp(-abs(d)))


@kernel(reference=bpr_forward_ref, parallel=True, serial_below=50_000)
def bpr_forward(positive, negative, loss):
    """Scores of liked and sampled items, loss (N,).  loss = -log sigmoid(positive - negative).

    Rendle et al. 2009, BPR: Bayesian personalized ranking from implicit feedback, section 4.
    """
    for p in prange(count_pieces(positive.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, positive.size)
        _bpr_forward(positive[s:e], negative[s:e], loss[s:e])


@QUIET
def bpr_backward_ref(dloss, positive, negative, dpositive, dnegative):
    d = positive - negative
    e = np.exp(-np.abs(d))
    dnegative[:] = dloss * np.where(d > 0, e, 1.0) / (1.0 + e)
    dpositive[:] = -dnegative


@piece
def _bpr_backward(dloss, positive, negative, dpositive, dnegative):
    for i in range(positive.size):
        g = dloss[i] * sigmoid(negative[i] - positive[i])
        dpositive[i] = -g
        dnegative[i] = g


@kernel(reference=bpr_backward_ref, parallel=True, serial_below=50_000)
def bpr_backward(dloss, positive, negative, dpositive, dnegative):
    """All (N,).  dnegative = dloss sigmoid(negative - positive), dpositive = -dnegative."""
    for p in prange(count_pieces(positive.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, positive.size)
        _bpr_backward(dloss[s:e], positive[s:e], negative[s:e], dpositive[s:e], dnegative[s:e])
