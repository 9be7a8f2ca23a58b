"""Popular: the same best-sellers for everyone. The first baseline, and the fallback of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecommerce.data.interactions import Interactions
from ecommerce.recommend.base import Codes, Recommender, Scores
from ecommerce.recommend.lists import Lists


class Popular(Recommender):
    """Ranks items by their number of events in the training part.

        score(u, i) = number of rows of item i

    Repeated purchases count each time. "TopPop" or "PopRec" of the papers.
    """

    personal = False
    source = "popular"

    def __init__(self) -> None:
        super().__init__()

    def _fit(self, train: Interactions, items: Any, valid: Interactions | None) -> None:
        """Nothing to learn: the contract keeps the counts of every model's training part."""

    def score_block(self, user_codes: Codes, history: Lists | None = None) -> Scores:
        return np.tile(self.item_counts.astype(np.float32), (len(user_codes), 1))

    def score_history(self, history: Lists) -> Scores:
        return np.tile(self.item_counts.astype(np.float32), (len(history.lengths), 1))

    def reasons(self, history: Lists, ids: NDArray[np.int64]) -> NDArray[np.str_]:
        counts = self.item_counts[np.maximum(ids, 0)].astype(np.str_)
        return np.strings.add(np.strings.add("bought ", counts), " times")
