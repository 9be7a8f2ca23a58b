"""Rows: recommendations of many users, gathered block by block into columns."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rows:
    """Collects ranked codes and turns them into columns of ids.

    users: the U ids asked for, in the order of the answer; item_ids: code -> id; k: rows a user.
    """

    def __init__(self, users: list[str], item_ids: NDArray[np.str_], k: int):
        self.users = users
        self.k = k
        self._item_ids = item_ids
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._length = np.zeros(len(users), np.int64)  # rows that each user has so far
        self._suffix = ""
        self._short = ""

    def add(
        self,
        places: NDArray[np.int64],
        ids: NDArray[np.int64],
        scores: NDArray[np.floating],
        source: str,
        reasons: NDArray[np.str_],
    ) -> None:
        """Append lists: users' places (B,), codes (B, K) with -1 for none, scores and reasons."""
        filled = ids >= 0
        row, column = np.nonzero(filled)
        rank = self._length[places][row] + column + 1
        self._length[places] += filled.sum(axis=1)
        self._parts.append(
            (places[row], rank, ids[filled], scores[filled].astype(np.float64),
             np.full(len(row), source), reasons[filled])
        )

    def append_to_reasons(self, text: str) -> None:
        """Add text to every reason."""
        self._suffix += text

    def say_why_short(self, n_items: int, may: NDArray[np.bool_] | None) -> None:
        """Let the last row of a user with fewer than k rows say why."""
        allowed = "" if may is None else f", {int(may.sum())} of them allowed"
        self._short = (
            f"; fewer than {self.k}: no other is left of the catalogue's {n_items} items{allowed}"
        )

    def warn_of_empty(self) -> None:
        """A UserWarning where users have no row at all, and so none to say why."""
        empty = np.flatnonzero(self._length == 0)
        if len(empty):
            warnings.warn(
                f"no item is left for {len(empty)} of {len(self.users)} users, first "
                f"{self.users[empty[0]]!r}: the filters and what they have seen leave nothing of "
                "the catalogue",
                stacklevel=3,
            )

    def columns(self) -> dict[str, NDArray[Any]]:
        """user, rank, item, score, source, reason, each (N,): users as asked for, best first."""
        if not self._parts:
            none = np.empty(0, np.str_)
            return {"user": none, "rank": np.empty(0, np.int64), "item": none,
                    "score": np.empty(0), "source": none, "reason": none}
        place, rank, code, score, source, reason = (
            np.concatenate(column) for column in zip(*self._parts)
        )
        order = np.lexsort((rank, place))
        place, rank, reason = place[order], rank[order], reason[order]
        if self._suffix:
            reason = np.strings.add(reason, self._suffix)
        last = (rank == self._length[place]) & (self._length[place] < self.k)
        if self._short and last.any():
            reason = np.where(last, np.strings.add(reason, self._short), reason)
        users = np.array(self.users, np.str_)
        return {"user": users[place], "rank": rank, "item": self._item_ids[code[order]],
                "score": score[order], "source": source[order], "reason": reason}
