"""Attention by blocks of queries and keys: softmax(scale q k^T + mask) v, forward and backward.

The (L, S) logits of a head are never held: a block of them is made, and its softmax, dropout and
products follow while it lies in the core's own cache (Dao et al. 2022, arXiv:2205.14135). What a
causal mask hides is skipped. Heads and blocks are shared between threads in one parallel region.

q, k and v are (N, T, heads, D): the heads of one projection lie side by side, and all three may be
parts of one array, told apart by their first head, so that nothing is copied.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds
from minidl.kernels._tile import clear_rows
from minidl.kernels.attention import (
    _KEYS,
    _LOGITS,
    _QUERIES,
    STEP,
    _drop_block,
    _log_sums,
    _move,
    _product,
    _row_products,
    _softmax_backward_columns,
    _softmax_columns,
    _turn,
    _whole_tiles,
    _width,
    attention_dropout_ref,
)

ROWS, COLUMNS = 128, 256
"""Queries and keys of a block: its logits are 128 KB in float32."""

_PIECE = 16_384  # logits: heads of short sequences that a piece takes together
_UNITS = 8  # pieces of backward there should be, so that few heads keep all cores busy too
_APART = 16  # between rows of what is read panel by panel, lest they share few sets of the cache


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
def _block(memory, columns, rows):
    """A contiguous matrix for a block of logits: a row a key, columns for queries."""
    wide = _up(rows, STEP)
    return memory[: columns * wide].reshape((columns, wide))


@helper
def _line(mask, i, j, r):
    """Row r of mask[i, j]; an axis of size 1 stands for all."""
    i = i if mask.shape[0] > 1 else 0
    j = j if mask.shape[1] > 1 else 0
    return mask[i, j, r if mask.shape[2] > 1 else 0]


@helper
def _room_for_masks(allowed, bias, columns):
    return np.empty((2, STEP, columns if allowed.size or bias.size else 0), bias.dtype)


@piece
def _mask_row(allowed, bias, i, j, r, column, out):
    """What a mask adds to the logits of query r, from `column` on: -inf where it says no."""
    low, start = out.dtype.type(-np.inf), out.dtype.type(0.0)
    if bias.size:
        line = _line(bias, i, j, r)
        start = line[0]
        if line.size > 1:
            part = line[column:]
            for c in range(out.size):
                out[c] = part[c]
    if bias.size == 0 or bias.shape[3] == 1:
        for c in range(out.size):
            out[c] = start
    if allowed.size:
        see = _line(allowed, i, j, r)
        if see.size > 1:
            seen = see[column:]
            for c in range(out.size):
                out[c] = out[c] if seen[c] else low
        elif not see[0]:
            for c in range(out.size):
                out[c] = low


@piece
def _mask_block(allowed, bias, i, j, row, column, queries, scale, space, s):
    """s = scale s + bias[i, j], and -inf where allowed[i, j] says no, for a block of logits.

    The block begins at (row, column); queries: how many it has. Returns what it is still to be
    multiplied by. The masks' rows are turned in strips: one number at a time, a line of the cache
    for each, took as long as the products.
    """
    if not (allowed.size or bias.size):
        return scale
    low = s.dtype.type(-np.inf)
    strip, turned = space[0, :, : s.shape[0]], space[1].reshape((-1, STEP))
    alike = allowed.size == 0 or allowed.shape[2] == 1
    alike = alike and (bias.size == 0 or bias.shape[2] == 1)
    for r in range(0, queries, STEP):
        if r == 0 or not alike:
            for k in range(STEP if alike else min(STEP, queries - r)):
                _mask_row(allowed, bias, i, j, row + r + k, column, space[0, k, : s.shape[0]])
            _turn(strip, turned)
        for c in range(s.shape[0]):
            x, part = s[c, r : r + STEP], turned[c]
            for k in range(x.size):
                logit = x[k] * scale + part[k]
                x[k] = low if part[k] == low else logit
    return s.dtype.type(1.0)


@piece
def _forward_block(
    q, k, v, allowed, bias, n, g, row, key, p, scale, causal, place, space, out, lse
):
    """A block of queries q (R, E), from `row` on, against all keys k (S, E): fills out and lse."""
    turned, values, s, sums, state, masks = space
    R, S, zero = q.shape[0], k.shape[0], s.dtype.type(0.0)
    top, total, factor = state[0, : _up(R, STEP)], state[1, : _up(R, STEP)], state[2]
    for r in range(top.size):
        top[r] = -np.inf
        total[r] = zero
    to = out[:, : out.shape[1]]
    if out.shape[1] != sums.shape[1]:
        to = sums[:R, : sums.shape[1]]
    _turn(q, turned)
    end = min(S, row + R) if causal else S
    for a in range(0, end, COLUMNS):
        b = min(a + COLUMNS, end)
        diagonal = row - a if causal else b - a
        block = _block(s, b - a, R)
        wide = block.shape[1]
        _product(k[a:b], turned[: q.shape[1], :wide], _LOGITS, diagonal, False, block[:, :wide])
        rest = _mask_block(allowed, bias, n, g, row, a, R, s.dtype.type(scale), masks, block)
        _softmax_columns(diagonal, rest, block, top, total, factor[:wide])
        if p > 0.0:
            _drop_block(key, p, place + a, S, R, block)
        for r in range(R if a else 0):
            line = to[r]
            for d in range(line.size):
                line[d] *= factor[r]
        _product(block[:, :R].T, _whole_tiles(v[a:b], values), _QUERIES, diagonal, a > 0, to)
    _log_sums(top, total, lse)
    if out.shape[1] != sums.shape[1]:
        _move(sums, False, out)


@piece
def _forward_units(
    q, k, v, first, group, allowed, bias, key, p, scale, causal, begin, end, out, lse
):
    """Units: blocks of queries of a head."""
    L, S, heads = q.shape[1], k.shape[1], out.shape[2]
    blocks, R, C, width = count_pieces(L, ROWS), min(L, ROWS), min(S, COLUMNS), _width(q)
    wide, deep = _up(R, STEP), _up(v.shape[3], width)
    space = (
        np.empty((q.shape[3], wide + _APART), q.dtype),
        np.empty((C, deep), q.dtype), np.empty(C * wide, q.dtype), np.empty((R, deep), q.dtype),
        np.empty((3, wide), q.dtype), _room_for_masks(allowed, bias, C),
    )  # fmt: skip
    for u in range(begin, end):
        n, g, b = u // blocks // heads, u // blocks % heads, _shuffled(u % blocks, blocks)
        i, j = piece_bounds(b, ROWS, L)
        _forward_block(
            q[n, i:j, first[0] + g], k[n, :, first[1] + g // group], v[n, :, first[2] + g // group],
            allowed, bias, n, g, i, key, p, scale, causal, ((n * heads + g) * L + i) * S,
            space, out[n, i:j, g], lse[n, g, i:j],
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


@piece
def _backward_block(
    q, k, v, packed, allowed, bias, n, g, i, a, key, p, scale, causal, place, width, lse, space,
    out, dout, add, dq, dk, dv,
):  # fmt: skip
    """A block of queries q (R, E), from i on, against the keys k (C, E) from a on.

    Fills dq, or adds to it; adds to dk and dv. packed: k by whole tiles. place and width: of the
    block among all logits.
    """
    turned, queries, given, s, ds, state, masks = space
    R, diagonal = q.shape[0], i - a if causal else k.shape[0]
    block, dblock = _block(s, k.shape[0], R), _block(ds, k.shape[0], R)
    wide = block.shape[1]
    for r in range(wide - R):
        state[0, R + r] = state[1, R + r] = s.dtype.type(0.0)
    for r in range(R):
        state[0, r] = lse[r]
    _row_products(out, dout, state[1])
    _turn(q, turned)
    _product(k, turned[: q.shape[1], :wide], _LOGITS, diagonal, False, block[:, :wide])
    rest = _mask_block(allowed, bias, n, g, i, a, R, s.dtype.type(scale), masks, block)
    _turn(dout, turned)
    _product(v, turned[: dout.shape[1], :wide], _LOGITS, diagonal, False, dblock[:, :wide])
    if p > 0.0:
        _drop_block(key, p, place, width, R, dblock)
    _softmax_backward_columns(
        state[0, :wide], state[1, :wide], diagonal, rest, s.dtype.type(scale), block, dblock
    )
    _product(dblock[:, :R].T, packed, _QUERIES, diagonal, add, dq)
    _product(dblock[:, :R], _whole_tiles(q, queries), _KEYS, diagonal, True, dk)
    if p > 0.0:
        _drop_block(key, p, place, width, R, block)
    _product(block[:, :R], _whole_tiles(dout, given), _KEYS, diagonal, True, dv)


@piece
def _backward_units(
    q, k, v, first, group, allowed, bias, key, p, scale, causal, chunk, begin, end, out, lse,
    dout, dq, parts, dk, dv,
):  # fmt: skip
    """Units: key heads, and chunks of their keys; each has dq of its own, in parts, if several."""
    L, S, heads, E, V = q.shape[1], k.shape[1], out.shape[2], q.shape[3], v.shape[3]
    shared, chunks, R, C = heads // group, count_pieces(S, chunk), min(L, ROWS), min(S, COLUMNS)
    width = _width(q)
    wide, deep, deep_v = _up(R, STEP), _up(E, width), _up(V, width)
    s = np.empty(C * wide, q.dtype)
    space = (
        np.empty((max(E, V), wide + _APART), q.dtype), np.empty((R, deep), q.dtype),
        np.empty((R, deep_v), q.dtype), s, np.empty_like(s), np.empty((2, wide), q.dtype),
        _room_for_masks(allowed, bias, C),
    )  # fmt: skip
    keys, sums, dkeys, dvalues = (
        np.empty((C, deep), q.dtype), np.empty((R, deep), q.dtype), np.empty((C, deep), q.dtype),
        np.empty((C, deep_v), q.dtype),
    )  # fmt: skip
    for u in range(begin, end):
        n, h, c = u // chunks // shared, u // chunks % shared, _shuffled(u % chunks, chunks)
        start, stop = piece_bounds(c, chunk, S)
        for a in range(start, stop, COLUMNS):
            b = min(a + COLUMNS, stop)
            kh, vh = k[n, a:b, first[1] + h], v[n, a:b, first[2] + h]
            dkh, dvh = dk[n, a:b, first[1] + h], dv[n, a:b, first[2] + h]
            dks, dvs = dkh[:, :E], dvh[:, :V]
            if deep != E:
                dks = dkeys[: b - a, :deep]
            if deep_v != V:
                dvs = dvalues[: b - a, :deep_v]
            packed = _whole_tiles(kh, keys)
            clear_rows(dks)
            clear_rows(dvs)
            for g in range(h * group, (h + 1) * group):
                dqh = parts[c, n, :, g] if chunks > 1 else dq[n, :, first[0] + g]
                seen = a // ROWS * ROWS if causal else 0  # the first block of queries that sees any
                if a == start:
                    clear_rows(dqh[:seen])
                for i in range(seen, L, ROWS):
                    j = min(i + ROWS, L)
                    m = min(b, j) - a if causal else b - a
                    dqs = dqh[i:j, :E]
                    if deep != E:
                        dqs = sums[: j - i, :deep]
                    _backward_block(
                        q[n, i:j, first[0] + g], kh[:m], vh[:m], packed[:m, :deep], allowed, bias,
                        n, g, i, a, key, p, scale, causal, ((n * heads + g) * L + i) * S + a, S,
                        lse[n, g, i:j], space, out[n, i:j, g], dout[n, i:j, g],
                        a > start and deep == E, dqs, dks[:m], dvs[:m],
                    )  # fmt: skip
                    if deep != E:
                        _move(sums, a > start, dqh[i:j])
            if deep != E:
                _move(dkeys, False, dkh)
            if deep_v != V:
                _move(dvalues, False, dvh)


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
