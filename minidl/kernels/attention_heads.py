"""Attention of many short sequences: each head start to end, in a core's first-level cache.

Products of 50 × 32 × 50 are too small for BLAS to share between threads, and a matrix at a time
goes through memory for each step. Here a head's products, softmax and dropout follow one another,
heads are shared between threads, and what a causal mask hides is not computed. Long sequences stay
with BLAS: see `ops.attention`.

Arrays are (N, T, G, D): G heads side by side in memory, as a projection makes them, or 1.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds
from minidl.kernels.attention import (
    _dropout_row,
    _softmax_backward_rows,
    _softmax_rows,
    attention_dropout_ref,
)

_PIECE = 4  # heads

SIDE = 64
"""No length and no depth may be larger."""


def _logits_ref(q, k, bias, scale, causal):
    """(N, G, L, S)."""
    s = (q * q.dtype.type(scale)).transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1)
    if bias.size:
        s = s + bias
    if causal:
        s[..., ~np.tri(s.shape[-2], s.shape[-1], dtype=bool)] = -np.inf
    return s


def _drop_ref(key, p, x):
    """Dropout of x (N, G, L, S), in place."""
    if p > 0:
        rows = x.reshape(-1, x.shape[-1])
        attention_dropout_ref(np.arange(len(rows)), 0, x.shape[-1], x.shape[-1], key, p, rows)


@QUIET
def attention_heads_forward_ref(q, k, v, bias, key, p, scale, causal, out, lse):
    s = _logits_ref(q, k, bias, scale, causal)
    top = s.max(axis=-1)
    e = np.exp(s - np.where(np.isneginf(top), 0, top)[..., None])
    total = e.sum(axis=-1, dtype=np.float64).astype(q.dtype)
    blind = total == 0
    lse[:] = np.where(blind, np.inf, top + np.log(total))
    weights = e / np.where(blind, 1, total)[..., None]
    _drop_ref(key, p, weights)
    out[:] = (weights @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


# Scratch matrices are flat, SIDE elements a row: with distances that LLVM knows it needs no tests
# for overlap, which would cost more than the short loops themselves (18 ns each), and with a fixed
# 32 columns a loop has no tail. 60 to 90 GFLOP/s instead of 20 to 45; BLAS reaches 97.
@piece
def _product(a, b, c, i, depth, width):
    """Rows i to i + 3 of c = a[:, :depth] @ b[:depth, :width]; depth in fours, width in 32s."""
    for j0 in range(0, width, 32):
        strip = c[i * SIDE + j0 : (i + 4) * SIDE]
        for j in range(32):
            strip[j] = 0.0
            strip[SIDE + j] = 0.0
            strip[2 * SIDE + j] = 0.0
            strip[3 * SIDE + j] = 0.0
        for d in range(0, depth, 4):
            w = a[i * SIDE + d : (i + 4) * SIDE]
            w00, w01, w02, w03 = w[0], w[1], w[2], w[3]
            w10, w11, w12, w13 = w[SIDE], w[SIDE + 1], w[SIDE + 2], w[SIDE + 3]
            w20, w21, w22, w23 = w[2 * SIDE], w[2 * SIDE + 1], w[2 * SIDE + 2], w[2 * SIDE + 3]
            w30, w31, w32, w33 = w[3 * SIDE], w[3 * SIDE + 1], w[3 * SIDE + 2], w[3 * SIDE + 3]
            x = b[d * SIDE + j0 : (d + 4) * SIDE]
            for j in range(32):
                x0, x1, x2, x3 = x[j], x[SIDE + j], x[2 * SIDE + j], x[3 * SIDE + j]
                y0, y1, y2, y3 = (
                    strip[j], strip[SIDE + j], strip[2 * SIDE + j], strip[3 * SIDE + j]
                )  # fmt: skip
                strip[j] = y0 + w00 * x0 + w01 * x1 + w02 * x2 + w03 * x3
                strip[SIDE + j] = y1 + w10 * x0 + w11 * x1 + w12 * x2 + w13 * x3
                strip[2 * SIDE + j] = y2 + w20 * x0 + w21 * x1 + w22 * x2 + w23 * x3
                strip[3 * SIDE + j] = y3 + w30 * x0 + w31 * x1 + w32 * x2 + w33 * x3


@piece
def _rows_in(x, n, g, scale, out):
    """out[:T, :D] = scale x[n, :, g]. The rest keeps the zeros, or the old numbers, it has."""
    for t in range(x.shape[1]):
        row, to = x[n, t, g], out[t * SIDE : (t + 1) * SIDE]
        for d in range(x.shape[3]):
            to[d] = row[d] * scale


@piece
def _rows_out(x, scale, n, g, out):
    """out[n, :, g] = scale x[:T, :D]."""
    for t in range(out.shape[1]):
        row, to = x[t * SIDE : (t + 1) * SIDE], out[n, t, g]
        for d in range(out.shape[3]):
            to[d] = row[d] * scale


@piece
def _columns_in(x, n, g, out):
    """out[:D, :T] = x[n, :, g]^T."""
    for t in range(x.shape[1]):
        row, to = x[n, t, g], out[t:]
        for d in range(x.shape[3]):
            to[d * SIDE] = row[d]


@piece
def _transpose(x, rows, columns, out):
    """out[:columns, :rows] = x[:rows, :columns]^T."""
    for r in range(rows):
        row, to = x[r * SIDE : (r + 1) * SIDE], out[r:]
        for c in range(columns):
            to[c * SIDE] = row[c]


@piece
def _add_bias(bias, n, g, columns, s):
    """s[:, :columns] += bias[n, g], whose axes of size 1 stand for all."""
    i = n if bias.shape[0] > 1 else 0
    j = g if bias.shape[1] > 1 else 0
    for r in range(s.shape[0]):
        row, to = bias[i, j, r if bias.shape[2] > 1 else 0], s[r]
        if bias.shape[3] > 1:
            for c in range(columns):
                to[c] += row[c]
        else:
            for c in range(columns):
                to[c] += row[0]


@piece
def _drop(key, p, first, columns, s):
    """Dropout of the rows of s, which are rows `first` and on of all heads' together."""
    bar = np.uint64(round(p * 16777216.0))
    scale = s.dtype.type(0.0 if p == 1.0 else 1.0 / (1.0 - p))
    for r in range(s.shape[0]):
        _dropout_row((first + r) * columns, columns, key[0], bar, scale, s, r)


@helper
def _up(n, step):
    return (n + step - 1) // step * step


@piece
def _forward_heads(q, k, v, bias, key, p, scale, causal, first, last, out, lse):
    heads, L, S, E, V = q.shape[2], q.shape[1], k.shape[1], q.shape[3], v.shape[3]
    rows, keys, depth, wide = _up(L, 4), _up(S, 4), _up(E, 4), _up(S, 32)
    # zeros once: what lies beyond L, S, E and V is written by products of zeros alone
    qs, kt = np.zeros(rows * SIDE, q.dtype), np.zeros(depth * SIDE, q.dtype)
    vs, o = np.zeros(keys * SIDE, q.dtype), np.zeros(rows * SIDE, q.dtype)
    flat = np.zeros(rows * SIDE, q.dtype)
    s = flat.reshape((rows, SIDE))[:L]
    top, total, shrink = np.empty(L, q.dtype), np.empty(L, q.dtype), np.empty(L, q.dtype)
    one = q.dtype.type(1.0)
    for u in range(first, last):
        n, g = u // heads, u % heads
        _rows_in(q, n, g, q.dtype.type(scale), qs)
        _columns_in(k, n, g, kt)
        _rows_in(v, n, g, one, vs)
        for i in range(0, rows, 4):
            _product(qs, kt, flat, i, depth, min(wide, _up(i + 4, 32)) if causal else wide)
        if bias.size:
            _add_bias(bias, n, g, S, s)
        for r in range(L):
            top[r] = -np.inf
            total[r] = 0.0
        _softmax_rows(L, 0 if causal else S, S, s, top, total, shrink)
        if p > 0.0:
            _drop(key, p, u * L, S, s)
        for i in range(0, rows, 4):
            _product(flat, vs, o, i, min(keys, i + 4) if causal else keys, _up(V, 32))
        for r in range(L):
            scaling, row, to = q.dtype.type(0.0), o[r * SIDE : (r + 1) * SIDE], out[n, r, g]
            if total[r] == 0.0:
                lse[n, g, r] = np.inf
            else:
                lse[n, g, r] = top[r] + np.log(total[r])
                scaling = one / total[r]
            for d in range(V):
                to[d] = row[d] * scaling


@kernel(reference=attention_heads_forward_ref, parallel=True, serial_below=8_192)
def attention_heads_forward(q, k, v, bias, key, p, scale, causal, out, lse):
    """q (N, L, G, E), k (N, S, G, E), v (N, S, G, V), out (N, L, G, V), all but N and G up to SIDE.

    lse (N, G, L).
    bias (N or 1, G or 1, L or 1, S or 1) is added to the logits; without elements there is none.
    key (1,) uint64, p: dropout of the weights. lse = log sum exp of each row, inf where all
    logits are -inf.
    """
    heads = q.shape[0] * q.shape[2]
    for piece_ in prange(count_pieces(heads, _PIECE)):
        a, b = piece_bounds(piece_, _PIECE, heads)
        _forward_heads(q, k, v, bias, key, p, scale, causal, a, b, out, lse)


@QUIET
def attention_heads_backward_ref(
    q, k, v, bias, key, p, scale, causal, out, lse, dout, dq, dk, dv
):
    weights = np.exp(_logits_ref(q, k, bias, scale, causal) - lse[..., None])
    weights[lse == np.inf] = 0
    do = dout.transpose(0, 2, 1, 3)
    dp = do @ v.transpose(0, 2, 3, 1)
    _drop_ref(key, p, dp)
    delta = (dout * out).sum(axis=-1, dtype=np.float64).transpose(0, 2, 1)
    ds = np.where(weights == 0, 0, weights * (dp - delta[..., None])).astype(q.dtype)
    _drop_ref(key, p, weights)
    dq[:] = scale * (ds @ k.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    dk[:] = scale * (ds.swapaxes(2, 3) @ q.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    dv[:] = (weights.swapaxes(2, 3) @ do).transpose(0, 2, 1, 3)


@piece
def _transposed_product(a, b, at, rows, columns, c, causal, width):
    """c = a^T b; row j of a^T begins with zeros up to column j if causal, which are skipped."""
    _transpose(a, rows, columns, at)
    for j in range(0, columns, 4):
        first = min(j, rows) if causal else 0
        _product(at[first:], b[first * SIDE :], c, j, rows - first, width)


@piece
def _backward_heads(
    q, k, v, bias, key, p, scale, causal, out, lse, dout, first, last, dq, dk, dv
):
    heads, L, S, E, V = q.shape[2], q.shape[1], k.shape[1], q.shape[3], v.shape[3]
    rows, keys, wide = _up(L, 4), _up(S, 4), _up(S, 32)
    qs, do = np.zeros(rows * SIDE, q.dtype), np.zeros(rows * SIDE, q.dtype)
    ks, sums = np.zeros(keys * SIDE, q.dtype), np.zeros(max(rows, keys) * SIDE, q.dtype)
    kt, vt = np.zeros(_up(E, 4) * SIDE, q.dtype), np.zeros(_up(V, 4) * SIDE, q.dtype)
    flat, dflat = np.zeros(rows * SIDE, q.dtype), np.zeros(rows * SIDE, q.dtype)
    turned = np.zeros((keys + 1) * SIDE, q.dtype)
    s, dp = flat.reshape((rows, SIDE))[:L], dflat.reshape((rows, SIDE))[:L]
    row_lse, delta = np.empty(L, q.dtype), np.empty(L, q.dtype)
    one, factor = q.dtype.type(1.0), q.dtype.type(scale)
    for u in range(first, last):
        n, g = u // heads, u % heads
        _rows_in(q, n, g, factor, qs)
        _rows_in(dout, n, g, one, do)
        _rows_in(k, n, g, one, ks)
        _columns_in(k, n, g, kt)
        _columns_in(v, n, g, vt)
        for i in range(0, rows, 4):
            seen = min(wide, _up(i + 4, 32)) if causal else wide
            _product(qs, kt, flat, i, _up(E, 4), seen)
            _product(do, vt, dflat, i, _up(V, 4), seen)
        if bias.size:
            _add_bias(bias, n, g, S, s)
        if p > 0.0:
            _drop(key, p, u * L, S, dp)
        for r in range(L):
            row_lse[r] = lse[n, g, r]
            inner, y, dy = 0.0, out[n, r, g], dout[n, r, g]
            for d in range(V):
                inner += y[d] * dy[d]
            delta[r] = inner
        _softmax_backward_rows(row_lse, delta, L, 0 if causal else S, S, s, dp)
        for i in range(0, rows, 4):
            _product(dflat, ks, sums, i, min(keys, i + 4) if causal else keys, _up(E, 32))
        _rows_out(sums, factor, n, g, dq)
        _transposed_product(dflat, qs, turned, rows, keys, sums, causal, _up(E, 32))
        _rows_out(sums, one, n, g, dk)
        if p > 0.0:
            _drop(key, p, u * L, S, s)
        _transposed_product(flat, do, turned, rows, keys, sums, causal, _up(V, 32))
        _rows_out(sums, one, n, g, dv)


@kernel(reference=attention_heads_backward_ref, parallel=True, serial_below=8_192)
def attention_heads_backward(
    q, k, v, bias, key, p, scale, causal, out, lse, dout, dq, dk, dv
):
    """The gradients of `attention_heads_forward`; out and lse are its results."""
    heads = q.shape[0] * q.shape[2]
    for piece_ in prange(count_pieces(heads, _PIECE)):
        a, b = piece_bounds(piece_, _PIECE, heads)
        _backward_heads(
            q, k, v, bias, key, p, scale, causal, out, lse, dout, a, b, dq, dk, dv
        )
