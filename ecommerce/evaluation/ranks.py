"""The place of each test item in a ranking: among all items, or among random negatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecommerce.recommend.lists import Lists
from ecommerce.recommend.random import uniform_rows
from minidl.kernels import kernel, piece_bounds, prange, topk_rows

# As in `topk_rows`, of equal scores the lower code stands first: a model that scores everything
# alike gains nothing from ties. Counting only the scores above the target's would place it first.


def target_ranks_ref(scores, indptr, targets, ranks):
    codes = np.arange(scores.shape[1])
    for b in range(len(scores)):
        for p in range(indptr[b], indptr[b + 1]):
            own = scores[b, targets[p]]
            ahead = (scores[b] > own) | ((scores[b] == own) & (codes < targets[p]))
            ranks[p] = 1 + np.count_nonzero(ahead) if own > -np.inf else 0


@kernel(reference=target_ranks_ref, parallel=True, size_of="scores")
def target_ranks(scores, indptr, targets, ranks):
    """ranks[p]: place (from 1) of item targets[p] among row b of scores, p in list b; 0 where its
    own score is -inf or NaN.

    scores (B, V), with -inf for items that may not be shown; indptr (B+1,), targets (N,);
    ranks (N,) int64.
    """
    for b in prange(scores.shape[0]):
        s, e = piece_bounds(b, 1, scores.shape[0])
        for p in range(indptr[s], indptr[e]):
            own = scores[s, targets[p]]
            ahead = 0
            for j in range(targets[p]):
                ahead += scores[s, j] >= own
            for j in range(targets[p], scores.shape[1]):
                ahead += scores[s, j] > own
            ranks[p] = 1 + ahead if own > -np.inf else 0


def sample_negatives(
    users: NDArray[np.integer], targets: Lists, exclude: Lists, n_items: int, n: int, seed: int
) -> NDArray[np.int64]:
    """n items for each target, (N, n): uniform, each once, not excluded and no target of the user.

    Drawn from (seed, user, target), so every model meets the same ones, in any blocks. -1 where
    the catalogue has fewer.
    """
    rows = targets.rows()
    keys = (users[rows].astype(np.uint64) << np.uint64(32)) ^ targets.items.astype(np.uint64)
    keys = (keys ^ np.uint64(seed % 2**63)) * np.uint64(0xD6E8FEB86659FD93)
    keys ^= keys >> np.uint64(32)
    banned = exclude.joined(targets).distinct().take(rows)
    draws = np.empty((len(rows), n_items), np.float32)
    uniform_rows(keys, draws)
    chosen, values = np.empty((len(rows), n), np.int64), np.empty((len(rows), n), np.float32)
    topk_rows(draws, banned.indptr, banned.items, chosen, values)
    return chosen


def sampled_ranks(
    scores: NDArray[np.floating], targets: Lists, negatives: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Place of each target (N,) among its negatives (N, n); 0 where the model gives it no score."""
    rows = targets.rows()
    own = scores[rows, targets.items]
    others = scores[rows[:, None], np.maximum(negatives, 0)]  # (N, n)
    ahead = (others > own[:, None]) | (
        (others == own[:, None]) & (negatives < targets.items[:, None])
    )
    ranks = 1 + (ahead & (negatives >= 0)).sum(axis=1)
    return np.where(own > -np.inf, ranks, 0)
