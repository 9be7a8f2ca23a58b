"""Which format a file or folder has, read off its content and its column names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .files import PARQUET, decode, read_start, stem

FORMATS = (
    "auto", "ml-100k", "ml-1m", "amazon-jsonl", "sequence", "online-retail", "retailrocket",
    "recbole", "csv", "parquet",
)

# Columns that each role has in known public files and in common exports, most certain first.
# A dictionary of role -> names; compared without case, spaces, "_" and a ":type" ending (RecBole).
ROLES: dict[str, tuple[str, ...]] = {
    "user": ("user", "userid", "customerid", "customer", "visitorid", "reviewerid", "uid"),
    "item": (
        "item", "itemid", "stockcode", "productid", "product", "movieid", "asin", "sku",
        "clothingid", "parentasin",
    ),
    "value": ("value", "rating", "overall", "quantity", "stars", "score"),
    "time": (
        "time", "timestamp", "unixreviewtime", "invoicedate", "date", "datetime", "orderdate",
        "unixtime",
    ),
    "session": ("session", "sessionid", "invoiceno", "invoice", "orderid", "order"),
    "text": ("text", "reviewtext", "review", "comment", "description", "content", "reviewbody"),
    "title": ("title", "summary", "name", "itemname", "productname", "description", "headline"),
    "category": ("category", "categories", "cat", "departmentname", "genres", "classname"),
    "brand": ("brand", "manufacturer"),
    "price": ("price", "unitprice"),
    "stock": ("stock", "instock", "onhand", "inventory"),
    "label": ("label", "recommendedind", "sentiment", "polarity"),
    "language": ("language", "lang"),
    "tags": ("tags", "attributes"),
}

ML_100K = ("user", "item", "rating", "time")  # the same four in ratings.dat of ML-1M
_ROW = {
    "ml-100k": re.compile(r"[^\t]+\t[^\t]+\t[\d.]+\t\d+\s*$"),
    "ml-1m": re.compile(r"[^:]+::[^:]+::[\d.]+::\d+\s*$"),
    "sequence": re.compile(r"\d+(?:[ \t]+\d+)*\s*$"),
}


@dataclass(frozen=True)
class Detected:
    """A format, the file that has it, and the delimiter of a table."""

    format: str
    path: Path
    delimiter: str = ","


def plain(name: str) -> str:
    """A column name for comparison: "user_id:token" and "User ID" are both "userid"."""
    return re.sub(r"[^a-z0-9]", "", name.split(":")[0].lower())


def guess_column(role: str, names: Iterable[str]) -> str | None:
    """The column that serves a role by its name, or None."""
    by_plain = {plain(name): name for name in reversed(list(names))}
    return next((by_plain[known] for known in ROLES[role] if known in by_plain), None)


def pick_column(
    role: str, given: str | None, names: Sequence[str], where: object, required: bool = False
) -> str | None:
    """The column for a role: the given one, which must exist, else one known by its name."""
    if given is not None:
        if given not in names:
            raise DataError(
                f"{where}: no column {given!r} for {role}; it has {', '.join(names) or 'none'}"
            )
        return given
    found = guess_column(role, names)
    if found is None and required:
        raise DataError(
            f"{where}: no column looks like the {role}; it has {', '.join(names) or 'none'}: "
            f"give {role}='<column>', or names=[...] where there is no header"
        )
    return found


def detect(path: Path, encoding: str | None = None) -> Detected:
    """The format of a file of interactions, or of the file of interactions in a folder."""
    if path.is_dir():
        return _detect_folder(path, encoding)
    start = read_start(path)
    if start.startswith(PARQUET):
        return Detected("parquet", path)
    lines = [line for line in decode(start, encoding).splitlines() if line.strip()]
    whole = lines[:-1] if len(lines) > 1 else lines  # the last may be cut in the middle
    head = whole[0].strip()
    if head.startswith("{"):
        if _looks_like_json_object(head):
            return Detected("amazon-jsonl", path)
        raise DataError(
            f"{path}: JSON, but its first line is not one whole object; "
            "interactions are read from JSON lines, one object a line"
        )
    for name in ("ml-1m", "ml-100k", "sequence"):
        if all(map(_ROW[name].match, whole[:20])):
            return Detected(name, path)
    delimiter = max(",\t;|", key=head.count)
    if not head.count(delimiter):
        raise DataError(
            f"{path}: unknown format (first line {head[:60]!r}); give format= one of "
            f"{', '.join(FORMATS[1:])}"
        )
    names = {plain(name) for name in head.split(delimiter)}
    if ":token" in head:
        return Detected("recbole", path, delimiter)
    if "stockcode" in names and names & {"invoiceno", "invoice"}:
        return Detected("online-retail", path, delimiter)
    if {"visitorid", "itemid"} <= names:
        return Detected("retailrocket", path, delimiter)
    return Detected("csv", path, delimiter)


def _looks_like_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def files_of(folder: Path) -> list[Path]:
    """The files of a folder, sorted by name."""
    try:
        return sorted(p for p in folder.iterdir() if p.is_file())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from None


def find(folder: Path, *names: str) -> Path | None:
    """The first file of the folder with one of these names, compressed or not."""
    by_stem = {stem(p): p for p in files_of(folder)}
    return next((by_stem[name] for name in names if name in by_stem), None)


def _detect_folder(folder: Path, encoding: str | None) -> Detected:
    known = find(folder, "u.data", "ratings.dat", "ratings.csv", "interactions.csv", "events.csv")
    if known is not None:
        return detect(known, encoding)
    if find(folder, "train.txt") and find(folder, "test.txt"):
        return Detected("parts", folder)
    files = [p for p in files_of(folder) if not stem(p).startswith("readme")]
    same = [p for p in files if stem(p).rsplit(".", 1)[0] == folder.name.lower()]
    found = []
    for path in same or files:
        try:
            found.append(detect(path, encoding))
        except DataError:
            continue  # another kind of file: attributes, images, notes
    if len(found) == 1:
        return found[0]
    shown = ", ".join(p.name for p in files[:8]) or "nothing"
    raise DataError(
        f"{folder}: {'more than one file' if found else 'no file'} of interactions that is known "
        f"by its name or content (it holds {shown}); name the file"
    )
