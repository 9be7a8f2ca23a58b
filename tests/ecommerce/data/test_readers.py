"""read_interactions on small files of every format, made here."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import pytest

import ecommerce as ec

ROWS = [  # user, item, value, time
    ("u2", "b", 4.0, 1_300_000_000), ("u10", "a", 5.0, 1_300_000_100),
    ("u2", "a", 1.0, 1_300_000_200), ("u1", "c", 3.5, 1_300_000_300),
]


def rows_of(inter: ec.Interactions) -> list[tuple]:
    columns = inter.to_dict()
    names = [n for n in ("user", "item", "value", "time", "session") if n in columns]
    return list(zip(*(columns[name].tolist() for name in names)))


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def lines(form: str) -> str:
    return "".join(form.format(*row) + "\n" for row in ROWS)


NUMBERED = [("7", "30", 4.0, 100), ("12", "4", 5.0, 200), ("7", "4", 1.0, 300)]


@pytest.mark.parametrize(("name", "form"), [
    ("u.data", "{}\t{}\t{:.0f}\t{}\n"), ("ratings.dat", "{}::{}::{:.0f}::{}\n"),
])
def test_movielens(tmp_path: Path, name: str, form: str) -> None:
    path = write(tmp_path / name, "".join(form.format(*row) for row in NUMBERED))
    for source in (path, tmp_path, str(path)):  # the file, the folder, its name
        inter = ec.read_interactions(source)
        assert rows_of(inter) == NUMBERED
        assert inter.user_ids.tolist() == ["7", "12"]  # by number, not by text
        assert inter.item_ids.tolist() == ["4", "30"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize(("delimiter", "end"), [
    (",", "\n"), ("\t", "\n"), (";", "\r\n"), ("|", "\r\n"), (",", "\r"),
])
def test_tables_packed_or_not(tmp_path: Path, pack, delimiter: str, end: str) -> None:
    text = "customer_id,SKU,Rating,timestamp\n" + lines("{},{},{},{}")
    path = tmp_path / "events.any"
    path.write_bytes(pack(text.replace(",", delimiter).replace("\n", end).encode()))
    assert rows_of(ec.read_interactions(path)) == ROWS


def test_byte_order_mark_and_no_last_line_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\ufeffuser,item\nx,1\ny,2")
    assert rows_of(ec.read_interactions(path)) == [("x", "1"), ("y", "2")]


def test_quotes_blank_lines_and_line_ends_inside(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", (
        'user,item,note\n"a, b",1,x\n\nc,"2 ""big""","two\nlines"\nd,3,\n'
    ))
    assert rows_of(ec.read_interactions(path)) == [("a, b", "1"), ("c", '2 "big"'), ("d", "3")]


def test_many_blocks_are_one_table(tmp_path: Path) -> None:
    n = 60_000  # several blocks, one of them with quotes
    rows = [f"user{i % 977},item{i % 353},{i}" for i in range(n)]
    rows[31_000] = '"user, 5","item ""x""",31000'
    inter = ec.read_interactions(write(tmp_path / "a.csv", "user,item,time\n" + "\n".join(rows)))
    assert len(inter) == n
    columns = inter.to_dict()
    assert columns["time"].tolist() == list(range(n))
    assert columns["user"][31_000] == "user, 5"
    assert columns["item"][31_000] == 'item "x"'
    assert columns["user"][59_999] == f"user{59_999 % 977}"


def test_mapping_of_columns_and_headers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "who,what,n,when,basket\nx,1,2,03/04/2011 10:00,A\n")
    inter = ec.read_interactions(
        path, user="who", item="what", value="n", time="when", session="basket",
        time_format="%d/%m/%Y %H:%M",
    )
    assert str(inter.times.astype("datetime64[s]")[0]) == "2011-04-03T10:00:00"
    headless = write(tmp_path / "b.txt", "x;1;9\ny;2;8\n")
    inter = ec.read_interactions(headless, names=("user", "item", "value"), delimiter=";")
    assert rows_of(inter) == [("x", "1", 9.0), ("y", "2", 8.0)]


@pytest.mark.parametrize(("cell", "seconds"), [
    ("1300000000", 1_300_000_000), ("1300000000.9", 1_300_000_000),
    ("1300000000123", 1_300_000_000), ("2011-03-13", 1_299_974_400),
    ("2011-03-13 07:06:40", 1_300_000_000), ("2011-03-13T07:06:40.5", 1_300_000_000),
    ("2011-03-13T07:06:40Z", 1_300_000_000), ("2011-03-13 09:06:40+02:00", 1_300_000_000),
    ("2011-03-13 07:06:40 UTC", 1_300_000_000),
])
def test_forms_of_time(tmp_path: Path, cell: str, seconds: int) -> None:
    path = write(tmp_path / "a.csv", f"user,item,time\nx,1,{cell}\n")
    assert ec.read_interactions(path).times.tolist() == [seconds]


def test_a_role_can_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item,rating,time\nx,1,bad,also bad\n")
    assert rows_of(ec.read_interactions(path, value=False, time=False)) == [("x", "1")]


def test_invoice_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "retail.csv", (
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        '1,85123A,"CUP, WHITE",6,2010-12-01 08:26:00,2.55,17850,United Kingdom\n'
        "C2,85123A,CUP,-6,2010-12-02 08:26:00,2.55,17850,United Kingdom\n"
        "3,POST,POSTAGE,1,2010-12-02 09:00:00,18.0,,France\n"
    ))
    inter = ec.read_interactions(path)
    assert rows_of(inter) == [
        ("17850", "85123A", 6.0, 1_291_191_960, "1"),
        ("17850", "85123A", -6.0, 1_291_278_360, "C2"), ("", "POST", 1.0, 1_291_280_400, "3"),
    ]
    assert ec.read_interactions(path, "online-retail").data_hash() == inter.data_hash()


def test_retailrocket_events(tmp_path: Path) -> None:
    path = write(tmp_path / "events.csv", (
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433224214164,992329,transaction,248676,4000\n"
    ))
    everything = ec.read_interactions(tmp_path)
    assert everything.times.tolist() == [1_433_221_332, 1_433_224_214]  # milliseconds
    assert rows_of(ec.read_interactions(path, events=["transaction"])) == [
        ("992329", "248676", 1_433_224_214)
    ]
    with pytest.raises(ec.DataError, match="no row holds an event"):
        ec.read_interactions(path, events=["addtocart"])


def test_recbole_atomic(tmp_path: Path) -> None:
    path = write(tmp_path / "x.inter", (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        'a\t"b\t4.5\t964982703.0\nc\td\t1\t964982931\n'
    ))
    assert rows_of(ec.read_interactions(path)) == [
        ("a", '"b', 4.5, 964_982_703), ("c", "d", 1.0, 964_982_931)
    ]


@pytest.mark.parametrize("keys", [
    ("reviewerID", "asin", "overall", "unixReviewTime"),
    ("user_id", "parent_asin", "rating", "timestamp"),
])
def test_amazon_json_lines(tmp_path: Path, keys: tuple[str, ...]) -> None:
    path = tmp_path / "reviews.json.gz"
    text = "\n".join(json.dumps({"extra": [1], **dict(zip(keys, row))}) for row in ROWS)
    path.write_bytes(gzip.compress(text.encode()))
    assert rows_of(ec.read_interactions(path)) == ROWS
    assert rows_of(ec.read_interactions(path, "amazon-jsonl")) == ROWS


def test_sequences_with_many_items_or_one_a_line(tmp_path: Path) -> None:
    expected = [("1", "5", 0), ("1", "3", 1), ("1", "9", 2), ("2", "5", 0)]
    for text in ("1 5 3 9\n2 5\n3\n", "1 5\n1 3\n1 9\n2 5\n", "1\t5\n1\t3\n1\t9\n2\t5\n",
                 "1 5 3\n\n1 9\n2 5"):
        inter = ec.read_interactions(write(tmp_path / "s.txt", text))
        assert rows_of(inter) == expected, text


def test_sequences_of_texts_when_told(tmp_path: Path) -> None:
    path = write(tmp_path / "s.txt", "anna tea cup\nben tea\n")
    inter = ec.read_interactions(path, "sequence")
    assert rows_of(inter) == [("anna", "tea", 0), ("anna", "cup", 1), ("ben", "tea", 0)]


def test_folder_of_parts(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "0 1 2 3\n1 2\n")
    write(tmp_path / "test.txt", "0 4\n1 9\n")
    write(tmp_path / "valid.txt", "0 3\n")  # inside train, as Gowalla's
    inter = ec.read_interactions(tmp_path)
    assert inter.times is None  # such files hold sets
    split = ec.split(inter, "given")
    assert rows_of(split.train) == [("0", "1"), ("0", "2"), ("1", "2")]
    assert rows_of(split.valid) == [("0", "3")]
    assert rows_of(split.test) == [("0", "4"), ("1", "9")]
    assert split.audit().ok


def test_parts_by_name_leave_the_test_rows_out_of_train(tmp_path: Path) -> None:
    write(tmp_path / "u.data", "1\t1\t5\t10\n1\t2\t4\t20\n2\t1\t3\t30\n")
    write(tmp_path / "u1.test", "1\t2\t4\t20\n")
    inter = ec.read_parts(tmp_path, train="u.data", valid=None, test="u1.test")
    split = ec.split(inter, "given")
    assert rows_of(split.train) == [("1", "1", 5.0, 10), ("2", "1", 3.0, 30)]
    assert rows_of(split.test) == [("1", "2", 4.0, 20)]
    assert len(split.valid) == 0


def test_frames_and_mappings() -> None:
    pd = pytest.importorskip("pandas")
    columns = {name: [row[i] for row in ROWS] for i, name in enumerate(
        ("user", "item", "value", "time"))}
    assert rows_of(ec.read_interactions(columns)) == ROWS
    frame = pd.DataFrame(columns)
    frame["time"] = pd.to_datetime(frame["time"], unit="s")
    frame["item"] = frame["item"].astype("category")
    assert rows_of(ec.read_interactions(frame)) == ROWS
    frame["time"] = frame["time"].dt.tz_localize("UTC").dt.tz_convert("Asia/Shanghai")
    assert rows_of(ec.read_interactions(frame)) == ROWS
    floats = pd.DataFrame({"CustomerID": [17850.0, np.nan], "StockCode": ["a", "b"]})
    assert rows_of(ec.read_interactions(floats)) == [("17850", "a"), ("", "b")]
    again = ec.read_interactions(ec.read_interactions(frame).to_frame())
    assert rows_of(again) == ROWS


def test_parquet(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(ROWS, columns=["user_id", "product_id", "rating", "time"])
    frame["time"] = pd.to_datetime(frame["time"], unit="s")
    frame["product_id"] = frame["product_id"].astype("category")
    frame.to_parquet(tmp_path / "a.parquet")
    assert rows_of(ec.read_interactions(tmp_path / "a.parquet")) == ROWS
    (tmp_path / "a.parquet.gz").write_bytes(
        gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert rows_of(ec.read_interactions(tmp_path / "a.parquet.gz")) == ROWS


def test_codes_do_not_depend_on_the_order_of_rows() -> None:
    rows = np.array([("b", "y"), ("a", "x"), ("c", "y")])
    first = ec.read_interactions({"user": rows[:, 0], "item": rows[:, 1]})
    second = ec.read_interactions({"user": rows[::-1, 0], "item": rows[::-1, 1]})
    assert first.user_ids.tolist() == second.user_ids.tolist() == ["a", "b", "c"]
    assert first.users.tolist() == second.users[::-1].tolist()
