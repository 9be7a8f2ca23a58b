"""Interactions: codes, selections, compressed rows, content hash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecommerce as ec
from ecommerce.data.interactions import encode


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)))
def test_encode_and_back(ids: list[str]) -> None:
    codes, table = encode(np.array(ids, np.str_))
    assert [table[c] if c >= 0 else "" for c in codes.tolist()] == ids
    assert len(set(table.tolist())) == len(table)
    assert "" not in table


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1))
def test_whole_numbers_are_sorted_as_numbers(ids: list[int]) -> None:
    expected = sorted(set(ids))
    for values in (np.array(ids), np.array(ids).astype(np.str_)):
        codes, table = encode(values)
        assert table.tolist() == [str(i) for i in expected]
        assert [expected[c] for c in codes.tolist()] == ids


def small() -> ec.Interactions:
    return ec.Interactions.from_ids(["u", "v", "u", "u"], ["b", "a", "c", "b"], [1, 2, 3, 4],
                                    [30, 5, 10, 30], ["s", "t", "s", "r"])


def test_csr_is_ordered_by_time_then_place() -> None:
    indptr, items = small().csr()
    assert indptr.tolist() == [0, 3, 4]
    assert items.tolist() == [2, 1, 1, 0]
    indptr, users = small().csr("item")
    assert indptr.tolist() == [0, 1, 3, 4]
    assert users.tolist() == [1, 0, 0, 0]


def test_select_keeps_tables_and_compact_shrinks_them() -> None:
    inter = small().select([1])
    assert (inter.n_users, inter.n_items) == (2, 3)
    compact = inter.compact()
    assert (compact.user_ids.tolist(), compact.item_ids.tolist()) == (["v"], ["a"])
    assert compact.to_dict()["session"].tolist() == ["t"]
    masked = small().select(np.array([True, False, False, True]))
    assert masked.to_dict()["time"].tolist() == [30, 30]
    with pytest.raises(ec.DataError, match="mask of shape"):
        small().select(np.array([True]))


def test_unknown_ids_say_what_is_known() -> None:
    inter = small()
    assert inter.item_code("c") == 2
    assert inter.find_users(["v", "?"]).tolist() == [1, -1]
    with pytest.raises(ec.DataError, match="unknown user id 'w': this data knows 2 users"):
        inter.user_code("w")


def test_hash_tells_content_not_history() -> None:
    assert small().data_hash() == small().data_hash()
    changed = small()
    changed.values = changed.values + 1
    assert changed.data_hash() != small().data_hash()
    parts = small()
    parts.parts = np.array([0, 0, 1, 2], np.uint8)
    assert parts.data_hash() != small().data_hash()
    assert parts.select([3, 1]).parts.tolist() == [2, 0]
    assert parts.compact().parts.tolist() == [0, 0, 1, 2]


def test_summary() -> None:
    summary = small().summary()
    assert (summary["rows"], summary["users"], summary["items"], summary["pairs"]) == (4, 2, 3, 3)
    assert summary["repeats"] == 0.25
    assert summary["ties"] == 2
    assert summary["time"] == (5, 30)
