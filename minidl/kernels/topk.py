"""The k best items of each row of scores, without those a user has already seen."""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds, rows_a_piece

_PIECE = 16_384  # scores
_BLOCK = 64  # scores looked at together: most blocks hold none that is good enough


def topk_rows_ref(scores, indptr, seen, ids, values):
    k = ids.shape[1]
    for b in range(len(scores)):
        row = np.where(np.isnan(scores[b]), -np.inf, scores[b])
        row[seen[indptr[b] : indptr[b + 1]]] = -np.inf
        best = np.argsort(-row, kind="stable")[:k]
        best = best[row[best] > -np.inf]
        ids[b], values[b] = -1, -np.inf
        ids[b, : len(best)], values[b, : len(best)] = best, row[best]


@helper
def _contains(items, start, stop, item):
    """True when the ascending items[start:stop] hold item."""
    while start < stop:
        middle = (start + stop) // 2
        if items[middle] < item:
            start = middle + 1
        elif items[middle] > item:
            stop = middle
        else:
            return True
    return False


@piece
def _topk(scores, indptr, seen, first, ids, values):
    k, width = ids.shape[1], scores.shape[1]
    for b in range(scores.shape[0]):
        ids[b, :] = -1
        values[b, :] = -np.inf
        bar = values[b, k - 1]  # a score must be above it: of equal scores the first stays
        for block in range(count_pieces(width, _BLOCK)):
            s, e = piece_bounds(block, _BLOCK, width)
            better = 0
            part = scores[b, s:e]
            for i in range(part.size):
                better |= part[i] > bar
            if not better:
                continue
            for i in range(part.size):
                score = part[i]
                if not score > bar:
                    continue
                if _contains(seen, indptr[first + b], indptr[first + b + 1], s + i):
                    continue
                place = k - 1
                while place > 0 and values[b, place - 1] < score:
                    values[b, place] = values[b, place - 1]
                    ids[b, place] = ids[b, place - 1]
                    place -= 1
                values[b, place] = score
                ids[b, place] = s + i
                bar = values[b, k - 1]


@kernel(reference=topk_rows_ref, parallel=True, serial_below=50_000)
def topk_rows(scores, indptr, seen, ids, values):
    """scores (B, V); indptr (B+1,), seen: CSR lists of items to leave out, ascending in each row;
    ids int64, values (B, k), k >= 1.  Best first; of equal scores the lower index first.

    NaN and -inf are never chosen. Where fewer than k items remain: id -1 with value -inf.
    """
    step = rows_a_piece(scores.shape[1], _PIECE)
    for p in prange(count_pieces(scores.shape[0], step)):
        s, e = piece_bounds(p, step, scores.shape[0])
        _topk(scores[s:e], indptr, seen, s, ids[s:e], values[s:e])
