"""BPRSGD: the steps of public operations, even draws, the same bits on one and two threads."""

import numpy as np
import pytest

import minidl
from minidl import optim
from minidl.nn import functional as F
from minidl.optim.ranking import count_parts


def tables(rng, users, items, dim, dtype=np.float32):
    shapes = (users, dim), (items, dim), (items,)
    return [minidl.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes]


def purchases(rng, users, items, share):
    full = rng.random((users, items)) < share
    return np.concatenate([[0], np.cumsum(full.sum(axis=1))]), np.nonzero(full)[1]


def test_an_epoch_is_the_same_steps_in_public_operations(rng):
    users, items, lr, reg = 12, 9, 0.3, 0.1
    p, q, b = tables(rng, users, items, 5, np.float64)
    mine = [minidl.tensor(t.detach().numpy().copy(), requires_grad=True) for t in (p, q, b)]
    indptr, taken = purchases(rng, users, items, 0.4)
    steps = optim.BPRSGD(*mine, indptr, taken, lr, reg, np.random.default_rng(3))
    twin = optim.BPRSGD(p, q, b, indptr, taken, lr, reg, np.random.default_rng(3))
    sgd, losses = optim.SGD([p, q, b], lr), []
    for u, i, j in zip(*twin.draw()[:3]):  # one part: the order of the steps is that of the draw
        sgd.zero_grad()
        x = (p[u] * (q[i] - q[j])).sum() + b[i] - b[j]
        loss = F.softplus(-x)
        losses.append(loss.item())
        squares = (p[u] * p[u]).sum() + (q[i] * q[i]).sum() + (q[j] * q[j]).sum()
        (loss + reg / 2 * squares).backward()
        sgd.step()
    assert steps.parts == 1
    assert steps.epoch() == pytest.approx(np.mean(losses))
    for ours, theirs in zip(mine, (p, q, b)):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), 1e-12)


def test_every_pair_once_with_an_item_of_its_part_that_is_not_taken(rng):
    users, items = 600, 540
    indptr, taken = purchases(rng, users, items, 0.1)
    steps = optim.BPRSGD(*tables(rng, users, items, 4), indptr, taken, generator=rng)
    assert steps.parts == 8
    seen = np.zeros((users, items), bool)
    seen[np.repeat(np.arange(users), np.diff(indptr)), taken] = True
    for _ in range(2):
        u, i, j, starts = steps.draw()
        pairs = np.sort(u.astype(np.int64) * items + i)
        np.testing.assert_array_equal(pairs, np.flatnonzero(seen.reshape(-1)))
        assert not seen[u, j].any()
        block = np.repeat(np.arange(64), np.diff(starts))
        for ids, part, others in ((u, block // 8, None), (i, block % 8, j)):
            home = np.full(max(users, items), -1)
            home[ids] = part
            assert (home[ids] == part).all()  # every row in one part
            if others is not None:
                assert set(home[others][home[others] >= 0] - part[home[others] >= 0]) == {0}


def test_items_are_drawn_evenly_and_pairs_shuffled(rng):
    indptr, taken = np.array([0, 3, 3, 5]), np.array([1, 4, 6, 0, 1])
    steps = optim.BPRSGD(*tables(rng, 3, 8, 2), indptr, taken, generator=rng)
    drawn, first, n = np.zeros((3, 8)), np.zeros(5), 4_000
    for _ in range(n):
        u, i, j, _ = steps.draw()
        np.add.at(drawn, (u, j), 1)
        first[np.flatnonzero((np.repeat([0, 2], [3, 2]) == u[0]) & (taken == i[0]))] += 1
    for user, free in ((0, [0, 2, 3, 5, 7]), (2, [2, 3, 4, 5, 6, 7])):
        expected = n * np.diff(indptr)[user] / len(free)
        assert np.abs(drawn[user, free] - expected).max() < 5 * np.sqrt(expected)
        assert drawn[user].sum() == drawn[user, free].sum()
    assert np.abs(first - n / 5).max() < 5 * np.sqrt(n / 5)


def test_who_has_taken_everything_takes_no_step(rng):
    p, q, b = tables(rng, 2, 4, 3)
    before = p.detach().numpy().copy()
    indptr, taken = np.array([0, 4, 7]), np.array([0, 1, 2, 3, 0, 1, 2])
    steps = optim.BPRSGD(p, q, b, indptr, taken, 0.1, 0.1, rng)
    assert np.isfinite(steps.epoch())
    after = p.detach().numpy()
    assert (after[0] == before[0]).all()
    assert (after[1] != before[1]).all()
    only = optim.BPRSGD(p, q, b, np.array([0, 4, 4]), taken[:4], 0.1, 0.1, rng)
    assert only.epoch() == 0.0
    assert optim.BPRSGD(p, q, b, np.zeros(3), taken[:0], 0.1, 0.1, rng).epoch() == 0.0


def test_learns_and_does_not_depend_on_threads(rng):
    users, items = 700, 520
    group = np.arange(items) % 8
    full = (group == np.arange(users)[:, None] % 8) & (rng.random((users, items)) < 0.6)
    indptr = np.concatenate([[0], np.cumsum(full.sum(axis=1))])
    before, found = minidl.get_num_threads(), []
    try:
        for n in (1, 2):
            minidl.set_num_threads(n)
            made = tables(np.random.default_rng(1), users, items, 8)
            for t in made:
                t.detach().numpy()[...] *= 0.1
            generator = np.random.default_rng(2)
            steps = optim.BPRSGD(*made, indptr, np.nonzero(full)[1], 0.1, 0.01, generator)
            losses = [steps.epoch() for _ in range(12)]
            found.append([t.detach().numpy().tobytes() for t in made])
    finally:
        minidl.set_num_threads(before)
    assert steps.parts == 8
    assert found[0] == found[1]
    assert losses[0] > 0.6
    assert losses[-1] < 0.3


def test_parts_follow_from_sizes():
    assert count_parts(6_040, 3_706, 1_000_000, 9_746 * 256) == 8
    assert count_parts(100, 60, 900, 160 * 64) == 1
    assert count_parts(943, 300, 75_000, 1_243 * 256) == 4
    assert count_parts(30_000, 40_000, 810_000, 70_000 * 256) == 32
    assert count_parts(5, 10**6, 10**7, 10**9) == 1


def test_bad_arguments_are_named(rng):
    p, q, b = tables(rng, 3, 4, 2)
    indptr, taken = np.array([0, 2, 2, 3]), np.array([0, 3, 1])
    for arguments, error, words in (
        ((p, q, b, indptr[:-1], taken), ValueError, "one entry more"),
        ((p, q, b, np.array([0, 3, 2, 3]), taken), ValueError, "must not fall"),
        ((p, q, b, indptr, np.array([0, 4, 1])), ValueError, "outside 0 to 3"),
        ((p, q, b, indptr, np.array([3, 0, 1])), ValueError, "ascending"),
        ((p, q, b, indptr, np.array([3, 3, 1])), ValueError, "ascending"),
        ((p, q, p, indptr, taken), ValueError, r"bias \(V,\)"),
        ((p, q, b * 1, indptr, taken), TypeError, "leaf"),
        ((p, q, b.detach().double(), indptr, taken), TypeError, "all float32"),
        ((p, q, b, indptr, taken, -1.0), ValueError, "lr"),
        ((p, q, b, indptr, taken, 0.1, -1.0), ValueError, "reg"),
    ):
        with pytest.raises(error, match=words):
            optim.BPRSGD(*arguments)
