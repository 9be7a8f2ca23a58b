"""Delimited text and frames as columns: ids to codes, numbers, times, with the line of a fault.

A text table is read in blocks, so millions of lines need little memory; each block becomes NumPy
columns at once. Blocks with quotes go through the csv module, others are split directly.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import Source, open_text, text_chunks
from .interactions import encode

BLOCK = 1 << 14  # rows of JSON lines or parquet read at a time
_ZONE = re.compile(r"(?:\d[+-]\d\d:?\d\d|Z|UTC)$")  # at the end of an ISO time
_MARK = "\x1f"  # stands for the delimiter in lines whose quotes are taken off
MILLISECONDS = 100_000_000_000  # a time above is in milliseconds (in seconds: the year 5138)

Columns = dict[str, list[str]]
Where = Callable[[int], str]  # place in the block -> "file, line 7"


class Codebook:
    """Ids to codes, block by block. ``finish`` sorts the table as ``interactions.encode`` does."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {"": -1}
        self._blocks: list[NDArray[np.int32]] = []

    def add(self, ids: Sequence[str]) -> None:
        codes = self._codes
        for key in dict.fromkeys(ids):  # the new ids of the block, in order of appearance
            if key not in codes:
                codes[key] = len(codes) - 1
        self._blocks.append(np.fromiter(map(codes.__getitem__, ids), np.int32, len(ids)))

    def finish(self) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
        """Codes (N,) and table (V,)."""
        ids = np.array([key for key in self._codes if key], np.str_)
        place, table = encode(ids)
        codes = np.concatenate([np.empty(0, np.int32), *self._blocks])
        return np.append(place, np.int32(-1))[codes], table


# ---------------------------------------------------------------------- text tables


def read_header(source: Source, delimiter: str, encoding: str | None) -> list[str]:
    """The names in the first line."""
    with open_text(source, encoding) as text:
        for row in csv.reader(text, delimiter=delimiter):
            if row:
                return [name.strip() for name in row]
    raise DataError(f"{source}: the file holds no data; fetch or export it again")


def read_blocks(
    source: Source,
    delimiter: str,
    names: Sequence[str] | None = None,
    encoding: str | None = None,
    wanted: Sequence[str] | None = None,
    quotes: bool = True,
) -> Iterator[tuple[Columns, Where]]:
    """Blocks of a delimited file: {column: texts} and where a row of the block stands.

    delimiter: one character, or more ("::"; then without quotes). names: of a file without a
    header (None: its first line). wanted: the columns to give (None: all). quotes: whether '"'
    quotes a field.
    """
    line, total = 1, 0
    header = None if names is None else [name.strip() for name in names]
    with open_text(source, encoding) as text:
        for chunk in text_chunks(text):
            cut = delimiter
            lines = chunk.removesuffix("\n").split("\n")
            at: Sequence[int] = range(line, line + len(lines))  # the line of each row
            line += len(lines)
            columns: Any = None
            if quotes and '"' in chunk:
                if _MARK in chunk or any(row.count('"') % 2 for row in lines):
                    columns, at, further = _quoted_columns(lines, text, delimiter, at[0])
                    line += further
                else:
                    lines, cut = _unquoted(lines, delimiter), _MARK
            if columns is None:
                # One split of all lines at once: no list a row, so several times the csv speed.
                if not all(lines):  # blank lines are passed over
                    at = [number for number, row in zip(at, lines) if row]
                    lines = [row for row in lines if row]
                width = lines[0].count(cut) + 1 if lines else 0
                if all(row.count(cut) == width - 1 for row in lines):
                    cells = cut.join(lines).split(cut) if lines else []
                    columns = [cells[place::width] for place in range(width)]
            if columns and header is None:
                header = [column[0].strip() for column in columns]
                columns, at = [column[1:] for column in columns], at[1:]
            if columns is None or (columns and len(columns) != len(header or ())):
                _ragged(source, delimiter, len(header or ()), encoding, quotes)
            if columns and columns[0]:
                assert header is not None
                total += len(columns[0])
                chosen = header if wanted is None else wanted
                yield {c: columns[header.index(c)] for c in chosen}, _line_of(source, at)
    if not total:
        raise DataError(f"{source}: no rows below the header; fetch or export it again")


def _unquoted(lines: list[str], delimiter: str) -> list[str]:
    """Lines with _MARK as their delimiter and without quotes."""
    return [
        _MARK.join(next(csv.reader([row], delimiter=delimiter))) if '"' in row
        else row.replace(delimiter, _MARK)
        for row in lines
    ]


def _quoted_columns(
    lines: list[str], text: IO[str], delimiter: str, first: int
) -> tuple[list[list[str]] | None, list[int], int]:
    """Columns by the csv module (None where rows differ in width), the line that each row begins
    in, and how many lines past the chunk a quoted field ran on.
    """
    reader = csv.reader(chain((row + "\n" for row in lines), text), delimiter=delimiter)
    rows, at, begins = [], [], first
    for row in reader:
        if row:
            rows.append(row)
            at.append(begins)
        begins = first + reader.line_num
        if reader.line_num >= len(lines):
            break
    further = reader.line_num - len(lines)
    if len(set(map(len, rows))) > 1:
        return None, at, further
    return [list(column) for column in zip(*rows)], at, further


def _line_of(source: Source, at: Sequence[int]) -> Where:
    return lambda row: f"{source}, line {at[row]}"


def _ragged(
    source: Source, delimiter: str, width: int, encoding: str | None, quotes: bool
) -> None:
    """Raises for the first row with another number of fields (width 0: than the first line)."""
    with open_text(source, encoding) as text:
        rows: Iterator[tuple[list[str], int]]
        if quotes and len(delimiter) == 1:
            reader = csv.reader(text, delimiter=delimiter)
            rows = ((row, reader.line_num) for row in reader)
        else:
            whole = (line.removesuffix("\n") for line in text)
            rows = ((row.split(delimiter), n) for n, row in enumerate(whole, 1) if row)
        for row, number in rows:
            width = width or len(row)
            if row and len(row) != width:
                raise DataError(
                    f"{source}, line {number}: {len(row)} fields where {width} are "
                    f"expected (delimiter {delimiter!r}); correct or remove the line"
                )


# ---------------------------------------------------------------------- frames


def is_frame(source: object) -> bool:
    """A pandas DataFrame or a mapping of columns."""
    return isinstance(source, Mapping) or hasattr(source, "columns")


def column_names(frame: Any) -> list[str]:
    """The columns that have a text as their name."""
    names = list(frame) if isinstance(frame, Mapping) else list(frame.columns)
    return [name for name in names if isinstance(name, str)]


def frame_columns(frame: Any, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The wanted columns of a DataFrame or mapping as arrays of one length."""
    columns = {name: np.asarray(frame[name]) for name in wanted}
    lengths = {name: column.shape for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise DataError(f"frame: columns of shapes {lengths}; every column needs one entry a row")
    if not next(iter(lengths.values()))[0]:
        raise DataError("frame: no rows; nothing to read")
    return columns


def frame_where(row: int) -> str:
    return f"frame, row {row}"


def text_of(cell: object) -> str:
    """A cell of a frame as an id or text; missing values are ""; 17850.0 is "17850"."""
    if isinstance(cell, str):
        return cell
    if cell is None or cell != cell or str(cell) in ("<NA>", "NaT"):
        return ""
    if isinstance(cell, (float, np.floating)) and math.isfinite(cell) and cell == int(cell):
        return str(int(cell))
    return str(cell)


def texts(column: Any) -> list[str]:
    """A column as texts; missing values are ""."""
    if isinstance(column, list):
        return list(map(text_of, column))
    values = np.asarray(column)
    if values.dtype.kind in "iuU":
        return values.astype(np.str_).tolist()
    return [text_of(cell) for cell in values.tolist()]


# ---------------------------------------------------------------------- conversions


def numbers(column: Any, name: str, where: Where) -> NDArray[np.float64]:
    """A column as finite float64, (N,); DataError names the first row that is none."""
    try:
        if isinstance(column, list):
            values = np.fromiter(map(float, column), np.float64, len(column))
        else:
            values = np.asarray(column).astype(np.float64)
    except (ValueError, TypeError):
        row = next(i for i, cell in enumerate(column) if not _is_number(cell))
        cell = str(text_of(column[row]))
        what = f"{cell!r} is not a number" if cell.strip() else "is empty"
        raise DataError(
            f"{where(row)}: column {name!r} {what}; correct the row, or leave the column out"
        ) from None
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"{where(int(bad[0]))}: column {name!r} is {values[bad[0]]}; values must be finite: "
            "correct or remove the row"
        )
    return values


def _is_number(cell: object) -> bool:
    try:
        float(cell)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False
    return True


def times(column: Any, name: str, where: Where, form: str | None = None) -> NDArray[np.int64]:
    """A column as unix seconds, (N,) int64, of UTC or of a clock without a zone.

    Reads numbers (seconds; above 1e11 milliseconds), ISO dates ("2010-12-01 08:26:00", with or
    without a time, fraction, "T", "Z" or an offset as +02:00), datetime64, or ``form`` as
    datetime.strptime has it.
    """
    values = column if isinstance(column, list) else np.asarray(column)
    if not isinstance(values, list):
        if values.dtype.kind == "M":
            if np.isnat(values).any():
                row = int(np.flatnonzero(np.isnat(values))[0])
                raise DataError(f"{where(row)}: column {name!r} is empty; every row needs a time")
            return _not_negative(values.astype("datetime64[s]").astype(np.int64), name, where)
        if values.dtype.kind in "iuf":
            return _seconds(numbers(values, name, where), name, where)
        values = texts(values)
    if form is not None:
        return _not_negative(_parse_form(values, name, where, form), name, where)
    if values and _is_number(values[0]):
        return _seconds(numbers(values, name, where), name, where)
    if any(map(_ZONE.search, values)):
        return _not_negative(_parse_form(values, name, where, None), name, where)
    try:
        stamps = np.array(values).astype("datetime64[s]")
        if np.isnat(stamps).any():
            raise ValueError
    except ValueError:
        values = [cell.strip() for cell in values]
        row = next((i for i, cell in enumerate(values) if not _is_stamp(cell)), -1)
        if row >= 0:
            raise DataError(
                f"{where(row)}: column {name!r} holds {values[row]!r}, no unix or ISO time; "
                "give time_format, e.g. '%m/%d/%Y %H:%M'"
            ) from None
        stamps = np.array(values).astype("datetime64[s]")
    return _not_negative(stamps.astype(np.int64), name, where)


def _is_stamp(cell: str) -> bool:
    try:
        return bool(not np.isnat(np.datetime64(cell, "s")))
    except ValueError:
        return False


def _parse_form(
    values: list[str], name: str, where: Where, form: str | None
) -> NDArray[np.int64]:
    """Times by strptime, or (form None) ISO times with an offset such as +02:00."""
    seconds: dict[str, int] = {}  # shops repeat times: each distinct one is parsed once
    for row, cell in enumerate(values):
        if cell in seconds:
            continue
        try:
            stamp = (
                datetime.fromisoformat(cell.removesuffix(" UTC")) if form is None
                else datetime.strptime(cell, form)
            )
        except ValueError:
            shown = "an ISO time" if form is None else f"time_format={form!r}"
            raise DataError(
                f"{where(row)}: column {name!r} holds {cell!r}, which does not fit {shown}; "
                "correct either"
            ) from None
        stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        seconds[cell] = math.floor(stamp.timestamp())
    return np.fromiter(map(seconds.__getitem__, values), np.int64, len(values))


def _seconds(values: NDArray[np.float64], name: str, where: Where) -> NDArray[np.int64]:
    scale = 1000.0 if len(values) and np.median(values) > MILLISECONDS else 1.0
    return _not_negative(np.floor(values / scale).astype(np.int64), name, where)


def _not_negative(seconds: NDArray[np.int64], name: str, where: Where) -> NDArray[np.int64]:
    if len(seconds) and seconds.min() < 0:
        row = int(np.flatnonzero(seconds < 0)[0])
        raise DataError(
            f"{where(row)}: column {name!r} is {seconds[row]} seconds, before 1970; times must "
            "not be negative: correct the row"
        )
    return seconds
