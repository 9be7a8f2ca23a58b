"""evaluate(): every figure against loops from the definitions, on small random shops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecommerce.data import Interactions, Split
from ecommerce.evaluation import evaluate
from ecommerce.recommend import ItemKNN, Popular, Random, Recommender


class Fixed(Recommender):
    """Scores from a table, so that every rank is known."""

    def __init__(self, table=()):
        super().__init__()
        self.table = table

    def _fit(self, train, items, valid):
        pass

    def score_block(self, user_codes, history=None):
        return np.array(self.table, np.float32)[user_codes]


def inter(pairs, users, items):
    u, i = (np.array(column, np.int32) for column in zip(*pairs)) if pairs else ([], [])
    return Interactions(
        u, i, times=np.arange(len(pairs)),
        user_ids=np.array([f"u{n}" for n in range(users)]),
        item_ids=np.array([f"i{n}" for n in range(items)]),
    )


def test_by_hand():
    """Two users, five items; user 1's list has its target third, user 0's first and fourth."""
    train = inter([(0, 0), (1, 4), (1, 3), (2, 0)], 3, 5)
    test = inter([(0, 2), (0, 1), (1, 0)], 3, 5)
    table = [[9, 1, 8, 3, 2], [5, 7, 6, 9, 8], [0, 0, 0, 0, 0]]
    # user 0, without item 0: 2 (hit), 3, 4, 1 (hit); user 1, without 3 and 4: 1, 2, 0 (hit)
    result = evaluate(
        Fixed(table).fit(train), Split(train, None, test), k=(2, 4), baselines=[],
        metrics=("recall", "precision", "hr", "ndcg", "mrr", "mrr_full", "map", "coverage",
                 "gini", "novelty"),
    )
    assert result.users.tolist() == ["u0", "u1"]  # user 2 has no test event
    per_user = result.per_user["Fixed"]
    log = math.log2
    for name, expected in {
        "recall@2": [1 / 2, 0], "recall@4": [1, 1], "precision@4": [2 / 4, 1 / 4],
        "hr@2": [1, 0], "hr@4": [1, 1], "mrr@2": [1, 0], "mrr@4": [1, 1 / 3],
        "mrr_full": [1, 1 / 3], "map@4": [(1 + 2 / 4) / 2, 1 / 3],
        "ndcg@2": [1 / (1 + 1 / log(3)), 0],
        "ndcg@4": [(1 + 1 / log(5)) / (1 + 1 / log(3)), 1 / log(4)],
        # of 3 users: item 0 with 2, items 3 and 4 with 1 each; none counts as one user
        "novelty@2": [log(3), log(3)],
    }.items():
        np.testing.assert_allclose(per_user[name], expected, rtol=1e-12, err_msg=name)
        assert result["Fixed", name] == pytest.approx(np.mean(expected))
    assert result["Fixed", "coverage@2"] == 3 / 5  # items 1, 2, 3
    # exposure at 2: items 1, 3 once, 2 twice -> sorted 0 0 1 1 2: (0 + 2 + 8) / (5 * 4)
    assert result["Fixed", "gini@2"] == pytest.approx((0 * 1 + 2 * 1 + 4 * 2) / (5 * 4))
    assert result.protocol.targets == 3
    assert result.protocol.users == 2


@st.composite
def shops(draw):
    users, items = draw(st.integers(1, 5)), draw(st.integers(2, 8))
    pair = st.tuples(st.integers(0, users - 1), st.integers(0, items - 1))
    train = draw(st.lists(pair, min_size=1, max_size=15))
    valid = draw(st.lists(pair, max_size=6))
    test = draw(st.lists(pair, min_size=1, max_size=12))
    scores = draw(st.lists(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, -np.inf]), min_size=items, max_size=items),
        min_size=users, max_size=users,
    ))
    return users, items, train, valid, test, scores, draw(st.integers(1, 9)), draw(
        st.sampled_from(["history", "train", "none"]))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(shops())
def test_equal_to_loops_from_the_definitions(shop):
    users, items, train, valid, test, table, k, mask = shop
    known = train + valid if mask == "history" else train if mask == "train" else []
    wanted = {u: {i for v, i in test if v == u} - {i for v, i in known if v == u}
              for u in range(users)}
    asked = [u for u in range(users) if wanted[u]]
    split = Split(inter(train, users, items), inter(valid, users, items),
                  inter(test, users, items))
    model = Fixed(table).fit(split.train)

    def run():
        return evaluate(model, split, k=k, mask=mask, baselines=[],
                        metrics=("recall", "ndcg", "mrr", "mrr_full", "map", "hr", "coverage"))

    if not asked:
        with pytest.raises(ValueError, match="masked item"):
            run()
        return
    result = run()
    assert result.users.tolist() == [f"u{u}" for u in asked]
    history = train if mask == "train" else train + valid
    shown = set()
    for place, u in enumerate(asked):
        popular = [sum(i == j for _, j in train) for i in range(items)]
        scores = table[u] if any(v == u for v, _ in history) else popular
        hidden = {i for v, i in known if v == u}
        order = sorted((-s, i) for i, s in enumerate(scores) if i not in hidden and s > -np.inf)
        ranked = [i for _, i in order]
        top = ranked[:k]
        shown |= set(top)
        hits = [j for j, i in enumerate(top, 1) if i in wanted[u]]
        first = [j for j, i in enumerate(ranked, 1) if i in wanted[u]][:1]
        limit = min(k, len(wanted[u]))
        expected = {
            f"recall@{k}": len(hits) / len(wanted[u]),
            f"hr@{k}": float(bool(hits)),
            f"mrr@{k}": 1 / hits[0] if hits else 0,
            "mrr_full": 1 / first[0] if first else 0,
            f"map@{k}": sum(n / j for n, j in enumerate(hits, 1)) / limit,
            f"ndcg@{k}": sum(1 / math.log2(j + 1) for j in hits)
            / sum(1 / math.log2(j + 1) for j in range(1, limit + 1)),
        }
        for name, value in expected.items():
            got = result.per_user["Fixed"][name][place]
            assert got == pytest.approx(value, rel=1e-12), (name, u)
    assert result["Fixed", f"coverage@{k}"] == len(shown) / items


def random_split(seed=0, users=60, items=40):
    rng = np.random.default_rng(seed)
    pairs = [(u, i) for u in range(users) for i in rng.choice(items, 9, replace=False)]
    part = np.tile([0, 0, 0, 0, 0, 0, 1, 2, 2], users)
    rows = [[p for p, n in zip(pairs, part) if n == which] for which in range(3)]
    return Split(*(inter(r, users, items) for r in rows), "seven, one, two")


def test_baselines_stand_beside_every_result():
    split = random_split()
    result = evaluate(ItemKNN(neighbours=3).fit(split.train), split, k=5)
    assert [e.baseline for e in result.models.values()] == [False, True, True, True, True]
    assert set(result.models) == {
        "ItemKNN", repr(Popular()), repr(Random(0)), repr(ItemKNN()), repr(ItemKNN(decay=0.7)),
    }
    text = str(result)
    assert "(Popular())" in text
    assert "baselines in brackets" in text
    assert "full ranking of all 40 items" in text
    own = evaluate(Popular().fit(split.train), split, k=5)
    assert sum("Popular" in name for name in own.models) == 1  # not twice


def test_blocks_do_not_change_a_figure():
    split = random_split()
    model = ItemKNN().fit(split.train)
    whole = evaluate(model, split, metrics=("ndcg", "mrr_full"), baselines=[])
    model.block_rows = lambda: 7
    parts = evaluate(model, split, metrics=("ndcg", "mrr_full"), baselines=[])
    for name, values in whole.per_user["ItemKNN"].items():
        assert values.tobytes() == parts.per_user["ItemKNN"][name].tobytes()


def test_a_leak_is_told():
    split = random_split()
    everything = Interactions(
        np.concatenate([split.train.users, split.test.users]),
        np.concatenate([split.train.items, split.test.items]),
        user_ids=split.train.user_ids, item_ids=split.train.item_ids,
    )
    with pytest.warns(UserWarning, match="holds 120 of the 120 events it is asked for"):
        result = evaluate(Popular().fit(everything), split, baselines=[])
    assert result.models["Popular"].fitted_on.startswith("LEAK")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0; give a whole number, 1 or more"), ({"k": ()}, "k is empty"),
        ({"k": 1.5}, "k=1.5; give a whole"), ({"k": "10"}, "k='10'; give a whole"),
        ({"seed": "a"}, "seed='a'; give a whole"), ({"negatives": 0}, "negatives=0; give a whole"),
        ({"metrics": "nonsense"}, "unknown metric 'nonsense'"),
        ({"metrics": ("ndgc",)}, "unknown metric 'ndgc'; choose from recall"),
        ({"ndcg_ideal": "half"}, "choose 'cut' or 'full'"),
        ({"protocol": "fast"}, "protocol='fast'; choose from full, sampled"),
        ({"part": "train"}, "part='train'"), ({"mask": "all"}, "mask='all'"),
        ({"history": "none"}, "history='none'"), ({"baselines": "none"}, "baselines='none'"),
        ({"compare_to": "EASE"}, "compare_to='EASE' is none of Popular"),
        ({"ci": 95}, "confidence level must lie between 0 and 1"),
    ],
)
def test_bad_calls_are_named(options, message):
    split = random_split()
    with pytest.raises(ValueError, match=message):
        evaluate(Popular().fit(split.train), split, **options)


def test_models_that_cannot_be_evaluated_are_named():
    split, other = random_split(), random_split(users=61)
    with pytest.raises(ValueError, match="not fitted"):
        evaluate(Popular(), split)
    with pytest.raises(ValueError, match="fitted on data with other ids"):
        evaluate(Popular().fit(other.train), split)
    with pytest.raises(TypeError, match="not a Recommender"):
        evaluate({"mine": "model"}, split)
    with pytest.raises(ValueError, match="different id tables"):
        evaluate(Popular().fit(split.train), Split(split.train, None, other.test))
    with pytest.raises(ValueError, match="valid part is empty"):
        evaluate(Popular().fit(split.train), Split(split.train, None, split.test), part="valid")
    with pytest.raises(KeyError, match=r"no 'ndcg@7' of 'Popular'"):
        _ = evaluate(Popular().fit(split.train), split)["Popular", "ndcg@7"]
