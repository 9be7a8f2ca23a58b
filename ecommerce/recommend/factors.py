"""Loops of factor models: items to rank below, scores, and which past item a score is near to."""

from __future__ import annotations

import numpy as np

from minidl.kernels import count_pieces, helper, kernel, piece, piece_bounds, prange, rows_a_piece

_DRAWS_A_PIECE = 8_192
_SCORES_A_PIECE = 65_536
_TILE = 512  # items whose factors (TILE · D · 4 bytes) stay in a core's cache for many users


# --------------------------------------------------------------------------- negatives
#
# Uniform over the items that a user has not taken, without drawing again and again: with a user's
# n items ascending, items[m] - m others lie below place m, so the r-th other one (r = 0 … V-n-1)
# is r + m for the first m with items[m] - m > r. A binary search finds m.


def draw_unseen_ref(users, draws, indptr, items, n_items, out):
    for b in range(len(users)):
        taken = items[indptr[users[b]] : indptr[users[b] + 1]]
        others = np.setdiff1d(np.arange(n_items), taken)
        out[b] = others[int(draws[b] * len(others))] if len(others) else -1


@piece
def _draw_unseen(users, draws, indptr, items, n_items, out):
    for b in range(users.size):
        start, stop = indptr[users[b]], indptr[users[b] + 1]
        left = n_items - (stop - start)
        if left <= 0:
            out[b] = -1
            continue
        r = np.int64(draws[b] * left)
        low, high = start, stop
        while low < high:
            middle = (low + high) // 2
            if items[middle] - (middle - start) > r:
                high = middle
            else:
                low = middle + 1
        out[b] = r + (low - start)


@kernel(reference=draw_unseen_ref, parallel=True, serial_below=20_000)
def draw_unseen(users, draws, indptr, items, n_items, out):
    """out[b]: an item that user users[b] has not taken, chosen by draws[b] in [0, 1); -1 for none.

    users (B,) int64, draws (B,) float64; indptr (U+1,), items: CSR of what each user took,
    ascending, each once. out (B,) int64.
    """
    for p in prange(count_pieces(users.size, _DRAWS_A_PIECE)):
        s, e = piece_bounds(p, _DRAWS_A_PIECE, users.size)
        _draw_unseen(users[s:e], draws[s:e], indptr, items, n_items, out[s:e])


# --------------------------------------------------------------------------- scores
#
# A matrix product that is not left to BLAS, for a score's last bit must not depend on who else is
# asked for, nor on threads: BLAS takes other kernels for other numbers of rows.


def factor_scores_ref(vectors, factors, bias, scores):
    scores[:] = bias
    for d in range(vectors.shape[1]):
        scores += vectors[:, d : d + 1] * factors[d]


@helper
def _add_factors(p, factors, first, row):
    """row[j] += Σ_d p[d] factors[d, first + j], in the order of d."""
    n = p.size - p.size % 4
    for d in range(0, n, 4):
        a, b, c, e = p[d], p[d + 1], p[d + 2], p[d + 3]
        fa, fb = factors[d, first : first + row.size], factors[d + 1, first : first + row.size]
        fc, fe = factors[d + 2, first : first + row.size], factors[d + 3, first : first + row.size]
        for j in range(row.size):
            row[j] = row[j] + a * fa[j] + b * fb[j] + c * fc[j] + e * fe[j]
    for d in range(n, p.size):
        a, fa = p[d], factors[d, first : first + row.size]
        for j in range(row.size):
            row[j] = row[j] + a * fa[j]


@piece
def _factor_scores(vectors, factors, bias, scores):
    width = scores.shape[1]
    for t in range(count_pieces(width, _TILE)):
        s, e = piece_bounds(t, _TILE, width)
        for b in range(scores.shape[0]):
            row = scores[b, s:e]
            row[:] = bias[s:e]
            _add_factors(vectors[b], factors, s, row)


@kernel(reference=factor_scores_ref, parallel=True, size_of="scores", serial_below=20_000)
def factor_scores(vectors, factors, bias, scores):
    """scores[b, j] = bias[j] + Σ_d vectors[b, d] factors[d, j], summed in the order of d.

    vectors (B, D), factors (D, V), bias (V,), scores (B, V).
    """
    step = rows_a_piece(scores.shape[1], _SCORES_A_PIECE)
    for p in prange(count_pieces(scores.shape[0], step)):
        s, e = piece_bounds(p, step, scores.shape[0])
        _factor_scores(vectors[s:e], factors, bias, scores[s:e])


def nearest_taken_ref(indptr, items, factors, ids, because):
    because[:] = -1
    for b, k in np.ndindex(ids.shape):
        taken = items[indptr[b] : indptr[b + 1]]
        if ids[b, k] >= 0 and len(taken):
            because[b, k] = taken[np.argmax(factors[taken] @ factors[ids[b, k]])]


@kernel(reference=nearest_taken_ref)
def nearest_taken(indptr, items, factors, ids, because):
    """because[b, k]: the item of history b whose row of factors has the largest product with that
    of item ids[b, k]; the first of equal ones; -1 where there is none.

    indptr (B+1,), items: histories; factors (V, D); ids, because (B, K) int64.
    """
    for b in range(ids.shape[0]):
        for k in range(ids.shape[1]):
            because[b, k] = -1
            if ids[b, k] < 0:
                continue
            most = -np.inf
            for p in range(indptr[b], indptr[b + 1]):
                near = 0.0
                for d in range(factors.shape[1]):
                    near += np.float64(factors[items[p], d]) * factors[ids[b, k], d]
                if near > most:
                    most = near
                    because[b, k] = items[p]
