"""Connectionist temporal classification: the two recursions over the places of a target.

The places s of a target of L labels are its labels with a blank before, between and behind them:
S' = 2L + 1. All quantities are logarithms. See `ops.ctc` for the equations.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._math import exp, log
from minidl.kernels._pieces import QUIET

_EDGE = 2  # columns of -inf before the first place, so that s - 2 can always be read


def _places(target, length, blank):
    """Label of each place, and 0 where place s may follow s - 2, else -inf."""
    labels = np.full(2 * length + 1, blank)
    labels[1::2] = target[:length]
    skip = np.full(len(labels), -np.inf)
    skip[3::2][labels[3::2] != labels[1:-2:2]] = 0
    return labels, skip


@QUIET
def ctc_forward_ref(log_probs, targets, input_lengths, target_lengths, blank, loss, alpha):
    alpha[:] = -np.inf
    for n, (steps, length) in enumerate(zip(input_lengths, target_lengths)):
        labels, skip = _places(targets[n], length, blank)
        size = len(labels)
        if not steps:
            loss[n] = 0.0 if not length else np.inf
            continue
        row = alpha[n, :, _EDGE : _EDGE + size]
        row[0, :2] = log_probs[0, n, labels[:2]]
        for t in range(1, steps):
            before = alpha[n, t - 1]
            total = np.logaddexp(before[_EDGE : size + _EDGE], before[1 : size + 1])
            row[t] = np.logaddexp(total, before[:size] + skip) + log_probs[t, n, labels]
        ends = alpha[n, steps - 1, _EDGE + size - min(size, 2) : _EDGE + size]
        loss[n] = -np.logaddexp.reduce(ends)


@piece
def _fill_places(target, length, blank, labels, skip):
    for s in range(2 * length + 1):
        labels[s] = target[s // 2] if s % 2 else blank
        skip[s] = -np.inf
        if s % 2 and s > 2 and target[s // 2] != target[s // 2 - 1]:
            skip[s] = 0.0


@helper
def _add_logs(a, b, c, zero):
    """log(e^a + e^b + e^c); -inf if all three are."""
    top = a if a > b else b
    top = c if c > top else top
    shift = zero if top == -np.inf else top
    return shift + log(exp(a - shift) + exp(b - shift) + exp(c - shift))


@piece
def _forward(log_probs, target, steps, length, blank, alpha):
    """The loss of one sample: log_probs (T, C), alpha (T, 2S + 3)."""
    zero = alpha.dtype.type(0.0)
    size = 2 * length + 1
    labels, skip = np.empty(size, np.int64), np.empty(size, alpha.dtype)
    _fill_places(target, length, blank, labels, skip)
    alpha[:] = -np.inf
    if steps == 0:
        return zero if length == 0 else alpha.dtype.type(np.inf)
    for s in range(min(2, size)):
        alpha[0, s + 2] = log_probs[0, labels[s]]
    for t in range(1, steps):
        before, row, y = alpha[t - 1], alpha[t, 2:], log_probs[t]
        for s in range(size):
            row[s] = _add_logs(before[s + 2], before[s + 1], before[s] + skip[s], zero)
        for s in range(size):
            row[s] += y[labels[s]]
    last = alpha[steps - 1]
    return -_add_logs(last[size + 1], last[size], last[0], zero)  # last[0] is -inf


@kernel(reference=ctc_forward_ref, parallel=True, serial_below=16_384, size_of="alpha")
def ctc_forward(log_probs, targets, input_lengths, target_lengths, blank, loss, alpha):
    """log_probs (T, N, C); targets (N, S) int64; lengths (N,); loss (N,); alpha (N, T, 2S + 3).

    alpha[n, t, s + 2] is the log probability of all paths to place s at step t; -inf elsewhere. A
    target that no path spells, too long for its input, has loss inf.
    """
    for n in prange(loss.size):
        loss[n] = _forward(
            log_probs[:, n], targets[n], input_lengths[n], target_lengths[n], blank, alpha[n]
        )  # fmt: skip


@QUIET
def ctc_backward_ref(
    dloss, log_probs, targets, input_lengths, target_lengths, blank, normalised, loss, alpha, dx
):
    dx[:] = 0
    for n, (steps, length) in enumerate(zip(input_lengths, target_lengths)):
        labels, skip = _places(targets[n], length, blank)
        size = len(labels)
        if dloss[n] == 0 or not steps:
            continue
        if loss[n] == np.inf:
            dx[:steps, n] = np.nan
            continue
        beta = np.full(size, -np.inf)
        beta[-2:] = 0
        for t in range(steps - 1, -1, -1):
            posterior = np.exp(alpha[n, t, _EDGE : _EDGE + size] + beta + loss[n])
            used = np.bincount(labels, posterior, log_probs.shape[2])
            y = np.exp(log_probs[t, n]) if normalised else 0
            dx[t, n] = dloss[n] * (y - used)
            after = np.append(beta + log_probs[t, n, labels], [-np.inf] * 2)
            beta = np.logaddexp(after[:-2], after[1:-1])
            beta = np.logaddexp(beta, after[2:] + np.append(skip[2:], [-np.inf] * 2)[:size])


@piece
def _backward(dloss, log_probs, target, steps, length, blank, normalised, loss, alpha, dx):
    """One sample: log_probs, dx (T, C), alpha (T, 2S + 3)."""
    zero = alpha.dtype.type(0.0)
    for t in range(dx.shape[0]):
        dx[t, :] = zero
    if dloss == zero or steps == 0:
        return
    if loss == np.inf:
        dx[:steps] = np.nan
        return
    size = 2 * length + 1
    labels, skip = np.empty(size, np.int64), np.full(size + 2, -np.inf, alpha.dtype)
    _fill_places(target, length, blank, labels, skip)
    beta, after = np.full(size, -np.inf, alpha.dtype), np.full(size + 2, -np.inf, alpha.dtype)
    beta[size - 1] = zero
    if size > 1:
        beta[size - 2] = zero
    for back in range(steps):
        t = steps - 1 - back
        row, y, out = alpha[t, 2:], log_probs[t], dx[t]
        if normalised:
            for k in range(out.size):
                out[k] = exp(y[k])
        for s in range(size):
            after[s] = exp(row[s] + beta[s] + loss)
        for s in range(size):
            out[labels[s]] -= after[s]
        for k in range(out.size):
            out[k] *= dloss
        for s in range(size):
            after[s] = beta[s] + y[labels[s]]
        for s in range(size):
            beta[s] = _add_logs(after[s], after[s + 1], after[s + 2] + skip[s + 2], zero)


@kernel(reference=ctc_backward_ref, parallel=True, serial_below=16_384, size_of="alpha")
def ctc_backward(
    dloss, log_probs, targets, input_lengths, target_lengths, blank, normalised, loss, alpha, dx
):
    """As `ctc_forward`; dloss (N,), dx (T, N, C).  dx = -dloss posterior, plus dloss e^log_probs if
    `normalised`. NaN for a sample with loss inf, unless its dloss is 0; 0 after a sample's end.
    """
    for n in prange(loss.size):
        _backward(
            dloss[n], log_probs[:, n], targets[n], input_lengths[n], target_lengths[n], blank,
            normalised, loss[n], alpha[n], dx[:, n],
        )  # fmt: skip
