"""What every recommender promises: `CONTRACT`, checks that each class of MODELS must pass.

A check takes a factory of unfitted models. A class that needs other settings than its defaults to
learn the small checkerboard in a second names them in SETTINGS.
"""

import os
import warnings

import numpy as np
import pytest

import minidl
from ecommerce.data import Interactions
from ecommerce.recommend import load_model
from minidl import get_num_threads, set_num_threads

SETTINGS: dict[str, dict] = {"BPR": {"dim": 16, "epochs": 40, "lr": 0.1, "batch_size": 512}}
"""Class name -> parameters for these checks; none means the defaults."""

N = 50
COLUMNS = ["user", "rank", "item", "score", "source", "reason"]


def checkerboard(n=N):
    """implicit's test data: user u took every item of his parity, but not item u."""
    pairs = [(u, i) for u in range(n) for i in range(u % 2, n, 2) if i != u]
    return Interactions.from_ids([f"u{u}" for u, _ in pairs], [f"i{i}" for _, i in pairs])


def shop():
    """Random events with times, repeats, items of every popularity, one user left without any."""
    rng = np.random.default_rng(5)
    users, items = rng.integers(0, 40, 600), (30 * rng.random(600) ** 2).astype(int)
    names = [f"u{u}" for u in users], [f"p{i}" for i in items]
    inter = Interactions.from_ids(*names, times=rng.permutation(600))
    return inter.select(inter.users != inter.user_code("u7"))


def rows(frame):
    """A frame as comparable tuples."""
    return list(zip(*(list(frame[name]) for name in frame)))


def recovers_the_checkerboard(make):
    model = make().fit(checkerboard())
    if not model.personal:
        return  # the lists of such a model do not follow tastes, and its class says so
    frame = model.recommend(k=1)
    wrong = [(u, i) for u, i in zip(frame["user"], frame["item"]) if u[1:] != i[1:]]
    assert len(frame["user"]) == N
    assert not wrong
    for item in ("i0", "i7"):
        similar = [int(i[1:]) for i in model.similar_items(item, 10)["similar"]]
        assert len(similar) == 10
        assert {i % 2 for i in similar} == {int(item[1:]) % 2}
        assert int(item[1:]) not in similar
    new = model.recommend_for([f"i{i}" for i in range(0, 30, 2)], k=10)
    assert sorted(int(i[1:]) for i in new["item"]) == list(range(30, N, 2))
    assert set(new["source"]) == {"fold-in"}
    assert set(new["user"]) == {""}


def frame_is_whole(make):
    data = shop()
    frame = make().fit(data).recommend(users=["u3", "u1"], k=5)
    assert list(frame) == COLUMNS
    assert list(frame["user"]) == ["u3"] * 5 + ["u1"] * 5  # in the order asked for
    assert list(frame["rank"]) == [1, 2, 3, 4, 5] * 2
    for user in ("u3", "u1"):
        mine = [r for r in rows(frame) if r[0] == user]
        items = [r[2] for r in mine]
        taken = set(data.item_ids[data.items[data.users == data.user_code(user)]])
        assert len(set(items)) == 5
        assert not taken & set(items)
        scores = [r[3] for r in mine if r[4] == mine[0][4]]
        assert scores == sorted(scores, reverse=True)
        assert all(r[5] for r in mine)


def batch_equals_single(make):
    model = make().fit(shop())
    together = rows(model.recommend(k=7))
    alone = [r for user in model.user_ids for r in rows(model.recommend(users=user, k=7))]
    assert together == alone
    block = model.score_block(np.arange(model.n_users))
    for code in (0, 3, 11):
        assert model.score_block(np.array([code])).tobytes() == block[code].tobytes()


def blocks_do_not_matter(make):
    model = make().fit(shop())
    whole = rows(model.recommend(k=7))
    model.block_rows = lambda: 3
    assert rows(model.recommend(k=7)) == whole


def filters_filter(make):
    model = make().fit(shop())
    allow = [f"p{i}" for i in range(3, 20)]
    for options in ({"users": ["u1", "nobody"]}, {"history": ["p1", "p4"]}):
        call = model.recommend_for if "history" in options else model.recommend
        frame = call(**options, k=5, allow=allow, block=["p4", "p5"], exclude_seen=False)
        assert set(frame["item"]) <= set(allow) - {"p4", "p5"}
        assert len(frame["item"]) == 5 * len(set(frame["user"]))
    everything = model.recommend(users="u1", k=99, exclude_seen=False)
    assert sorted(everything["item"]) == sorted(model.item_ids)
    assert "p1" not in set(model.recommend_for(["p1", "p4"], k=99)["item"])


def lists_come_from_rank_codes(make):
    model = make().fit(shop())
    users = np.arange(0, 12)
    users = users[model.history.lengths[users] > 0]
    ids, scores = model.rank_codes(users, 4, model.seen(users))
    frame = model.recommend(users=model.user_ids[users], k=4)
    kept = [r for r in rows(frame) if r[4] == model.source]
    assert [r[2] for r in kept][: (ids >= 0).sum()] == model.item_ids[ids[ids >= 0]].tolist()
    assert (np.diff(scores, axis=1)[ids[:, 1:] >= 0] <= 0).all()
    one = np.zeros(model.n_items, bool)
    one[5] = True
    assert set(model.rank_codes(users, 2, candidates=one)[0].ravel().tolist()) <= {5, -1}
    pairs = [(model.user_ids[u], model.item_ids[i[0]]) for u, i in zip(users, ids) if i[0] >= 0]
    assert model.score(pairs).tolist() == scores[ids[:, 0] >= 0, 0].astype(float).tolist()


def saved_is_loaded(make, tmp_path):
    model = make().fit(shop())
    model.save(tmp_path / "model.ecm")
    for other in (type(model).load(tmp_path / "model.ecm"), load_model(tmp_path / "model.ecm")):
        assert type(other) is type(model)
        assert other.get_params() == model.get_params()
        assert rows(other.recommend(k=6)) == rows(model.recommend(k=6))
        assert rows(other.recommend_for(["p1"])) == rows(model.recommend_for(["p1"]))
        users = np.arange(model.n_users)
        assert other.score_block(users).tobytes() == model.score_block(users).tobytes()
        assert other.data_hash == model.data_hash
        other.save(tmp_path / "again.ecm")
        assert (tmp_path / "again.ecm").read_bytes() == (tmp_path / "model.ecm").read_bytes()


def unknown_ids_are_served(make):
    model = make().fit(shop())
    counts = dict(zip(model.item_ids.tolist(), model.item_counts.tolist()))
    best = sorted(counts.values(), reverse=True)[:3]
    for user in ("nobody", 4711, "u7"):  # u7 is in the table, but has no event
        frame = model.recommend(users=[user, "u1"], k=3)
        mine = [r for r in rows(frame) if r[0] == str(user)]
        assert [counts[r[2]] for r in mine] == best
        assert {r[4] for r in mine} == {"popular"}
        assert "unknown user" in mine[0][5] or "without history" in mine[0][5]
    some = model.recommend_for(["p1", "no such thing", "nor this"], k=3)
    assert len(some["item"]) == 3
    assert all("left aside: no such thing and 1 more" in reason for reason in some["reason"])
    for history in ([], ["no such thing"]):
        none = model.recommend_for(history, k=3)
        assert [counts[i] for i in none["item"]] == best
        assert all("no known item in the history" in reason for reason in none["reason"])
    similar = model.similar_items("no such thing", k=3)
    assert [counts[i] for i in similar["similar"]] == best
    assert "unknown item" in similar["reason"][0]
    assert np.isnan(model.score([("nobody", "p1"), ("u1", "nothing"), ("u7", "p1")])).all()


def more_than_the_catalogue(make):
    model = make().fit(shop())
    frame = model.recommend(users="u1", k=1000)
    taken = len(model.seen(np.array([model._find("user", ["u1"])[0]])).items)
    assert len(frame["item"]) == len(set(frame["item"])) == model.n_items - taken
    assert list(frame["rank"]) == list(range(1, model.n_items - taken + 1))
    assert "fewer than 1000" in list(frame["reason"])[-1]
    assert f"{model.n_items} items" in list(frame["reason"])[-1]
    assert len(model.similar_items("p1", k=1000)["similar"]) == model.n_items - 1
    with pytest.warns(UserWarning, match="no item is left for 1 of 1 users, first 'u1'"):
        assert len(model.recommend(users="u1", allow=["p-none"])["item"]) == 0


def equal_seeds_are_equal(make):
    one, two = make().fit(shop()), make().fit(shop())
    assert rows(one.recommend(k=5)) == rows(two.recommend(k=5))
    if "seed" in one.get_params():
        other = make().set_params(seed=one.seed + 1).fit(shop())
        assert rows(other.recommend(k=5)) != rows(one.recommend(k=5))


def parameters_come_back(make):
    model = make()
    assert type(model)(**model.get_params()).get_params() == model.get_params()
    assert repr(model).startswith(type(model).__name__ + "(")
    with pytest.raises(ValueError, match="not fitted"):
        model.recommend(users="u1")
    model.fit(shop())
    assert model.set_params() is model
    with pytest.raises(ValueError, match="not fitted"):  # settings and arrays always agree
        model.recommend(users="u1")
    with pytest.raises(ValueError, match="no parameter 'nonsense'"):
        model.set_params(nonsense=1)


def bad_calls_are_named(make):
    model = make()
    for call in (
        lambda: model.recommend("u1"), lambda: model.recommend_for(["p1"]),
        lambda: model.similar_items("p1"), lambda: model.score([("u1", "p1")]),
        lambda: model.save("nowhere.ecm"), lambda: model.rank_codes(np.array([0]), 1),
    ):
        with pytest.raises(ValueError, match=r"is not fitted; call fit\(split.train\)"):
            call()
    data = shop()
    with pytest.raises(TypeError, match="give Interactions"):
        model.fit([("u1", "p1")])
    with pytest.raises(ValueError, match="no rows"):
        model.fit(data.select(np.zeros(0, int)))
    with pytest.raises(TypeError, match=r"valid is a list; give Interactions"):
        model.fit(data, valid=[("u1", "p1")])
    with pytest.raises(ValueError, match="different id tables"):
        model.fit(data, valid=checkerboard(4))
    model.fit(data)
    for k in (0, -3, 1.5):
        for call in (lambda k: model.recommend("u1", k), lambda k: model.similar_items("p1", k),
                     lambda k: model.recommend_for(["p1"], k)):
            with pytest.raises(ValueError, match="whole number of 1 or more"):
                call(k)
    for users in ({"u1": 1}, 1.5):
        with pytest.raises(TypeError, match="recommend: give an id or a list of ids"):
            model.recommend(users)
    with pytest.raises(TypeError, match="recommend_for: give an id or a list of ids"):
        model.recommend_for({"p1": 2})
    with pytest.raises(TypeError, match="allow, block: give an id or a list"):
        model.recommend("u1", allow=3.5)
    with pytest.raises(ValueError, match="no column 'item'; pairs need columns user and item"):
        model.score({"user": ["u1"], "product": ["p1"]})
    with pytest.raises(ValueError, match="2 users and 1 items"):
        model.score({"user": ["u1", "u2"], "item": ["p1"]})
    with pytest.raises(ValueError, match=r"\('u1', 'p1', 3\) is not a pair"):
        model.score([("u1", "p1", 3)])


def bad_parameters_are_named(make):
    model = make()
    with pytest.raises(ValueError, match="no parameter 'nonsense'"):
        model.set_params(nonsense=1)
    for name, value in model.get_params().items():
        if isinstance(value, float):
            with pytest.raises(ValueError, match=f"{type(model).__name__}: {name}=nan"):
                type(model)(**{name: float("nan")})
            with pytest.raises(ValueError, match=f"{name}=nan"):
                model.set_params(**{name: float("nan")})
    assert model.get_params() == make().get_params()  # a refused change changes nothing


def saved_files_are_checked(make, tmp_path, monkeypatch):
    model = make().fit(shop())
    path, other = tmp_path / "model.ecm", tmp_path / "other.ecm"
    model.save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content, message in (
        (whole[:-9], "not a model file, or cut short"),
        (whole[:20], "not a model file, or cut short"),
        (b"", "not a model file, or cut short"),
        (b"user,item\nu1,p1\n" * 20, "not a model file, or cut short"),
        (whole[:middle] + bytes([whole[middle] ^ 64]) + whole[middle + 1 :], r"."),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "does not fit its hash"),
    ):
        other.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            load_model(other)
        assert str(other) in str(caught.value)
        assert "\n" not in str(caught.value)
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, other)
    with pytest.raises(ValueError, match=r"not a model file.*\(a safetensors file, but not one"):
        load_model(other)
    minidl.save({"weight": np.zeros(3)}, other)
    with pytest.raises(ValueError, match="but not a saved recommender"):
        load_model(other)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_model(tmp_path / "none.ecm")
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist"):
        model.save(tmp_path / "none" / "model.ecm")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        model.save(tmp_path)

    class Another(type(model)):
        pass

    with pytest.raises(ValueError, match=f"holds a {type(model).__name__}, not a Another"):
        Another.load(path)

    def refuse(*paths):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match=r"model\.ecm cannot be written: Permission denied"):
        model.save(path)
    assert path.read_bytes() == whole  # the old file is still there
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.ecm", "other.ecm"]


def threads_do_not_change_bits(make, tmp_path):
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 500, 20_000), (400 * rng.random(20_000) ** 2).astype(int)
    data = Interactions.from_ids(users, items, times=np.arange(20_000))
    before, found = get_num_threads(), []
    try:
        for n in (1, 2):
            set_num_threads(n)
            model = make().fit(data)
            model.save(tmp_path / "model.ecm")
            ids, scores = model.rank_codes(np.arange(500), 10)
            fold = model.score_history(model.history)
            like = model.similar_block(np.arange(400))
            found.append(((tmp_path / "model.ecm").read_bytes(), ids.tobytes(), scores.tobytes(),
                          fold.tobytes(), None if like is None else like.tobytes()))
    finally:
        set_num_threads(before)
    assert found[0] == found[1]


def no_warning_in_daily_use(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make().fit(shop())
        model.recommend(k=3)
        model.recommend_for(["p1"])
        model.similar_items("p1")


CONTRACT = [
    recovers_the_checkerboard, frame_is_whole, batch_equals_single, blocks_do_not_matter,
    filters_filter, lists_come_from_rank_codes, saved_is_loaded, unknown_ids_are_served,
    more_than_the_catalogue, equal_seeds_are_equal, parameters_come_back, bad_calls_are_named,
    bad_parameters_are_named, saved_files_are_checked, threads_do_not_change_bits,
    no_warning_in_daily_use,
]
