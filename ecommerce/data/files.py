"""Opening data files: plain, gzip or xz by content, every failure as one clear DataError."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import DataError

Source = str | os.PathLike[str]

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
PARQUET = b"PAR1"
COMPRESSED = (".gz", ".xz")
SNIFF = 1 << 16  # bytes looked at to tell the format


def stem(path: Path) -> str:
    """The name without a compression ending, in lower case: u.data.gz -> u.data."""
    name = path.name.lower()
    return name[: -len(path.suffix)] if path.suffix.lower() in COMPRESSED else name


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turns what reading can raise into a DataError that names file, cause and fix."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file or folder; check the path") from None
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        cause = str(error).rstrip(".") or "the data ends early"
        raise DataError(
            f"{path}: the compressed file is cut off or damaged ({cause}); fetch it again"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not {error.encoding} text (byte 0x{error.object[error.start]:02x}); "
            "give encoding='latin-1' or the one it was written in"
        ) from None
    except csv.Error as error:
        raise DataError(f"{path}: broken table ({error}); check its quotes") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


@contextmanager
def open_bytes(source: Source) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file; errors while they are read become DataErrors too."""
    path = Path(source)
    with _clear_errors(path):
        if path.is_dir():
            raise DataError(f"{path}: is a folder; name one file in it")
        with open(path, "rb") as raw:
            start = raw.read(6)
            raw.seek(0)
            if not start:
                raise DataError(f"{path}: the file is empty; fetch or export it again")
            stream: Any
            if start.startswith(_GZIP):
                stream = gzip.open(raw)  # noqa: SIM115 - closed below
            elif start.startswith(_XZ):
                stream = lzma.open(raw)  # noqa: SIM115
            else:
                stream = raw
            with stream:
                yield stream


@contextmanager
def open_text(source: Source, encoding: str | None = None) -> Iterator[IO[str]]:
    """The unpacked text of a file, UTF-8 unless told (a byte order mark is skipped).

    Line ends are "\\n", whatever the file has.
    """
    with open_bytes(source) as raw:
        try:
            text = io.TextIOWrapper(io.BufferedReader(raw), encoding or "utf-8-sig")  # type: ignore[type-var]
        except LookupError:
            raise DataError(f"encoding={encoding!r} is unknown; try 'utf-8', 'latin-1'") from None
        with text:
            yield text


def text_chunks(text: IO[str], size: int = 1 << 18) -> Iterator[str]:
    """Pieces of whole lines, each of about size characters."""
    while chunk := text.read(size):
        yield chunk if chunk.endswith("\n") else chunk + text.readline()


def read_start(source: Source) -> bytes:
    """The first unpacked bytes of a file, to tell its format. Binary files raise DataError."""
    with open_bytes(source) as stream:
        start = stream.read(SNIFF)
    if not start.strip():
        raise DataError(f"{source}: the file holds no data; fetch or export it again")
    if start.startswith(PARQUET):
        return start
    if b"\0" in start:
        raise DataError(
            f"{source}: a binary file, not text; give CSV, JSON lines, parquet or a sequence file "
            "(gz and xz are unpacked by themselves)"
        )
    return start


def decode(start: bytes, encoding: str | None) -> str:
    """The text of a file's start, forgiving: only the format is read off it."""
    try:
        return start.decode(encoding or "utf-8", errors="replace").removeprefix("\ufeff")
    except LookupError:
        raise DataError(f"encoding={encoding!r} is unknown; try 'utf-8', 'latin-1'") from None


def guess_encoding(source: Source) -> str:
    """'utf-8-sig', or 'latin-1' where the file is no UTF-8 (older public sets are latin-1)."""
    with open_bytes(source) as stream:
        data = stream.read()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def json_lines(source: Source, encoding: str | None = None) -> Iterator[tuple[int, dict]]:
    """(line number, object) for each line of a JSON lines file; DataError names a bad line."""
    with open_text(source, encoding) as text:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError:
                raise DataError(
                    f"{source}, line {number}: not JSON ({line.strip()[:40]!r}); "
                    "each line must be one JSON object"
                ) from None
            if not isinstance(record, dict):
                raise DataError(
                    f"{source}, line {number}: {type(record).__name__}, not a JSON object; "
                    "each line must be one JSON object"
                )
            yield number, record
