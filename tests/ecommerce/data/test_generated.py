"""The generated shop: the same for a seed, read back as written, and its planted truth found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ecommerce as ec
from ecommerce.data.generated import KINDS, draw_images


@pytest.fixture(scope="module")
def shop() -> ec.data.Shop:
    return ec.make_shop(30_000, seed=11)


def test_the_same_seed_is_the_same_shop() -> None:
    one, two, other = (ec.make_shop(1000, seed=seed, dirty=True) for seed in (4, 4, 5))
    assert one.interactions.data_hash() == two.interactions.data_hash()
    assert one.interactions.data_hash() != other.interactions.data_hash()
    for name in one.items:
        assert np.array_equal(one.items[name], two.items[name])
    for name in one.reviews:
        assert np.array_equal(one.reviews[name], two.reviews[name])
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.demand.sales, two.demand.sales)
    assert not np.array_equal(one.images, other.images)


def test_parts_do_not_disturb_each_other() -> None:
    one = ec.make_shop(1000, seed=4)
    two = ec.make_shop(1000, seed=4, n_reviews=7, n_images=3, n_weeks=10)
    assert one.interactions.data_hash() == two.interactions.data_hash()
    assert len(two.reviews) == 7
    assert two.images.shape == (3, 28, 28)
    assert two.demand.sales.shape[1] == 10


@pytest.mark.parametrize("dirty", [False, True])
def test_files_read_back_to_the_same_data(tmp_path: Path, dirty: bool) -> None:
    shop = ec.make_shop(3000, seed=2, dirty=dirty)
    folder = shop.write(tmp_path / "shop")
    again = ec.read_interactions(folder)
    assert again.data_hash() == shop.interactions.data_hash()
    items = ec.read_items(folder, more=("title_zh", "text_zh"))
    reviews = ec.read_reviews(folder / "reviews.jsonl")
    for read, made in ((items, shop.items), (reviews, shop.reviews)):
        assert set(read) == set(made)
        for name, column in made.items():
            assert np.array_equal(read[name], column), name
    assert np.array_equal(np.load(folder / "images.npy", allow_pickle=False), shop.images)
    demand = np.loadtxt(folder / "demand.csv", delimiter=",", skiprows=1, usecols=(2, 3), dtype=int)
    assert np.array_equal(demand[:, 0].reshape(shop.demand.sales.shape), shop.demand.sales)
    assert sorted(p.name for p in folder.iterdir()) == [
        "demand.csv", "images.csv", "images.npy", "interactions.csv", "items.csv", "reviews.jsonl"]


def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ec.DataError, match="cannot be written"):
        ec.make_shop(100).write(tmp_path / "file" / "shop")


def test_the_figures_that_were_asked_for(shop) -> None:
    inter = shop.interactions
    assert len(inter) == 30_000
    assert inter.n_users == 1500
    assert np.all(np.diff(inter.times) >= 0)
    assert (inter.values < 0).sum() == 30_000 * shop.truth.habits.return_rate
    assert len(shop.items) == 600
    assert len(ec.make_shop(1000, n_users=33, n_items=99).items) == 99
    assert ec.make_shop(1, n_users=1, n_items=8).interactions.n_users == 1


@pytest.mark.parametrize(("options", "message"), [
    ({"n_interactions": 0}, "n_interactions=0; give a whole number, 1 or more"),
    ({"n_items": 3}, "n_items=3; give a whole number, 8"),
    ({"n_users": 2.5}, "n_users=2.5"), ({"seed": -1}, "seed=-1"), ({"n_weeks": True}, "n_weeks"),
])
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ec.DataError, match=message):
        ec.make_shop(**options)


# ---------------------------------------------------------------------- the truth


def test_item_categories_are_found_from_baskets(shop) -> None:
    inter = shop.interactions
    inter = inter.select(inter.values > 0)
    place = shop.items.places(inter.item_ids)
    category = shop.truth.item_category[place]
    together = np.zeros((inter.n_items, inter.n_items))
    baskets = np.lexsort((inter.times, inter.sessions))
    session, item = inter.sessions[baskets], inter.items[baskets]
    next_to = session[1:] == session[:-1]
    np.add.at(together, (item[1:][next_to], item[:-1][next_to]), 1)
    together += together.T
    votes = together @ np.eye(len(KINDS))[category]
    often = together.sum(axis=1) >= 20
    assert often.sum() > 200
    assert np.mean(votes.argmax(axis=1)[often] == category[often]) > 0.95


def test_tastes_and_price_levels_are_found(shop) -> None:
    inter, truth = shop.interactions, shop.truth
    place = shop.items.places(inter.item_ids)
    user = np.searchsorted(truth.user_ids, inter.user_ids)
    for of_item, of_user, least in (
        (truth.item_category, truth.user_category, 0.85), (truth.item_tier, truth.user_tier, 0.9),
    ):
        kinds = of_item[place][inter.items]
        counts = np.zeros((inter.n_users, kinds.max() + 1))
        np.add.at(counts, (inter.users, kinds), 1)
        busy = counts.sum(axis=1) >= 20
        assert busy.sum() > 300
        assert np.mean(counts.argmax(axis=1)[busy] == of_user[user][busy]) > least


def test_popularity_is_zipf() -> None:
    shop = ec.make_shop(200_000, n_items=400, seed=1)
    inter, truth = shop.interactions, shop.truth
    counts = np.bincount(shop.items.places(inter.item_ids)[inter.items], minlength=400)
    for category in range(len(KINDS)):
        of = truth.item_category == category
        assert np.corrcoef(np.log(counts[of] + 1), np.log(truth.popularity[of]))[0, 1] > 0.6


def test_repeats_and_followers_are_found() -> None:
    # A wide catalogue: hardly any row repeats or follows by chance.
    shop = ec.make_shop(40_000, n_users=2000, n_items=20_000, seed=3)
    inter, truth = shop.interactions, shop.truth
    inter = inter.select(inter.values > 0)
    items = shop.items.places(inter.item_ids)[inter.items]
    order = inter.order()
    users, items = inter.users[order], items[order]
    later = users[1:] == users[:-1]
    follows = np.mean(truth.follower[items[:-1]][later] == items[1:][later])
    assert abs(follows - truth.habits.follow_rate) < 0.02
    first = np.unique(users.astype(np.int64) * 20_000 + items, return_index=True)[1]
    repeats = 1 - (len(first) - len(np.unique(users))) / later.sum()
    assert truth.habits.repeat_rate < repeats < truth.habits.repeat_rate + 0.08


def test_aspects_are_found_in_the_words(shop) -> None:
    reviews, truth = shop.reviews, shop.truth
    words = {
        "price": (("expensive", "overpriced", "joke", "太贵", "很低", "太贵"),
                  ("value", "cheap and", "fair", "实惠", "很高", "很值")),
        "delivery": (("took", "late", "slow", "慢", "拖拉"),
                     ("fast delivery", "early", "quick", "快递很快", "给力", "及时")),
    }
    for aspect, (bad, good) in words.items():
        tone = truth.review_aspects[:, truth.aspects.index(aspect)]
        for text, said in zip(reviews["text"], tone):
            found = any(w in text for w in good) - any(w in text for w in bad)
            if aspect == "delivery" or said:
                assert np.sign(found) == said, text
    mean = truth.review_aspects.sum(axis=1) / np.abs(truth.review_aspects).sum(axis=1)
    assert np.corrcoef(mean, reviews["rating"])[0, 1] > 0.9
    assert 0.2 < np.mean(reviews["language"] == "zh") < 0.4
    place = shop.items.places(reviews["item"])
    strength, said = truth.item_aspects[place], truth.review_aspects
    assert np.mean(said[(said != 0) & (strength > 0.5)] > 0) > 0.85
    assert np.mean(said[(said != 0) & (strength < -0.5)] > 0) < 0.15


def test_reviews_are_of_purchases(shop) -> None:
    inter = shop.interactions
    bought = set(zip(*(inter.to_dict()[c].tolist() for c in ("user", "item"))))
    assert set(zip(shop.reviews["user"].tolist(), shop.reviews["item"].tolist())) <= bought


def test_image_kinds_are_told_apart(rng) -> None:
    neighbours = pytest.importorskip("sklearn.neighbors")
    kinds = np.arange(800) % len(KINDS)
    images = draw_images(kinds, rng)
    assert images.shape == (800, 28, 28)
    assert images.dtype == np.uint8
    flat = images.reshape(800, -1) / 255.0
    model = neighbours.KNeighborsClassifier(3).fit(flat[:600], kinds[:600])
    assert model.score(flat[600:], kinds[600:]) > 0.9
    assert len(np.unique(flat, axis=0)) == 800  # no two alike
    assert flat.mean(axis=1).min() > 0.02  # none empty


def test_season_trend_and_rare_sellers_are_found() -> None:
    shop = ec.make_shop(5000, seed=6, n_items=200, n_weeks=208)
    demand, truth = shop.demand, shop.truth.demand
    steady = ~truth.intermittent
    sales = demand.sales[steady].astype(float)
    sales[demand.promotion[steady]] = np.nan
    filled = np.where(np.isnan(sales), np.nanmedian(sales, axis=1, keepdims=True), sales)
    week = np.arange(208)
    lines = np.polynomial.polynomial.polyfit(week, filled.T, 1)
    bent = filled - (lines[0][:, None] + lines[1][:, None] * week)
    power = np.abs(np.fft.rfft(bent, axis=1))[:, 1:] ** 2
    assert np.mean(208 / (power.argmax(axis=1) + 1) == truth.period) > 0.95
    turn = 2 * np.pi * week / truth.period
    terms = np.stack([np.ones(208), week / 208, np.cos(turn), np.sin(turn)], axis=1)
    level, rise, cos, sin = np.linalg.lstsq(terms, filled.T, rcond=None)[0]
    assert np.corrcoef(rise / level, truth.trend[steady])[0, 1] > 0.85
    peak = np.arctan2(sin, cos) / (2 * np.pi) * truth.period
    off = (peak - truth.peak[steady] + 26) % 52 - 26
    assert np.median(np.abs(off)) < 1
    lift = np.array([
        demand.sales[p, demand.promotion[p]].mean() / demand.sales[p, ~demand.promotion[p]].mean()
        for p in np.flatnonzero(steady)
    ])
    assert np.corrcoef(lift, truth.uplift[steady])[0, 1] > 0.5
    zero = np.mean(demand.sales == 0, axis=1)
    assert np.array_equal(zero > 0.4, truth.intermittent)
    assert truth.intermittent.sum() == 40


@pytest.mark.parametrize("seed", range(3))
def test_clean_finds_every_planted_fault(seed: int) -> None:
    shop = ec.make_shop(20_000, seed=seed, dirty=True)
    cleaned, report = shop.interactions.clean()
    assert set(shop.truth.faults) == {
        "duplicate", "non-product code", "no user", "return without purchase"}
    for reason, rows in shop.truth.faults.items():
        assert len(rows) > 300
        assert {report.reasons[r] for r in report.rows[rows].tolist()} == {reason}
    assert report.n_kept == len(cleaned)
    assert report.n_kept + sum(report.counts.values()) == len(shop.interactions)
    sound, _ = ec.make_shop(20_000, seed=seed).interactions.clean()
    assert report.counts["no user"] == len(shop.truth.faults["no user"])
    assert report.counts["non-product code"] == len(shop.truth.faults["non-product code"])
    lost = len(shop.truth.faults["no user"]) + len(shop.truth.faults["non-product code"])
    assert len(sound) - lost <= len(cleaned) <= len(sound)


@pytest.mark.slow
def test_a_million_purchases_are_made_quickly() -> None:
    import time

    started = time.process_time()
    shop = ec.make_shop(1_000_000)
    assert len(shop.interactions) == 1_000_000
    assert time.process_time() - started < 6


# ---------------------------------------------------------------------- the package


def test_import_is_light() -> None:
    code = (
        "import sys, ecommerce as ec; bad = {'numpy', 'pandas', 'numba', 'minidl', 'pyarrow'} & "
        "set(sys.modules); assert not bad, bad; ec.read_interactions; ec.split; ec.make_shop; "
        "bad = {'pandas', 'numba', 'pyarrow', 'torch', 'sklearn'} & set(sys.modules); "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_every_public_name_is_there() -> None:
    for name in ec.__all__:
        assert getattr(ec, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        ec.nothing
