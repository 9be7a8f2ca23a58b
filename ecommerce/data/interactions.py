"""Interactions: the events of a shop as columns of numbers, with the shop's own ids kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .ordering import group_order, tied

if TYPE_CHECKING:
    from .clean import CleanReport

# Stock codes of UCI Online Retail (I and II) that are no product: postage, carriage, discounts,
# manual entries, samples, fees, adjustments, tests, vouchers. "*" stands for any ending.
NON_PRODUCT = (
    "POST", "DOT", "C2", "C3", "D", "M", "m", "S", "B", "AMAZONFEE", "BANK CHARGES", "CRUK",
    "PADS", "ADJUST*", "TEST*", "gift_*", "GIFT",
)

PARTS = ("train", "valid", "test")  # what Interactions.parts numbers
NO_CODE = -1  # the code of a row whose user or item is missing in the file


def encode(ids: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
    """Codes and their table: ids (N,) -> codes (N,) int32, table (V,) of str; "" becomes -1.

    The table is sorted, so codes do not depend on the order of the rows: by number where every
    id is a whole number written plainly ("7", not "07"), else by text.
    """
    values = np.asarray(ids)
    if values.dtype.kind in "iu":
        numbers, places = np.unique(values, return_inverse=True)
        return places.astype(np.int32), numbers.astype(np.str_)
    if values.dtype.kind != "U":
        values = values.astype(np.str_)
    table, places = np.unique(values, return_inverse=True)
    codes: NDArray[np.int32] = places.astype(np.int32)
    if len(table) and table[0] == "":
        table, codes = table[1:], codes - np.int32(1)
    if len(table) and bool(np.all(np.strings.isdigit(table))):
        order = _numeric_order(table)
        if order is not None:
            place = np.empty(len(order) + 1, np.int32)
            place[order] = np.arange(len(order), dtype=np.int32)
            place[-1] = NO_CODE
            table, codes = table[order], place[codes]
    return codes, table


def _numeric_order(table: NDArray[np.str_]) -> NDArray[np.int64] | None:
    try:
        numbers = table.astype(np.int64)
    except (ValueError, OverflowError):
        return None
    return np.argsort(numbers) if bool(np.all(numbers.astype(table.dtype) == table)) else None


class Interactions:
    """Events (user, item) with optional value, time and session, N rows in columns.

    Attributes:
        users, items: (N,) int32 codes; -1 where the file names none (``clean`` drops such rows).
        values: (N,) float32 or None: a rating, or a quantity where negative means a return.
        times: (N,) int64 or None: unix seconds, or the order number of a sequence file.
        sessions: (N,) int32 codes or None: the basket, invoice or visit.
        user_ids, item_ids, session_ids: (V,) str, code -> id. Splits and selections share them,
            so codes agree between them.
        parts: (N,) uint8 or None: the place in ``PARTS`` of a row of a given split.

    Rows keep the order of the file; it breaks ties between equal times. Raises DataError where
    lengths differ, a code lies outside its table, a value is NaN or infinite, a time negative.
    """

    def __init__(
        self,
        users: ArrayLike,
        items: ArrayLike,
        values: ArrayLike | None = None,
        times: ArrayLike | None = None,
        sessions: ArrayLike | None = None,
        *,
        user_ids: NDArray[np.str_],
        item_ids: NDArray[np.str_],
        session_ids: NDArray[np.str_] | None = None,
        parts: ArrayLike | None = None,
    ) -> None:
        self.users: NDArray[np.int32] = np.asarray(users, np.int32)
        self.items: NDArray[np.int32] = np.asarray(items, np.int32)
        self.values: NDArray[np.float32] | None = (
            None if values is None else np.asarray(values, np.float32)
        )
        self.times: NDArray[np.int64] | None = (
            None if times is None else np.asarray(times, np.int64)
        )
        self.sessions: NDArray[np.int32] | None = (
            None if sessions is None else np.asarray(sessions, np.int32)
        )
        self.user_ids = np.asarray(user_ids, np.str_)
        self.item_ids = np.asarray(item_ids, np.str_)
        self.session_ids = None if session_ids is None else np.asarray(session_ids, np.str_)
        self.parts: NDArray[np.uint8] | None = (
            None if parts is None else np.asarray(parts, np.uint8)
        )
        self._codes: dict[str, dict[str, int]] = {}
        self._check()

    @classmethod
    def from_ids(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        values: ArrayLike | None = None,
        times: ArrayLike | None = None,
        sessions: ArrayLike | None = None,
    ) -> Interactions:
        """Interactions of columns of ids (str or int), each (N,). An empty id is a missing one."""
        user_codes, user_ids = encode(users)
        item_codes, item_ids = encode(items)
        session_codes, session_ids = (None, None) if sessions is None else encode(sessions)
        return cls(
            user_codes, item_codes, values, times, session_codes,
            user_ids=user_ids, item_ids=item_ids, session_ids=session_ids,
        )

    def _check(self) -> None:
        n = len(self.users)
        columns = (
            ("items", self.items), ("values", self.values),
            ("times", self.times), ("sessions", self.sessions), ("parts", self.parts),
        )
        for name, column in columns:
            if column is not None and column.shape != (n,):
                raise DataError(
                    f"interactions: {name} has shape {column.shape}, users ({n},); "
                    "every column needs one entry a row"
                )
        for name, codes, ids in (
            ("user", self.users, self.user_ids), ("item", self.items, self.item_ids)
        ):
            if n and (codes.min() < NO_CODE or codes.max() >= len(ids)):
                raise DataError(
                    f"interactions: {name} codes {codes.min()} .. {codes.max()} do not fit a table "
                    f"of {len(ids)} ids; build it with Interactions.from_ids"
                )
        if self.values is not None and not bool(np.isfinite(self.values).all()):
            row = int(np.flatnonzero(~np.isfinite(self.values))[0])
            raise DataError(
                f"interactions: value of row {row} is {self.values[row]}; "
                "values must be finite: drop or fill those rows first"
            )
        if self.times is not None and n and self.times.min() < 0:
            row = int(np.argmin(self.times))
            raise DataError(
                f"interactions: time of row {row} is {self.times[row]}; times are unix seconds "
                "or order numbers from 0 on: drop or correct those rows first"
            )

    # ------------------------------------------------------------------ size and ids

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        columns = [c for c in ("values", "times", "sessions") if getattr(self, c) is not None]
        more = f", with {', '.join(columns)}" if columns else ""
        return f"Interactions({len(self):,} rows, {self.n_users:,} users, {self.n_items:,} items" \
            f"{more})"

    def user_code(self, user: object) -> int:
        """The code of a user's id; DataError for an unknown one."""
        return self._code("user", self.user_ids, user)

    def item_code(self, item: object) -> int:
        """The code of an item's id; DataError for an unknown one."""
        return self._code("item", self.item_ids, item)

    def find_users(self, users: Iterable[object]) -> NDArray[np.int32]:
        """The codes of ids, (N,), -1 for an unknown one."""
        return self._find("user", self.user_ids, users)

    def find_items(self, items: Iterable[object]) -> NDArray[np.int32]:
        """The codes of ids, (N,), -1 for an unknown one."""
        return self._find("item", self.item_ids, items)

    def _table(self, kind: str, ids: NDArray[np.str_]) -> dict[str, int]:
        if kind not in self._codes:
            self._codes[kind] = {key: code for code, key in enumerate(ids.tolist())}
        return self._codes[kind]

    def _find(
        self, kind: str, ids: NDArray[np.str_], wanted: Iterable[object]
    ) -> NDArray[np.int32]:
        table = self._table(kind, ids)
        return np.array([table.get(str(key), NO_CODE) for key in wanted], np.int32)

    def _code(self, kind: str, ids: NDArray[np.str_], key: object) -> int:
        code = self._table(kind, ids).get(str(key))
        if code is None:
            known = f"{ids[0]!s} .. {ids[-1]!s}" if len(ids) else "none"
            fix = (
                "recommend_for(history=[...]) serves a new user"
                if kind == "user"
                else "a new item needs add_items(...) or a refit"
            )
            raise DataError(
                f"unknown {kind} id {str(key)!r}: this data knows {len(ids)} {kind}s, {known} "
                f"(see {kind}_ids); {fix}"
            )
        return code

    # ------------------------------------------------------------------ views of the rows

    def order(self, by: Literal["user", "item"] = "user") -> NDArray[np.int64]:
        """The rows sorted by user (or item), then time, then place in the file, (N,)."""
        codes = self._codes_by(by)
        self._require_ids()
        return group_order(codes, self.times)

    def csr(
        self, by: Literal["user", "item"] = "user"
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Compressed rows: indptr (V + 1,), indices (N,).

        ``indices[indptr[u]:indptr[u + 1]]`` are the items of user u, oldest first (``by="item"``:
        the users of an item). Repeated purchases appear repeatedly.
        """
        codes = self._codes_by(by)
        other, size = (
            (self.items, self.n_users) if by == "user" else (self.users, self.n_items)
        )
        order = self.order(by)
        indptr = np.zeros(size + 1, np.int64)
        np.cumsum(np.bincount(codes, minlength=size), out=indptr[1:])
        return indptr, other[order]

    def _codes_by(self, by: str) -> NDArray[np.int32]:
        if by not in ("user", "item"):
            raise DataError(f"csr: by={by!r}; choose 'user' or 'item'")
        return self.users if by == "user" else self.items

    def _require_ids(self) -> None:
        missing = int(np.count_nonzero((self.users < 0) | (self.items < 0)))
        if missing:
            raise DataError(
                f"interactions: {missing} of {len(self)} rows have no user or no item; "
                "drop them with clean()"
            )

    def select(self, rows: ArrayLike) -> Interactions:
        """The rows of a boolean mask or of row numbers, with the same id tables and codes."""
        index = np.asarray(rows)
        if index.dtype == bool and index.shape != (len(self),):
            raise DataError(f"select: mask of shape {index.shape} for {len(self)} rows")

        def take(column: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if column is None else column[index]

        return Interactions(
            self.users[index], self.items[index],
            take(self.values), take(self.times), take(self.sessions),
            user_ids=self.user_ids, item_ids=self.item_ids, session_ids=self.session_ids,
            parts=take(self.parts),
        )

    def compact(self) -> Interactions:
        """The same rows with ids that no row uses left out of the tables."""
        users, user_ids = _compact(self.users, self.user_ids)
        items, item_ids = _compact(self.items, self.item_ids)
        sessions, session_ids = self.sessions, self.session_ids
        if sessions is not None and session_ids is not None:
            sessions, session_ids = _compact(sessions, session_ids)
        return Interactions(
            users, items, self.values, self.times, sessions,
            user_ids=user_ids, item_ids=item_ids, session_ids=session_ids, parts=self.parts,
        )

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """Columns user, item (ids) and value, time, session where there are such, each (N,)."""
        frame: dict[str, NDArray[Any]] = {
            "user": _decode(self.users, self.user_ids), "item": _decode(self.items, self.item_ids)
        }
        if self.values is not None:
            frame["value"] = self.values
        if self.times is not None:
            frame["time"] = self.times
        if self.sessions is not None:
            frame["session"] = (
                self.sessions
                if self.session_ids is None
                else _decode(self.sessions, self.session_ids)
            )
        return frame

    def to_frame(self) -> Any:
        """``to_dict()`` as a pandas DataFrame; the dict itself where pandas is not installed."""
        columns = self.to_dict()
        try:
            import pandas as pd
        except ImportError:
            return columns
        return pd.DataFrame(columns)

    # ------------------------------------------------------------------ what it holds

    def data_hash(self) -> str:
        """SHA-256 of the content: columns in their order and id tables, as 64 hex digits."""
        digest = hashlib.sha256()
        for name in ("user_ids", "item_ids", "session_ids"):
            table = getattr(self, name)
            digest.update(f"{name} {-1 if table is None else len(table)}\n".encode())
            for key in [] if table is None else table.tolist():
                raw = key.encode("utf-8", "surrogatepass")
                digest.update(b"%d:%s" % (len(raw), raw))
        for name in ("users", "items", "values", "times", "sessions", "parts"):
            column = getattr(self, name)
            if name == "parts" and column is None:
                continue
            digest.update(f"{name} {-1 if column is None else len(column)}\n".encode())
            if column is not None:
                # Little-endian bytes: the same hash on every machine.
                digest.update(
                    np.ascontiguousarray(column, column.dtype.newbyteorder("<")).tobytes()
                )
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Plain numbers about the data, for reports.

        rows, users, items (of the tables), pairs (distinct user-item), density (pairs over
        users x items), repeats (share of rows that repeat a pair), ties (rows that share user and
        time with another), without_user, first and last time, value range.
        """
        known = (self.users >= 0) & (self.items >= 0)
        users, items = self.users[known], self.items[known]
        pairs = len(np.unique(users.astype(np.int64) * max(self.n_items, 1) + items))
        times = None if self.times is None else self.times[known]
        ties = int(tied(users, times, group_order(users, times)).sum())
        result: dict[str, Any] = {
            "rows": len(self), "users": self.n_users, "items": self.n_items, "pairs": pairs,
            "density": pairs / max(self.n_users * self.n_items, 1),
            "repeats": 1.0 - pairs / max(len(users), 1), "ties": ties,
            "without_user": int(np.count_nonzero(self.users < 0)),
        }
        if self.times is not None and len(self):
            result["time"] = (int(self.times.min()), int(self.times.max()))
        if self.values is not None and len(self):
            result["value"] = (float(self.values.min()), float(self.values.max()))
        return result

    def clean(
        self,
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
        """Drop and merge rows, each for a named reason; every option in ``clean.clean``."""
        from .clean import clean

        return clean(
            self, dedup=dedup, per=per, returns=returns, drop_codes=drop_codes,
            min_value=min_value, kcore=kcore, ties=ties, seed=seed,
        )


def _compact(
    codes: NDArray[np.int32], ids: NDArray[np.str_]
) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
    used = np.zeros(len(ids) + 1, bool)  # the last place is for code -1
    used[codes] = True
    used[-1] = False
    place = np.cumsum(used, dtype=np.int32) - np.int32(1)
    place[-1] = NO_CODE
    return place[codes], ids[used[:-1]]


def _decode(codes: NDArray[np.int32], ids: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.append(ids, "")[codes]
