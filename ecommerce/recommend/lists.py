"""Lists: a list of item codes for each of B users, in two arrays; and the best of each user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels import topk_rows


class Lists(NamedTuple):
    """B lists of item codes: indptr (B + 1,) int64, items (N,) int64.

    `items[indptr[b]:indptr[b + 1]]` is list b. As a history the oldest item stands first.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Lists:
        """Of B sequences of codes."""
        lengths = [len(row) for row in rows]
        filled = [np.asarray(row, np.int64) for row in rows if len(row)]
        items = np.concatenate(filled) if filled else np.empty(0, np.int64)
        return cls(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), items)

    @classmethod
    def empty(cls, n: int) -> Lists:
        """n empty lists."""
        return cls(np.zeros(n + 1, np.int64), np.empty(0, np.int64))

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.indptr)

    def rows(self) -> NDArray[np.int64]:
        """The list that each entry of `items` belongs to, (N,)."""
        return np.repeat(np.arange(len(self.indptr) - 1), self.lengths)

    def take(self, rows: NDArray[Any]) -> Lists:
        """The lists of `rows` (B,), in that order."""
        lengths = self.lengths[rows]
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        places = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return Lists(indptr, self.items[places])

    def distinct(self) -> Lists:
        """Each list ascending, with every item once."""
        width = 1 + int(self.items.max(initial=0))
        keys = sorted_unique(self.rows() * width + self.items)
        counts = np.bincount(keys // width, minlength=len(self.indptr) - 1)
        return Lists(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), keys % width)

    def joined(self, other: Lists) -> Lists:
        """Each list followed by the same row's list of `other`."""
        rows = np.concatenate([self.rows(), other.rows()])
        items = np.concatenate([self.items, other.items])
        return Lists(self.indptr + other.indptr, items[np.argsort(rows, kind="stable")])

    def transposed(self, n_items: int) -> Lists:
        """For each item the rows whose list has it, ascending."""
        counts = np.bincount(self.items, minlength=n_items)
        order = np.argsort(self.items, kind="stable")
        return Lists(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), self.rows()[order])


def sorted_unique(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """np.unique of whole numbers: several times as quick as its hash table (NumPy 2.3)."""
    keys = np.sort(keys)
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys


def best(
    scores: NDArray[np.floating],
    k: int,
    exclude: Lists | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """The k best of each row of scores (B, V): codes (B, k) and scores (B, k), best first.

    exclude: codes left out of each row. candidates (V,): True where a code may be taken. Of equal
    scores the lower code stands first; -1 with -inf where nothing is left that is above -inf.
    """
    if candidates is not None:
        scores = np.where(candidates, scores, scores.dtype.type(-np.inf))
    if exclude is None:
        exclude = Lists.empty(len(scores))
    ids = np.empty((len(scores), k), np.int64)
    values = np.empty((len(scores), k), scores.dtype)
    topk_rows(np.ascontiguousarray(scores), exclude.indptr, exclude.items, ids, values)
    return ids, values
