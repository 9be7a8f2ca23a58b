"""read_items(): what a shop knows of its products, by their ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .files import Source, decode, guess_encoding, open_text, read_start, stem
from .formats import PARQUET, find, plain
from .readers import (
    Column,
    Table,
    choose,
    json_blocks,
    parquet_blocks,
    text_blocks,
    text_column,
    whole,
)
from .tables import (
    Codebook,
    Where,
    column_names,
    frame_columns,
    frame_where,
    is_frame,
    numbers,
    texts,
)

SEPARATOR = "|"  # between several categories or tags of an item

# The flags of u.item in their order (MovieLens's u.genre), for where that file is not beside it.
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)
_NAMES = ("items.csv", "u.item", "movies.dat", "movies.csv", "items.parquet")


class Items(dict[str, NDArray[Any]]):
    """Columns by name, each (V,): "item" (ids, distinct) and the attributes that were found.

    title, text, category, brand, tags are texts ("" where missing; several categories or tags
    stand with "|" between them), title and text as objects since they may be long; price and stock
    float64 (NaN where missing). A dict: its columns go to pandas, NumPy, read_items as they are.
    """

    def __len__(self) -> int:
        """The number of items."""
        return len(self["item"]) if "item" in self else 0

    def __repr__(self) -> str:
        return f"Items({len(self):,} items: {', '.join(name for name in self if name != 'item')})"

    def get_item(self, item: object) -> dict[str, Any]:
        """The attributes of one item by its id; DataError for an unknown one."""
        place = int(self.places([item])[0])
        if place < 0:
            raise DataError(
                f"unknown item id {str(item)!r}: {len(self)} items are known, {self['item'][0]} "
                f"to {self['item'][-1]}"
            )
        return {name: column[place : place + 1].tolist()[0] for name, column in self.items()}

    def places(self, ids: Sequence[object] | ArrayLike) -> NDArray[np.int64]:
        """The rows of ids, (N,), -1 for an unknown one."""
        wanted = np.array([str(each) for each in np.asarray(ids).tolist()], np.str_)
        order = np.argsort(self["item"])
        at = np.searchsorted(self["item"], wanted, sorter=order)
        rows = order[np.minimum(at, len(order) - 1)]
        return np.where(self["item"][rows] == wanted, rows, -1)

    def align(self, ids: ArrayLike) -> Items:
        """The attributes in the order of these ids (such as Interactions.item_ids), (N,) each.

        An id that is not known gets "" and NaN.
        """
        rows = self.places(ids)
        aligned = Items(item=np.asarray(ids).astype(np.str_))
        for name, column in self.items():
            if name != "item":
                missing: Any = np.nan if column.dtype.kind == "f" else ""
                aligned[name] = np.where(rows >= 0, column[rows], missing)
        return aligned

    def sets(
        self, name: str, separator: str = SEPARATOR
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.str_]]:
        """A column of several values as compressed rows: indptr (V + 1,), codes (N,), table.

        ``table[codes[indptr[i]:indptr[i + 1]]]`` are the values of item i.
        """
        if name not in self:
            raise DataError(f"items: no column {name!r}; there are {', '.join(self)}")
        rows = [[v for v in cell.split(separator) if v] for cell in self[name].tolist()]
        table, codes = np.unique(
            np.array([value for row in rows for value in row], np.str_), return_inverse=True
        )
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        return indptr.astype(np.int64), codes.astype(np.int32), table

    def to_frame(self) -> Any:
        """A pandas DataFrame; the dict itself where pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            return self
        return pd.DataFrame(dict(self))


def read_items(
    source: Source | Any,
    *,
    item: Column = None,
    title: Column = None,
    text: Column = None,
    category: Column = None,
    brand: Column = None,
    price: Column = None,
    stock: Column = None,
    tags: Column = None,
    more: Sequence[str] = (),
    encoding: str | None = None,
    delimiter: str | None = None,
    names: Sequence[str] | None = None,
) -> Items:
    """The attributes of items, one row an item, from a file, a folder, a frame or a mapping.

    Reads MovieLens's u.item and movies.dat, JSON of {item: [attribute, ...]} (S3-Rec), JSON lines,
    parquet and delimited tables. item ... tags: the column of each role; None finds it by its
    name, False leaves it out. more: further columns, kept as texts. Where an item has several rows
    (invoice lines), its most frequent text and its median price count. encoding None: UTF-8, or
    latin-1 where the file is not.

    Raises DataError that names file, line, column, rule and fix.
    """
    given = {"item": item, "title": title, "text": text, "category": category, "brand": brand,
             "price": price, "stock": stock, "tags": tags,
             **{name: name for name in more}}
    if is_frame(source):
        columns = column_names(source)
        chosen = choose(given, columns, "frame", ("item",))
        block = frame_columns(source, list(dict.fromkeys(chosen.values())))
        return _gather(block, chosen, frame_where)
    path = Path(source)
    if path.is_dir():
        found = find(path, *_NAMES)
        attributes = [p for p in path.iterdir() if "attributes" in stem(p)]
        if found is None and len(attributes) != 1:
            raise DataError(f"{path}: no file of items known by its name; name the file")
        path = found or attributes[0]
    start = read_start(path)
    if start.startswith(PARQUET):
        return _from_table(parquet_blocks(path), given, path)
    encoding = encoding or guess_encoding(path)
    lines = decode(start, encoding).lstrip().splitlines()
    head = lines[0]
    if head.startswith("{"):
        if len(lines) == 1 or not head.rstrip().endswith("}"):
            return _attributes(path, encoding)
        return _from_table(json_blocks(path, encoding), given, path)
    if names is None and head.count("|") == 23 and plain(head.split("|")[0]).isdigit():
        return _movielens(path, encoding)
    if names is None and head.count("::") == 2:
        names, delimiter = ("item", "title", "category"), "::"
    return _from_table(text_blocks(path, delimiter, encoding, names), given, path)


def _from_table(table: Table, given: Mapping[str, Column], path: Path) -> Items:
    blocks, columns = table
    chosen = choose(given, columns, path, ("item",))
    block, where = whole(blocks(list(dict.fromkeys(chosen.values()))))
    return _gather(block, chosen, where)


def _gather(block: Mapping[str, Any], chosen: Mapping[str, str], where: Where) -> Items:
    """One row an item from the columns of all rows."""
    keys = [key.strip() for key in texts(block[chosen["item"]])]
    rows = [row for row, key in enumerate(keys) if key]
    ids = list(dict.fromkeys(keys[row] for row in rows))
    if not ids:
        raise DataError(f"{where(0)}: column {chosen['item']!r} names no item in any row")
    place = {key: i for i, key in enumerate(ids)}
    owner = np.array([place[keys[row]] for row in rows], np.int64)
    items = Items(item=np.array(ids, np.str_))
    for role, name in chosen.items():
        if role == "item":
            continue
        cells = texts(block[name])
        if role in ("price", "stock"):
            filled = [row for row in rows if cells[row].strip()]
            values = np.full(len(keys), np.nan)
            values[filled] = numbers([cells[row] for row in filled], name, _at(where, filled))
            items[role] = _medians(owner, values[rows], len(ids), positive=role == "price")
        else:
            chosen_cells = [cells[row].strip() for row in rows]
            if len(ids) < len(rows):
                chosen_cells = _most_frequent(owner, chosen_cells, len(ids))
            items[role] = text_column(role, chosen_cells)
    return items


def _at(where: Where, rows: list[int]) -> Where:
    return lambda row: where(rows[row])


def _medians(
    owner: NDArray[np.int64], values: NDArray[np.float64], n: int, positive: bool
) -> NDArray[np.float64]:
    """The median of each owner's values, (n,), NaN where there are none.

    positive: 0 and less count only where there is nothing else (gifts, corrections).
    """
    result = np.full(n, np.nan)
    for usable in ([np.isfinite(values), values > 0] if positive else [np.isfinite(values)]):
        rows = np.flatnonzero(usable)
        rows = rows[np.lexsort((values[rows], owner[rows]))]
        counts = np.bincount(owner[rows], minlength=n)
        starts = np.cumsum(counts) - counts
        some = counts > 0
        ordered = values[rows]
        low = ordered[(starts + (counts - 1) // 2)[some]]
        high = ordered[(starts + counts // 2)[some]]
        result[some] = (low + high) / 2
    return result


def _most_frequent(owner: NDArray[np.int64], cells: list[str], n: int) -> list[str]:
    """The most frequent text of each owner; of equal ones the first in the alphabet."""
    book = Codebook()
    book.add(cells)
    codes, table = book.finish()  # -1 for ""
    filled = codes >= 0
    pairs, counts = np.unique(owner[filled] * len(table) + codes[filled], return_counts=True)
    places, words = np.divmod(pairs, max(len(table), 1))
    # The most frequent comes last within its owner, of equal ones the first in the alphabet.
    order = np.lexsort((-words, counts, places))
    best = [""] * n
    for place, word in zip(places[order].tolist(), table[words[order]].tolist()):
        best[place] = word
    return best


def _movielens(path: Path, encoding: str | None) -> Items:
    """u.item: id|title|date||url|19 flags."""
    genres = list(_GENRES)
    beside = find(path.parent, "u.genre")
    if beside is not None:
        with open_text(beside, encoding) as text:
            genres = [line.split("|")[0] for line in text if line.strip()]
    names = ["item", "title", "date", "video", "url", *map(str, range(19))]
    blocks, _ = text_blocks(path, "|", encoding, names)
    block, _ = whole(blocks(names))
    flags = list(zip(*(block[str(genre)] for genre in range(19))))
    categories = [
        SEPARATOR.join(genre for genre, flag in zip(genres, row) if flag == "1") for row in flags
    ]
    return Items(
        item=np.array(block["item"], np.str_), title=text_column("title", block["title"]),
        category=np.array(categories, np.str_),
    )


def _attributes(path: Path, encoding: str | None) -> Items:
    """JSON {item: [attribute, ...]}."""
    with open_text(path, encoding) as text:
        try:
            table = json.load(text)
        except ValueError as error:
            raise DataError(
                f"{path}: broken JSON ({error}); items are read from {{item: [attribute, ...]}} "
                "or from JSON lines"
            ) from None
    if not isinstance(table, dict) or not table or not all(
        isinstance(values, list) for values in table.values()
    ):
        raise DataError(f"{path}: not of the form {{item: [attribute, ...]}}; give JSON lines")
    tags = [SEPARATOR.join(map(str, values)) for values in table.values()]
    return Items(item=np.array(list(table), np.str_), tags=np.array(tags, np.str_))
