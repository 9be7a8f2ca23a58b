"""Sequence files (``user item item ...`` a line) and folders that hold a given split."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import Source, open_text, text_chunks
from .formats import find
from .interactions import NO_CODE, PARTS, Interactions, encode
from .ordering import group_order
from .tables import Codebook


def read_sequence(source: Source, encoding: str | None = None) -> Interactions:
    """A line is a user and one or more items, oldest first; times are order numbers of each user.

    One rule reads both usual forms: a user's further lines continue the sequence. Where the first
    line is of whole numbers, every line must be. A user without items has no row.
    """
    users, items = Codebook(), Codebook()
    number, numeric = 1, None
    with open_text(source, encoding) as text:
        for chunk in text_chunks(text):
            lines = chunk.removesuffix("\n").split("\n")
            tokens = chunk.split()
            if tokens and numeric is None:
                numeric = next(filter(None, map(str.split, lines)))[0].isdecimal()
            if numeric and not "".join(tokens).isdecimal():
                bad = next(i for i, row in enumerate(lines) if not _whole_numbers(row))
                raise DataError(
                    f"{source}, line {number + bad}: {lines[bad].strip()[:40]!r} is no line of "
                    "whole numbers as the first is ('user item item ...'); correct or remove it"
                )
            number += len(lines)
            separator = "\t" if "\t" in chunk else " "
            if len(tokens) == 2 * len(lines) and all(
                line.count(separator) == 1 for line in lines
            ):
                users.add(tokens[0::2])
                items.add(tokens[1::2])
                continue
            rows = [row for row in map(str.split, lines) if row]
            users.add(list(chain.from_iterable([row[0]] * (len(row) - 1) for row in rows)))
            items.add(list(chain.from_iterable(row[1:] for row in rows)))
    user_codes, user_ids = users.finish()
    item_codes, item_ids = items.finish()
    if not len(user_codes):
        raise DataError(f"{source}: no line holds a user and an item; fetch or export it again")
    return Interactions(
        user_codes, item_codes, None, order_numbers(user_codes),
        user_ids=user_ids, item_ids=item_ids,
    )


def _whole_numbers(line: str) -> bool:
    return all(map(str.isdecimal, line.split()))


def order_numbers(users: NDArray[np.int32]) -> NDArray[np.int64]:
    """0, 1, 2 ... for the rows of each user in the order of the file, (N,)."""
    order = group_order(users)
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    places = np.empty(len(users), np.int64)
    places[order] = np.arange(len(users)) - starts[users[order]]
    return places


def read_parts(
    folder: Source,
    train: str = "train",
    valid: str | None = "valid",
    test: str = "test",
    *,
    encoding: str | None = None,
) -> Interactions:
    """The rows of a folder's train, valid and test files as one, with ``parts`` that tells them.

    train, valid, test: names of the files, with or without their endings; a missing valid file is
    left out. Where all of a later part stands in an earlier one too (Gowalla's valid is inside
    train; MovieLens's u.data holds u1.test), its pairs leave the earlier part. Files of sequences
    carry no times: such folders hold sets, in no order of time.

    ``split(read_parts(folder), how="given")`` gives the Split. Example:
    ``read_parts("ml-100k", train="u.data", valid=None, test="u1.test")``.
    """
    from .readers import read_interactions  # it reads a folder of parts through this function

    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"{place}: no such folder; read_parts reads a folder of train and test")
    read: list[tuple[int, Interactions]] = []
    for part, name in enumerate((train, valid, test)):
        path = None if name is None else find(place, *_endings(name))
        if path is not None:
            inter = read_interactions(path, encoding=encoding)
            read.append((part, inter))
        elif name is not None and name != "valid":
            raise DataError(
                f"{place}: no file {name!r} for {PARTS[part]}; give {PARTS[part]}='<file name>'"
            )
    together = _join(read)
    return together.select(_own_part(together))


def _endings(name: str) -> list[str]:
    low = name.lower()
    low = low.removesuffix(".gz").removesuffix(".xz")
    return [low, *(f"{low}.{end}" for end in ("txt", "csv", "tsv", "inter", "dat", "jsonl"))]


def _join(read: list[tuple[int, Interactions]]) -> Interactions:
    """The rows of all parts over common id tables."""
    users, user_ids = _common([(inter.users, inter.user_ids) for _, inter in read])
    items, item_ids = _common([(inter.items, inter.item_ids) for _, inter in read])
    # Order numbers start anew in each file, so they tell nothing over the parts together.
    values = [inter.values for _, inter in read if inter.values is not None]
    times = [
        inter.times for _, inter in read if inter.times is not None and inter.values is not None
    ]
    parts = np.concatenate([np.full(len(inter), part, np.uint8) for part, inter in read])
    return Interactions(
        users, items,
        np.concatenate(values) if len(values) == len(read) else None,
        np.concatenate(times) if len(times) == len(read) else None,
        user_ids=user_ids, item_ids=item_ids, parts=parts,
    )


def _common(
    coded: list[tuple[NDArray[np.int32], NDArray[np.str_]]],
) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
    """Codes of all rows over one table, from (codes, table) of each part."""
    places, table = encode(np.concatenate([ids for _, ids in coded]))
    codes, first = [], 0
    for part, ids in coded:
        codes.append(np.append(places[first : first + len(ids)], NO_CODE)[part])
        first += len(ids)
    return np.concatenate(codes).astype(np.int32), table


def _own_part(inter: Interactions) -> NDArray[np.bool_]:
    """Rows that stay: those of a part whose later parts do not lie wholly inside it."""
    assert inter.parts is not None
    stays = np.ones(len(inter), bool)
    pairs = inter.users.astype(np.int64) * inter.n_items + inter.items
    for later in (1, 2):
        inner = pairs[inter.parts == later]
        for earlier in range(later):
            rows = np.flatnonzero((inter.parts == earlier) & stays)
            if len(inner) and len(rows) and np.isin(inner, pairs[rows], kind="sort").all():
                stays[rows[np.isin(pairs[rows], inner, kind="sort")]] = False
    return stays
