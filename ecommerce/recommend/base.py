"""Recommender: the one contract of every model that ranks a shop's products.

A new model is a subclass with `_fit` and `score_block` (or, where a user is nothing but his
history, `score_history`), and with `_arrays`/`_restore` for saving. Filtering, ids, unknown users,
frames, files and the hooks of the evaluation come from here and are the same for all.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ecommerce.data.interactions import Interactions
from ecommerce.recommend import store
from ecommerce.recommend.frames import ids_of, make_frame, pairs_of
from ecommerce.recommend.lists import Lists, best
from ecommerce.recommend.rows import Rows

Codes = NDArray[np.integer]
Scores = NDArray[np.floating]

BLOCK_BYTES = 16 << 20
"""Scores of one block of users; more users are scored in several blocks, one after another."""


class Recommender:
    """A model that ranks items for users.

    The parameters of `__init__` are kept as attributes of the same name, are JSON values and come
    back from `get_params`. What `fit` learns can be saved, and is forgotten by `set_params`.

    Class attributes: `personal` False for a model whose ranking does not depend on what users
    like; `reads_history` True where a user's scores are computed from a history when asked (so
    that new events count without a refit), False where they were learned in `fit`; `source` the
    word in the rows' column of that name.
    """

    personal = True
    reads_history = False
    source = "model"

    user_ids: NDArray[np.str_]
    item_ids: NDArray[np.str_]

    def __init__(self) -> None:
        self._fitted = False

    # ------------------------------------------------------------------ what a model writes

    def _fit(self, train: Interactions, items: Any, valid: Interactions | None) -> None:
        """Learn. `self.history`, `self.item_counts` and the id tables are there already."""
        raise NotImplementedError(f"{type(self).__name__} must define _fit")

    def score_history(self, history: Lists) -> Scores:
        """Scores (B, n_items) of users described by their histories alone: a new, contiguous array.

        Items may repeat in a history, the oldest stands first; what an empty history gives is not
        used. -inf: the model has nothing to say about the item. A row must not depend on the other
        rows of the batch.
        """
        raise NotImplementedError(f"{type(self).__name__} must define score_history")

    def score_block(self, user_codes: Codes, history: Lists | None = None) -> Scores:
        """Scores (B, n_items) of known users (B,): a new, contiguous array, as `score_history`.

        history: what each of them has taken so far, where that is more (or less) than in the
        training part; a model whose `reads_history` is False leaves it aside.
        """
        return self.score_history(self.history.take(user_codes) if history is None else history)

    def similar_block(self, item_codes: Codes) -> Scores | None:
        """Scores (B, n_items): how like item b the others are; None where a model cannot say."""
        return None

    def reasons(self, history: Lists, ids: NDArray[np.int64]) -> NDArray[np.str_]:
        """A few words for each recommended code, ids (B, K) -> (B, K)."""
        return np.full(ids.shape, f"score of {type(self).__name__}")

    def _arrays(self) -> store.Arrays:
        """What `_fit` learned, by name."""
        return {}

    def _restore(self, arrays: store.Arrays) -> None:
        """Take back what `_arrays` gave."""

    # ------------------------------------------------------------------ fit and parameters

    def fit(
        self, train: Interactions, items: Any = None, valid: Interactions | None = None
    ) -> Self:
        """Learn from the training part; returns the model.

        items: a frame of item attributes, for models that read them. valid: held-out events, for
        models that stop early. Raises TypeError or ValueError where train is no Interactions or
        is empty.
        """
        if not isinstance(train, Interactions):
            raise TypeError(
                f"{type(self).__name__}.fit: train is a {type(train).__name__}; give Interactions "
                "(read_interactions(...), Interactions.from_ids(...) or split.train)"
            )
        if not len(train):
            raise ValueError(
                f"{type(self).__name__}.fit: train has no rows; check the split or the filters"
            )
        if valid is not None:
            self._check_valid(train, valid)
        indptr, taken = train.csr()
        self.user_ids, self.item_ids = train.user_ids, train.item_ids
        self.history = Lists(indptr, taken.astype(np.int64))
        self.data_hash = train.data_hash()
        self._index()
        self._fit(train, items, valid)
        self._fitted = True
        return self

    def _check_valid(self, train: Interactions, valid: object) -> None:
        name = type(self).__name__
        if not isinstance(valid, Interactions):
            raise TypeError(
                f"{name}.fit: valid is a {type(valid).__name__}; give Interactions (split.valid)"
            )
        if not (np.array_equal(valid.user_ids, train.user_ids)
                and np.array_equal(valid.item_ids, train.item_ids)):
            raise ValueError(
                f"{name}.fit: train and valid have different id tables; make both with split(...) "
                "or select(...) from one Interactions"
            )

    def _index(self) -> None:
        """What follows from the ids and the history."""
        self.item_counts = np.bincount(self.history.items, minlength=self.n_items)
        self._seen: Lists | None = None
        self._codes: dict[str, dict[str, int]] = {}

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self) -> dict[str, Any]:
        """The parameters of `__init__` by name."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Change parameters; what was fitted is forgotten. ValueError for an unknown name."""
        known = self._parameters()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; "
                    f"it has {', '.join(known) or 'none'}"
                )
        type(self).__init__(self, **{**self.get_params(), **params})
        return self

    def __repr__(self) -> str:
        params = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({params})"

    def _require_fit(self) -> None:
        if not self._fitted:
            raise ValueError(
                f"{type(self).__name__} is not fitted; call fit(split.train) or load a saved model"
            )

    # ------------------------------------------------------------------ on codes

    def rank_codes(
        self,
        user_codes: Codes,
        k: int,
        exclude: Lists | None = None,
        history: Lists | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.int64], Scores]:
        """The k best items of known users (B,): codes (B, k) and scores (B, k), best first.

        exclude: items that each user must not get. candidates (n_items,): True where an item may
        be shown. history: as in `score_block`. Of equal scores the lower code stands first; places
        for which nothing is left hold code -1 and score -inf.
        """
        return best(self.scores_of(user_codes, history), k, exclude, candidates)

    def scores_of(self, user_codes: Codes, history: Lists | None = None) -> Scores:
        """`score_block`, with the items' popularity for a user who has no history at all."""
        self._require_fit()
        scores = self.score_block(user_codes, history)
        lengths = self.history.lengths[user_codes] if history is None else history.lengths
        if not lengths.all():
            scores[lengths == 0] = self.item_counts
        return scores

    def seen(self, user_codes: Codes) -> Lists:
        """What known users have in the training part, ascending, each item once."""
        if self._seen is None:
            self._seen = self.history.distinct()
        return self._seen.take(user_codes)

    def block_rows(self) -> int:
        """Users that are scored together."""
        return max(1, BLOCK_BYTES // (4 * max(1, self.n_items)))

    def _find(self, kind: str, ids: Iterable[str]) -> NDArray[np.int64]:
        """Codes of ids, -1 for unknown ones."""
        if kind not in self._codes:
            table = self.user_ids if kind == "user" else self.item_ids
            self._codes[kind] = {key: code for code, key in enumerate(table.tolist())}
        return np.array([self._codes[kind].get(key, -1) for key in ids], np.int64)

    def _candidates(
        self, allow: Iterable[Any] | None, block: Iterable[Any] | None
    ) -> NDArray[np.bool_] | None:
        """True where an item may be shown; None where all may."""
        if allow is None and block is None:
            return None
        may = np.full(self.n_items, allow is None)
        for ids, value in ((allow, True), (block, False)):
            if ids is not None:
                codes = self._find("item", ids_of(ids, "allow, block"))
                may[codes[codes >= 0]] = value
        return may

    # ------------------------------------------------------------------ on ids

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        exclude_seen: bool = True,
        allow: Iterable[Any] | None = None,
        block: Iterable[Any] | None = None,
    ) -> Any:
        """The k best items of each user: a frame user, rank, item, score, source, reason.

        users: ids, one id, or None for every user of the training part. exclude_seen: leave out
        what a user has there. allow, block: item ids to choose from, and never to show; both act
        before the k best are taken.

        source says where a row comes from: "model", or "popular" where the user is unknown, has
        no history, or the model has nothing more to say; reason says why. A user gets fewer than k
        rows only where the catalogue has no more to give; his last row's reason then says so (a
        user who gets none at all is named in a UserWarning).
        """
        self._require_fit()
        _check_k(k)
        names = self.user_ids.tolist() if users is None else ids_of(users, "recommend")
        codes = np.arange(self.n_users) if users is None else self._find("user", names)
        may = self._candidates(allow, block)
        rows = Rows(names, self.item_ids, k)
        known = np.flatnonzero(codes >= 0)
        known = known[self.history.lengths[codes[known]] > 0]
        for start in range(0, len(known), self.block_rows()):
            places = known[start : start + self.block_rows()]
            seen = self.seen(codes[places])
            exclude = seen if exclude_seen else Lists.empty(len(places))
            ids, scores = self.rank_codes(codes[places], k, exclude, candidates=may)
            reasons = self.reasons(self.history.take(codes[places]), ids)
            rows.add(places, ids, scores, self.source, reasons)
            self._fill(rows, places, ids, exclude, may, "nothing more from the model: popular")
        without = np.setdiff1d(np.arange(len(names)), known)
        for why, places in (
            ("unknown user: popular", without[codes[without] < 0]),
            ("user without history: popular", without[codes[without] >= 0]),
        ):
            self._fill(rows, places, None, Lists.empty(len(places)), may, why)
        rows.say_why_short(self.n_items, may)
        rows.warn_of_empty()
        return make_frame(rows.columns())

    def recommend_for(
        self,
        history: Iterable[Any],
        k: int = 10,
        exclude_seen: bool = True,
        allow: Iterable[Any] | None = None,
        block: Iterable[Any] | None = None,
    ) -> Any:
        """The k best items for someone who has taken `history`, item ids, the oldest first.

        No refit is needed and nothing is stored. A frame as `recommend` gives, with user "" and
        source "fold-in". Unknown items are left aside, and the reason says so; with none that is
        known the rows are the popular ones.
        """
        self._require_fit()
        _check_k(k)
        names = ids_of(history, "recommend_for")
        codes = self._find("item", names)
        may = self._candidates(allow, block)
        rows = Rows([""], self.item_ids, k)
        place = np.zeros(1, np.int64)
        known = Lists.of([codes[codes >= 0]])
        exclude = known.distinct() if exclude_seen else Lists.empty(1)
        ids = None
        if len(known.items):
            ids, scores = best(self.score_history(known), k, exclude, may)
            source = "fold-in" if self.source == "model" else self.source
            rows.add(place, ids, scores, source, self.reasons(known, ids))
        why = "nothing more from the model" if len(known.items) else "no known item in the history"
        self._fill(rows, place, ids, exclude, may, f"{why}: popular")
        unknown = [name for name, code in zip(names, codes) if code < 0]
        if unknown:
            more = "" if len(unknown) == 1 else f" and {len(unknown) - 1} more"
            rows.append_to_reasons(f"; not in the catalogue, left aside: {unknown[0]}{more}")
        rows.say_why_short(self.n_items, may)
        rows.warn_of_empty()
        return make_frame(rows.columns())

    def similar_items(self, item: object, k: int = 10) -> Any:
        """The k items most like one: a frame item, rank, similar, score, source, reason.

        An unknown item, or a model that knows no similarity, gives the popular ones and says so.
        """
        self._require_fit()
        _check_k(k)
        code = self._find("item", [str(item)])
        rows = Rows([str(item)], self.item_ids, k)
        place = np.zeros(1, np.int64)
        scores = None if code[0] < 0 else self.similar_block(code)
        itself = Lists.of([code[code >= 0]])
        if scores is None:
            why = "unknown item" if code[0] < 0 else f"{type(self).__name__} knows no similarity"
            self._fill(rows, place, None, itself, None, f"{why}: popular")
        else:
            ids, values = best(scores, k, itself, None)
            words = np.full(ids.shape, f"similarity of {type(self).__name__}")
            rows.add(place, ids, values, self.source, words)
            self._fill(rows, place, ids, itself, None, "nothing more like it: popular")
        rows.say_why_short(self.n_items, None)
        columns = rows.columns()
        columns = {"item": columns.pop("user"), "rank": columns.pop("rank"),
                   "similar": columns.pop("item"), **columns}
        return make_frame(columns)

    def score(self, pairs: Any) -> NDArray[np.float64]:
        """The model's score of each (user, item) pair of ids, (N,).

        pairs: tuples, or a frame with columns user and item. Scores order the items of one user;
        they are no probabilities. NaN: the id is unknown, the user has no history, or the model
        has nothing to say about the item.
        """
        self._require_fit()
        names, items = pairs_of(pairs)
        users, codes = self._find("user", names), self._find("item", items)
        result = np.full(len(users), np.nan)
        known = np.flatnonzero((users >= 0) & (codes >= 0))
        known = known[self.history.lengths[users[known]] > 0]
        each, place = np.unique(users[known], return_inverse=True)
        for start in range(0, len(each), self.block_rows()):
            stop = start + self.block_rows()
            scores = self.score_block(each[start:stop])
            mine = (place >= start) & (place < stop)
            result[known[mine]] = scores[place[mine] - start, codes[known[mine]]]
        return np.where(np.isneginf(result), np.nan, result)

    def _fill(
        self,
        rows: Rows,
        places: NDArray[np.int64],
        ids: NDArray[np.int64] | None,
        exclude: Lists,
        may: NDArray[np.bool_] | None,
        why: str,
    ) -> None:
        """Popular items for the users whose lists `ids` are not full (None: are empty)."""
        if ids is not None:
            short = np.flatnonzero((ids < 0).any(axis=1))
            places, ids, exclude = places[short], ids[short], exclude.take(short)
            exclude = exclude.joined(Lists.of([row[row >= 0] for row in ids])).distinct()
        counts = self.item_counts.astype(np.float32)
        for start in range(0, len(places), self.block_rows()):
            part = np.arange(start, min(start + self.block_rows(), len(places)))
            scores = np.tile(counts, (len(part), 1))
            more, values = best(scores, rows.k, exclude.take(part), may)
            if ids is not None:  # only as many as are missing
                missing = (ids[part] < 0).sum(axis=1)
                more[np.arange(rows.k) >= missing[:, None]] = -1
            rows.add(places[part], more, values, "popular", np.full(more.shape, why))

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ids, parameters and what was learned to one file, whole or not at all."""
        from importlib.metadata import PackageNotFoundError, version

        self._require_fit()
        try:
            package = version("minidl")
        except PackageNotFoundError:  # run from a source tree
            package = "source"
        arrays = {
            **store.pack_ids("user_ids", self.user_ids),
            **store.pack_ids("item_ids", self.item_ids),
            "history.indptr": self.history.indptr,
            "history.items": self.history.items,
            **{f"model.{name}": array for name, array in self._arrays().items()},
        }
        about = {"model": type(self).__name__, "params": self.get_params(), "package": package,
                 "data_hash": self.data_hash}
        store.write(path, arrays, about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """A model of this class from `save`'s file; `load_model` takes any class's.

        Raises FileNotFoundError, or ValueError where the file is cut short, altered, foreign, or
        holds another class.
        """
        arrays, about = store.read(path)
        if about["model"] != cls.__name__:
            raise ValueError(
                f"{os.fspath(path)} holds a {about['model']}, not a {cls.__name__}; "
                f"use {about['model']}.load or load_model"
            )
        return cls._from_file(arrays, about)

    @classmethod
    def _from_file(cls, arrays: store.Arrays, about: dict[str, Any]) -> Self:
        model = cls(**about["params"])
        model.user_ids = store.unpack_ids("user_ids", arrays)
        model.item_ids = store.unpack_ids("item_ids", arrays)
        model.history = Lists(arrays["history.indptr"], arrays["history.items"])
        model.data_hash = about["data_hash"]
        model._index()
        start = "model."
        model._restore({n[len(start):]: a for n, a in arrays.items() if n.startswith(start)})
        model._fitted = True
        return model


def _check_k(k: int) -> None:
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k={k!r}: the number of items must be a whole number of 1 or more")
