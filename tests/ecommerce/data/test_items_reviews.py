"""read_items and read_reviews on small files, made here."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import ecommerce as ec


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def columns(table: dict) -> dict[str, list]:
    return {name: column.tolist() for name, column in table.items()}


def test_movielens_items(tmp_path: Path) -> None:
    flags = ["0"] * 19
    flags[5] = flags[16] = "1"
    path = write(tmp_path / "u.item", f"1|Amélie|2001||url|{'|'.join(flags)}\n", "latin-1")
    expected = {"item": ["1"], "title": ["Amélie"], "category": ["Comedy|Thriller"]}
    assert columns(ec.read_items(path)) == expected
    assert columns(ec.read_items(tmp_path)) == expected
    path = write(tmp_path / "m.dat", "7::Café::Comedy|War\n", "latin-1")
    assert columns(ec.read_items(path)) == {
        "item": ["7"], "title": ["Café"], "category": ["Comedy|War"]}


def test_attributes_json(tmp_path: Path) -> None:
    path = tmp_path / "Beauty_item2attributes.json.gz"
    path.write_bytes(gzip.compress(b'{"4": [1, 2], "83": [2], "9": []}'))
    items = ec.read_items(tmp_path)
    assert columns(items) == {"item": ["4", "83", "9"], "tags": ["1|2", "2", ""]}
    indptr, codes, table = items.sets("tags")
    assert indptr.tolist() == [0, 2, 3, 3]
    assert table[codes].tolist() == ["1", "2", "2"]


def test_invoice_lines_give_one_row_an_item(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", (
        "InvoiceNo,StockCode,Description,UnitPrice\n1,a,MUG,2\n2,a,MUG,4\n3,a,mug?,9\n4,b,,0\n"
        "5,a,MUG,0\n6,c,,\n7,,LOST,1\n8,d,PEN,3\n9,d,INK,1\n"
    ))
    items = ec.read_items(path)
    assert columns(items)["item"] == ["a", "b", "c", "d"]
    assert columns(items)["title"] == ["MUG", "", "", "INK"]
    assert items["price"][:2].tolist() == [4.0, 0.0]  # the median of what was not free
    assert np.isnan(items["price"][2])
    assert items["price"][3] == 2.0


def test_items_by_id_and_in_another_order(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "sku,name,price,colour\nb,Cup,2.5,red\na,Hat,9,blue\n")
    items = ec.read_items(path, more=["colour"])
    assert items.get_item("a") == {"item": "a", "title": "Hat", "price": 9.0, "colour": "blue"}
    aligned = items.align(["a", "zz", "b"])
    assert aligned["title"].tolist() == ["Hat", "", "Cup"]
    assert np.array_equal(aligned["price"], [9.0, np.nan, 2.5], equal_nan=True)
    assert items.places(["b", "?"]).tolist() == [0, -1]
    with pytest.raises(ec.DataError, match="unknown item id 'q': 2 items are known"):
        items.get_item("q")
    pd = pytest.importorskip("pandas")
    assert isinstance(items.to_frame(), pd.DataFrame)
    assert columns(ec.read_items(items.to_frame(), more=["colour"])) == columns(items)


@pytest.mark.parametrize(("text", "options", "message"), [
    ("", {}, "is empty"),
    ("name,price\nx,1\n", {}, "no column looks like the item"),
    ("item,price\nx,cheap\n", {}, "line 2: column 'price' 'cheap' is not a number"),
    ("item,price\nx,1\n", {"brand": "maker"}, "no column 'maker' for brand"),
    ("item,price\n,1\n", {}, "names no item in any row"),
    ('{"4": [1', {}, "broken JSON"),
    ('{"4": 1}', {}, "not of the form"),
    ("item,price\nx,1\ny\n", {}, "line 3: 1 fields where 2"),
])
def test_bad_items(tmp_path: Path, text: str, options: dict, message: str) -> None:
    with pytest.raises(ec.DataError) as caught:
        ec.read_items(write(tmp_path / "x.csv", text), **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_review_tables(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", (
        ",Clothing ID,Title,Review Text,Rating,Recommended IND,Department Name\n"
        '0,767,,"Silky, and ""sexy""",4,1,Intimate\n1,80,Bad,,1,0,Tops\n'
    ))
    assert columns(ec.read_reviews(path)) == {
        "text": ['Silky, and "sexy"', ""], "title": ["", "Bad"], "item": ["767", "80"],
        "category": ["Intimate", "Tops"], "rating": [4.0, 1.0], "label": [1, 0],
    }
    path = write(tmp_path / "zh.csv", "cat,label,review\n书籍,1,\ufeff很好\n酒店,0,太差\n")
    assert columns(ec.read_reviews(path)) == {
        "text": ["很好", "太差"], "category": ["书籍", "酒店"], "label": [1, 0]}
    frame = {"review": ["good", "bad"], "polarity": ["pos", "neg"]}
    assert columns(ec.read_reviews(frame)) == {"text": ["good", "bad"], "label": ["pos", "neg"]}


def test_review_lines(tmp_path: Path) -> None:
    text = "1 great little phone\n0 too small , café\n0 \n"
    labelled = write(tmp_path / "a.all", text, "latin-1")
    assert columns(ec.read_reviews(labelled, "label words")) == {
        "text": ["great little phone", "too small , café", ""], "label": [1, 0, 0]}
    plain = write(tmp_path / "b.txt", "质量很好，喜欢\n太差\n")
    assert columns(ec.read_reviews(plain)) == {"text": ["质量很好，喜欢", "太差"]}
    headless = write(tmp_path / "c.txt", '1_1\t-0.9\t"no picture\n1_2\t2\tgood\n')
    assert columns(ec.read_reviews(headless, names=("item", "rating", "text"))) == {
        "text": ['"no picture', "good"], "item": ["1_1", "1_2"], "rating": [-0.9, 2.0]}


def test_amazon_reviews(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", (
        '{"reviewerID": "A", "asin": "B1", "reviewText": "ok", "overall": 3.0, "summary": "S", '
        '"reviewerName": "Jo", "unixReviewTime": 1393545600}\n{"reviewerID": "C", "asin": "B2", '
        '"reviewText": null, "overall": 5, "summary": "T", "unixReviewTime": 1393545601}\n'
    ))
    assert columns(ec.read_reviews(path)) == {
        "text": ["ok", ""], "title": ["S", "T"], "item": ["B1", "B2"], "user": ["A", "C"],
        "rating": [3.0, 5.0], "time": [1_393_545_600, 1_393_545_601]}


@pytest.mark.parametrize(("text", "options", "message"), [
    ("a,b\n1,2\n", {}, "no column looks like the text"),
    ("text,rating\nx,many\n", {}, "column 'rating' 'many' is not a number"),
    ("1 good\nbad\n", {"format": "label words"}, "line 2: 'bad ' does not begin with a number"),
    ("x\n", {"format": "xml"}, "format='xml' is unknown"),
    ("\0\1", {}, "a binary file"),
])
def test_bad_reviews(tmp_path: Path, text: str, options: dict, message: str) -> None:
    with pytest.raises(ec.DataError) as caught:
        ec.read_reviews(write(tmp_path / "r.csv", text), **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
