"""What attention does with one block of logits: products, softmax both ways, dropout.

A block is a matrix whose rows are keys and whose columns are queries, so that the sums of a softmax
run down columns and LLVM works on a vector of queries at a time: a sum along a row of 50 takes as
long as its exponentials. Its products are register tiles (`_tile`) on rows as they lie; BLAS, which
packs both operands, took twice as long for 50 rows of 32.

The first columns are queries, the others are there to make their number a multiple of STEP, so that
no loop has a scalar tail. Under a causal mask row c is seen by column `c - diagonal` and those
behind it; without one the caller passes diagonal = the number of rows. What a query does not see
may hold anything, and becomes 0 from the last multiple of STEP before on.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece
from minidl.kernels._lanes import move_few, turn_block
from minidl.kernels._math import exp_below, log
from minidl.kernels._tile import PANEL_BYTES, clear_rows, tile, tile_rows
from minidl.kernels.random import _GOLDEN, _MIX1, _MIX2, _S27, _S30, _S31, _S40, _mix

STEP = 32
"""Elements that LLVM's loop over a row takes at a time, in float32."""


@helper
def _seen_from(c, diagonal):
    """The multiple of STEP from which on the loops over row c go."""
    return max(0, c - diagonal) // STEP * STEP


@piece
def _softmax_columns(diagonal, scale, s, top, total, factor):
    """One step of the online softmax of logits scale s (K, W); top, total, factor (W,).

    top is the maximum of each column's logits up to now (first -inf), total the sum of their
    exponentials (first 0). s becomes exp(scale s - top) / total, and factor what earlier blocks'
    sums, divided by the total they knew, must be multiplied by. A column with nothing but -inf gets
    0. NaN reaches the total by its exponential, so the maximum may pass it over.
    """
    zero, one, low = s.dtype.type(0.0), s.dtype.type(1.0), s.dtype.type(-np.inf)
    for k in range(top.size):
        factor[k] = top[k]
    for c in range(s.shape[0]):
        start = _seen_from(c, diagonal)
        x, most = s[c, start:], top[start:]
        first = np.int32(c - diagonal - start)  # as wide as a float32: no second vector to compare
        for k in range(x.size):
            logit = x[k] * scale
            larger = logit if logit > most[k] else most[k]
            most[k] = larger if np.int32(k) >= first else most[k]
    for k in range(top.size):
        shift = zero if top[k] == low else top[k]  # -inf - -inf would be NaN
        factor[k] = total[k] * exp_below(factor[k] - shift)
        top[k] = shift
        total[k] = factor[k]
    for c in range(s.shape[0]):
        start = _seen_from(c, diagonal)
        x, most, whole = s[c, start:], top[start:], total[start:]
        first = np.int32(c - diagonal - start)
        for k in range(x.size):
            e = exp_below(x[k] * scale - most[k])
            e = e if np.int32(k) >= first else zero
            x[k] = e
            whole[k] += e
    share = np.empty(top.size, top.dtype)
    for k in range(top.size):
        share[k] = zero if total[k] == zero else one / total[k]
        factor[k] *= share[k]
        top[k] = low if total[k] == zero else top[k]
    for c in range(s.shape[0]):
        start = _seen_from(c, diagonal)
        x, part = s[c, start:], share[start:]
        for k in range(x.size):
            x[k] *= part[k]


@piece
def _log_sums(top, total, lse):
    """lse = top + log(total), and inf where a query saw nothing."""
    for r in range(lse.size):
        whole = top[r] + log(total[r])
        lse[r] = lse.dtype.type(np.inf) if total[r] == lse.dtype.type(0.0) else whole


@piece
def _softmax_backward_columns(lse, delta, diagonal, scale, factor, s, dp):
    """s (K, W) becomes p = exp(scale s - lse); dp (K, W) becomes ds = factor p (dp - delta).

    lse, delta (W,): delta = sum_k p dp over all of the query's keys. lse = inf marks a query that
    sees nothing: p = ds = 0.
    """
    zero = s.dtype.type(0.0)
    for c in range(s.shape[0]):
        start = _seen_from(c, diagonal)
        x, y, whole, inner = s[c, start:], dp[c, start:], lse[start:], delta[start:]
        first = np.int32(c - diagonal - start)
        for k in range(x.size):
            e = exp_below(x[k] * scale - whole[k])
            e = e if np.int32(k) >= first else zero
            ds = e * factor * (y[k] - inner[k])
            x[k] = e
            y[k] = zero if e == zero else ds


@helper
def _width(x):
    """How many numbers of x's dtype a tile is wide."""
    return PANEL_BYTES // x.itemsize


@piece
def _turn(x, out):
    """out[:D, :K] = x^T, for x (K, D) with contiguous rows."""
    rows, columns = x.shape
    lanes, step, stride = 64 // x.itemsize, x.strides[0] // x.itemsize, out.shape[1]
    if rows < lanes or columns < lanes:
        for i in range(rows):
            row = x[i]
            for k in range(row.size):
                out[k, i] = row[k]
        return
    for row_ in range(0, rows, lanes):
        i = min(row_, rows - lanes)  # the last block begins early enough to be whole
        for column in range(0, columns, lanes):
            k = min(column, columns - lanes)
            turn_block(x, i * step + k, step, out, k * stride + i, stride)


@piece
def _whole_tiles(x, memory):
    """x (K, D) itself, if tiles divide its rows, or a copy of it with 0 behind them."""
    width, wide = x.shape[1], memory.shape[1]
    if width == wide:
        return x[:, :width]
    apart = x.strides[0] // x.itemsize
    for k in range(x.shape[0]):
        for d in range(0, wide, 64 // x.itemsize):
            move_few(x, k * apart + d, memory, k * wide + d, width - d)
    return memory[: x.shape[0], :wide]


@piece
def _move(x, add, out):
    """out (R, D) = the first D columns of x (R or more, D or more), or out += …"""
    for r in range(out.shape[0]):
        row, to = x[r], out[r]
        if add:
            for d in range(to.size):
                to[d] += row[d]
        else:
            for d in range(to.size):
                to[d] = row[d]


_LOGITS, _QUERIES, _KEYS = 0, 1, 2  # what the rows of a product are


@piece
def _product(a, b, rows, diagonal, add, c):
    """c (R, M) = a (R, K) @ b (K, M), or c += …, for M a multiple of a tile's width.

    rows: c is the logits of K keys and M queries; or a row a query, of the logits a and b a row a
    key; or the other way round. Tiles of what no query sees are left as they are in the first case,
    and left out of the sums (they are 0) in the others.
    """
    width = _width(c)
    for s in range(0, c.shape[1], width):
        last = min(c.shape[0], s + width + diagonal) if rows == _LOGITS else c.shape[0]
        r = 0
        while r < last:
            m = tile_rows(last - r)
            low = max(0, r - diagonal) if rows == _KEYS else 0
            high = min(a.shape[1], r + m + diagonal) if rows == _QUERIES else a.shape[1]
            to = c[r : r + m, s : s + width]
            if low < high:
                tile(a[r : r + m, low:high], b[low:high, s : s + width], m, add, to)
            elif not add:
                clear_rows(to)
            r += m


@piece(fastmath=("contract", "reassoc"))  # reassoc: the sum over a row becomes SIMD
def _row_products(x, y, out):
    """out[r] = sum_d x[r, d] y[r, d]."""
    for r in range(x.shape[0]):
        row, other, total = x[r], y[r], x.dtype.type(0.0)
        for d in range(row.size):
            total += row[d] * other[d]
        out[r] = total


def attention_dropout_ref(rows, first, width, columns, key, p, x):
    places = rows[:, None] * width + (first + np.arange(columns))
    z = key[0] + (places + 1).astype(np.uint64) * _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    keep = ((z ^ (z >> _S31)) >> _S40) >= np.uint64(round(p * 2**24))
    x[:, :columns] *= np.where(keep, 0.0 if p == 1 else 1.0 / (1.0 - p), 0.0).astype(x.dtype)


@piece
def _dropout_line(place, step, count, key, bar, scale, x):
    """x[k], k < count, as element place + k step of the matrix that is dropped from."""
    zero = x.dtype.type(0.0)
    for k in range(count):
        x[k] *= scale if (_mix(key, place + k * step) >> _S40) >= bar else zero


@piece
def _drop_block(key, p, place, width, queries, s):
    """Dropout of a block; its first element has that place among all logits, rows of `width`."""
    bar = np.uint64(round(p * 16777216.0))
    scale = s.dtype.type(0.0 if p == 1.0 else 1.0 / (1.0 - p))
    for c in range(s.shape[0]):
        _dropout_line(place + c, width, queries, key[0], bar, scale, s[c])


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
        _dropout_line(rows[r] * width + first, 1, columns, key[0], bar, scale, x[r])
