"""ItemKNN: items that the same users took, with the newest of a history counting most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecommerce.data.interactions import Interactions
from ecommerce.recommend import store
from ecommerce.recommend.base import Codes, Recommender, Scores
from ecommerce.recommend.lists import Lists
from ecommerce.recommend.neighbours import (
    cooccurrence,
    cooccurrence_lengths,
    neighbour_scores,
    strongest,
)


class ItemKNN(Recommender):
    """Item-item cosine over co-occurrence, summed over the user's history.

        sim(i, j) = c_ij / (sqrt(n_i n_j) + shrink)
        score(u, j) = Σ_{i in history of u, j in N(i)} decay^(distance of i) · sim(i, j)

    n_i users took item i, c_ij took both (repeats count once); N(i) are the `neighbours` items
    most like i, all with None; the newest event has distance 0, the one before it 1, … decay 1
    treats a history as a set, 0.7 suits shops where the last purchase says most about the next.
    shrink pulls the similarities of rare items towards 0: without it two items that one user took,
    and nobody else, are as alike as can be. 0 is the plain cosine.

    An item that nobody took together with one of the history has no score.

    Source: Deshpande & Karypis 2004, Item-based top-N recommendation algorithms (TOIS 22).
    """

    reads_history = True

    def __init__(
        self, neighbours: int | None = None, shrink: float = 10.0, decay: float = 1.0
    ) -> None:
        super().__init__()
        if neighbours is not None and neighbours < 1:
            raise ValueError(f"ItemKNN: neighbours={neighbours}; give 1 or more, or None for all")
        if not shrink >= 0:
            raise ValueError(f"ItemKNN: shrink={shrink}; it must be 0 or more")
        if not 0 < decay <= 1:
            raise ValueError(f"ItemKNN: decay={decay}; it must be above 0 and at most 1")
        self.neighbours = neighbours
        self.shrink = shrink
        self.decay = decay

    def _fit(self, train: Interactions, items: Any, valid: Interactions | None) -> None:
        by_user = self.history.distinct()
        by_item = by_user.transposed(self.n_items)
        inputs = (by_item.indptr, by_item.items, by_user.indptr, by_user.items)
        lengths = np.empty(self.n_items, np.int64)
        cooccurrence_lengths(*inputs, lengths)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        near = np.empty(indptr[-1], np.int32)
        counts = np.empty(indptr[-1], np.int32)
        cooccurrence(*inputs, indptr, near, counts)

        root = np.sqrt(by_item.lengths.astype(np.float64))  # sqrt(n_i), (V,)
        cosine = counts / (np.repeat(root, lengths) * root[near] + self.shrink)
        self._near = Lists(indptr, near)
        self._cosine = cosine.astype(np.float32)
        if self.neighbours is not None:
            self._prune(self.neighbours)

    def _prune(self, n: int) -> None:
        """Keep each item's n nearest; of equally near ones the lower code."""
        rows = self._near.rows()
        order = np.lexsort((self._near.items, -self._cosine, rows))
        rank = np.arange(len(order)) - self._near.indptr[rows]  # rows are in order already
        kept = np.sort(order[rank < n])  # back to ascending codes in each row
        counts = np.bincount(rows[kept], minlength=self.n_items)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        self._near = Lists(indptr, self._near.items[kept])
        self._cosine = self._cosine[kept]

    def score_history(self, history: Lists) -> Scores:
        scores = np.empty((len(history.lengths), self.n_items), np.float32)
        neighbour_scores(*self._weighted(history), scores)
        return scores

    def _weighted(self, history: Lists) -> tuple[NDArray[Any], ...]:
        """The arguments of the kernels: histories, weights of their entries, neighbours."""
        ends = np.repeat(history.indptr[1:], history.lengths)
        distance = ends - 1 - np.arange(len(history.items))
        weights = np.power(self.decay, distance).astype(np.float32)
        return (*history, weights, *self._near, self._cosine)

    def similar_block(self, item_codes: Codes) -> Scores | None:
        return self.score_history(Lists.of([[code] for code in item_codes]))

    def reasons(self, history: Lists, ids: NDArray[np.int64]) -> NDArray[np.str_]:
        because = np.empty(ids.shape, np.int64)
        strongest(*self._weighted(history), ids, because)
        return np.strings.add("bought with ", self.item_ids[because])

    def _arrays(self) -> store.Arrays:
        return {"near.indptr": self._near.indptr, "near.items": self._near.items,
                "cosine": self._cosine}

    def _restore(self, arrays: store.Arrays) -> None:
        self._near = Lists(arrays["near.indptr"], arrays["near.items"])
        self._cosine = arrays["cosine"]
