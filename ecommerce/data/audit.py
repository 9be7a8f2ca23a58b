"""audit(): what of a split's later parts is known to its earlier ones, counted and said."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .interactions import Interactions
from .splits import ORDER_NUMBERS, Split

Level = Literal["leak", "warning", "note"]

# Rules whose parts claim to follow each other in time; a random draw makes no such claim.
_RANDOM = ("ratio", "cold_users", "cold_items")


@dataclass(frozen=True)
class Finding:
    """One thing found.

    kind: "shared rows", "test before train", "ties cut", "future rows", "repeated pairs",
    "duplicates", "unknown items", "unknown users", "users without train", "users without test",
    "empty part", "different ids". level: a "leak" makes figures worthless, a "warning" can bias
    them, a "note" is to be known. parts: those concerned. count of total rows (users, items).
    """

    kind: str
    level: Level
    parts: str
    count: int
    total: int
    text: str


@dataclass(frozen=True)
class Audit:
    """The findings of a split. ok: no leak among them."""

    protocol: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.level != "leak" for finding in self.findings)

    def of(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "ok": self.ok, "protocol": self.protocol,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        leaks = sum(finding.level == "leak" for finding in self.findings)
        head = "no leak found" if self.ok else f"{leaks} kind{'s' * (leaks > 1)} of leak found"
        lines = [f"{finding.level:<8}{finding.text}" for finding in self.findings]
        return "\n".join([f"split audit: {head} ({self.protocol})", *lines])


def audit(split: Split) -> Audit:
    """Checks a split; never changes it.

    Compared are ids, so parts made by hand are audited too. The cost is a few sorts.
    """
    parts = {"train": split.train, "valid": split.valid, "test": split.test}
    present = {name: part for name, part in parts.items() if part is not None and len(part)}
    found: list[Finding] = []
    for name in ("train", "test"):
        if name not in present:
            found.append(Finding("empty part", "leak", name, 0, 0, f"the {name} part has no rows"))
    if not present:
        return Audit(split.protocol, tuple(found))
    if not _same_ids(list(present.values())):
        found.append(Finding(
            "different ids", "leak", ", ".join(present), 1, 1,
            "the parts have different id tables, so a code means another user or item in each; "
            "make them by split() or select() from one Interactions",
        ))
        return Audit(split.protocol, tuple(found))
    timed = all(part.times is not None for part in present.values())
    pairs = _numbered(present, ("users", "items"))
    events = _numbered(present, ("users", "items", "times")) if timed else pairs
    moments = _numbered(present, ("users", "times")) if timed else None
    for a, b in combinations(present, 2):
        found += _shared(a, b, pairs, events, timed)
        if moments is not None:
            found += _in_time(a, present[a], b, present[b], moments, split)
    for name in present:
        found += _duplicates(name, events[name], timed)
    if "train" in present and "test" in present:
        found += _unknown(present)
    rank = {"leak": 0, "warning": 1, "note": 2}
    found.sort(key=lambda finding: rank[finding.level])
    return Audit(split.protocol, tuple(found))


def _same_ids(parts: list[Interactions]) -> bool:
    return all(
        np.array_equal(part.user_ids, parts[0].user_ids)
        and np.array_equal(part.item_ids, parts[0].item_ids)
        for part in parts[1:]
    )


def _numbered(
    parts: dict[str, Interactions], columns: tuple[str, ...]
) -> dict[str, NDArray[np.int64]]:
    """A number for each row of each part, equal where these columns are; one sort for all parts."""
    keys = [np.concatenate([getattr(part, name) for part in parts.values()]) for name in columns]
    order = np.lexsort(keys)
    new = np.zeros(len(order), np.int64)
    for key in keys:
        new[1:] |= key[order[1:]] != key[order[:-1]]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(new)
    ends = np.cumsum([len(part) for part in parts.values()])
    return dict(zip(parts, np.split(numbers, ends[:-1])))


def _count_in(rows: NDArray[np.int64], known: NDArray[np.int64]) -> int:
    """How many of these numbers are among the known ones."""
    seen = np.zeros(int(max(rows.max(), known.max())) + 1, bool)
    seen[known] = True
    return int(np.count_nonzero(seen[rows]))


def _shared(
    a: str, b: str, pairs: dict[str, NDArray[np.int64]], events: dict[str, NDArray[np.int64]],
    timed: bool,
) -> list[Finding]:
    """Rows of one part that stand in the other, and pairs bought again."""
    found = []
    same, total = _count_in(events[b], events[a]), len(events[b])
    if same:
        what = "user, item and time" if timed else "user and item"
        found.append(Finding(
            "shared rows", "leak", f"{a}, {b}", same, total,
            f"{same:,} of {total:,} {b} rows stand in {a} too (same {what}): a model has "
            "seen the answer; remove duplicates with clean() before splitting",
        ))
    again = _count_in(pairs[b], pairs[a]) - same
    if timed and again > 0:
        found.append(Finding(
            "repeated pairs", "note", f"{a}, {b}", again, total,
            f"{again:,} of {total:,} {b} rows repeat a user's purchase in {a} at another "
            "time: evaluate() leaves them out unless mask='none'",
        ))
    return found


def _in_time(
    a: str, first: Interactions, b: str, second: Interactions,
    moments: dict[str, NDArray[np.int64]], split: Split,
) -> list[Finding]:
    """Rows of the later part that are not later."""
    assert first.times is not None
    assert second.times is not None
    found = []
    latest = np.full(first.n_users, -1, np.int64)
    np.maximum.at(latest, first.users, first.times)
    late = latest[second.users]
    early = int((second.times < late).sum())
    random = split.how in _RANDOM
    if early:
        why = (
            "the split is random, so models learn from the future; how='temporal' does not"
            if random else "the model learns from what came later (by design only where the "
            "split is meant to be random); how='temporal' or 'leave_last' keeps the order"
        )
        found.append(Finding(
            f"{b} before {a}", "warning" if random else "leak", f"{a}, {b}", early, len(second),
            f"{early:,} of {len(second):,} {b} rows are older than a {a} row of the same user: "
            f"{why}",
        ))
    tied = _count_in(moments[b], moments[a])
    if tied and not random:
        how = (
            "their order was drawn at random" if "random order" in split.protocol else
            "the file's order decided, which often follows the product code; "
            "split(ties='shuffle') draws it"
        )
        level: Level = "note" if "random order" in split.protocol else "warning"
        found.append(Finding(
            "ties cut", level, f"{a}, {b}", tied, len(second),
            f"{tied:,} of {len(second):,} {b} rows share user and time with a {a} row: {how}",
        ))
    if split.how != "temporal" and second.times.max() < ORDER_NUMBERS:
        return found  # each user's own count: no common clock to compare
    start = int(second.times.min())
    future = int((first.times > start).sum())
    if future and not random:
        temporal = split.how == "temporal"
        found.append(Finding(
            "future rows", "leak" if temporal else "note", f"{a}, {b}", future, len(first),
            f"{future:,} of {len(first):,} {a} rows are later than the first {b} row: "
            + ("the cut in time is not kept" if temporal else
               "popularity and neighbours of that future are known; how='temporal' cuts it off"),
        ))
    return found


def _duplicates(name: str, events: NDArray[np.int64], timed: bool) -> list[Finding]:
    extra = len(events) - len(np.unique(events))
    if not extra:
        return []
    what = "user, item and time" if timed else "user and item"
    return [Finding(
        "duplicates", "note" if name == "train" else "warning", name, extra, len(events),
        f"{extra:,} of {len(events):,} {name} rows repeat another {name} row (same {what})",
    )]


def _unknown(parts: dict[str, Interactions]) -> list[Finding]:
    found = []
    train, test = parts["train"], parts["test"]
    for name, part in parts.items():
        if name == "train":
            continue
        for kind, codes, known, size in (
            ("items", part.items, train.items, train.n_items),
            ("users", part.users, train.users, train.n_users),
        ):
            seen = np.bincount(known, minlength=size) > 0
            rows = int((~seen[codes]).sum())
            if rows:
                who = len(np.unique(codes[~seen[codes]]))
                found.append(Finding(
                    f"unknown {kind}", "note", f"train, {name}", rows, len(part),
                    f"{rows:,} of {len(part):,} {name} rows are of {who:,} {kind} that train "
                    "does not know",
                ))
    in_train = np.bincount(train.users, minlength=train.n_users) > 0
    in_test = np.bincount(test.users, minlength=train.n_users) > 0
    for kind, missing, text in (
        ("users without train", in_test & ~in_train, "have test rows but no train row"),
        ("users without test", in_train & ~in_test, "have train rows but no test row: not tested"),
    ):
        count, total = int(missing.sum()), int((in_train | in_test).sum())
        if count:
            found.append(
                Finding(kind, "note", "train, test", count, total,
                        f"{count:,} of {total:,} users {text}")
            )
    return found
