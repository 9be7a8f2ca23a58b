"""Loops of neighbourhood models: who was bought with whom, and what follows from a history."""

from __future__ import annotations

import numpy as np

from minidl.kernels import count_pieces, helper, kernel, piece, piece_bounds, prange, rows_a_piece

_ITEMS_A_PIECE = 64
_SCORES_A_PIECE = 65_536


# --------------------------------------------------------------------------- co-occurrence
#
# C = Xᵀ X without its diagonal, X (users, items) of 0 and 1, both sparse, one row of C at a time
# (Gustavson 1978, Two fast algorithms for sparse matrices). A first run counts the entries of each
# row, so that the second fills arrays of just that size.


def _cooccurrence_row(item, item_indptr, item_users, user_indptr, user_items):
    """Reference: (items bought with `item`, number of users who did), ascending."""
    users = item_users[item_indptr[item] : item_indptr[item + 1]]
    taken = [user_items[user_indptr[u] : user_indptr[u + 1]] for u in users]
    others, counts = np.unique(np.concatenate([[], *taken]).astype(np.int64), return_counts=True)
    return others[others != item], counts[others != item]


def cooccurrence_lengths_ref(item_indptr, item_users, user_indptr, user_items, lengths):
    for item in range(len(lengths)):
        others, _ = _cooccurrence_row(item, item_indptr, item_users, user_indptr, user_items)
        lengths[item] = len(others)


def cooccurrence_ref(item_indptr, item_users, user_indptr, user_items, indptr, others, counts):
    for item in range(len(indptr) - 1):
        row = slice(indptr[item], indptr[item + 1])
        others[row], counts[row] = _cooccurrence_row(
            item, item_indptr, item_users, user_indptr, user_items
        )


@helper
def _gather_row(item, item_indptr, item_users, user_indptr, user_items, together, touched):
    """Fill together[j] for the items j bought with `item`, list them in touched; their number."""
    n = 0
    for p in range(item_indptr[item], item_indptr[item + 1]):
        u = item_users[p]
        for q in range(user_indptr[u], user_indptr[u + 1]):
            j = user_items[q]
            if j == item:
                continue
            if together[j] == 0:
                touched[n] = j
                n += 1
            together[j] += 1
    return n


@piece
def _lengths(first, item_indptr, item_users, user_indptr, user_items, lengths):
    n_items = item_indptr.size - 1
    together = np.zeros(n_items, np.int32)
    touched = np.empty(n_items, np.int64)
    for r in range(lengths.size):
        n = _gather_row(
            first + r, item_indptr, item_users, user_indptr, user_items, together, touched
        )
        for t in range(n):
            together[touched[t]] = 0
        lengths[r] = n


@kernel(reference=cooccurrence_lengths_ref, parallel=True, size_of="item_users")
def cooccurrence_lengths(item_indptr, item_users, user_indptr, user_items, lengths):
    """How many other items share a user with each item: lengths (V,) int64.

    item_indptr (V+1,), item_users: the users of each item; user_indptr, user_items: the items of
    each user. Both CSR of int64, each pair once.
    """
    for p in prange(count_pieces(lengths.size, _ITEMS_A_PIECE)):
        s, e = piece_bounds(p, _ITEMS_A_PIECE, lengths.size)
        _lengths(s, item_indptr, item_users, user_indptr, user_items, lengths[s:e])


@piece
def _cooccurrence(
    first, rows, item_indptr, item_users, user_indptr, user_items, indptr, others, counts
):
    n_items = item_indptr.size - 1
    together = np.zeros(n_items, np.int32)
    touched = np.empty(n_items, np.int64)
    for r in range(rows):
        item = first + r
        n = _gather_row(item, item_indptr, item_users, user_indptr, user_items, together, touched)
        touched[:n].sort()
        start = indptr[item]
        for t in range(n):
            j = touched[t]
            others[start + t] = j
            counts[start + t] = together[j]
            together[j] = 0


@kernel(reference=cooccurrence_ref, parallel=True, size_of="item_users")
def cooccurrence(item_indptr, item_users, user_indptr, user_items, indptr, others, counts):
    """Users that two items share: CSR rows of items, each ascending, without the item itself.

    Inputs as `cooccurrence_lengths`; indptr (V+1,) from its lengths. Fills others, counts
    (indptr[-1],) of int32.
    """
    for p in prange(count_pieces(indptr.size - 1, _ITEMS_A_PIECE)):
        s, e = piece_bounds(p, _ITEMS_A_PIECE, indptr.size - 1)
        _cooccurrence(
            s, e - s, item_indptr, item_users, user_indptr, user_items, indptr, others, counts
        )


# --------------------------------------------------------------------------- scores


def neighbour_scores_ref(indptr, items, weights, near_indptr, near_items, near_values, scores):
    scores[:] = 0
    for b in range(len(scores)):
        for p in range(indptr[b], indptr[b + 1]):
            row = slice(near_indptr[items[p]], near_indptr[items[p] + 1])
            scores[b, near_items[row]] += weights[p] * near_values[row]
    scores[scores == 0] = -np.inf


@piece
def _neighbour_scores(
    first, indptr, items, weights, near_indptr, near_items, near_values, scores
):
    zero = scores.dtype.type(0.0)
    for b in range(scores.shape[0]):
        row = scores[b]
        row[:] = zero
        for p in range(indptr[first + b], indptr[first + b + 1]):
            weight = weights[p]
            for q in range(near_indptr[items[p]], near_indptr[items[p] + 1]):
                row[near_items[q]] += weight * near_values[q]
        for j in range(row.size):
            row[j] = -np.inf if row[j] == zero else row[j]


@kernel(reference=neighbour_scores_ref, parallel=True, size_of="scores", serial_below=50_000)
def neighbour_scores(indptr, items, weights, near_indptr, near_items, near_values, scores):
    """scores[b, j] = Σ weights[p] · near[items[p], j] over the entries p of history b.

    indptr (B+1,), items (N,): histories; weights (N,) > 0; near_indptr (V+1,), near_items,
    near_values > 0: CSR of each item's neighbours. Fills scores (B, V); -inf where the history
    has no neighbour of the item.
    """
    step = rows_a_piece(scores.shape[1], _SCORES_A_PIECE)
    for p in prange(count_pieces(scores.shape[0], step)):
        s, e = piece_bounds(p, step, scores.shape[0])
        _neighbour_scores(
            s, indptr, items, weights, near_indptr, near_items, near_values, scores[s:e]
        )


def strongest_ref(indptr, items, weights, near_indptr, near_items, near_values, ids, because):
    because[:] = -1
    for b, k in np.ndindex(ids.shape):
        most = 0.0
        for p in range(indptr[b], indptr[b + 1]):
            row = slice(near_indptr[items[p]], near_indptr[items[p] + 1])
            share = (weights[p] * near_values[row])[near_items[row] == ids[b, k]]
            if share.size and share[0] > most:
                most, because[b, k] = share[0], items[p]


@kernel(reference=strongest_ref)
def strongest(indptr, items, weights, near_indptr, near_items, near_values, ids, because):
    """Which item of history b adds most to the score of ids[b, k]: because (B, K), -1 for none.

    Arguments as `neighbour_scores`, each row of neighbours ascending; ids (B, K).
    """
    for b in range(ids.shape[0]):
        for k in range(ids.shape[1]):
            because[b, k] = -1
            most = near_values.dtype.type(0.0)
            for p in range(indptr[b], indptr[b + 1]):
                start, stop = near_indptr[items[p]], near_indptr[items[p] + 1]
                while start < stop:  # first place whose item is not below
                    middle = (start + stop) // 2
                    if near_items[middle] < ids[b, k]:
                        start = middle + 1
                    else:
                        stop = middle
                if start == near_indptr[items[p] + 1] or near_items[start] != ids[b, k]:
                    continue
                share = weights[p] * near_values[start]
                if share > most:
                    most = share
                    because[b, k] = items[p]
