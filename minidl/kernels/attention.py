"""The softmax of attention on one block of logits, forward and backward, and its dropout.

A block is a matrix: its rows are queries, its columns keys. Its products stand in
`attention_heads`.

Only the first `columns` columns are logits, the others are there to make K a multiple of STEP, so
that no loop has a scalar tail. Under a causal mask row r sees its first `diagonal + r + 1`
columns; without one the caller passes diagonal = K. What a row does not see may hold anything, and
becomes 0.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece
from minidl.kernels._math import exp, from_order_key, order_key
from minidl.kernels.random import _GOLDEN, _MIX1, _MIX2, _S27, _S30, _S31, _S40, _mix

STEP = 32
"""Elements that LLVM's loop over a row takes at a time, in float32."""


# A vector load that follows narrow stores to the same place waits for them (13 cycles), so what is
# not seen is chosen away in registers, and not overwritten before the loops.
@piece(fastmath=("contract", "reassoc"))  # reassoc: sums over a row become SIMD
def _softmax_rows(diagonal, columns, s, top, total, shrink):
    """One step of the online softmax of logits s (R, K); top, total, shrink (R,).

    top is the maximum of each row's logits up to now (first -inf), total the sum of their
    exponentials (first 0). s becomes exp(s - top), and shrink = exp(top before - top) is what sums
    over earlier blocks must be multiplied by. A row with nothing but -inf gets zeros.
    """
    zero, low = s.dtype.type(0.0), s.dtype.type(-np.inf)
    for r in range(s.shape[0]):
        end = min(columns, max(0, diagonal + r + 1))
        if end == 0:
            for k in range(s.shape[1]):
                s[r, k] = zero
            shrink[r] = 1.0
            continue
        wide = min(s.shape[1], (end + STEP - 1) // STEP * STEP)
        last = np.int32(end)  # as wide as a float32: the comparison needs no second vector
        first = s[r, 0]
        best = order_key(first)
        for k in range(wide):
            best = max(best, order_key(s[r, k] if np.int32(k) < last else first))
        largest = from_order_key(max(best, order_key(top[r])))
        shift = zero if largest == low else largest  # -inf - -inf would be NaN
        part = zero
        for k in range(wide):
            e = exp(s[r, k] - shift)
            e = e if np.int32(k) < last else zero
            s[r, k] = e
            part += e
        for k in range(s.shape[1] - wide):
            s[r, wide + k] = zero
        if top[r] == low:
            shrink[r] = zero
            total[r] = part
        else:
            shrink[r] = exp(top[r] - shift)
            total[r] = total[r] * shrink[r] + part
        top[r] = largest


@piece
def _softmax_backward_rows(lse, delta, diagonal, columns, s, dp):
    """s (R, K) logits, becomes p = exp(s - lse); dp (R, K) becomes ds = p (dp - delta).

    delta = sum_k p dp over all of the row's blocks. lse = inf marks a row that sees nothing:
    p = ds = 0.
    """
    zero = s.dtype.type(0.0)
    for r in range(s.shape[0]):
        end = min(columns, max(0, diagonal + r + 1))
        if lse[r] == np.inf:
            end = 0
        wide = min(s.shape[1], (end + STEP - 1) // STEP * STEP)
        last = np.int32(end)
        log_total, inner = lse[r], delta[r]
        for k in range(wide):
            e = exp(s[r, k] - log_total)
            s[r, k] = e if np.int32(k) < last else zero
        for k in range(wide):
            ds = s[r, k] * (dp[r, k] - inner)
            dp[r, k] = ds if np.int32(k) < last else zero
        for k in range(s.shape[1] - wide):
            s[r, wide + k] = zero
        for k in range(s.shape[1] - wide):
            dp[r, wide + k] = zero


def attention_dropout_ref(rows, first, width, columns, key, p, x):
    places = rows[:, None] * width + (first + np.arange(columns))
    z = key[0] + (places + 1).astype(np.uint64) * _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    keep = ((z ^ (z >> _S31)) >> _S40) >= np.uint64(round(p * 2**24))
    x[:, :columns] *= np.where(keep, 0.0 if p == 1 else 1.0 / (1.0 - p), 0.0).astype(x.dtype)


@piece
def _dropout_row(place, columns, key, bar, scale, x, r):
    zero = x.dtype.type(0.0)
    for k in range(columns):
        x[r, k] *= scale if (_mix(key, place + k) >> _S40) >= bar else zero


@kernel(reference=attention_dropout_ref)
def attention_dropout(rows, first, width, columns, key, p, x):
    """rows (R,) int64; key (1,) uint64; x (R, K), changed: dropout of a block of a larger matrix.

    x[r, k], k < columns, is element rows[r] * width + first + k of that matrix, and its random
    number depends on key and that number alone (see `random.dropout`): any cut into blocks gives
    the same mask.
    """
    bar = np.uint64(round(p * 16777216.0))
    scale = x.dtype.type(0.0 if p == 1.0 else 1.0 / (1.0 - p))
    for r in range(x.shape[0]):
        _dropout_row(rows[r] * width + first, columns, key[0], bar, scale, x, r)
