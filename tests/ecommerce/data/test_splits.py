"""split(): the properties of each rule, and an audit that finds planted leaks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecommerce as ec
from ecommerce.data.audit import Audit

RULES = ["leave_last", "ratio", "temporal", "cold_users", "cold_items"]


@st.composite
def events(draw) -> ec.Interactions:
    n = draw(st.integers(20, 120))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    return ec.Interactions.from_ids(
        rng.integers(0, 8, n), rng.integers(0, 12, n), None,
        1_300_000_000 + rng.integers(0, draw(st.sampled_from([5, 10_000])), n),
    )


def rows_of(inter: ec.Interactions) -> list[tuple]:
    return list(zip(*(column.tolist() for column in inter.to_dict().values())))


def parts_of(split: ec.Split) -> list[ec.Interactions]:
    return [split.train, split.valid, split.test]


def make(inter: ec.Interactions, how: str, **options) -> ec.Split | None:
    """The split, or None where these few rows cannot be split so (one clear error)."""
    try:
        return ec.split(inter, how, **options)
    except ec.DataError as error:
        if "leaves no row for" not in str(error):
            raise
        return None


@settings(max_examples=60, deadline=None)
@given(events(), st.sampled_from(RULES), st.integers(0, 3))
def test_every_row_is_in_one_part_and_codes_agree(inter, how: str, seed: int) -> None:
    split = make(inter, how, seed=seed)
    if split is None:
        return
    together = [row for part in parts_of(split) for row in rows_of(part)]
    assert Counter(together) == Counter(rows_of(inter))
    for part in parts_of(split):
        assert part.user_ids is inter.user_ids
        assert part.item_ids is inter.item_ids


@settings(max_examples=40, deadline=None)
@given(events(), st.sampled_from(RULES), st.randoms(use_true_random=False))
def test_a_draw_depends_on_seed_and_rows_not_on_their_order(inter, how: str, random) -> None:
    order = list(range(len(inter)))
    random.shuffle(order)
    one = make(inter, how, seed=5, ties="shuffle")
    two = make(inter.select(np.array(order)), how, seed=5, ties="shuffle")
    assert (one is None) == (two is None)
    if one is not None:
        for a, b in zip(parts_of(one), parts_of(two)):
            assert Counter(rows_of(a)) == Counter(rows_of(b))


@settings(max_examples=40, deadline=None)
@given(events(), st.integers(1, 2), st.integers(0, 2))
def test_leave_last_takes_the_last_of_each_user(inter, test: int, valid: int) -> None:
    split = make(inter, "leave_last", test=test, valid=valid)
    if split is None:
        return
    counts = np.bincount(inter.users, minlength=inter.n_users)
    enough = counts > test + valid
    tests = np.bincount(split.test.users, minlength=inter.n_users)
    valids = np.bincount(split.valid.users, minlength=inter.n_users)
    assert np.array_equal(tests, np.where(enough, test, 0))
    assert np.array_equal(valids, np.where(enough, valid, 0))
    assert not split.audit().of("test before train")
    for user in np.flatnonzero(enough):
        assert (split.test.times[split.test.users == user].min()
                >= split.train.times[split.train.users == user].max())


@settings(max_examples=40, deadline=None)
@given(events(), st.floats(0.05, 0.6), st.floats(0, 0.5))
def test_ratio_takes_its_share_of_each_user(inter, test: float, valid: float) -> None:
    split = make(inter, "ratio", test=test, valid=valid)
    if split is None:
        return
    counts = np.bincount(inter.users, minlength=inter.n_users)
    rest = np.maximum(np.rint((1 - test) * counts), np.minimum(counts, 1))
    tests = np.bincount(split.test.users, minlength=inter.n_users)
    trains = np.bincount(split.train.users, minlength=inter.n_users)
    assert np.array_equal(tests, counts - rest)
    assert np.all(trains[counts > 0] >= 1)
    assert np.array_equal(trains, np.maximum(np.rint((1 - valid) * rest), np.minimum(counts, 1)))


@settings(max_examples=40, deadline=None)
@given(events(), st.floats(0.05, 0.5))
def test_temporal_cuts_everybody_at_one_time(inter, share: float) -> None:
    split = make(inter, "temporal", test=share, valid=0.2)
    if split is None:
        return
    assert split.train.times.max() < split.test.times.min()
    if len(split.valid):
        assert split.train.times.max() < split.valid.times.min()
        assert split.valid.times.max() < split.test.times.min()
    assert split.audit().ok


def sample(rng: np.random.Generator, n: int = 2000) -> ec.Interactions:
    return ec.Interactions.from_ids(
        rng.integers(0, 50, n), rng.integers(0, 80, n), None,
        1_300_000_000 + rng.permutation(n) * 3600,
    )


def test_seeds_and_draws_are_different_draws(rng) -> None:
    inter = sample(rng)
    tests = {(s, d): frozenset(rows_of(ec.split(inter, "ratio", seed=s, draw=d).test))
             for s in range(3) for d in range(3)}
    assert len(set(tests.values())) == 9
    again = ec.split(inter, "ratio", seed=2, draw=1)
    assert frozenset(rows_of(again.test)) == tests[2, 1]


def test_ratio_draws_uniformly() -> None:
    inter = ec.Interactions.from_ids(np.zeros(20, int), np.arange(20))
    hits = np.zeros(20)
    for seed in range(600):
        hits[ec.split(inter, "ratio", test=0.25, seed=seed).test.items] += 1
    assert hits.sum() == 600 * 5
    assert np.all(np.abs(hits - 150) < 5 * np.sqrt(150 * 0.75))


def test_equal_rows_are_drawn_one_by_one() -> None:
    inter = ec.Interactions.from_ids(np.zeros(100, int), np.zeros(100, int))
    split = ec.split(inter, "ratio", test=0.3, valid=0)
    assert (len(split.train), len(split.test)) == (70, 30)


def test_times_of_the_cut(rng) -> None:
    inter = sample(rng)
    when = np.datetime64("2011-03-30")
    for at in ("2011-03-30", int(when.astype("datetime64[s]").astype(int)), when.item()):
        split = ec.split(inter, "temporal", at=at)
        assert split.test.times.min() >= when.astype("datetime64[s]").astype(int)
        assert split.train.times.max() < split.valid.times.min()
        assert "2011-03-30" in split.protocol
    split = ec.split(inter, "temporal", at=("2011-03-20", "2011-04-10"))
    assert str(split.valid.times.min().astype("datetime64[s]")) >= "2011-03-20"
    assert str(split.valid.times.max().astype("datetime64[s]")) < "2011-04-10"


def test_shuffled_ties_change_who_is_last() -> None:
    # Everything on one day: the file's order is the product code, as in Amazon's files.
    inter = ec.Interactions.from_ids(np.repeat(np.arange(40), 5), np.tile(np.arange(5), 40), None,
                                     np.full(200, 1_300_000_000))
    kept = ec.split(inter, "leave_last")
    assert set(kept.test.items.tolist()) == {4}
    drawn = ec.split(inter, "leave_last", ties="shuffle", seed=1)
    assert len(set(drawn.test.items.tolist())) > 2
    assert [f.level for f in kept.audit().of("ties cut")] == ["warning"] * 3
    assert [f.level for f in drawn.audit().of("ties cut")] == ["note"] * 3
    assert kept.audit().of("ties cut")[1].count == 40


def test_given_rows(rng) -> None:
    inter = sample(rng)
    mask = rng.random(len(inter)) < 0.2
    split = ec.split(inter, "given", test=mask, valid=np.flatnonzero(~mask)[:50])
    assert rows_of(split.test) == rows_of(inter.select(mask))
    assert len(split.valid) == 50
    assert len(split.train) == len(inter) - mask.sum() - 50


@pytest.mark.parametrize(("how", "options", "message"), [
    ("last", {}, "how='last' is unknown; choose one of leave_last"),
    ("ratio", {"test": 0}, "above 0 and below 1"),
    ("ratio", {"test": 1.5}, "give a share"),
    ("ratio", {"valid": -0.1}, "give a share"),
    ("leave_last", {"test": 0.2}, "give how many of a user's last rows"),
    ("leave_last", {"test": 500}, "leaves no row for test"),
    ("leave_last", {"ties": "random"}, "choose 'keep' or 'shuffle'"),
    ("temporal", {"at": "soon"}, "at='soon' is no time"),
    ("temporal", {"at": "2031-01-01"}, "leaves no row for test"),
    ("temporal", {"at": "2001-01-01"}, "leaves no row for train"),
    ("temporal", {"at": ("2012-01-01", "2011-01-01")}, "must not lie after"),
    ("temporal", {"at": "2011-03-30", "test": 0.1}, "not both"),
    ("ratio", {"at": "2011-03-30"}, "is for how='temporal'"),
    ("given", {}, "needs parts"),
    ("given", {"test": [99_999]}, "row numbers below"),
    ("given", {"test": [0.5]}, "row numbers below"),
    ("given", {"test": [1, 2], "valid": [2]}, "1 rows are in both"),
])
def test_bad_options(rng, how: str, options: dict, message: str) -> None:
    with pytest.raises(ec.DataError, match=message) as caught:
        ec.split(sample(rng), how, **options)
    assert "\n" not in str(caught.value)


def test_data_that_cannot_be_split() -> None:
    untimed = ec.Interactions.from_ids(["a", "a"], ["x", "y"])
    for how in ("leave_last", "temporal"):
        with pytest.raises(ec.DataError, match="needs times and the data has none"):
            ec.split(untimed, how)
    with pytest.raises(ec.DataError, match="have no user or no item; drop them with clean"):
        ec.split(ec.Interactions.from_ids(["a", ""], ["x", "y"]), "ratio")
    with pytest.raises(ec.DataError, match="hold no rows"):
        ec.split(untimed.select([False, False]), "ratio")
    with pytest.raises(ec.DataError, match="list is no Interactions"):
        ec.split([1], "ratio")


# ---------------------------------------------------------------------- audit: planted leaks


def planted(inter: ec.Interactions, how: str = "temporal") -> dict[str, ec.Interactions]:
    split = ec.split(inter, how, test=0.2, valid=0.1)
    return {"train": split.train, "valid": split.valid, "test": split.test}


def joined(first: ec.Interactions, second: ec.Interactions, times=None) -> ec.Interactions:
    return ec.Interactions(
        np.append(first.users, second.users), np.append(first.items, second.items), None,
        np.append(first.times, second.times if times is None else times),
        user_ids=first.user_ids, item_ids=first.item_ids,
    )


def audit(parts: dict[str, ec.Interactions], how: str = "temporal") -> Audit:
    return ec.Split(**parts, protocol=how, how=how).audit()


def test_audit_passes_a_clean_split(rng) -> None:
    report = audit(planted(sample(rng)))
    assert report.ok
    assert str(report).startswith("split audit: no leak found (temporal)")


@pytest.mark.parametrize("part", ["valid", "test"])
def test_audit_finds_rows_in_two_parts(rng, part: str) -> None:
    parts = planted(sample(rng))
    parts["train"] = joined(parts["train"], parts[part].select(np.arange(17)))
    report = audit(parts)
    found = {f.parts: f for f in report.of("shared rows")}
    assert not report.ok
    assert set(found) == {f"train, {part}"}
    assert found[f"train, {part}"].count == 17
    assert f"17 of {len(parts[part]):,} {part} rows stand in train too" in str(report)


def test_audit_finds_test_before_train_in_time(rng) -> None:
    parts = planted(sample(rng))
    test = parts["test"].select(np.arange(9))
    latest = int(parts["test"].times.max()) + 1
    parts["train"] = joined(parts["train"], test.select([0]), [latest])
    user = test.users[0]
    expected = int((parts["test"].users == user).sum())
    report = audit(parts)
    found = [f for f in report.of("test before train") if f.parts == "train, test"]
    assert not report.ok
    assert found[0].count == expected
    assert [f.level for f in report.of("future rows")] == ["leak", "leak"]


def test_a_random_split_is_warned_of_its_future(rng) -> None:
    report = ec.split(sample(rng), "ratio").audit()
    assert report.ok
    assert report.of("test before train")[0].level == "warning"


def test_audit_finds_unknown_items_users_and_users_without_parts(rng) -> None:
    parts = planted(sample(rng))
    out = parts["train"]
    parts["train"] = out.select((out.items != 7) & (out.users != 3))
    report = audit(parts)
    items = [f for f in report.of("unknown items") if f.parts == "train, test"]
    assert items[0].count == (parts["test"].items == 7).sum() > 0
    users = [f for f in report.of("unknown users") if f.parts == "train, test"]
    assert users[0].count == (parts["test"].users == 3).sum() > 0
    assert report.of("users without train")[0].count == 1
    parts["test"] = parts["test"].select(parts["test"].users != 5)
    assert audit(parts).of("users without test")[0].count == 1


def test_audit_finds_duplicates_and_repeats(rng) -> None:
    parts = planted(sample(rng))
    parts["test"] = joined(parts["test"], parts["test"].select(np.arange(4)))
    report = audit(parts)
    assert [f.count for f in report.of("duplicates")] == [4]
    known = set(zip(parts["train"].users.tolist(), parts["train"].items.tolist()))
    pairs = zip(parts["test"].users.tolist(), parts["test"].items.tolist())
    repeated = [f for f in report.of("repeated pairs") if f.parts == "train, test"]
    assert repeated[0].count == sum(pair in known for pair in pairs)


def test_audit_finds_other_ids_and_empty_parts(rng) -> None:
    parts = planted(sample(rng))
    report = audit({**parts, "test": parts["test"].select(np.arange(3)).compact()})
    assert not report.ok
    assert report.of("different ids")
    report = audit({**parts, "test": parts["test"].select(np.array([], int))})
    assert [f.parts for f in report.of("empty part")] == ["test"]
    assert report.to_dict()["ok"] is False
    nothing = parts["test"].select(np.array([], int))
    report = audit({"train": nothing, "valid": None, "test": nothing})
    assert [f.parts for f in report.findings] == ["train", "test"]


def test_split_works_with_evaluate(rng) -> None:
    shop = ec.make_shop(2000, seed=3)
    split = ec.split(shop.interactions.clean()[0], "leave_last")
    result = ec.evaluate(ec.models.Popular().fit(split.train), split, k=5, baselines=[])
    assert "leave last of each user" in result.protocol.split


@pytest.mark.parametrize("seed", ["a", 1.5, -1, True])
def test_seeds_are_whole_numbers(rng, seed) -> None:
    inter = sample(rng)
    for call, where in (
        (lambda: ec.split(inter, "ratio", seed=seed), "split"),
        (lambda: inter.clean(seed=seed), "clean"),
        (lambda: ec.models.Random(seed=seed), "Random"),
    ):
        with pytest.raises(ec.DataError, match=f"{where}: seed={seed!r}; give a whole number"):
            call()
    with pytest.raises(ec.DataError, match="split: draw=-1"):
        ec.split(inter, "ratio", draw=-1)
