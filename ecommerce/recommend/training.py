"""Fitting by a split: choose on the validation part, then learn from all that is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecommerce.data.interactions import Interactions
from ecommerce.recommend.base import Recommender


def joined(first: Interactions, second: Interactions | None) -> Interactions:
    """The rows of two parts of one Interactions, those of the first before the second's."""
    if second is None or not len(second):
        return first
    if not (np.array_equal(first.user_ids, second.user_ids)
            and np.array_equal(first.item_ids, second.item_ids)):
        raise ValueError(
            "joined: the parts have different id tables; make them with split(...) or select(...) "
            "from one Interactions"
        )

    def both(name: str) -> Any:
        columns = getattr(first, name), getattr(second, name)
        return None if any(column is None for column in columns) else np.concatenate(columns)

    return Interactions(
        both("users"), both("items"), both("values"), both("times"), both("sessions"),
        user_ids=first.user_ids, item_ids=first.item_ids, session_ids=first.session_ids,
    )


def fit_by_split(
    model: Recommender, split: Any, items: Any = None, refit: bool = False
) -> Recommender:
    """A model fitted on split.train, with split.valid to stop by.

    refit: learn once more, from the start, on train and validation together, where a model that
    stops early takes the number of epochs that was best the first time (its best_epoch). The
    figures published for a split without a validation part are those of models that saw all of
    train, so this is the fair comparison; `evaluate` states it as fitted_on "train+valid".
    Returns the model itself, or a new one of the same class with the changed number of epochs.
    """
    model.fit(split.train, items=items, valid=split.valid)
    if not refit or split.valid is None or not len(split.valid):
        return model
    params = model.get_params()
    if "epochs" in params and hasattr(model, "best_epoch"):
        params["epochs"] = model.best_epoch
    return type(model)(**params).fit(joined(split.train, split.valid), items=items)
