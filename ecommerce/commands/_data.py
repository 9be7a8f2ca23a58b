"""From settings to interactions, titles, splits and models, with errors that name the option."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecommerce.commands import _options as kinds
from ecommerce.commands._errors import BadData, UsageError, bad_data, nearest, one_line
from ecommerce.commands._options import Option, Settings
from ecommerce.data import CleanReport, Interactions
from ecommerce.recommend import MODELS, Recommender

HOW = ("ratio", "leave_last", "temporal", "cold_users", "cold_items", "given")

DATA = [
    Option("data", kinds.text, None, "file or folder of interactions", "PATH"),
    Option("format", kinds.text, "auto", "ml-100k, amazon-jsonl, csv, ...; auto looks at the file"),
    *[
        Option(role, kinds.text, None, f"column of the {what}", "COLUMN")
        for role, what in (
            ("user", "user"), ("item", "item"), ("value", "rating or quantity"),
            ("time", "time"), ("session", "basket, invoice or session"),
        )
    ],
    Option("encoding", kinds.codec, None, "of text files, where it is not UTF-8"),
    Option("items", kinds.text, None, "file of products, for titles (a folder's own is found)",
           "PATH"),
    Option("title", kinds.text, None, "column of the products' titles", "COLUMN"),
    Option("clean", kinds.switch, False, "drop and merge rows, with a report: returns, "
           "duplicates, codes that are no products"),
    Option("min_value", kinds.number, None, "drop rows of a lower value, such as ratings below 4",
           "VALUE"),
    Option("kcore", kinds.list_of(kinds.whole(0), 2), None,
           "keep users and items with so many rows or more, such as 5,5", "U,I"),
]
SPLIT = [
    Option("split", kinds.one_of(*HOW), "ratio", "how the test part is made: ratio (of each "
           "user), leave_last, temporal (by one date), cold_users, cold_items, given"),
    Option("test", kinds.amount, None, "share of the test part (.1); for leave_last how many of "
           "a user's last rows (1)", "SHARE"),
    Option("valid", kinds.amount, None, "the same of the validation part, carved from train",
           "SHARE"),
    Option("at", kinds.text, None, "temporal: the date of the cut, such as 2011-11-01", "DATE"),
    Option("ties", kinds.one_of("keep", "shuffle"), "keep", "leave_last: order of a user's rows "
           "of one time"),
    Option("seed", kinds.whole(), 0, "of the split and the model", "N"),
]


@dataclass
class Loaded:
    """What was read, and what cleaning did to it."""

    inter: Interactions
    titles: dict[str, str]
    items: Any
    report: CleanReport | None


def load(settings: Settings) -> Loaded:
    """The interactions of --data, cleaned if asked for, and the titles of the products."""
    from ecommerce.data import read_interactions

    if settings.data is None:
        raise UsageError(f"{settings.command}: give --data PATH, a file or folder of interactions")
    columns = {name: getattr(settings, name) for name in ("user", "item", "value", "time",
                                                           "session")}
    with bad_data():
        inter = read_interactions(
            settings.data, format=settings.format, encoding=settings.encoding, **columns
        )
        inter, report = _cleaned(inter, settings)
    if not len(inter):
        kept = "no rows are in" if report is None else "cleaning keeps none of the rows of"
        raise BadData(f"{kept} {settings.data}; lower --min-value and --kcore, or look at the file")
    missing = int(np.count_nonzero((inter.users < 0) | (inter.items < 0)))
    if missing:
        raise BadData(
            f"{settings.data}: {missing:,} of {len(inter):,} rows have no user or no item; "
            "add --clean, which drops them and says so"
        )
    items = _items(settings)
    return Loaded(inter, titles_of(items), items, report)


def _cleaned(inter: Interactions, settings: Settings) -> tuple[Interactions, CleanReport | None]:
    chosen = {"min_value": settings.min_value,
              "kcore": tuple(settings.kcore) if settings.kcore else None}
    if settings.clean:
        return inter.clean(seed=settings.seed, **chosen)
    if settings.min_value is None and settings.kcore is None:
        return inter, None
    # Only what was asked for.
    return inter.clean(dedup=None, returns="keep", drop_codes=None, ties="keep", **chosen)


def _items(settings: Settings) -> Any:
    from ecommerce.data import read_items

    if settings.items is not None:
        with bad_data():
            return read_items(settings.items, title=settings.title)
    if not Path(settings.data).is_dir():
        return None
    try:
        return read_items(settings.data)
    except ValueError:  # a folder without a file of products
        return None


def titles_of(items: Any) -> dict[str, str]:
    """Item id -> title; {} where there are none."""
    if items is None or "title" not in items:
        return {}
    pairs = zip(map(str, items["item"]), map(str, items["title"]))
    return {item: title for item, title in pairs if title not in ("", "nan", "None")}


def make_split(inter: Interactions, settings: Settings, draw: int = 0) -> Any:
    """The split of one draw."""
    from ecommerce.data import split

    try:
        return split(
            inter, settings.split, test=settings.test, valid=settings.valid, at=settings.at,
            ties=settings.ties, seed=settings.seed, draw=draw,
        )
    except ValueError as error:
        text = f"--split {settings.split}: {one_line(error).removeprefix('split: ')}"
        about_options = any(f"{name}=" in text[:50] for name in ("test", "valid", "at"))
        raise (UsageError if about_options else BadData)(text) from error


def model_class(name: str) -> type[Recommender]:
    """A model by its name, in any case."""
    by_lower = {known.lower(): made for known, made in MODELS.items()}
    if name.lower() not in by_lower:
        raise UsageError(f"--model {name}: no such model{nearest(name, MODELS)}")
    return by_lower[name.lower()]


def make_model(name: str, params: dict[str, Any], seed: int) -> Recommender:
    """An unfitted model with the parameters of --set, each checked by name and kind."""
    made = model_class(name)
    defaults = made().get_params()
    for key, value in params.items():
        if key not in defaults:
            raise UsageError(f"--set {key}: {made.__name__} has no such parameter"
                             f"{nearest(key, defaults) if defaults else ''}")
        _check_kind(made.__name__, key, value, defaults[key])
    if "seed" in defaults and "seed" not in params:
        params = {**params, "seed": seed}
    try:
        return made(**params)
    except ValueError as error:
        raise UsageError(f"--set: {one_line(error)}") from error
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in params.items())
        raise UsageError(f"--set: {made.__name__} cannot use {given}: {one_line(error)}") from error


def _check_kind(model: str, key: str, value: Any, default: Any) -> None:
    """A value must be of its default's kind, or a parameter error would come out of the fit."""
    allowed: tuple[type, ...] = (type(default),)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    if default is None or type(default) not in words or value is None:
        return
    if isinstance(default, float):
        allowed = (float, int)
    truth = isinstance(value, bool) and not isinstance(default, bool)  # True is an int too
    if truth or not isinstance(value, allowed):
        raise UsageError(
            f"--set {key}={value}: {model} takes {words[type(default)]} here, such as {default}"
        )


def fit(model: Recommender, split: Any, items: Any) -> Recommender:
    """Fit on the training part; what a model says against its data is a data error."""
    try:
        return model.fit(split.train, items=items, valid=split.valid)
    except (ValueError, FloatingPointError) as error:
        raise BadData(f"{type(model).__name__} cannot be trained: {one_line(error)}") from error


def refitted(model: Recommender, split: Any, loaded: Loaded) -> Recommender:
    """A model of the same settings, fitted on train and validation of a split, or on all rows.

    With no validation part left, one that chose its number of epochs there takes that number.
    """
    params = model.get_params()
    if "epochs" in params and hasattr(model, "best_epoch"):
        params["epochs"] = model.best_epoch
    rows = loaded.inter if split is None else _joined(split.train, split.valid)
    return type(model)(**params).fit(rows, items=loaded.items)


def _joined(first: Interactions, second: Interactions) -> Interactions:
    def both(name: str) -> Any:
        columns = getattr(first, name), getattr(second, name)
        return None if columns[0] is None else np.concatenate(columns)

    return Interactions(
        *(both(name) for name in ("users", "items", "values", "times", "sessions")),
        user_ids=first.user_ids, item_ids=first.item_ids, session_ids=first.session_ids,
    )
