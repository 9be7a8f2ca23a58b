"""read_interactions(): the events of a shop from every usual file, folder or frame."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import Source, decode, json_lines, open_bytes, read_start
from .formats import FORMATS, ML_100K, Detected, detect, pick_column, plain
from .interactions import Interactions, encode
from .sequences import read_parts, read_sequence
from .tables import (
    BLOCK,
    Codebook,
    Where,
    column_names,
    frame_columns,
    frame_where,
    is_frame,
    numbers,
    read_blocks,
    read_header,
    text_of,
    texts,
    times,
)

Column = str | bool | None
Block = tuple[Mapping[str, Any], Where]  # {column: cells} and where a row stands
Blocks = Callable[[list[str]], Iterator[Block]]  # the wanted columns -> blocks
Table = tuple[Blocks, list[str]]  # how to read blocks, and the columns there are



def read_interactions(
    source: Source | Any,
    format: str = "auto",
    *,
    user: Column = None,
    item: Column = None,
    value: Column = None,
    time: Column = None,
    session: Column = None,
    events: Sequence[str] | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    time_format: str | None = None,
    names: Sequence[str] | None = None,
) -> Interactions:
    """The events of a file, a folder, a DataFrame or a mapping of columns.

    format: "auto" tells it by the content; or one of

    - "ml-100k" (u.data), "ml-1m" (ratings.dat): user, item, rating, time;
    - "amazon-jsonl": JSON lines with reviewerID, asin, overall, unixReviewTime (or the names of
      the 2023 files);
    - "sequence": ``user item item ...`` or ``user item`` a line, a user's items oldest first; the
      times are order numbers 0, 1, 2 ... of each user;
    - "online-retail": invoice lines, quantities as values (negative: a return), invoices as
      sessions;
    - "retailrocket": events.csv; "recbole": atomic .inter files;
    - "csv" (any delimiter) and "parquet" by column names;
    - a folder with train, (valid) and test files: all rows, with ``parts`` for
      ``split(how="given")``; see read_parts for parts of other names.

    user ... session: the column of each role; None finds it by its name, False reads without it.
    events: which values of a column "event" to keep (RetailRocket: "transaction"). delimiter and
    names (column names of a table without a header) are for tables; encoding is UTF-8 unless
    given; time_format as in datetime.strptime where times are neither unix nor ISO.

    Files packed by gzip or xz are unpacked as they are read, in blocks. Ids stay the texts that
    the file holds. Raises DataError that names file, line, column, rule and fix.
    """
    given = {"user": user, "item": item, "value": value, "time": time, "session": session}
    if format not in FORMATS:
        raise DataError(f"format={format!r} is unknown; choose one of {', '.join(FORMATS)}")
    if is_frame(source):
        return _frame(source, given, time_format, events)
    if not isinstance(source, (str, Path)) and not hasattr(source, "__fspath__"):
        raise DataError(
            f"read_interactions: {type(source).__name__} is neither a path nor a frame; give a "
            "file, a folder, a DataFrame or a mapping of columns"
        )
    path = Path(source)
    found = _resolve(path, format, encoding, delimiter, names)
    if found.format == "parts":
        return read_parts(found.path, encoding=encoding)
    if found.format == "sequence":
        return read_sequence(found.path, encoding)
    blocks, columns = _open(found, encoding, names)
    if found.format in ("ml-100k", "ml-1m"):
        roles = dict(zip(("user", "item", "value", "time"), ML_100K))
        given = {role: roles.get(role) if name is None else name for role, name in given.items()}
    return _collect(path, blocks, columns, given, time_format, events)


def _resolve(
    path: Path, format: str, encoding: str | None, delimiter: str | None,
    names: Sequence[str] | None,
) -> Detected:
    """The file and its format, as told or found."""
    if format in ("auto", "csv") and (delimiter is not None or names is not None):
        read_start(path)  # empty, binary and missing files
        return Detected("csv", path, delimiter or _guess_delimiter(path, encoding))
    if format == "auto" or path.is_dir():
        found = detect(path, encoding)
        if format in ("auto", found.format):
            return found
        path = found.path
    if format in ("ml-100k", "ml-1m"):
        return Detected(format, path, "\t" if format == "ml-100k" else "::")
    if format in ("online-retail", "retailrocket", "recbole", "csv"):
        return Detected(format, path, delimiter or _guess_delimiter(path, encoding))
    return Detected(format, path)


def _guess_delimiter(path: Path, encoding: str | None) -> str:
    head = decode(read_start(path), encoding).lstrip().splitlines()[0]
    return max(",\t;|", key=head.count)


def _open(
    found: Detected, encoding: str | None, names: Sequence[str] | None
) -> Table:
    """How to read blocks of a file, and the columns it has."""
    path, delimiter = found.path, found.delimiter
    if found.format == "parquet":
        return parquet_blocks(path)
    if found.format == "amazon-jsonl":
        return json_blocks(path, encoding)
    if found.format in ("ml-100k", "ml-1m"):
        names = ML_100K
        delimiter = "\t" if found.format == "ml-100k" else "::"
    quotes = found.format not in ("ml-100k", "ml-1m", "recbole")
    return text_blocks(path, delimiter, encoding, names, quotes)


def text_blocks(
    path: Path, delimiter: str | None, encoding: str | None, names: Sequence[str] | None,
    quotes: bool = True,
) -> Table:
    """How to read blocks of a delimited text, and its columns."""
    cut = delimiter or _guess_delimiter(path, encoding)
    # In tab-separated text a '"' is mostly just a letter: taken as a quote it would swallow lines.
    quotes = quotes and len(cut) == 1 and cut != "\t"
    columns = list(names) if names is not None else read_header(path, cut, encoding)

    def blocks(wanted: list[str]) -> Iterator[Block]:
        return read_blocks(path, cut, names, encoding, wanted, quotes)

    return blocks, columns


def whole(blocks: Iterator[Block]) -> Block:
    """All blocks as one, for tables that fit in memory (items, reviews)."""
    columns: dict[str, list[str]] = {}
    starts: list[int] = []
    wheres: list[Where] = []
    n = 0
    for block, where in blocks:
        starts.append(n)
        wheres.append(where)
        for name, cells in block.items():
            columns.setdefault(name, []).extend(
                cells if isinstance(cells, list) else texts(cells)
            )
        n = max(map(len, columns.values()), default=0)

    def place(row: int) -> str:
        block = int(np.searchsorted(starts, row, "right")) - 1
        return wheres[block](row - starts[block])

    return columns, place


def json_blocks(path: Source, encoding: str | None) -> Table:
    """How to read blocks of JSON lines, and the keys of the first line."""
    first = next(json_lines(path, encoding), None)
    if first is None:
        raise DataError(f"{path}: the file holds no data; fetch or export it again")
    columns = list(first[1])

    def blocks(wanted: list[str]) -> Iterator[Block]:
        records = json_lines(path, encoding)
        while rows := list(islice(records, BLOCK)):
            numbers = [number for number, _ in rows]

            def where(row: int, numbers: list[int] = numbers) -> str:
                return f"{path}, line {numbers[row]}"

            yield {
                name: [text_of(record.get(name)) for _, record in rows] for name in wanted
            }, where

    return blocks, columns


def text_column(role: str, cells: list[str]) -> NDArray[Any]:
    """Texts of a role, (N,): objects for what may be long, since one long text widens every row."""
    stripped = [cell.strip("\ufeff").strip() for cell in cells]
    return np.array(stripped, object if role.startswith(("text", "title")) else np.str_)


def parquet_blocks(path: Source) -> Table:
    """How to read blocks of a parquet file, and its columns."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(
            f"{path}: parquet needs pyarrow; pip install 'minidl[shop]', or export CSV"
        ) from None

    def opened(stream: Any) -> Any:
        seekable = isinstance(stream, io.BufferedReader)
        try:
            return pq.ParquetFile(stream if seekable else io.BytesIO(stream.read()))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"{path}: a damaged parquet file ({str(error).splitlines()[0]}); fetch it again"
            ) from None

    with open_bytes(path) as stream:
        columns = list(opened(stream).schema_arrow.names)

    def blocks(wanted: list[str]) -> Iterator[Block]:
        first = 0
        with open_bytes(path) as stream:
            for batch in opened(stream).iter_batches(BLOCK, columns=wanted):
                columns = {}
                for name in wanted:
                    column = batch.column(batch.schema.get_field_index(name))
                    if pa.types.is_dictionary(column.type):
                        column = column.dictionary_decode()
                    columns[name] = column.to_numpy(zero_copy_only=False)

                def where(row: int, first: int = first) -> str:
                    return f"{path}, row {first + row}"

                yield columns, where
                first += batch.num_rows

    return blocks, columns


def choose(
    given: Mapping[str, Column], columns: Sequence[str], where: object,
    required: Sequence[str] = ("user", "item"),
) -> dict[str, str]:
    """{role: column} of the roles that are there; DataError for a missing one."""
    chosen: dict[str, str] = {}
    for role, name in given.items():
        if name is False:
            if role in required:
                raise DataError(f"{where}: {role}=False, but every row needs its {role}")
            continue
        told = name if isinstance(name, str) else None
        found = pick_column(role, told, columns, where, role in required)
        if found is not None and (told is not None or found not in chosen.values()):
            chosen[role] = found
    return chosen


def _collect(
    path: Path, blocks: Blocks, columns: list[str], given: Mapping[str, Column],
    time_format: str | None, events: Sequence[str] | None,
) -> Interactions:
    """Interactions of the blocks of a file."""
    chosen = choose(given, columns, path)
    wanted = list(dict.fromkeys(chosen.values()))
    event = _event_column(events, columns, path)
    books = {role: Codebook() for role in ("user", "item", "session") if role in chosen}
    values: list[NDArray[np.float32]] = []
    stamps: list[NDArray[np.int64]] = []
    for block, where in blocks([*wanted, event] if event and event not in wanted else wanted):
        if event is not None:
            block, where = _only(block, where, event, events or ())
        for role, book in books.items():
            book.add(_stripped(block[chosen[role]]))
        if "value" in chosen:
            values.append(numbers(block[chosen["value"]], chosen["value"], where).astype("f4"))
        if "time" in chosen:
            stamps.append(times(block[chosen["time"]], chosen["time"], where, time_format))
    coded = {role: book.finish() for role, book in books.items()}
    session = coded.get("session", (None, None))
    result = Interactions(
        coded["user"][0], coded["item"][0],
        np.concatenate(values) if values else None, np.concatenate(stamps) if stamps else None,
        session[0], user_ids=coded["user"][1], item_ids=coded["item"][1], session_ids=session[1],
    )
    if not len(result):
        raise DataError(f"{path}: no row holds an event of {list(events or ())}; look at events=")
    return result


def _stripped(cells: Any) -> list[str]:
    """Ids without blanks around them, so that "7 " and "7" are one."""
    return list(map(str.strip, cells if isinstance(cells, list) else texts(cells)))


def _event_column(
    events: Sequence[str] | None, columns: Sequence[str], where: object
) -> str | None:
    if events is None:
        return None
    if isinstance(events, str):
        raise DataError(f"events={events!r} is one text; give a list of event names")
    found = next((name for name in columns if plain(name) in ("event", "eventtype")), None)
    if found is None:
        raise DataError(
            f"{where}: events= needs a column 'event'; it has {', '.join(columns) or 'none'}"
        )
    return found


def _only(block: Mapping[str, Any], where: Where, event: str, events: Sequence[str]) -> Block:
    """The rows of a block whose event is one of these."""
    cells = block[event] if isinstance(block[event], list) else texts(block[event])
    rows = [row for row, cell in enumerate(cells) if cell in events]
    kept = {
        name: [column[row] for row in rows] if isinstance(column, list) else column[rows]
        for name, column in block.items()
    }
    return kept, lambda row: where(rows[row])


def _frame(
    frame: Any, given: Mapping[str, Column], time_format: str | None,
    events: Sequence[str] | None,
) -> Interactions:
    """Interactions of a DataFrame or a mapping of columns."""
    columns = column_names(frame)
    chosen = choose(given, columns, "frame")
    wanted = list(dict.fromkeys(chosen.values()))
    event = _event_column(events, columns, "frame")
    block: Mapping[str, Any] = frame_columns(frame, [*wanted, event] if event else wanted)
    where: Where = frame_where
    if event is not None:
        block, where = _only(block, where, event, events or ())
    coded = {
        role: _codes(block[chosen[role]]) for role in ("user", "item", "session") if role in chosen
    }
    session = coded.get("session", (None, None))
    value, time = chosen.get("value"), chosen.get("time")
    return Interactions(
        coded["user"][0], coded["item"][0],
        None if value is None else numbers(block[value], value, where),
        None if time is None else times(block[time], time, where, time_format),
        session[0], user_ids=coded["user"][1], item_ids=coded["item"][1], session_ids=session[1],
    )


def _codes(column: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
    if column.dtype.kind in "iu":
        return encode(column)
    book = Codebook()
    book.add(_stripped(column))
    return book.finish()


