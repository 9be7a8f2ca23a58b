"""Task: who is asked for what in an evaluation, and the protocol that follows from it."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any
from typing import Protocol as Shape

import numpy as np
from numpy.typing import NDArray

from ecommerce.data.interactions import Interactions
from ecommerce.data.ordering import group_order
from ecommerce.evaluation.protocol import Mask, Protocol
from ecommerce.recommend import Recommender
from ecommerce.recommend.lists import Lists, sorted_unique


class SplitLike(Shape):
    """Parts that share their id tables, and words on how they were made."""

    @property
    def train(self) -> Interactions: ...
    @property
    def valid(self) -> Interactions | None: ...
    @property
    def test(self) -> Interactions: ...
    @property
    def protocol(self) -> Any: ...


class Task:
    """Who is asked for what: everything about an evaluation that no model changes."""

    def __init__(self, split: SplitLike, part: str, mask: Mask, history: str):
        wanted = split.test if part == "test" else split.valid
        if wanted is None or not len(wanted):
            raise ValueError(f"evaluate: the split's {part} part is empty; choose another split")
        self.train, self.n_items = split.train, split.train.n_items
        self.known = part == "test" and split.valid is not None and len(split.valid) > 0
        for other in (split.valid, split.test):
            if other is not None and not (
                np.array_equal(other.item_ids, self.train.item_ids)
                and np.array_equal(other.user_ids, self.train.user_ids)
            ):
                raise ValueError(
                    "evaluate: the parts of the split have different id tables; make them with "
                    "split(...) or select(...) from one Interactions"
                )
        self.train_lists = lists_of(self.train)
        everything = lists_of(self.train, split.valid) if self.known else self.train_lists
        self.histories = {"history": everything, "train": self.train_lists}
        self.history = everything if history == "train+valid" else self.train_lists
        self.seen = (
            Lists.empty(self.train.n_users) if mask == "none" else self.histories[mask].distinct()
        )
        asked = lists_of(wanted).distinct()
        rows, keys = asked.rows(), asked.rows() * self.n_items + asked.items
        masked = np.isin(keys, self.seen.rows() * self.n_items + self.seen.items)
        counts = np.bincount(rows[~masked], minlength=self.train.n_users)
        indptr = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.targets = Lists(indptr, asked.items[~masked])
        self.left_out = int(masked.sum())
        self.users = np.flatnonzero(counts)  # (U,) the users who are evaluated
        if not len(self.users):
            raise ValueError(
                f"evaluate: every event of the {part} part is of a masked item, so no list can "
                "hold it; with repeat purchases use mask='none'"
            )
        self.item_users = np.bincount(
            self.train_lists.distinct().items, minlength=self.n_items
        )


def lists_of(*parts: Interactions | None) -> Lists:
    """Histories (n_users lists) of the parts together: by time, then part, then row."""
    rows = [part for part in parts if part is not None]
    users = np.concatenate([part.users for part in rows])
    items = np.concatenate([part.items for part in rows])
    timed = [part.times for part in rows if part.times is not None]
    times = np.concatenate(timed) if len(timed) == len(rows) else None
    counts = np.bincount(users, minlength=rows[0].n_users)
    indptr = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return Lists(indptr, items[group_order(users, times)].astype(np.int64))


def fitted_on(name: str, model: Recommender, task: Task) -> str:
    """What the model learned from, found by comparing its data with the split's parts."""
    if not (np.array_equal(model.user_ids, task.train.user_ids)
            and np.array_equal(model.item_ids, task.train.item_ids)):
        raise ValueError(
            f"evaluate: {name} was fitted on data with other ids ({model.n_users} users, "
            f"{model.n_items} items; the split has {task.train.n_users} and {task.n_items}); "
            "fit it on split.train"
        )
    if model.data_hash == task.train.data_hash():
        return "train"
    learned = _pairs(model.history, task.n_items)
    if task.known and np.array_equal(learned, _pairs(task.histories["history"], task.n_items)):
        return "train+valid"
    known = _pairs(task.histories["history"], task.n_items)
    leaked = np.isin(_pairs(task.targets, task.n_items), np.setdiff1d(learned, known))
    if leaked.any():
        warnings.warn(
            f"{name} was fitted on data that holds {int(leaked.sum())} of the "
            f"{len(leaked)} events it is asked for: its figures are worthless; "
            "fit it on split.train",
            stacklevel=3,
        )
        return f"LEAK: {int(leaked.sum())} of {len(leaked)} targets, data {model.data_hash[:8]}"
    return f"other data {model.data_hash[:8]}"


def _pairs(lists: Lists, n_items: int) -> NDArray[np.int64]:
    return sorted_unique(lists.rows() * n_items + lists.items)


def state_protocol(
    split: SplitLike, task: Task, part: str, mask: str, history: str, ideal: str,
    negatives: int, seed: int,
) -> Protocol:
    parts = [p for p in (split.train, split.valid, split.test) if p is not None]
    together = hashlib.sha256("".join(p.data_hash() for p in parts).encode()).hexdigest()
    rows = " + ".join(f"{len(p):,}" for p in parts)
    own_history = task.history.lengths[task.users]
    return Protocol(
        data=f"{rows} rows, {task.train.n_users:,} users, {task.n_items:,} items",
        data_hash=together[:12],
        split=str(split.protocol),
        part=part,
        history=history if task.known else "train",
        mask=("train+valid" if task.known else "train") if mask == "history" else mask,
        candidates=f"all {task.n_items:,} items",
        users=len(task.users),
        cold_users=int(np.count_nonzero(own_history == 0)),
        targets=len(task.targets.items),
        left_out=task.left_out,
        ideal="cut at k" if ideal == "cut" else "all test items",
        negatives=negatives,
        seed=seed if negatives else None,
    )
