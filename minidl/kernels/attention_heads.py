"""Attention by blocks of queries and keys: softmax(scale q k^T + mask) v, forward and backward.

The (L, S) logits of a head are never held: a block of them is made by BLAS, and its softmax,
dropout and products follow while it lies in the core's own cache (Dao et al. 2022,
arXiv:2205.14135). Blocks that a causal mask hides are skipped. All heads and blocks are shared
between threads in one parallel region.

q, k and v are (N, T, heads, D): the heads of one projection lie side by side, and all three may be
parts of one array, told apart by their first head, so that nothing is copied.
"""

import numpy as np

from minidl.kernels._gemm import gemm
from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._math import log
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds
from minidl.kernels.attention import (
    STEP,
    _dropout_row,
    _softmax_backward_rows,
    _softmax_rows,
    attention_dropout_ref,
)

ROWS, COLUMNS = 128, 256
"""Queries and keys of a block: its logits are 128 KB in float32."""

_PIECE = 16_384  # logits: heads of short sequences that a piece takes together
_UNITS = 8  # pieces of backward there should be, so that few heads keep all cores busy too


def _heads_ref(x, first, heads, group):
    """(N, heads, T, D): the head that each of `heads` query heads looks at."""
    return x[:, :, first + np.arange(heads) // group].transpose(0, 2, 1, 3)


def _logits_ref(q, k, first, group, allowed, bias, scale, causal, heads):
    """(N, G, L, S)."""
    qs = _heads_ref(q, first[0], heads, 1) * q.dtype.type(scale)
    s = qs @ _heads_ref(k, first[1], heads, group).swapaxes(2, 3)
    if bias.size:
        s = s + bias
    if allowed.size:
        s = np.where(allowed, s, q.dtype.type(-np.inf))
    if causal:
        s[..., ~np.tri(s.shape[-2], s.shape[-1], dtype=bool)] = -np.inf
    return s


def _drop_ref(key, p, x):
    """Dropout of x (N, G, L, S), in place."""
    if p > 0:
        drop = np.ones((x[..., 0].size, x.shape[-1]), x.dtype)
        attention_dropout_ref(np.arange(len(drop)), 0, x.shape[-1], x.shape[-1], key, p, drop)
        x *= drop.reshape(x.shape)


@QUIET
def attention_forward_ref(
    q, k, v, first, group, allowed, bias, key, p, scale, causal, out, lse
):
    heads = out.shape[2]
    s = _logits_ref(q, k, first, group, allowed, bias, scale, causal, heads)
    top = s.max(axis=-1)
    e = np.exp(s - np.where(np.isneginf(top), 0, top)[..., None])
    total = e.sum(axis=-1, dtype=np.float64).astype(q.dtype)
    blind = total == 0
    lse[:] = np.where(blind, np.inf, top + np.log(total))
    weights = e / np.where(blind, 1, total)[..., None]
    _drop_ref(key, p, weights)
    out[:] = (weights @ _heads_ref(v, first[2], heads, group)).transpose(0, 2, 1, 3)


@helper
def _up(n, step):
    return (n + step - 1) // step * step


@helper
def _shuffled(b, blocks):
    """The b-th block in the order 0, last, 1, last but one …

    Under a causal mask the first block is the smallest; in this order any half of the blocks is
    half of the work.
    """
    return b // 2 if b % 2 == 0 else blocks - 1 - b // 2


@helper
def _block(memory, rows, width):
    """A contiguous matrix for a block of logits, with as many columns as full vectors need."""
    wide = _up(width, STEP)
    return memory[: rows * wide].reshape((rows, wide))


@piece
def _times(x, scale, out):
    """out[:R] = scale x."""
    for r in range(x.shape[0]):
        row, to = x[r], out[r]
        for d in range(row.size):
            to[d] = row[d] * scale


@helper
def _line(mask, i, j, r):
    """Row r of mask[i, j]; an axis of size 1 stands for all."""
    i = i if mask.shape[0] > 1 else 0
    j = j if mask.shape[1] > 1 else 0
    return mask[i, j, r if mask.shape[2] > 1 else 0]


@piece
def _mask_block(allowed, bias, i, j, row, column, width, s):
    """Add bias[i, j] to a block of logits, from (row, column) on, and bar what is not allowed."""
    low = s.dtype.type(-np.inf)
    if bias.size:
        for r in range(s.shape[0]):
            line, to = _line(bias, i, j, row + r), s[r]
            if line.size == 1:
                for c in range(width):
                    to[c] += line[0]
            else:
                part = line[column : column + width]
                for c in range(width):
                    to[c] += part[c]
    if allowed.size:
        for r in range(s.shape[0]):
            line, to = _line(allowed, i, j, row + r), s[r]
            if line.size == 1:
                for c in range(width):
                    to[c] = to[c] if line[0] else low
            else:
                part = line[column : column + width]
                for c in range(width):
                    to[c] = to[c] if part[c] else low


@piece
def _drop_block(key, p, place, width, columns, s):
    """Dropout of a block whose first element has that place among all logits (N, G, L, S)."""
    bar = np.uint64(round(p * 16777216.0))
    scale = s.dtype.type(0.0 if p == 1.0 else 1.0 / (1.0 - p))
    for r in range(s.shape[0]):
        _dropout_row(place + r * width, columns, key[0], bar, scale, s, r)


@piece
def _forward_block(
    q, k, v, allowed, bias, n, g, row, key, p, scale, causal, place, qs, s, state, out, lse
):
    """A block of queries q (R, E), from `row` on, against all keys k (S, E): fills out and lse."""
    R, S, zero, one = q.shape[0], k.shape[0], qs.dtype.type(0.0), qs.dtype.type(1.0)
    top, total, shrink = state[0, :R], state[1, :R], state[2, :R]
    for r in range(R):
        top[r] = -np.inf
        total[r] = zero
    _times(q, qs.dtype.type(scale), qs)
    end = min(S, row + R) if causal else S
    for a in range(0, end, COLUMNS):
        b = min(a + COLUMNS, end)
        block = _block(s, R, b - a)
        gemm(qs[:R], k[a:b].T, zero, block[:, : b - a])
        _mask_block(allowed, bias, n, g, row, a, b - a, block)
        _softmax_rows(row - a if causal else b - a, b - a, block, top, total, shrink)
        if p > 0.0:
            _drop_block(key, p, place + a, S, b - a, block)
        if a:
            for r in range(R):
                to = out[r]
                for d in range(to.size):
                    to[d] *= shrink[r]
        gemm(block[:, : b - a], v[a:b], one if a else zero, out)
    for r in range(R):
        to, scaling = out[r], zero
        if total[r] == zero:
            lse[r] = np.inf
            to[:] = zero
        else:
            lse[r] = top[r] + log(total[r])
            scaling = one / total[r]
            for d in range(to.size):
                to[d] *= scaling


@piece
def _forward_units(
    q, k, v, first, group, allowed, bias, key, p, scale, causal, begin, end, out, lse
):
    """Units: blocks of queries of a head."""
    L, S, heads = q.shape[1], k.shape[1], out.shape[2]
    blocks = count_pieces(L, ROWS)
    qs = np.empty((min(L, ROWS), q.shape[3]), q.dtype)
    s = np.empty(min(L, ROWS) * _up(min(S, COLUMNS), STEP), q.dtype)
    state = np.empty((3, min(L, ROWS)), q.dtype)
    for u in range(begin, end):
        n, g, b = u // blocks // heads, u // blocks % heads, _shuffled(u % blocks, blocks)
        i, j = piece_bounds(b, ROWS, L)
        _forward_block(
            q[n, i:j, first[0] + g], k[n, :, first[1] + g // group], v[n, :, first[2] + g // group],
            allowed, bias, n, g, i, key, p, scale, causal, ((n * heads + g) * L + i) * S,
            qs, s, state, out[n, i:j, g], lse[n, g, i:j],
        )  # fmt: skip


@kernel(
    reference=attention_forward_ref, parallel=True, serial_below=4_096, size_of="out"
)
def attention_forward(
    q, k, v, first, group, allowed, bias, key, p, scale, causal, out, lse
):
    """q (N, L, *, E), k (N, S, *, E), v (N, S, *, V), out (N, L, G, V), lse (N, G, L); S >= 1.

    Head g of out is made of q's head first[0] + g, k's first[1] + g // group, v's
    first[2] + g // group. allowed (bool) and bias (N or 1, G or 1, L or 1, S or 1), each empty if
    there is none: what may be seen, and what is added to the logits. key (1,) uint64, p: dropout of
    the weights. lse = log sum exp of each row, inf where all logits are -inf.
    """
    units = q.shape[0] * out.shape[2] * count_pieces(q.shape[1], ROWS)
    step = max(1, _PIECE // (max(1, min(q.shape[1], ROWS)) * k.shape[1]))
    for piece_ in prange(count_pieces(units, step)):
        a, b = piece_bounds(piece_, step, units)
        _forward_units(
            q, k, v, first, group, allowed, bias, key, p, scale, causal, a, b, out, lse
        )


@QUIET
def attention_backward_ref(
    q, k, v, first, group, allowed, bias, key, p, scale, causal, out, lse, dout, dq, dk, dv
):
    heads = out.shape[2]
    weights = np.exp(
        _logits_ref(q, k, first, group, allowed, bias, scale, causal, heads) - lse[..., None]
    )
    weights[lse == np.inf] = 0
    do = dout.transpose(0, 2, 1, 3)
    dp = do @ _heads_ref(v, first[2], heads, group).swapaxes(2, 3)
    _drop_ref(key, p, dp)
    delta = (dout * out).sum(axis=-1, dtype=np.float64).transpose(0, 2, 1)
    ds = np.where(weights == 0, 0, weights * (dp - delta[..., None])).astype(q.dtype)
    _drop_ref(key, p, weights)
    parts = (
        scale * (ds @ _heads_ref(k, first[1], heads, group)),
        scale * (ds.swapaxes(2, 3) @ _heads_ref(q, first[0], heads, 1)),
        weights.swapaxes(2, 3) @ do,
    )
    for grad, start, share, part in zip((dq, dk, dv), first, (1, group, group), parts):
        n, h, t, d = part.shape  # heads that share one are summed
        grad[:, :, start : start + h // share] = (
            part.reshape(n, h // share, share, t, d).sum(axis=2).transpose(0, 2, 1, 3)
        )


@piece(fastmath=("contract", "reassoc"))  # reassoc: the sum over a row becomes SIMD
def _row_products(x, y, out):
    """out[r] = sum_d x[r, d] y[r, d]."""
    for r in range(x.shape[0]):
        row, other, total = x[r], y[r], x.dtype.type(0.0)
        for d in range(row.size):
            total += row[d] * other[d]
        out[r] = total


@piece
def _backward_head(
    q, k, v, allowed, bias, n, g, start, stop, key, p, scale, causal, place, lse, space,
    out, dout, dq, dk, dv,
):  # fmt: skip
    """One head, q (L, E), against its keys from `start` to `stop`: fills dq, adds to dk and dv."""
    qs, s, ds, delta = space
    L, S, factor = q.shape[0], k.shape[0], qs.dtype.type(scale)
    zero, one = qs.dtype.type(0.0), qs.dtype.type(1.0)
    dq[:] = zero
    for i in range(start // ROWS * ROWS if causal else 0, L, ROWS):
        j = min(i + ROWS, L)
        R = j - i
        last = min(stop, j) if causal else stop  # keys that this block of queries sees
        _row_products(out[i:j], dout[i:j], delta)
        _times(q[i:j], factor, qs)
        for a in range(start, last, COLUMNS):
            b = min(a + COLUMNS, last)
            full, dfull = _block(s, R, b - a), _block(ds, R, b - a)
            block, dblock = full[:, : b - a], dfull[:, : b - a]
            gemm(qs[:R], k[a:b].T, zero, block)
            _mask_block(allowed, bias, n, g, i, a, b - a, full)
            gemm(dout[i:j], v[a:b].T, zero, dblock)
            if p > 0.0:
                _drop_block(key, p, place + i * S + a, S, b - a, dfull)
            diagonal = i - a if causal else b - a
            _softmax_backward_rows(lse[i:j], delta[:R], diagonal, b - a, full, dfull)
            gemm(dblock, k[a:b], one, dq[i:j])
            gemm(dblock.T, qs[:R], one, dk[a:b])
            if p > 0.0:
                _drop_block(key, p, place + i * S + a, S, b - a, full)
            gemm(block.T, dout[i:j], one, dv[a:b])
        _times(dq[i:j], factor, dq[i:j])


@piece
def _backward_units(
    q, k, v, first, group, allowed, bias, key, p, scale, causal, chunk, begin, end, out, lse,
    dout, dq, parts, dk, dv,
):  # fmt: skip
    """Units: key heads, and chunks of their keys; each has dq of its own, in parts, if several."""
    L, S, heads = q.shape[1], k.shape[1], out.shape[2]
    shared, chunks, R = heads // group, count_pieces(S, chunk), min(L, ROWS)
    s = np.empty(R * _up(min(S, COLUMNS), STEP), q.dtype)
    space = np.empty((R, q.shape[3]), q.dtype), s, np.empty_like(s), np.empty(R, q.dtype)
    for u in range(begin, end):
        n, h, c = u // chunks // shared, u // chunks % shared, _shuffled(u % chunks, chunks)
        start, stop = piece_bounds(c, chunk, S)
        dkh, dvh = dk[n, :, first[1] + h], dv[n, :, first[2] + h]
        dkh[start:stop] = 0.0
        dvh[start:stop] = 0.0
        for g in range(h * group, (h + 1) * group):
            dqh = parts[c, n, :, g] if chunks > 1 else dq[n, :, first[0] + g]
            _backward_head(
                q[n, :, first[0] + g], k[n, :, first[1] + h], v[n, :, first[2] + h], allowed, bias,
                n, g, start, stop, key, p, scale, causal, (n * heads + g) * L * S, lse[n, g],
                space, out[n, :, g], dout[n, :, g], dqh, dkh, dvh,
            )  # fmt: skip


@piece
def _sum_parts(parts, n, t, start, dq):
    """dq[n, t] = the sum of parts[:, n, t], whose heads begin at `start` there."""
    for g in range(parts.shape[3]):
        to = dq[n, t, start + g]
        to[:] = parts[0, n, t, g]
        for c in range(1, parts.shape[0]):
            row = parts[c, n, t, g]
            for d in range(to.size):
                to[d] += row[d]


@kernel(
    reference=attention_backward_ref, parallel=True, serial_below=4_096, size_of="out"
)
def attention_backward(
    q, k, v, first, group, allowed, bias, key, p, scale, causal, out, lse, dout, dq, dk, dv
):
    """The gradients of `attention_forward`; out and lse are its results, dq as q, dk as k, dv as v.

    The logits are made again from q and k. Key heads are shared between threads; where they are
    few, their keys are cut into chunks, each of which sums a dq of its own.
    """
    N, L, S, G = q.shape[0], q.shape[1], k.shape[1], out.shape[2]
    units = N * G // group
    chunk = S
    if units < _UNITS:
        chunk = max(COLUMNS, _up(count_pieces(S * max(1, units), _UNITS), COLUMNS))
    chunks = count_pieces(S, chunk)
    parts = np.empty((chunks if chunks > 1 else 0, N, L, G, q.shape[3]), q.dtype)
    step = max(1, _PIECE // (max(1, L) * S))
    for piece_ in prange(count_pieces(units * chunks, step)):
        a, b = piece_bounds(piece_, step, units * chunks)
        _backward_units(
            q, k, v, first, group, allowed, bias, key, p, scale, causal, chunk, a, b, out, lse,
            dout, dq, parts, dk, dv,
        )  # fmt: skip
    if chunks > 1:
        for row in prange(N * L):
            _sum_parts(parts, row // L, row % L, first[0], dq)
