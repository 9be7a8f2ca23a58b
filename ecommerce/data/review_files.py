"""read_reviews(): texts of customers with stars, labels, product, user and time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import Source, decode, guess_encoding, open_text, read_start
from .formats import PARQUET
from .readers import (
    Column,
    choose,
    json_blocks,
    parquet_blocks,
    text_blocks,
    text_column,
    whole,
)
from .tables import Where, column_names, frame_columns, frame_where, is_frame, numbers, texts, times

_LABELLED = re.compile(r"[0-9] \S")
FORMATS = ("auto", "table", "jsonl", "label words", "lines")


class Reviews(dict[str, NDArray[Any]]):
    """Columns by name, each (N,), one row a review in the order of the file.

    "text" is always there ("" where a review has none), it and title as objects (str), since one
    long text would widen every row; item, user, category, language (texts), rating (float64),
    label (int64 where all are whole numbers, else text), time (unix seconds) where the file has
    them. A dict: its columns go to pandas, NumPy, read_reviews as they are.
    """

    def __len__(self) -> int:
        """The number of reviews."""
        return len(self["text"]) if "text" in self else 0

    def __repr__(self) -> str:
        return f"Reviews({len(self):,} reviews: {', '.join(self)})"

    def select(self, rows: Any) -> Reviews:
        """The reviews of a boolean mask or of row numbers."""
        index = np.asarray(rows)
        return Reviews({name: column[index] for name, column in self.items()})

    def to_frame(self) -> Any:
        """A pandas DataFrame; the dict itself where pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            return self
        return pd.DataFrame(dict(self))


def read_reviews(
    source: Source | Any,
    format: str = "auto",
    *,
    text: Column = None,
    title: Column = None,
    item: Column = None,
    user: Column = None,
    category: Column = None,
    rating: Column = None,
    label: Column = None,
    time: Column = None,
    language: Column = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    names: Sequence[str] | None = None,
    time_format: str | None = None,
) -> Reviews:
    """Reviews of a file, a frame or a mapping of columns.

    format: "auto" tells it by the content; "table" (CSV, TSV, parquet), "jsonl" (Amazon),
    "label words" (``1 great little phone`` a line) or "lines" (a review a line). text ... time:
    the column of each role; None finds it by its name, False leaves it out. names: the columns of
    a table without a header. encoding None: UTF-8, or latin-1 where the file is not.

    Raises DataError that names file, line, column, rule and fix.
    """
    given = {"text": text, "title": title, "item": item, "user": user, "category": category,
             "value": rating, "label": label, "time": time, "language": language}
    if format not in FORMATS:
        raise DataError(f"format={format!r} is unknown; choose one of {', '.join(FORMATS)}")
    if is_frame(source):
        columns = column_names(source)
        chosen = choose(given, columns, "frame", ("text",))
        cells = frame_columns(source, list(dict.fromkeys(chosen.values())))
        return _gather(cells, chosen, frame_where, time_format)
    path = Path(source)
    start = read_start(path)
    if start.startswith(PARQUET):
        blocks, columns = parquet_blocks(path)
    else:
        encoding = encoding or guess_encoding(path)
        lines = [line for line in decode(start, encoding).split("\n") if line.strip()]
        if format == "auto":
            format = _format(lines, delimiter, names)
        if format in ("label words", "lines"):
            return _lines(path, encoding, labelled=format == "label words")
        blocks, columns = (
            json_blocks(path, encoding) if format == "jsonl"
            else text_blocks(path, delimiter, encoding, names)
        )
    chosen = choose(given, columns, path, ("text",))
    block, where = whole(blocks(list(dict.fromkeys(chosen.values()))))
    return _gather(block, chosen, where, time_format)


def _format(lines: list[str], delimiter: str | None, names: Sequence[str] | None) -> str:
    if names is not None or delimiter is not None:
        return "table"
    if lines[0].startswith("{"):
        return "jsonl"
    sure = lines[:-1] if len(lines) > 1 else lines  # the last may be cut in the middle
    if sum(map(bool, map(_LABELLED.match, sure))) > 0.9 * len(sure):  # a text may be empty
        return "label words"
    columns = re.split(r"[,\t;|]", lines[0])
    short = max(map(len, columns)) < 40 and len(columns) > 1  # a header, not a sentence
    return "table" if short else "lines"


def _gather(
    block: Mapping[str, Any], chosen: Mapping[str, str], where: Where, time_format: str | None
) -> Reviews:
    reviews = Reviews()
    for role, name in chosen.items():
        column = block[name]
        if role == "value":
            reviews["rating"] = numbers(column, name, where)
        elif role == "time":
            reviews["time"] = times(column, name, where, time_format)
        else:
            reviews[role] = text_column(role, texts(column))
    if "label" in reviews:
        reviews["label"] = _labels(reviews["label"])
    return reviews


def _labels(labels: NDArray[np.str_]) -> NDArray[Any]:
    try:
        return labels.astype(np.int64)
    except ValueError:
        return labels


def _lines(path: Path, encoding: str | None, labelled: bool) -> Reviews:
    rows, labels = [], []
    with open_text(path, encoding) as text:
        for number, line in enumerate(text, 1):
            if not (line := line.strip()):
                continue
            if labelled:
                label, _, line = line.partition(" ")
                if not label.isdigit():
                    raise DataError(
                        f"{path}, line {number}: {(label + ' ' + line)[:40]!r} does not begin with "
                        "a number and words ('1 great little phone'); correct or remove the line"
                    )
                labels.append(int(label))
            rows.append(line)
    reviews = Reviews(text=text_column("text", rows))
    if labelled:
        reviews["label"] = np.array(labels, np.int64)
    return reviews
