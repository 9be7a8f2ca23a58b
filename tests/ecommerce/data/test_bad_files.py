"""Bad input: one line that names file, place, rule and fix."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

import ecommerce as ec

GOOD = "user,item,rating,time\n" + "a,x,4,100\n" * 2000
BAD: dict[str, tuple[bytes, dict, str]] = {
    "empty file": (b"", {}, "is empty; fetch"),
    "blanks only": (b"\n \n", {}, "holds no data"),
    "header only": (b"user,item\n", {}, "no rows below the header"),
    "truncated gz": (gzip.compress(GOOD.encode())[:-30], {}, "cut off or damaged"),
    "truncated xz": (lzma.compress(GOOD.encode())[:-30], {}, "cut off or damaged"),
    "altered gz": (gzip.compress(GOOD.encode())[:-8] + b"12345678", {}, "cut off or damaged"),
    "binary": (b"\x7fELF\0\0\0\1", {}, "a binary file"),
    "zip": (b"PK\x03\x04\x14\0\0\0", {}, "a binary file"),
    "prose": (b"hello there\ngeneral\n", {}, "unknown format (first line 'hello there')"),
    "no user column": (b"a,item\n1,2\n", {}, "no column looks like the user; it has a, item"),
    "no item column": (b"user,b\n1,2\n", {}, "give item='<column>'"),
    "wrong column": (b"user,item\n1,2\n", {"user": "who"}, "no column 'who' for user"),
    "wrong time column": (b"user,item\n1,2\n", {"time": "t"}, "no column 't' for time"),
    "missing cell": (b"user,item,rating\n1,2,3\n1,2\n", {}, "line 3: 2 fields where 3"),
    "extra cell": (b"user,item\n1,2\n1,2,3\n", {}, "line 3: 3 fields where 2"),
    "extra cell with quotes": (b'user,item\n"1",2\n1,2,3\n', {}, "line 3: 3 fields where 2"),
    "NaN value": (b"user,item,rating\n1,2,3\n1,2,nan\n", {}, "line 3: column 'rating' is nan"),
    "infinite value": (b"user,item,rating\n1,2,inf\n", {}, "line 2: column 'rating' is inf"),
    "text value": (b"user,item,rating\n1,2,3\n4,5,high\n", {}, "line 3: column 'rating' 'high'"),
    "after blank lines": (b"user,item,rating\n\n1,2,3\n\n4,5,x\n", {}, "line 5: column 'rating'"),
    "after a long note": (b'user,item,rating,note\n1,2,3,"a\nb"\n4,5,x,\n', {}, "line 4: column"),
    "many blocks on": (
        b"user,item,rating,note\n" + (b'1,2,3,"' + b"a\n" * 50_000 + b'"\n') * 3
        + b"4,5,6,\n" * 40_000 + b"7,8,x,\n", {}, "line 190005: column 'rating' 'x'"),
    "empty value": (b"user,item,rating\n1,2,\n", {}, "line 2: column 'rating' is empty"),
    "negative time": (b"user,item,time\n1,2,-5\n", {}, "line 2: column 'time' is -5 seconds"),
    "old date": (b"user,item,date\n1,2,1960-01-01\n", {}, "before 1970"),
    "odd date": (b"user,item,date\n1,2,03/04/2011\n", {}, "give time_format"),
    "wrong time_format": (b"user,item,date\n1,2,2011-01-01\n", {"time_format": "%d/%m/%Y"},
                          "does not fit time_format"),
    "empty time": (b"user,item,time\n1,2,5\n1,3,\n", {}, "line 3: column 'time'"),
    "latin-1 text": ("user,item\nJos\xe9,2\n".encode("latin-1"), {}, "give encoding='latin-1'"),
    "unknown encoding": (b"user,item\n1,2\n", {"encoding": "utf-9"}, "'utf-9' is unknown"),
    "unknown format": (b"user,item\n1,2\n", {"format": "tsv"}, "format='tsv' is unknown; choose"),
    "not MovieLens": (b"user,item\n1,2\n", {"format": "ml-100k"}, "fields where 4 are expected"),
    "mixed lines": (b"1 2 3\n2 5\n" * 15 + b"3 x\n", {}, "line 31: '3 x' is no line of whole"),
    "users only": (b"1\n2\n", {}, "no line holds a user and an item"),
    "no JSON": (b'{"user": 1, "item": 2}\n{"user": \n', {}, "line 2: not JSON"),
    "JSON list": (b'{"user": 1, "item": 2}\n[1]\n', {}, "line 2: list, not a JSON object"),
    "JSON over lines": (b'{\n"user": 1}\n', {}, "not one whole object"),
    "broken parquet": (b"PAR1 nothing", {}, "a damaged parquet file"),
    "user left out": (b"user,item\n1,2\n", {"user": False}, "every row needs its user"),
    "no event column": (b"user,item\n1,2\n", {"events": ["buy"]}, "needs a column 'event'"),
    "events as text": (b"user,item,event\n1,2,buy\n", {"events": "buy"}, "give a list"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_one_clear_line(tmp_path: Path, case: str) -> None:
    data, options, message = BAD[case]
    if case == "broken parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / "bad.file"
    path.write_bytes(data)
    with pytest.raises(ec.DataError) as caught:
        ec.read_interactions(path, **options)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert "bad.file" in text or options, "the file is named"


def test_missing_file_and_odd_folders(tmp_path: Path) -> None:
    with pytest.raises(ec.DataError, match="no such file or folder"):
        ec.read_interactions(tmp_path / "none.csv")
    with pytest.raises(ec.DataError, match=r"no file of interactions .* \(it holds nothing\)"):
        ec.read_interactions(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("user,item\n1,2\n")
    with pytest.raises(ec.DataError, match="more than one file of interactions"):
        ec.read_interactions(tmp_path)
    with pytest.raises(ec.DataError, match="no file 'train' for train"):
        ec.read_parts(tmp_path)
    with pytest.raises(ec.DataError, match="neither a path nor a frame"):
        ec.read_interactions(7)


@pytest.mark.parametrize(("frame", "message"), [
    ({"user": [1, 2], "item": [1]}, "every column needs one entry a row"),
    ({"user": [], "item": []}, "no rows"),
    ({"user": [1]}, "no column looks like the item"),
    ({"user": [1], "item": [2], "value": [np.nan]}, "frame, row 0: column 'value' is nan"),
    ({"user": [1], "item": [2], "time": [-1]}, "before 1970"),
    ({"user": [1], "item": [2], "value": ["x"]}, "'x' is not a number"),
    ({"user": [1], "item": [2], "time": [np.datetime64("NaT")]}, "is empty"),
])
def test_bad_frames(frame: dict, message: str) -> None:
    with pytest.raises(ec.DataError) as caught:
        ec.read_interactions(frame)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("columns", "message"), [
    ({"users": [0], "items": [5]}, "do not fit a table of 1 ids"),
    ({"users": [0, 0], "items": [0]}, "every column needs one entry a row"),
    ({"users": [0], "items": [0], "values": [np.inf]}, "values must be finite"),
    ({"users": [0], "items": [0], "times": [-3]}, "times are unix seconds"),
])
def test_bad_interactions(columns: dict, message: str) -> None:
    ids = np.array(["a"])
    with pytest.raises(ec.DataError, match=message):
        ec.Interactions(**columns, user_ids=ids, item_ids=ids)
