"""make_shop(): everything a shop has, made from a seed, with the structure that was planted."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import minidl

from ..errors import DataError, require_whole
from ..interactions import Interactions
from ..items import Items
from ..review_files import Reviews
from .catalogue import make_catalogue
from .comments import ASPECTS, make_aspects, make_reviews
from .pictures import KINDS, draw_images
from .purchases import Habits, add_faults, make_purchases, make_users
from .seasons import Demand, DemandTruth, make_demand


@dataclass(frozen=True)
class Truth:
    """What was planted, V items, U users, R reviews; tests and examples can look for it.

    Attributes:
        categories: names; item_category (V,) and user_category (U,) (the favourite) number them.
        item_tier, user_tier: price level 0, 1, 2 of items, and the one that users like.
        user_tastes: (U, categories) shares of a user's fresh purchases.
        popularity: (V,) share within its category (Zipf).
        follower: (V,) the item that is often bought after it.
        habits: repeat_rate, follow_rate, theme_rate, return_rate, basket.
        aspects: names; item_aspects (V, aspects) in -1 ... 1, how good the product is;
        review_aspects: (R, aspects) -1, 0, 1, what each review says.
        demand: level, trend, season, promotions of each product.
        faults: rows of the interactions with a planted fault, by the reason of clean().
        user_ids: (U,), in the order of the arrays above; items in that of ``shop.items``.
    """

    categories: tuple[str, ...]
    item_category: NDArray[np.int64]
    item_tier: NDArray[np.int64]
    popularity: NDArray[np.float64]
    follower: NDArray[np.int64]
    user_ids: NDArray[np.str_]
    user_category: NDArray[np.int64]
    user_tastes: NDArray[np.float64]
    user_tier: NDArray[np.int64]
    habits: Habits
    aspects: tuple[str, ...]
    item_aspects: NDArray[np.float64]
    review_aspects: NDArray[np.int8]
    demand: DemandTruth
    faults: dict[str, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Shop:
    """A generated shop.

    Attributes:
        interactions: purchases and returns in order of time, baskets as sessions.
        items: item, title, text, category, brand, price, stock, title_zh, text_zh.
        reviews: text, title, item, user, rating, label, time, language ("en", "zh").
        images: (N, 28, 28) uint8; image_labels: (N,) places in ``truth.categories``;
        image_items: (N,) id of the item that each image shows.
        demand: weekly sales and promotions of products.
        truth: what was planted.
        seed: what it was made from.
    """

    interactions: Interactions
    items: Items
    reviews: Reviews
    images: NDArray[np.uint8]
    image_labels: NDArray[np.int64]
    image_items: NDArray[np.str_]
    demand: Demand
    truth: Truth
    seed: int

    def __repr__(self) -> str:
        return (
            f"Shop({self.interactions!r}, {len(self.items):,} items, {len(self.reviews):,} "
            f"reviews, {len(self.images):,} images, seed {self.seed})"
        )

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the shop as files that the readers read back; gives the folder.

        interactions.csv, items.csv, reviews.jsonl, demand.csv, images.npy (no pickle) and
        images.csv (item, label). Each file is written aside and renamed, so none is ever half
        there. Raises DataError where the folder cannot be written.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
            _write_text(place / "interactions.csv", lambda f: _interactions(f, self.interactions))
            _write_text(place / "items.csv", lambda f: _table(f, dict(self.items)))
            _write_text(place / "reviews.jsonl", lambda f: _json_lines(f, self.reviews))
            _write_text(place / "demand.csv", lambda f: _table(f, self.demand.to_dict()))
            labels = np.array(self.truth.categories)[self.image_labels]
            columns = {"item": self.image_items, "label": labels}
            _write_text(place / "images.csv", lambda f: _table(f, columns))
            raw = io.BytesIO()
            np.save(raw, self.images, allow_pickle=False)
            minidl.io.write_atomic(place / "images.npy", raw.getvalue())
        except OSError as error:
            raise DataError(
                f"{place}: cannot be written ({error.strerror or error}); choose another folder"
            ) from None
        return place


def make_shop(
    n_interactions: int = 20_000,
    n_users: int | None = None,
    n_items: int | None = None,
    seed: int = 0,
    *,
    dirty: bool = False,
    n_reviews: int | None = None,
    n_images: int | None = None,
    n_weeks: int = 156,
) -> Shop:
    """A shop with planted structure, the same to the last bit for the same arguments.

    n_users: n_interactions / 20 unless given; n_items: a fiftieth, 48 to 20,000; n_reviews: a
    tenth, at most 20,000; n_images: five an item, at most 2,000. dirty: plant faults among the
    interactions (duplicates, postage lines, missing customers, returns of what was never bought),
    about a fiftieth of the rows each, on top of n_interactions; ``truth.faults`` names their rows.

    Users have a favourite category and price level, products a category, brand, price and Zipf
    popularity; baskets keep to a theme; some purchases repeat an earlier one, some take the item
    that usually follows the last; some come back. Parts are drawn from streams of their own, so
    asking for more reviews does not change the purchases. 10 million interactions take some
    20 seconds and 2 GB.
    """
    users_n = max(n_interactions // 20, 20) if n_users is None else n_users
    items_n = min(max(n_interactions // 50, 48), 20_000) if n_items is None else n_items
    reviews_n = min(n_interactions // 10, 20_000) if n_reviews is None else n_reviews
    images_n = min(5 * items_n, 2000) if n_images is None else n_images
    require_whole(
        "make_shop", 1, n_interactions=n_interactions, n_users=users_n, n_weeks=n_weeks
    )
    require_whole("make_shop", len(KINDS), n_items=items_n)
    require_whole("make_shop", 0, n_reviews=reviews_n, n_images=images_n, seed=seed)

    stream = _streams(seed)
    habits = Habits()
    catalogue = make_catalogue(items_n, next(stream))
    users = make_users(users_n, next(stream))
    inter = make_purchases(n_interactions, users, catalogue, habits, next(stream))
    aspects = make_aspects(catalogue, next(stream))
    reviews, tones = make_reviews(reviews_n, inter, users, catalogue, aspects, next(stream))
    pictured = np.arange(images_n) % items_n
    kinds = catalogue.category[pictured]
    images = draw_images(kinds, next(stream))
    sold = catalogue.items["item"][: min(items_n, 500)]
    demand, demand_truth = make_demand(sold, n_weeks, next(stream))
    faults: dict[str, NDArray[np.int64]] = {}
    if dirty:
        inter, faults = add_faults(inter, next(stream))
    truth = Truth(
        KINDS, catalogue.category, catalogue.tier, catalogue.weight, catalogue.follower,
        users.ids, users.tastes.argmax(axis=1), users.tastes, users.tier, habits, ASPECTS,
        aspects, tones, demand_truth, faults,
    )
    return Shop(
        inter.compact(), catalogue.items, reviews, images, kinds,
        catalogue.items["item"][pictured], demand, truth, seed,
    )


def _streams(seed: int) -> Iterator[np.random.Generator]:
    number = 0
    while True:
        yield np.random.default_rng([seed, number])
        number += 1


# ---------------------------------------------------------------------- writing


def _write_text(path: Path, fill: Callable[[IO[str]], None]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            fill(out)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _interactions(out: IO[str], inter: Interactions) -> None:
    """Blocks of lines: 10 million rows need little memory."""
    out.write("user,item,value,time,session\n")
    for start in range(0, len(inter), 1 << 18):
        block = inter.select(np.arange(start, min(start + (1 << 18), len(inter)))).to_dict()
        values = [f"{value:g}" for value in block["value"].tolist()]
        out.writelines(
            f"{user},{item},{value},{time},{session}\n"
            for user, item, value, time, session in zip(
                block["user"].tolist(), block["item"].tolist(), values, block["time"].tolist(),
                block["session"].tolist(),
            )
        )


def _table(out: IO[str], columns: dict[str, NDArray[Any]]) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values())))


def _json_lines(out: IO[str], columns: dict[str, NDArray[Any]]) -> None:
    for row in zip(*(column.tolist() for column in columns.values())):
        out.write(json.dumps(dict(zip(columns, row)), ensure_ascii=False) + "\n")
