"""clean(): each reason by hand, and nothing ever lost without one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecommerce as ec


def shop(*rows: tuple) -> ec.Interactions:
    """Rows (user, item, value, time)."""
    users, items, values, times = zip(*rows)
    return ec.Interactions.from_ids(users, items, values, times)


def reasons(inter: ec.Interactions, **options) -> list[str]:
    report = inter.clean(**options)[1]
    return [report.reasons[r] for r in report.rows.tolist()]


def test_missing_ids_and_codes_that_are_no_product() -> None:
    inter = shop(("a", "x", 1, 1), ("", "x", 1, 2), ("a", "", 1, 3), ("a", "POST", 1, 4),
                 ("a", "gift_0001_20", 1, 5), ("a", "m", 1, 6), ("a", "mug", 1, 7))
    assert reasons(inter) == [
        "kept", "no user", "no item", "non-product code", "non-product code", "non-product code",
        "kept"]
    assert reasons(inter, drop_codes=["mu?"])[3:] == ["kept"] * 3 + ["non-product code"]
    assert reasons(inter, drop_codes=None)[3:] == ["kept"] * 4


def test_a_return_cancels_the_latest_earlier_purchases() -> None:
    inter = shop(("a", "x", 3, 10), ("a", "x", 2, 20), ("a", "x", -4, 30), ("a", "x", 9, 40),
                 ("b", "x", 5, 15), ("b", "x", -5, 16), ("c", "x", -1, 1))
    cleaned, report = inter.clean()
    assert reasons(inter) == ["kept", "returned purchase", "return", "kept", "returned purchase",
                              "return", "return without purchase"]
    assert cleaned.values.tolist() == [1.0, 9.0]
    assert report.reduced == 1
    assert report.source.tolist() == [0, 3]
    assert reasons(inter, returns="drop") == [
        "kept", "kept", "return", "kept", "kept", "return", "return"]
    assert reasons(inter, returns="keep") == ["kept"] * 7


def test_returns_follow_the_times_not_the_file() -> None:
    # The return stands first in the file; at its own moment the purchase comes before it.
    inter = shop(("a", "x", -1, 20), ("a", "x", 1, 30), ("a", "x", 1, 20), ("a", "x", 1, 10))
    assert reasons(inter) == ["return", "kept", "returned purchase", "kept"]


def test_duplicates_of_one_event_or_pair() -> None:
    inter = shop(("a", "x", 1, 10), ("a", "x", 2, 10), ("a", "x", 4, 20), ("b", "x", 8, 10))
    cleaned, report = inter.clean()
    assert (cleaned.values.tolist(), report.merged) == ([3.0, 4.0, 8.0], 1)
    assert inter.clean(dedup="last")[0].values.tolist() == [2.0, 4.0, 8.0]
    assert inter.clean(dedup="first")[0].values.tolist() == [1.0, 4.0, 8.0]
    assert inter.clean(per="pair")[0].values.tolist() == [7.0, 8.0]
    assert len(inter.clean(dedup=None)[0]) == 4
    assert inter.values.tolist() == [1, 2, 4, 8], "the input stays"


def test_threshold_and_core() -> None:
    inter = shop(*[(u, i, 5, 1) for u in "abc" for i in "xyz"], ("d", "x", 5, 1), ("a", "q", 2, 1))
    assert reasons(inter, min_value=4)[-1] == "value below minimum"
    cleaned, report = inter.clean(kcore=2)
    assert inter.clean(kcore=(2, 2))[1].counts == report.counts
    assert set(cleaned.user_ids.tolist()) == set("abc")
    assert set(cleaned.item_ids.tolist()) == set("xyz")
    assert report.counts == {"user below k-core": 1, "item below k-core": 1}


def test_ties_go_into_an_order_of_their_own() -> None:
    rows = [("a", f"i{k}", 1, 100) for k in range(30)] + [("a", "late", 1, 101)]
    one = shop(*rows).clean(seed=1)[0].to_dict()["item"].tolist()
    back = shop(*rows[::-1]).clean(seed=1)[0].to_dict()
    assert one[-1] == "late"
    assert one != [row[1] for row in rows]
    ordered = [i for i, t in zip(back["item"].tolist(), back["time"].tolist()) if t == 100]
    assert ordered == one[:-1], "the file's order does not matter"
    assert shop(*rows).clean(seed=2)[0].to_dict()["item"].tolist() != one
    assert shop(*rows).clean(ties="keep")[0].to_dict()["item"].tolist() == [r[1] for r in rows]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 150), st.sampled_from(["sum", "last", "first", None]),
    st.sampled_from(["cancel", "drop", "keep"]), st.sampled_from([None, (2, 2), (3, 1)]),
)
def test_every_row_is_kept_or_has_a_reason(seed, n, dedup, returns, kcore) -> None:
    rng = np.random.default_rng(seed)
    inter = ec.Interactions.from_ids(
        rng.choice(["", "a", "b", "c", "d"], n), rng.choice(["x", "y", "z", "POST", ""], n),
        rng.integers(-3, 6, n), rng.integers(0, 20, n), rng.integers(0, 9, n),
    )
    cleaned, report = inter.clean(dedup=dedup, returns=returns, kcore=kcore)
    assert len(report.rows) == n == report.n_kept + sum(report.counts.values())
    assert len(cleaned) == report.n_kept == len(report.source) == len(set(report.source.tolist()))
    assert np.all(report.rows[report.source] == 0)
    source = inter.select(report.source).to_dict()
    for name in ("user", "item", "time", "session"):
        assert np.array_equal(cleaned.to_dict()[name], source[name])
    again, second = cleaned.clean(dedup=dedup, returns=returns, kcore=kcore)
    if returns != "keep" and dedup != "sum":
        assert second.n_dropped == 0 or (cleaned.values == 0).any()
    assert str(n) in str(report)
    assert again.n_items <= cleaned.n_items


@pytest.mark.parametrize(("options", "message"), [
    ({"dedup": "mean"}, "dedup='mean'; choose one of 'sum', 'last', 'first', None"),
    ({"per": "day"}, "per='day'"), ({"returns": "ignore"}, "returns='ignore'"),
    ({"ties": "random"}, "ties='random'"), ({"min_value": 3}, "the data has no values"),
    ({"kcore": -5}, "give two counts"), ({"kcore": (1, -1)}, "give two counts"),
    ({"drop_codes": "POST"}, "is one text; give a list"),
])
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ec.DataError) as caught:
        ec.Interactions.from_ids(["a"], ["x"]).clean(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
