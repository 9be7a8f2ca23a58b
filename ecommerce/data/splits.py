"""split(): train, validation and test parts that share their ids, by a stated rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError, require_whole
from .interactions import Interactions
from .ordering import group_order, hash_ids, mix64, shuffle_keys, shuffled_order

if TYPE_CHECKING:
    from .audit import Audit

How = Literal["leave_last", "ratio", "temporal", "given", "cold_users", "cold_items"]
HOWS = ("leave_last", "ratio", "temporal", "given", "cold_users", "cold_items")
TRAIN, VALID, TEST = range(3)
ORDER_NUMBERS = 10_000_000  # times below are no clock (in seconds: April 1970)


@dataclass(frozen=True)
class Split:
    """Three parts of one Interactions, with the same id tables and codes.

    Attributes:
        train, valid, test: the rows of each part, in the order of the data; valid may be empty.
        protocol: how the parts were made, one line.
        how: the rule's name, "leave_last" ...
    """

    train: Interactions
    valid: Interactions | None
    test: Interactions
    protocol: str = "given parts"
    how: str = "given"

    def audit(self) -> Audit:
        """What leaks from the later parts into the earlier ones, counted; see audit.Audit."""
        from .audit import audit

        return audit(self)

    def __repr__(self) -> str:
        valid = 0 if self.valid is None else len(self.valid)
        return (
            f"Split({len(self.train):,} train, {valid:,} valid, {len(self.test):,} test: "
            f"{self.protocol})"
        )


def split(
    inter: Interactions,
    how: How = "leave_last",
    *,
    test: float | int | ArrayLike | None = None,
    valid: float | int | ArrayLike | None = None,
    at: Any = None,
    seed: int = 0,
    ties: Literal["keep", "shuffle"] = "keep",
    draw: int = 0,
) -> Split:
    """Train, validation and test parts of interactions, each row in one part.

    how:

    - "leave_last": the last item of each user is test, the one before it validation (test and
      valid: how many, 1 each). Users with fewer rows than one more than those stay in train.
    - "ratio": of each user's n rows a random share ``test`` (.1) is test, that is n minus
      round((1 - test) n); of the rest a share ``valid`` (.1) is validation. One row or more of
      each user stays in train.
    - "temporal": one cut in time for everybody, so that about the share ``test`` of the rows
      lies after it, and ``valid`` before that; rows of one moment stay together. ``at`` names the
      cut instead: a date ("2011-11-01"), a unix time, or two of them (start of validation, start
      of test); with one date, ``valid`` is the last share of the rows before it.
    - "given": the parts that were read (``read_parts``, a folder of train and test files), or
      ``test`` and ``valid`` as a mask or row numbers of inter.
    - "cold_users", "cold_items": all rows of a random share of the users (items) are test.

    seed and draw: every pair of them is another draw; equal ones are equal, whatever the order of
    the rows in the file. ties ("leave_last"): rows of one user at one time stay in the file's
    order, or are put in a random one.

    The parts share the id tables of inter. Raises DataError where the data cannot be split so.
    """
    if how not in HOWS:
        raise DataError(f"split: how={how!r} is unknown; choose one of {', '.join(HOWS)}")
    if ties not in ("keep", "shuffle"):
        raise DataError(f"split: ties={ties!r}; choose 'keep' or 'shuffle'")
    if not isinstance(inter, Interactions):
        raise DataError(
            f"split: {type(inter).__name__} is no Interactions; read it with read_interactions"
        )
    if not len(inter):
        raise DataError("split: the interactions hold no rows")
    if at is not None and how != "temporal":
        raise DataError(f"split: at= names a time and is for how='temporal', not {how!r}")
    require_whole("split", 0, seed=seed, draw=draw)
    inter._require_ids()
    keys = _draw_keys(inter, seed, draw) if how != "temporal" and how != "given" else None
    if how == "leave_last":
        parts, text = _leave_last(inter, test, valid, ties, keys)
    elif how == "temporal":
        parts, text = _temporal(inter, test, valid, at)
    elif how == "given":
        parts, text = _given(inter, test, valid)
    else:
        shares = _share("test", test), _share("valid", valid)
        if how == "ratio":
            parts, text = _ratio(inter, *shares, keys)
        else:
            parts, text = _cold(inter, how, *shares, seed, draw)
    if ties == "shuffle" and how == "leave_last":
        text += f", ties in random order, seed {seed}, draw {draw}"
    elif how == "leave_last":
        text += ", ties in the data's order"
    elif keys is not None:
        text += f", seed {seed}, draw {draw}"
    for part, name in ((TRAIN, "train"), (TEST, "test")):
        if not np.any(parts == part):
            raise DataError(
                f"split: {how} leaves no row for {name} ({len(inter)} rows, "
                f"{inter.n_users} users); change test=, valid= or at="
            )
    return Split(
        inter.select(parts == TRAIN), inter.select(parts == VALID), inter.select(parts == TEST),
        text, how,
    )


def _draw_keys(inter: Interactions, seed: int, draw: int) -> NDArray[np.uint64]:
    """A random number for each row, (N,), that depends on what the row says, not on its place."""
    salt = mix64(np.array([draw % 2**63], np.uint64))[0]
    keys = mix64(salt ^ shuffle_keys(
        inter.users, inter.items, inter.times, hash_ids(inter.user_ids), hash_ids(inter.item_ids),
        seed,
    ))
    # Rows that say the same get numbers of their own too.
    order = np.argsort(keys, kind="stable")
    same = np.append(False, keys[order[1:]] == keys[order[:-1]])
    if same.any():
        place = np.arange(len(order))
        run = place - np.maximum.accumulate(np.where(same, 0, place))
        keys[order] = mix64(keys[order] + run.astype(np.uint64))
    return keys


def _share(name: str, value: Any) -> float:
    share = 0.1 if value is None else value
    if isinstance(share, bool) or not isinstance(share, (int, float, np.number)) \
            or not 0 <= share < 1 or (name == "test" and share == 0):
        low = "above 0" if name == "test" else "0 or more"
        raise DataError(f"split: {name}={value!r}; give a share, {low} and below 1")
    return float(share)


def _places(inter: Interactions, order: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
    """For each row its place among its user's rows in this order, and their number, (N,) each."""
    counts = np.bincount(inter.users, minlength=inter.n_users)
    starts = np.cumsum(counts) - counts
    place = np.empty(len(inter), np.int64)
    place[order] = np.arange(len(inter)) - starts[inter.users[order]]
    return place, counts[inter.users]


def _leave_last(
    inter: Interactions, test: Any, valid: Any, ties: str, keys: Any
) -> tuple[NDArray[np.uint8], str]:
    counts = []
    for name, value, least in (("test", test, 1), ("valid", valid, 0)):
        count = 1 if value is None else value
        whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
        if not whole or count < least:
            raise DataError(
                f"split: leave_last with {name}={value!r}; give how many of a user's last rows, "
                f"{least} or more (a share is for how='ratio' or 'temporal')"
            )
        counts.append(int(count))
    n_test, n_valid = counts
    if inter.times is None:
        raise DataError(
            "split: leave_last needs times and the data has none; name the time column when "
            "reading, or split by how='ratio'"
        )
    order = group_order(inter.users, inter.times)
    if ties == "shuffle":
        order = shuffled_order(inter.users, inter.times, order, keys)
    place, total = _places(inter, order)
    left = total - place  # 1 for the last row of a user
    parts = np.full(len(inter), TRAIN, np.uint8)
    enough = total > n_test + n_valid
    parts[enough & (left <= n_test + n_valid)] = VALID
    parts[enough & (left <= n_test)] = TEST
    what = "leave last" if n_test == 1 else f"leave last {n_test}"
    before = {0: "no validation", 1: "the one before it valid"}.get(
        n_valid, f"the {n_valid} before valid"
    )
    return parts, f"{what} of each user for test, {before}"


def _ratio(
    inter: Interactions, test: float, valid: float, keys: Any
) -> tuple[NDArray[np.uint8], str]:
    order = np.lexsort((keys, inter.users))
    place, total = _places(inter, order)
    rest = np.maximum(np.rint((1 - test) * total), 1).astype(np.int64)
    train = np.maximum(np.rint((1 - valid) * rest), 1).astype(np.int64)
    parts = np.full(len(inter), TRAIN, np.uint8)
    parts[place >= train] = VALID
    parts[place >= rest] = TEST
    return parts, f"random {test:g} of each user's rows test, {valid:g} of the rest valid"


def _temporal(
    inter: Interactions, test: Any, valid: Any, at: Any
) -> tuple[NDArray[np.uint8], str]:
    if inter.times is None:
        raise DataError(
            "split: temporal needs times and the data has none; name the time column when "
            "reading, or split by how='ratio'"
        )
    times = inter.times
    first: int | None
    if at is None:
        last = _cut(times, _share("test", test))
        first = None
    else:
        if test is not None:
            raise DataError("split: temporal takes test= (a share) or at= (a time), not both")
        pair = at if isinstance(at, Sequence) and not isinstance(at, str) else (None, at)
        if len(pair) != 2:
            raise DataError(f"split: at={at!r}; give one time, or (start of valid, start of test)")
        first = None if pair[0] is None else _seconds(pair[0])
        last = _seconds(pair[1])
        if first is not None and (valid is not None or first > last):
            raise DataError(
                f"split: at={at!r}; the start of valid must not lie after that of test, and "
                "valid= (a share) is not given with it"
            )
    parts = np.where(times >= last, TEST, TRAIN).astype(np.uint8)
    before = times[times < last]
    if first is None and len(before):
        share = _share("valid", valid)
        first = _cut(before, share if at is not None else
                     min(share / max(1 - _share("test", test), 1e-9), 1.0)) if share else last
    if first is not None:
        parts[(times >= first) & (times < last)] = VALID
    span = f"{_shown(first)} to {_shown(last)}" if first is not None and first < last else "none"
    return parts, f"temporal: test from {_shown(last)}, valid {span}"


def _cut(times: NDArray[np.int64], share: float) -> int:
    """The time from which on about this share of the rows lies; a moment is never cut."""
    ordered = np.sort(times)
    place = min(max(round(len(ordered) * (1 - share)), 0), len(ordered) - 1)
    low = int(np.searchsorted(ordered, ordered[place], "left"))
    high = int(np.searchsorted(ordered, ordered[place], "right"))
    # Of the two borders of this moment the nearer one that leaves something on both sides.
    nearest = high if low == 0 or (high < len(ordered) and high - place < place - low) else low
    return int(ordered[nearest]) if nearest < len(ordered) else int(ordered[-1])


def _seconds(when: Any) -> int:
    """A unix time of a date, a text or a number."""
    if isinstance(when, (int, float, np.integer, np.floating)) and not isinstance(when, bool):
        return int(when)
    if isinstance(when, date) and not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    if isinstance(when, datetime):
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    try:
        return int(np.datetime64(when, "s").astype(np.int64))
    except (ValueError, TypeError):
        raise DataError(
            f"split: at={when!r} is no time; give '2011-11-01', a unix time, or a date"
        ) from None


def _shown(seconds: int) -> str:
    """A time as a date; order numbers and the like as they are."""
    if seconds < ORDER_NUMBERS:
        return f"time {seconds}"
    return str(np.datetime64(seconds, "s")).replace("T", " ").removesuffix(" 00:00:00")


def _given(inter: Interactions, test: Any, valid: Any) -> tuple[NDArray[np.uint8], str]:
    if test is None and valid is None:
        if inter.parts is None:
            raise DataError(
                "split: how='given' needs parts; read a folder of train and test files "
                "(read_parts), or give test= and valid= as masks or row numbers"
            )
        return inter.parts, "given parts"
    parts = np.full(len(inter), TRAIN, np.uint8)
    chosen: list[NDArray[np.bool_]] = []
    for part, name, rows in ((VALID, "valid", valid), (TEST, "test", test)):
        if rows is None:
            continue
        index = np.asarray(rows)
        mask = np.zeros(len(inter), bool)
        try:
            if index.dtype.kind not in "biu" or index.ndim != 1:
                raise IndexError
            mask[index] = True
        except IndexError:
            raise DataError(
                f"split: how='given' with {name} of shape {index.shape}, type {index.dtype}; give "
                f"a mask ({len(inter)},) or row numbers below {len(inter)}"
            ) from None
        if chosen and (chosen[0] & mask).any():
            both = int((chosen[0] & mask).sum())
            raise DataError(f"split: {both} rows are in both valid= and test=; each row has a part")
        chosen.append(mask)
        parts[mask] = part
    return parts, "given rows"


def _cold(
    inter: Interactions, how: str, test: float, valid: float, seed: int, draw: int
) -> tuple[NDArray[np.uint8], str]:
    kind = how.removeprefix("cold_")
    codes, ids = (
        (inter.users, inter.user_ids) if kind == "users" else (inter.items, inter.item_ids)
    )
    salt = mix64(np.array([seed % 2**63], np.uint64) + mix64(np.array([draw % 2**63], np.uint64)))
    used = np.bincount(codes, minlength=len(ids)) > 0
    order = np.argsort(mix64(hash_ids(ids) ^ salt[0]), kind="stable")
    order = order[used[order]]
    n_test = round(test * len(order))
    n_valid = round(valid * (len(order) - n_test))
    part = np.full(len(ids), TRAIN, np.uint8)
    part[order[:n_test]] = TEST
    part[order[n_test : n_test + n_valid]] = VALID
    text = f"cold start: all rows of {n_test} random {kind} test, of {n_valid} others valid"
    return part[codes], text
