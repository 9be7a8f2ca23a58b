"""softmax, log_softmax, logsumexp and cross-entropy over the rows of a matrix.

All subtract the row's maximum first, so no exponential overflows. A row of -inf alone, or one with
NaN or +inf, gives NaN as PyTorch's does. Sums are kept in float64.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._math import exp, exp_below, from_order_key, log, order_key
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds, rows_a_piece

_PIECE = 16_384  # elements
_NARROW = 96  # elements of a row, to which several rows are taken together
_FEW = 1_024  # elements of such rows: x and y of them stay in first-level cache from step to step
_SUMS = ("contract", "reassoc")  # reassoc: sums over a row become SIMD
_BLOCK = 512  # summed in their own dtype, in 8 or more partial sums side by side; blocks in float64


@piece(fastmath=_SUMS)
def _row_max(x, n):
    """The maximum of row n; NaN if the row holds a (positive) NaN."""
    best = order_key(x[n, 0])
    for k in range(x.shape[1]):
        best = max(best, order_key(x[n, k]))
    return from_order_key(best)


@QUIET
def softmax_forward_ref(x, y):
    shifted = np.exp(x - x.max(axis=1, keepdims=True))  # (N, K)
    y[:] = shifted / shifted.sum(axis=1, keepdims=True, dtype=np.float64)


@piece(fastmath=_SUMS)
def _softmax_rows(x, y):
    for n in range(x.shape[0]):
        row, out, total = x[n], y[n], 0.0
        best = order_key(row[0])  # as _row_max: a call of it for each row costs a tenth
        for k in range(row.size):
            best = max(best, order_key(row[k]))
        top = from_order_key(best)
        for b in range(0, row.size, _BLOCK):
            part, source, block = x.dtype.type(0.0), row[b : b + _BLOCK], out[b : b + _BLOCK]
            for k in range(block.size):
                power = exp_below(source[k] - top)
                block[k] = power
                part += power
            total += part
        scale = x.dtype.type(1.0 / total)
        for k in range(out.size):
            out[k] *= scale


@piece(fastmath=_SUMS)
def _softmax_narrow_rows(x, y):
    """The exponentials of a few rows in one loop: in the longest step no row's end takes turns of
    less than a register. A million in rows of 50 took .33 ms, not .42; in rows of 64 .23, not .26.
    """
    few = rows_a_piece(x.shape[1], _FEW)
    for first in range(0, x.shape[0], few):
        some, outs = x[first : first + few], y[first : first + few]
        for n in range(some.shape[0]):
            row, out = some[n], outs[n]
            best = order_key(row[0])
            for k in range(row.size):
                best = max(best, order_key(row[k]))
            top = from_order_key(best)
            for k in range(row.size):
                out[k] = row[k] - top
        flat = outs.reshape(-1)
        for i in range(flat.size):
            flat[i] = exp_below(flat[i])
        for n in range(some.shape[0]):
            out, total = outs[n], x.dtype.type(0.0)
            for k in range(out.size):
                total += out[k]
            scale = x.dtype.type(1.0) / total
            for k in range(out.size):
                out[k] *= scale


@kernel(reference=softmax_forward_ref, parallel=True, serial_below=32_768)
def softmax_forward(x, y):
    """x, y (N, K), K >= 1.  y = exp(x) / sum(exp(x)) of each row."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        if x.shape[1] <= _NARROW:
            _softmax_narrow_rows(x[s:e], y[s:e])
        else:
            _softmax_rows(x[s:e], y[s:e])


def softmax_backward_ref(dy, y, dx):
    dx[:] = y * (dy - (dy * y).sum(axis=1, keepdims=True, dtype=np.float64))


@piece(fastmath=_SUMS)
def _softmax_backward_rows(dy, y, dx):
    for n in range(y.shape[0]):
        total = 0.0
        for k in range(y.shape[1]):
            total += dy[n, k] * y[n, k]
        inner = y.dtype.type(total)
        for k in range(y.shape[1]):
            dx[n, k] = y[n, k] * (dy[n, k] - inner)


@kernel(reference=softmax_backward_ref, parallel=True)
def softmax_backward(dy, y, dx):
    """dy, y, dx (N, K).  dx = y (dy - sum(dy y)) of each row."""
    step = rows_a_piece(y.shape[1], _PIECE)
    for p in prange(count_pieces(y.shape[0], step)):
        s, e = piece_bounds(p, step, y.shape[0])
        _softmax_backward_rows(dy[s:e], y[s:e], dx[s:e])


@QUIET
def logsumexp_ref(x, lse):
    top = x.max(axis=1)
    shift = np.where(np.isinf(top), 0.0, top).astype(x.dtype)  # inf - inf would be NaN
    lse[:] = shift + np.log(np.exp(x - shift[:, None]).sum(axis=1, dtype=np.float64))


@piece(fastmath=_SUMS)
def _row_logsumexp(x, n):
    """log(sum(exp(row n))); -inf where all are, +inf where one is."""
    top = _row_max(x, n)
    shift = x.dtype.type(0.0) if abs(top) == np.inf else top
    total = 0.0
    for k in range(x.shape[1]):
        total += exp(x[n, k] - shift)
    return shift + x.dtype.type(log(total))


@piece
def _logsumexp_rows(x, lse):
    for n in range(x.shape[0]):
        lse[n] = _row_logsumexp(x, n)


@kernel(reference=logsumexp_ref, parallel=True, serial_below=32_768)
def logsumexp(x, lse):
    """x (N, K), K >= 1; lse (N,).  lse = log(sum(exp(x))) of each row."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _logsumexp_rows(x[s:e], lse[s:e])


@QUIET
def log_softmax_forward_ref(x, y):
    shifted = x - x.max(axis=1, keepdims=True)  # (N, K)
    total = np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)
    y[:] = shifted - np.log(total)


@piece(fastmath=_SUMS)
def _log_softmax_rows(x, y):
    for n in range(x.shape[0]):
        top = _row_max(x, n)
        total = 0.0
        for k in range(x.shape[1]):
            total += exp(x[n, k] - top)
        log_total = x.dtype.type(log(total))
        for k in range(x.shape[1]):
            y[n, k] = x[n, k] - top - log_total


@kernel(reference=log_softmax_forward_ref, parallel=True, serial_below=32_768)
def log_softmax_forward(x, y):
    """x, y (N, K), K >= 1.  y = x - log(sum(exp(x))) of each row."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _log_softmax_rows(x[s:e], y[s:e])


def log_softmax_backward_ref(dy, y, dx):
    dx[:] = dy - np.exp(y) * dy.sum(axis=1, keepdims=True, dtype=np.float64)


@piece(fastmath=_SUMS)
def _log_softmax_backward_rows(dy, y, dx):
    for n in range(y.shape[0]):
        total = 0.0
        for k in range(y.shape[1]):
            total += dy[n, k]
        total_dy = y.dtype.type(total)
        for k in range(y.shape[1]):
            dx[n, k] = dy[n, k] - exp(y[n, k]) * total_dy


@kernel(reference=log_softmax_backward_ref, parallel=True, serial_below=32_768)
def log_softmax_backward(dy, y, dx):
    """dy, y, dx (N, K).  dx = dy - exp(y) sum(dy) of each row."""
    step = rows_a_piece(y.shape[1], _PIECE)
    for p in prange(count_pieces(y.shape[0], step)):
        s, e = piece_bounds(p, step, y.shape[0])
        _log_softmax_backward_rows(dy[s:e], y[s:e], dx[s:e])


@QUIET
def cross_entropy_forward_ref(x, target, weight, label_smoothing, ignore_index, loss, lse):
    logsumexp_ref(x, lse)
    logp = x - lse[:, None]  # (N, K)
    kept = target != ignore_index
    t = np.where(kept, target, 0)
    rows = np.arange(len(x))
    loss[:] = -(1.0 - label_smoothing) * weight[t] * logp[rows, t]
    if label_smoothing > 0:
        loss[:] -= label_smoothing / x.shape[1] * (weight * logp).sum(axis=1, dtype=np.float64)
    loss[~kept] = 0.0


@piece(fastmath=_SUMS)
def _cross_entropy_rows(x, target, weight, label_smoothing, ignore_index, loss, lse):
    classes = x.shape[1]
    hit = x.dtype.type(1.0 - label_smoothing)
    for n in range(x.shape[0]):
        lse[n] = _row_logsumexp(x, n)
        t = target[n]
        if t == ignore_index:
            loss[n] = 0.0
            continue
        loss[n] = hit * weight[t] * (lse[n] - x[n, t])
        if label_smoothing > 0.0:
            total = 0.0
            for k in range(classes):
                total += weight[k] * (lse[n] - x[n, k])
            loss[n] += x.dtype.type(label_smoothing / classes * total)


@kernel(reference=cross_entropy_forward_ref, parallel=True, serial_below=32_768)
def cross_entropy_forward(x, target, weight, label_smoothing, ignore_index, loss, lse):
    """x (N, K) logits; target (N,) classes; weight (K,); loss, lse (N,).  Fills loss, lse.

        loss = -(1 - s) weight[t] log p[t] - s / K sum_k weight[k] log p[k],   s = label_smoothing

    A row whose target is `ignore_index` has loss 0. Targets must lie in 0 … K-1 otherwise.
    """
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _cross_entropy_rows(
            x[s:e], target[s:e], weight, label_smoothing, ignore_index, loss[s:e], lse[s:e]
        )


@QUIET
def cross_entropy_backward_ref(
    dloss, x, target, weight, label_smoothing, ignore_index, lse, dx
):
    kept = target != ignore_index
    t = np.where(kept, target, 0)
    spread = label_smoothing / x.shape[1]
    hit = (1.0 - label_smoothing) * weight[t]  # (N,)
    pull = spread * weight[None, :].repeat(len(x), axis=0)  # (N, K)
    pull[np.arange(len(x)), t] += hit
    mass = hit + spread * weight.sum(dtype=np.float64)  # (N,)
    dx[:] = dloss[:, None] * (np.exp(x - lse[:, None]) * mass[:, None] - pull)
    dx[~kept] = 0.0


@piece
def _cross_entropy_backward_rows(
    dloss, x, target, weight, label_smoothing, ignore_index, weight_sum, lse, dx
):
    classes = x.shape[1]
    hit = x.dtype.type(1.0 - label_smoothing)
    spread = x.dtype.type(label_smoothing / classes)
    for n in range(x.shape[0]):
        t = target[n]
        if t == ignore_index:
            for k in range(classes):
                dx[n, k] = 0.0
            continue
        mass = hit * weight[t] + x.dtype.type(label_smoothing / classes * weight_sum)
        scale = dloss[n] * mass
        if label_smoothing > 0.0:
            for k in range(classes):
                dx[n, k] = scale * exp(x[n, k] - lse[n]) - dloss[n] * spread * weight[k]
        else:
            for k in range(classes):
                dx[n, k] = scale * exp(x[n, k] - lse[n])
        dx[n, t] -= dloss[n] * hit * weight[t]


@kernel(
    reference=cross_entropy_backward_ref, parallel=True, serial_below=32_768, size_of="x"
)
def cross_entropy_backward(
    dloss, x, target, weight, label_smoothing, ignore_index, lse, dx
):
    """dloss, target, lse (N,); x, dx (N, K); weight (K,).  Fills dx; lse is the forward's.

        dx = dloss (p sum(q) - q),  q = (1 - s) weight[t] onehot(t) + s / K weight,  p = softmax(x)
    """
    weight_sum = 0.0
    for k in range(weight.size):
        weight_sum += weight[k]
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _cross_entropy_backward_rows(
            dloss[s:e],
            x[s:e],
            target[s:e],
            weight,
            label_smoothing,
            ignore_index,
            weight_sum,
            lse[s:e],
            dx[s:e],
        )
