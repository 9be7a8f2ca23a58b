"""Cleaning: rows that are no purchase of a product leave, each for a reason that the report names.

Raw events of a shop hold postage and bank charges as "products", cancelled orders, lines without
a customer, double clicks. Nothing here drops a row silently: ``kept + dropped == input`` holds for
every call, and ``report.rows`` says for each row of the input what became of it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, require_whole
from .interactions import NON_PRODUCT, Interactions
from .ordering import group_order, hash_ids, shuffle_keys, shuffled_order, tied

REASONS = (
    "kept",
    "no user",
    "no item",
    "non-product code",
    "return",
    "return without purchase",
    "returned purchase",
    "value below minimum",
    "duplicate",
    "user below k-core",
    "item below k-core",
)
(
    KEPT, NO_USER, NO_ITEM, NON_PRODUCT_CODE, RETURN, UNMATCHED, RETURNED, LOW, DUPLICATE,
    USER_CORE, ITEM_CORE,
) = range(len(REASONS))


@dataclass(frozen=True)
class CleanReport:
    """What became of each row.

    Attributes:
        rows: (N,) uint8, for each row of the input its place in ``reasons`` (0: kept).
        source: (M,) int64, for each row of the result the input row it comes from.
        reduced: kept rows whose quantity a return made smaller.
        merged: kept rows that took up the value of duplicates.
        ties: kept rows that share user and time with another.
        reasons: names, ``REASONS``.
    """

    rows: NDArray[np.uint8]
    source: NDArray[np.int64]
    reduced: int
    merged: int
    ties: int
    reasons: tuple[str, ...] = REASONS

    @property
    def n_input(self) -> int:
        return len(self.rows)

    @property
    def n_kept(self) -> int:
        return int(np.count_nonzero(self.rows == KEPT))

    @property
    def n_dropped(self) -> int:
        return self.n_input - self.n_kept

    @property
    def counts(self) -> dict[str, int]:
        """Rows dropped for each reason that occurs."""
        tally = np.bincount(self.rows, minlength=len(self.reasons))
        return {self.reasons[r]: int(tally[r]) for r in range(1, len(self.reasons)) if tally[r]}

    def to_dict(self) -> dict[str, object]:
        """Plain numbers, for JSON."""
        return {
            "input": self.n_input, "kept": self.n_kept, "dropped": self.counts,
            "reduced": self.reduced, "merged": self.merged, "ties": self.ties,
        }

    def __str__(self) -> str:
        total = max(self.n_input, 1)
        lines = [("rows read", self.n_input), *self.counts.items(), ("kept", self.n_kept)]
        table = [f"{name:<26}{n:>12,}{n / total:>9.2%}" for name, n in lines]
        notes = (
            (self.reduced, "kept rows made smaller by a return"),
            (self.merged, "kept rows that took up duplicates"),
            (self.ties, "kept rows share user and time with another"),
        )
        return "\n".join(table + [f"{n:,} {text}" for n, text in notes if n])


def clean(
    inter: Interactions,
    *,
    dedup: Literal["sum", "last", "first"] | None = "sum",
    per: Literal["event", "pair"] = "event",
    returns: Literal["cancel", "drop", "keep"] = "cancel",
    drop_codes: Iterable[str] | None = NON_PRODUCT,
    min_value: float | None = None,
    kcore: int | tuple[int, int] | None = None,
    ties: Literal["shuffle", "keep"] = "shuffle",
    seed: int = 0,
) -> tuple[Interactions, CleanReport]:
    """Cleaned interactions and the report of every dropped row. The input is not changed.

    Steps, in this order; a row leaves at the first that applies:

    1. rows without user or item;
    2. items whose id matches ``drop_codes`` ("*" and "?" as in file names; None: none);
    3. ``returns``: rows of negative value. "cancel" takes each return off the latest earlier
       purchases of the same user and item, and a purchase of which nothing remains leaves too;
       "drop" drops the return only; "keep" leaves both (values that are scores, not quantities);
    4. values below ``min_value`` (a rating threshold such as 4);
    5. ``dedup``: rows of the same user and item that belong to one event (same session; without
       sessions the same time; without times: same user and item) become one: "sum" keeps the
       first with the values added (quantities), "last" and "first" keep that row (ratings), None
       keeps all. ``per="pair"`` merges over all events: no repeat purchases remain;
    6. ``kcore=(u, i)``, or one number for both: repeat until every user has u rows or more and
       every item i or more.

    Then ``ties``: rows of one user at one time go into an order drawn from ``seed`` and their ids,
    independent of the file's order ("shuffle"), or keep the file's ("keep"). Ids that no row uses
    any more leave the tables.

    Raises DataError for an option that the data cannot serve.
    """
    _check_options(inter, dedup, per, returns, min_value, kcore, ties)
    require_whole("clean", 0, seed=seed)
    reason = np.zeros(len(inter), np.uint8)
    values = None if inter.values is None else inter.values.astype(np.float64)

    reason[inter.items < 0] = NO_ITEM
    reason[inter.users < 0] = NO_USER
    if drop_codes is not None:
        bad = np.append(_matches(inter.item_ids, drop_codes), False)  # the last place: code -1
        reason[(reason == KEPT) & bad[inter.items]] = NON_PRODUCT_CODE

    reduced = merged = 0
    if returns != "keep" and values is not None:
        negative = (reason == KEPT) & (values < 0)
        if negative.any():
            reason[negative] = RETURN
            if returns == "cancel":
                reduced = _cancel(inter, reason, values)
    if min_value is not None and values is not None:
        reason[(reason == KEPT) & (values < min_value)] = LOW
    if dedup is not None:
        merged = _merge(inter, reason, values, dedup, per)
    if kcore is not None:
        _core(inter, reason, *((kcore, kcore) if isinstance(kcore, int) else kcore))

    source = np.flatnonzero(reason == KEPT)
    users, items = inter.users[source], inter.items[source]
    times = None if inter.times is None else inter.times[source]
    order = group_order(users, times)
    n_ties = int(tied(users, times, order).sum())
    if ties == "shuffle" and n_ties:
        keys = shuffle_keys(
            users, items, times, hash_ids(inter.user_ids), hash_ids(inter.item_ids), seed
        )
        shuffled = source.copy()
        # The places of a tie stay where they are in the file; the rows in them change seats.
        shuffled[order] = source[shuffled_order(users, times, order, keys)]
        source = shuffled
    result = inter.select(source)
    if values is not None:
        result.values = values[source].astype(np.float32)
    return result.compact(), CleanReport(reason, source, reduced, merged, n_ties)


def _check_options(
    inter: Interactions,
    dedup: str | None,
    per: str,
    returns: str,
    min_value: float | None,
    kcore: int | tuple[int, int] | None,
    ties: str,
) -> None:
    for name, value, allowed in (
        ("dedup", dedup, ("sum", "last", "first", None)),
        ("per", per, ("event", "pair")),
        ("returns", returns, ("cancel", "drop", "keep")),
        ("ties", ties, ("shuffle", "keep")),
    ):
        if value not in allowed:
            choices = ", ".join(map(repr, allowed))
            raise DataError(f"clean: {name}={value!r}; choose one of {choices}")
    if min_value is not None and inter.values is None:
        raise DataError(
            f"clean: min_value={min_value} but the data has no values; "
            "name the value column when reading"
        )
    if isinstance(kcore, int):
        kcore = (kcore, kcore)
    if kcore is not None and (len(kcore) != 2 or min(kcore) < 0):
        raise DataError(f"clean: kcore={kcore!r}; give two counts (rows a user, rows an item)")


def _matches(ids: NDArray[np.str_], patterns: Iterable[str]) -> NDArray[np.bool_]:
    """Which ids a pattern covers, (V,)."""
    if isinstance(patterns, str):
        raise DataError(f"clean: drop_codes={patterns!r} is one text; give a list of codes")
    wanted = [fnmatch.translate(str(pattern)) for pattern in patterns]
    if not wanted:
        return np.zeros(len(ids), bool)
    match = re.compile("|".join(wanted)).match
    return np.fromiter((match(key) is not None for key in ids.tolist()), bool, len(ids))


def _cancel(inter: Interactions, reason: NDArray[np.uint8], values: NDArray[np.float64]) -> int:
    """Takes each return off the user's latest earlier purchases of the item; see clean().

    Writes reasons and the values that remain; gives the number of purchases made smaller.
    """
    live = np.flatnonzero((reason == KEPT) | (reason == RETURN))
    pair = inter.users[live].astype(np.int64) * inter.n_items + inter.items[live]
    touched = np.isin(pair, pair[reason[live] == RETURN])
    live, pair = live[touched], pair[touched]  # only pairs with a return need the walk below
    times = np.zeros(len(live), np.int64) if inter.times is None else inter.times[live]
    if inter.times is None:
        order = np.lexsort((live, pair))
    else:
        # At one and the same time a purchase comes before its return.
        order = np.lexsort((live, values[live] < 0, times, pair))
    reduced: set[int] = set()
    open_rows: list[int] = []  # purchases of this pair that still have something to give back
    current = None
    for row, key in zip(live[order].tolist(), pair[order].tolist()):
        if key != current:
            current, open_rows = key, []
        if reason[row] == KEPT:
            open_rows.append(row)
            continue
        owed = -values[row]
        if not open_rows:
            reason[row] = UNMATCHED
        while owed > 0 and open_rows:
            last = open_rows[-1]
            taken = min(owed, values[last])
            owed -= taken
            values[last] -= taken
            if values[last] > 0:
                reduced.add(last)
            else:
                reason[open_rows.pop()] = RETURNED
                reduced.discard(last)
    return len(reduced)


def _merge(
    inter: Interactions,
    reason: NDArray[np.uint8],
    values: NDArray[np.float64] | None,
    dedup: str,
    per: str,
) -> int:
    """Marks all but one row of each event (or pair) as duplicates; see clean()."""
    live = np.flatnonzero(reason == KEPT)
    if not len(live):
        return 0
    columns = [inter.users[live].astype(np.int64) * inter.n_items + inter.items[live]]
    event = inter.sessions if inter.sessions is not None else inter.times
    if per == "event" and event is not None:
        columns.append(event[live].astype(np.int64))
    when = [] if inter.times is None else [inter.times[live]]
    order = np.lexsort((live, *when, *columns[::-1]))  # by pair, event, time, place in the file
    new = np.zeros(len(order), bool)
    new[0] = True
    for column in columns:
        new[1:] |= column[order[1:]] != column[order[:-1]]
    if new.all():
        return 0
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, len(order)))
    kept = order[starts + sizes - 1] if dedup == "last" else order[starts]
    if dedup == "sum" and values is not None:
        values[live[kept]] = np.add.reduceat(values[live[order]], starts)
    extra = np.ones(len(live), bool)
    extra[kept] = False
    reason[live[extra]] = DUPLICATE
    return int(np.count_nonzero(sizes > 1))


def _core(inter: Interactions, reason: NDArray[np.uint8], per_user: int, per_item: int) -> None:
    """Drops users and items with too few rows until none is left (Seidman 1983's k-core)."""
    live = np.flatnonzero(reason == KEPT)
    while True:
        for codes, size, least, why in (
            (inter.users, inter.n_users, per_user, USER_CORE),
            (inter.items, inter.n_items, per_item, ITEM_CORE),
        ):
            few = (np.bincount(codes[live], minlength=size) < least)[codes[live]]
            reason[live[few]] = why
            live = live[~few]
        users = np.bincount(inter.users[live], minlength=inter.n_users)
        if not len(live) or users[users > 0].min() >= per_user:
            return
