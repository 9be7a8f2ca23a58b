"""Metrics: values by hand, a loop from the definitions, scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from ecommerce import metrics as M

# Three users over 6 items. User 0 took 3 items, user 1 one, user 2 none.
RANKED = np.array([[4, 1, 0, 2], [3, 5, -1, -1], [0, 1, 2, 3]])
INDPTR = np.array([0, 3, 4, 4])
ITEMS = np.array([1, 2, 5, 5])
FOUND, RELEVANT = M.hits(RANKED, INDPTR, ITEMS)
NAN = math.nan


def log2(x):
    return math.log2(x)


@pytest.mark.parametrize(
    ("name", "k", "expected"),
    [
        ("recall", 2, [1 / 3, 1, NAN]),
        ("recall", 4, [2 / 3, 1, NAN]),
        ("precision", 2, [1 / 2, 1 / 2, NAN]),
        ("precision", 4, [2 / 4, 1 / 4, NAN]),  # user 1's list is short: empty places are misses
        ("precision", 10, [2 / 10, 1 / 10, NAN]),
        ("hr", 1, [0, 0, NAN]),
        ("hr", 2, [1, 1, NAN]),
        ("mrr", 1, [0, 0, NAN]),
        ("mrr", 4, [1 / 2, 1 / 2, NAN]),
        ("map", 4, [(1 / 2 + 2 / 4) / 3, 1 / 2, NAN]),
        ("map", 2, [(1 / 2) / 2, 1 / 2, NAN]),  # at most 2 of the 3 fit in: divided by 2
        ("ndcg", 2, [(1 / log2(3)) / (1 + 1 / log2(3)), 1 / log2(3), NAN]),
        ("ndcg_full", 2, [(1 / log2(3)) / (1 + 1 / log2(3) + 1 / 2), 1 / log2(3), NAN]),
    ],
)
def test_by_hand(name, k, expected):
    value = M.USER_METRICS[name](FOUND, RELEVANT, k)
    np.testing.assert_allclose(value, expected, rtol=1e-14)


def test_first_rank_not_cut():
    np.testing.assert_array_equal(M.mrr_full(np.array([1, 4, 0, -1])), [1, 0.25, 0, NAN])


def test_hits_by_hand():
    assert FOUND.astype(int).tolist() == [[0, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert RELEVANT.tolist() == [3, 1, 0]


def test_a_test_item_named_twice_counts_once():
    found, relevant = M.hits(np.array([[7, 8]]), np.array([0, 3]), np.array([7, 7, 7]))
    assert relevant.tolist() == [1]
    assert M.recall(found, relevant, 2).tolist() == [1.0]


def test_lists_of_listed_items():
    counts = M.exposure(RANKED, 6, 2)
    assert counts.tolist() == [1, 2, 0, 1, 1, 1]
    assert M.coverage(counts) == 5 / 6
    # Σ (2i - 7) c_(i) = 0·(-5) + 1·(-3 - 1 + 1 + 3) + 2·5 = 10, over 6 items × 6 places
    assert M.gini(counts) == pytest.approx(10 / 36)
    assert M.gini(np.ones(9)) == 0
    assert M.gini(np.array([0, 0, 0, 5])) == 0.75
    assert math.isnan(M.gini(np.zeros(3, int)))
    users_of = np.array([1, 2, 4, 8, 0, 8])
    np.testing.assert_allclose(
        M.novelty(RANKED, users_of, 8, 2), [(3 + 2) / 2, 0, (3 + 2) / 2], atol=1e-15
    )
    assert np.isnan(M.novelty(np.array([[-1]]), users_of, 8, 1)).all()


def brute_force(ranked, wanted, k):
    """One user's metrics, as the definitions read."""
    wanted, places = set(wanted), [i for i in ranked if i >= 0][:k]
    if not wanted:
        return dict.fromkeys(M.USER_METRICS, NAN)
    gain = lambda n: sum(1 / log2(j + 1) for j in range(1, n + 1))
    dcg = sum(1 / log2(j + 1) for j, item in enumerate(places, 1) if item in wanted)
    found = [item for item in places if item in wanted]
    ap = sum(
        len(wanted & set(places[:j])) / j for j, item in enumerate(places, 1) if item in wanted
    )
    return {
        "recall": len(found) / len(wanted),
        "precision": len(found) / k,
        "hr": float(bool(found)),
        "ndcg": dcg / gain(min(k, len(wanted))),
        "ndcg_full": dcg / gain(len(wanted)),
        "mrr": 1 / (places.index(found[0]) + 1) if found else 0.0,
        "map": ap / min(k, len(wanted)),
    }


@st.composite
def lists(draw):
    n_items = draw(st.integers(1, 8))
    items = st.integers(0, n_items - 1)
    width = draw(st.integers(0, n_items))
    users = draw(st.integers(0, 5))
    ranked = []
    for _ in range(users):
        row = draw(st.permutations(range(n_items)))[: draw(st.integers(0, width))]
        ranked.append(row + [-1] * (width - len(row)))
    wanted = [draw(st.lists(items, max_size=6)) for _ in range(users)]
    return np.array(ranked, np.int64).reshape(users, width), wanted, draw(st.integers(1, 10))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(lists())
def test_equal_to_the_definitions(case):
    ranked, wanted, k = case
    indptr = np.cumsum([0, *map(len, wanted)])
    items = np.array([i for row in wanted for i in row], np.int64)
    found, relevant = M.hits(ranked, indptr, items)
    expected = [brute_force(row.tolist(), w, k) for row, w in zip(ranked, wanted)]
    for name, metric in M.USER_METRICS.items():
        np.testing.assert_allclose(
            metric(found, relevant, k), [e[name] for e in expected], rtol=1e-12, err_msg=name
        )


def test_ndcg_equals_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(30.0), (200, 1)), axis=1)  # no ties
    wanted = rng.random((200, 30)) < 0.2
    wanted[:, 0] |= ~wanted.any(axis=1)
    indptr, items = np.r_[0, wanted.sum(axis=1).cumsum()], np.nonzero(wanted)[1]
    found, relevant = M.hits(np.argsort(-scores, axis=1), indptr, items)
    for k in (1, 5, 30):
        ours = M.ndcg(found, relevant, k)
        each = [ndcg_score([w], [s], k=k) for w, s in zip(wanted, scores)]
        np.testing.assert_allclose(ours, each, rtol=1e-12)


def test_ideal_not_cut_is_smaller_for_the_same_lists():
    """Trap 3: a user with more test items than k."""
    found, relevant = M.hits(np.arange(10)[None], np.array([0, 40]), np.arange(40))
    assert M.ndcg(found, relevant, 10)[0] == 1.0
    assert M.ndcg_full(found, relevant, 10)[0] < 0.5


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="names an item twice"):
        M.hits(np.array([[3, 3]]), np.array([0, 1]), np.array([3]))
    with pytest.raises(ValueError, match=r"indptr \(3,\)"):
        M.hits(np.array([[3, 4]]), np.array([0, 1, 1]), np.array([3]))
    with pytest.raises(ValueError, match="cut-off"):
        M.recall(FOUND, RELEVANT, 0)
    with pytest.raises(ValueError, match="longer than a season"):
        M.mase([1.0], [1.0], [1.0, 2.0], season=2)
    with pytest.raises(ValueError, match="same H"):
        M.smape([1.0, 2.0], [1.0])


# ------------------------------------------------------------------ forecasts (trap 8)


def test_mase_by_hand():
    # scale: mean(|3 - 1|, |2 - 3|, |4 - 2|) = 5/3; error: mean(1, 2) = 3/2
    assert M.mase([5, 2], [4, 4], [1, 3, 2, 4]) == pytest.approx(0.9)
    # season 2: scale mean(|2 - 1|, |4 - 3|) = 1
    assert M.mase([5, 2], [4, 4], [1, 3, 2, 4], season=2) == pytest.approx(1.5)
    assert math.isnan(M.mase([5, 2], [4, 4], [7, 7, 7]))


def test_zero_forecast_of_sparse_demand_beats_naive_in_mase_and_loses_in_smape():
    rng = np.random.default_rng(0)
    sales = (rng.random((300, 60)) < 0.1) * rng.integers(1, 6, (300, 60)).astype(float)
    zero = np.zeros(12)
    errors = np.array([M.mase(s[48:], zero, s[:48]) for s in sales])
    assert np.nanmean(errors) < 0.8
    sold = sales[sales[:, 48:].any(axis=1)]
    assert all(M.smape(s[48:][s[48:] > 0], zero[: (s[48:] > 0).sum()]) == 200 for s in sold)


def test_smape_has_m4s_factor():
    # M4 evaluation code: 200 * mean(|y - f| / (|y| + |f|)); the halved variant would give 20
    assert M.smape([100.0], [150.0]) == pytest.approx(40.0)
    assert M.smape([0.0, 2.0], [0.0, 2.0]) == 0.0
