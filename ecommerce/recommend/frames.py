"""Frames out and pairs in: pandas where it is installed, else dicts of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def make_frame(columns: dict[str, NDArray[Any]]) -> Any:
    """A pandas DataFrame of the columns, each (N,); the dict itself without pandas."""
    try:
        import pandas as pd
    except ImportError:
        return columns
    return pd.DataFrame(columns)


def ids_of(ids: object, what: str) -> list[str]:
    """Ids as text: of one id, or of any sequence, array or column of them."""
    if isinstance(ids, (str, int, np.integer)):
        return [str(ids)]
    if isinstance(ids, Mapping) or not isinstance(ids, Iterable):
        raise TypeError(f"{what}: give an id or a list of ids, got {type(ids).__name__}")
    return [str(each) for each in ids]


def pairs_of(pairs: Any) -> tuple[list[str], list[str]]:
    """(users, items) of a frame or dict with columns user and item, or of (user, item) tuples."""
    if isinstance(pairs, Mapping) or hasattr(pairs, "columns"):
        missing = [name for name in ("user", "item") if name not in pairs]
        if missing:
            raise ValueError(f"score: no column {missing[0]!r}; pairs need columns user and item")
        users, items = ids_of(pairs["user"], "score"), ids_of(pairs["item"], "score")
        if len(users) != len(items):
            raise ValueError(
                f"score: {len(users)} users and {len(items)} items; give one item for each user"
            )
        return users, items
    rows = [tuple(pair) for pair in pairs]
    wrong = next((row for row in rows if len(row) != 2), None)
    if wrong is not None:
        raise ValueError(f"score: {wrong!r} is not a pair; give (user, item) tuples or a frame")
    return [str(user) for user, _ in rows], [str(item) for _, item in rows]
