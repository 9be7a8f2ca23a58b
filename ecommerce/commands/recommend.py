"""recommend and similar: lists of a saved model, as a table or a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecommerce.commands import _options as kinds
from ecommerce.commands._data import titles_of
from ecommerce.commands._errors import BadData, UsageError, bad_data, nearest
from ecommerce.commands._options import Option, Settings, say
from ecommerce.commands._plots import list_rows
from ecommerce.commands.evaluate import SOURCE, open_model
from ecommerce.recommend import Recommender
from ecommerce.report import text_table, write_whole

SHOW = [
    Option("k", kinds.whole(1), 10, "length of a list", "K"),
    Option("items", kinds.text, None, "file of products, for titles (a run has its own)", "PATH"),
    Option("title", kinds.text, None, "column of the titles", "COLUMN"),
    Option("csv", kinds.text, None, "write the rows to this file instead", "FILE"),
]
RECOMMEND = [
    *SOURCE,
    Option("user", kinds.list_of(kinds.text), None, "ids of users", "ID,..."),
    Option("users", kinds.text, None, "file with one user id a line", "FILE"),
    Option("all", kinds.switch, False, "every user of the training part"),
    Option("history", kinds.list_of(kinds.text), None, "items someone new took, oldest first",
           "ITEM,..."),
    Option("exclude_seen", kinds.switch, True, "leave out what a user has already"),
    Option("allow", kinds.list_of(kinds.text), None, "choose among these items only", "ITEM,..."),
    Option("block", kinds.list_of(kinds.text), None, "never show these items", "ITEM,..."),
    *SHOW,
]
SIMILAR = [*SOURCE, Option("item", kinds.text, None, "id of the product", "ID"), *SHOW]
EXAMPLES = {
    "recommend": "python -m ecommerce recommend --run runs/20260101-120000-bpr --user 196 --k 5",
    "similar": "python -m ecommerce similar --run runs/20260101-120000-itemknn --item 50 --k 5",
}
ABOUT = {
    "recommend": "Products for users of a saved model, or for the history of someone new.",
    "similar": "Products most like one.",
}


def run(name: str, argv: Sequence[str]) -> int:
    options = RECOMMEND if name == "recommend" else SIMILAR
    parser = kinds.build(f"python -m ecommerce {name}", ABOUT[name], EXAMPLES[name], options)
    settings = kinds.read(name, parser, options, argv)
    if name == "similar":
        if settings.item is None:
            raise UsageError("similar: give --item ID")
        model, folder = open_model(settings)
        rows, first = _similar(model, settings), "item"
    else:
        _check_whom(settings)
        model, folder = open_model(settings)
        rows, first = _recommend(model, settings), "user"
    titles = folder.titles if folder is not None else {}
    if settings.items is not None:
        from ecommerce.data import read_items

        with bad_data():
            titles = titles_of(read_items(settings.items, title=settings.title))
    table = list_rows(rows, titles, first)
    heads = [first, "rank", "similar" if first == "item" else "item", "title", "score", "source",
             "reason"]
    if not titles:
        heads.remove("title")
    if settings.csv is None:
        print(text_table(heads, table))
    else:
        write_whole(settings.csv, _csv(heads, table).encode())
        print(f"{len(table):,} rows: {settings.csv}")
    return 0


def _check_whom(settings: Settings) -> None:
    ways = [name for name in ("user", "users", "history") if getattr(settings, name) is not None]
    ways += ["all"] if settings.all else []
    if len(ways) != 1:
        said = " and ".join(f"--{way}" for way in ways)
        raise UsageError(
            "recommend: give one of --user ID, --users FILE, --history ITEM,ITEM or --all"
            + (f", not {said}" if said else "")
        )


def _recommend(model: Recommender, settings: Settings) -> Any:
    only = {"exclude_seen": settings.exclude_seen, "allow": settings.allow,
            "block": settings.block, "k": settings.k}
    if settings.history is not None:
        return model.recommend_for(settings.history, **only)
    users = None if settings.all else settings.user
    if settings.users is not None:
        users = _ids_in(Path(settings.users))
    if users is not None:
        known = set(model.user_ids.tolist())
        unknown = [user for user in users if user not in known]
        if unknown:
            first, last = model.user_ids[0], model.user_ids[-1]
            say(f"note: {len(unknown)} of {len(users)} users are unknown ({unknown[0]}; the model "
                f"knows {model.n_users:,}, {first} .. {last}) and get popular items; --history "
                "ITEM,... serves someone new")
    return model.recommend(users, **only)


def _ids_in(path: Path) -> list[str]:
    with bad_data(f"--users {path}"):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise BadData(f"--users {path}: not text; give one user id a line") from None
        except OSError as error:
            raise BadData(f"--users {path}: cannot be read ({error.strerror})") from None
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise BadData(f"--users {path}: the file holds no id; give one user id a line")
    return ids


def _similar(model: Recommender, settings: Settings) -> Any:
    known = model.item_ids.tolist()
    if settings.item not in set(known):
        hint = nearest(settings.item, known[:20000]).split("known:")[0].strip("; ")
        raise BadData(
            f"--item {settings.item}: the model knows no such item; {hint + ' ' if hint else ''}"
            f"it knows {len(known):,}, {known[0]} .. {known[-1]}"
        )
    return model.similar_items(settings.item, settings.k)


def _csv(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue()
