"""BPR: its loss and steps against the paper's formulas, early stopping, folding in."""

import numpy as np
import pytest

from ecommerce.data import Interactions
from ecommerce.recommend import BPR, fit_by_split
from ecommerce.recommend.bpr import _Factors, _Watch
from ecommerce.recommend.lists import Lists
from ecommerce.recommend.training import joined
from minidl import optim


def tastes(seed=0, users=120, items=60, groups=4, each=9):
    """Users of a group take items of that group, mostly."""
    rng = np.random.default_rng(seed)
    rows = []
    for u in range(users):
        own = np.flatnonzero(np.arange(items) % groups == u % groups)
        taken = rng.choice(own, each, replace=False)
        rows += [(u, i) for i in taken] + [(u, i) for i in rng.choice(items, 1)]
    u, i = np.array(rows).T
    return Interactions.from_ids(u, i)


def parts(data, seed=0, share=0.25):
    held = np.random.default_rng(seed).random(len(data)) < share
    return data.select(~held), data.select(held)


def test_loss_is_the_papers(rng):
    model = _Factors(5, 7, 3, rng)
    for table in (model.users, model.items, model.bias):
        table.weight.detach().numpy()[:] = rng.standard_normal(table.weight.shape)
    p, q = model.users.weight.detach().numpy(), model.items.weight.detach().numpy()
    b = model.bias.weight.detach().numpy()[:, 0]
    u, i = np.array([0, 2, 2, 4]), np.array([1, 6, 3, 1])
    j = np.array([[2, 5], [0, 0], [6, 1], [3, 4]])
    expected = 0.0
    for user, liked, drawn in zip(u, i, j):
        for other in drawn:
            x = p[user] @ q[liked] + b[liked] - p[user] @ q[other] - b[other]
            expected += np.log1p(np.exp(-x)) / 2
            expected += 0.1 / 2 * (p[user] @ p[user] + q[liked] @ q[liked]) / 2
            expected += 0.1 / 2 * (q[other] @ q[other]) / 2
    loss = model(u, i, j, 0.1)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_one_step_is_the_papers(rng):
    """theta += lr (sigmoid(-x) dx/dtheta - reg theta), Rendle et al. 2009, figure 4."""
    model = _Factors(2, 3, 4, rng)
    tables = [table.weight.detach().numpy() for table in (model.users, model.items, model.bias)]
    for table in tables:
        table[:] = rng.standard_normal(table.shape)
    p, q, b = (table.copy() for table in tables)
    model(np.array([1]), np.array([2]), np.array([[0]]), 0.2).backward()
    optim.SGD(model.parameters(), lr=0.5).step()
    w = 1 / (1 + np.exp(p[1] @ q[2] + b[2, 0] - p[1] @ q[0] - b[0, 0]))
    np.testing.assert_allclose(tables[0][1], p[1] + 0.5 * (w * (q[2] - q[0]) - 0.2 * p[1]), 1e-5)
    np.testing.assert_allclose(tables[1][2], q[2] + 0.5 * (w * p[1] - 0.2 * q[2]), 1e-5)
    np.testing.assert_allclose(tables[1][0], q[0] + 0.5 * (-w * p[1] - 0.2 * q[0]), 1e-5)
    np.testing.assert_allclose(tables[2][:, 0], b[:, 0] + 0.5 * w * np.array([-1, 0, 1]), 1e-5)
    assert tables[0][0].tobytes() == p[0].tobytes()  # a row that no triple names
    assert tables[1][1].tobytes() == q[1].tobytes()


@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "sgd"])
def test_finds_tastes(optimizer):
    train, _ = parts(tastes())
    lr = {"adagrad": 0.1, "adam": 0.02, "sgd": 0.1}[optimizer]
    model = BPR(16, 60, lr, 0.01, 256, optimizer=optimizer).fit(train)
    ids, _ = model.rank_codes(np.arange(120), 3, model.seen(np.arange(120)))
    own = train.item_ids[ids].astype(int) % 4 == (train.user_ids.astype(int) % 4)[:, None]
    assert own.mean() > 0.9  # 0.25 by chance
    near = model.similar_block(np.arange(60))
    np.testing.assert_allclose(np.diag(near), 1, rtol=1e-5)
    np.fill_diagonal(near, -2)
    group = train.item_ids.astype(int) % 4
    assert (group[near.argmax(axis=1)] == group).mean() > 0.9


def test_single_steps_find_tastes_and_stop_early():
    """The paper's own algorithm, in one compiled loop."""
    train, valid = parts(tastes())
    model = BPR(16, 60, 0.05, 0.01, 1, optimizer="sgd").fit(train)
    ids, _ = model.rank_codes(np.arange(120), 3, model.seen(np.arange(120)))
    own = train.item_ids[ids].astype(int) % 4 == (train.user_ids.astype(int) % 4)[:, None]
    assert own.mean() > 0.9
    model = BPR(16, 400, 0.1, 0.0, 1, optimizer="sgd", patience=12).fit(train, valid=valid)
    again = BPR(16, model.best_epoch, 0.1, 0.0, 1, optimizer="sgd").fit(train)
    assert model.best_epoch < 400
    assert again.score_block(np.arange(9)).tobytes() == model.score_block(np.arange(9)).tobytes()
    with pytest.raises(ValueError, match=r"loss became .* smaller lr"):
        BPR(4, 50, lr=1e30, reg=0.5, batch_size=1, optimizer="sgd").fit(train)


def test_threads_and_days_do_not_change_a_bit():
    from minidl import get_num_threads, set_num_threads

    train, valid = parts(tastes(users=900, items=300, each=30))
    before, found = get_num_threads(), []
    try:
        for n in (1, 2):
            set_num_threads(n)
            model = BPR(16, 8, batch_size=2048).fit(train, valid=valid)
            found.append(b"".join(a.tobytes() for a in model._arrays().values()))
    finally:
        set_num_threads(before)
    assert found[0] == found[1]


def test_stops_early_and_keeps_the_best():
    train, valid = parts(tastes())
    model = BPR(16, 400, 0.1, 0.0, 256, patience=12).fit(train, valid=valid)
    epochs, _, scores = zip(*model.progress)
    assert epochs[-1] < 400
    assert max(scores) == scores[epochs.index(model.best_epoch)] > scores[-1]
    assert epochs[-1] - model.best_epoch >= 12
    watch = _Watch(valid, model.history.distinct(), model.n_items)
    assert watch.ndcg(model) == max(scores)  # its vectors are those of the best epoch
    again = BPR(16, model.best_epoch, 0.1, 0.0, 256).fit(train)
    assert again.score_block(np.arange(9)).tobytes() == model.score_block(np.arange(9)).tobytes()


def test_refit_learns_from_both_parts():
    train, valid = parts(tastes())

    class Split:
        pass

    split = Split()
    split.train, split.valid = train, valid
    model = BPR(8, 40, batch_size=256, patience=8)
    other = fit_by_split(model, split, refit=True)
    assert other is not model
    assert other.epochs == model.best_epoch <= 40
    assert len(other.history.items) == len(train) + len(valid)
    assert other.progress == []
    assert fit_by_split(BPR(8, 4), split).history.items.size == len(train)
    split.valid = None
    assert fit_by_split(BPR(8, 4), split, refit=True).epochs == 4
    with pytest.raises(ValueError, match="different id tables"):
        joined(train, tastes(users=3))


def test_watch_counts_what_can_be_found(rng):
    data = Interactions([0, 0, 1, 2], [0, 1, 0, 3], user_ids=list("abcd"), item_ids=list("wxyz"))
    valid = Interactions(
        [0, 0, 1, 1, 3], [1, 2, 3, 3, 0], user_ids=list("abcd"), item_ids=list("wxyz")
    )
    taken = Lists.of([[0, 1], [0], [3], []])
    watch = _Watch(valid, taken, 4)
    assert watch.users.tolist() == [0, 1]  # user 3 has no history
    assert watch.targets.items.tolist() == [2, 3]  # item 1 of user 0 is taken; 3 of user 1 once
    model = BPR(2, 1).fit(data)
    model._scores = lambda *given: np.array([[0, 0, 5, 1], [0, 5, 0, 1]], np.float32)
    assert watch.ndcg(model) == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert not _Watch(None, taken, 4)
    assert not _Watch(valid.select([0]), taken, 4)


def test_a_known_user_folded_in_ranks_much_alike():
    train, _ = parts(tastes(users=400))
    model = BPR(16, 60, 0.1, 0.01, 512).fit(train)
    users = np.arange(400)
    known = model.score_block(users)
    folded = model.score_history(model.history.take(users))
    like = [np.corrcoef(a, b)[0, 1] for a, b in zip(known, folded)]
    assert np.mean(like) > 0.8
    new = model.recommend_for([str(i) for i in (0, 4, 8, 12)], k=5)
    assert {int(i) % 4 for i in new["item"]} == {0}
    assert set(new["reason"]) <= {f"like {i}" for i in (0, 4, 8, 12)}


def test_repeated_purchases_count_once():
    train, _ = parts(tastes())
    twice = joined(train, train)
    one, two = BPR(4, 3).fit(train), BPR(4, 3).fit(twice)
    assert one.score_block(np.arange(5)).tobytes() == two.score_block(np.arange(5)).tobytes()


def test_several_negatives():
    train, _ = parts(tastes())
    model = BPR(8, 30, 0.1, batch_size=256, negatives=3).fit(train)
    ids, _ = model.rank_codes(np.arange(120), 3, model.seen(np.arange(120)))
    own = train.item_ids[ids].astype(int) % 4 == (train.user_ids.astype(int) % 4)[:, None]
    assert own.mean() > 0.8


@pytest.mark.parametrize(
    ("name", "value"),
    [("dim", 0), ("dim", 2.5), ("epochs", 0), ("lr", 0.0), ("lr", float("nan")),
     ("lr", float("inf")), ("reg", -1.0), ("reg", float("nan")), ("batch_size", -4),
     ("negatives", 0), ("optimizer", "lbfgs"), ("patience", 0), ("seed", -1)],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=f"BPR: {name}="):
        BPR(**{name: value})


def test_nothing_to_rank_below_is_said():
    everything = Interactions.from_ids([0, 0, 1, 1], [0, 1, 0, 1])
    with pytest.raises(ValueError, match="every user of train has taken every item"):
        BPR().fit(everything)
    one_left = Interactions.from_ids([0, 0, 1], [0, 1, 0])
    assert BPR(2, 2).fit(one_left).recommend(["1"], k=1)["item"][0] == "1"


def test_a_diverging_fit_stops_with_a_word():
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"loss became .* smaller lr"):
        BPR(4, 50, lr=1e30, reg=0.5, batch_size=64, optimizer="sgd").fit(tastes())
