"""Every kernel of the recommenders and of their evaluation does what its reference does."""

import importlib

import numpy as np
import pytest

from ecommerce.recommend.lists import Lists
from minidl.kernels import REGISTRY
from minidl.testing.kernels import KernelCase, check_kernel

HOMES = ("ecommerce.recommend.random", "ecommerce.recommend.neighbours",
         "ecommerce.recommend.factors", "ecommerce.evaluation.ranks")
for home in HOMES:
    importlib.import_module(home)


def histories(rng, users, items, most):
    """Lists with empty ones, and with items twice."""
    return Lists.of([rng.integers(0, items, rng.integers(0, most)) for _ in range(users)])


def uniform_rows(rng, dtype):
    for shape in ((0, 3), (1, 1), (5, 7), (40, 1_003)):
        keys = rng.integers(0, 2**64, shape[0], dtype=np.uint64)
        yield KernelCase([keys], outputs=[np.empty(shape, np.float32)])


def pairs(rng, dtype):
    for users, items in ((1, 1), (0, 4), (7, 5), (90, 150)):
        by_user = histories(rng, users, items, 12).distinct()
        yield by_user, by_user.transposed(items)


def cooccurrence_lengths(rng, dtype):
    for by_user, by_item in pairs(rng, dtype):
        lengths = np.empty(len(by_item.lengths), np.int64)
        yield KernelCase([*by_item, *by_user], outputs=[lengths])


def cooccurrence(rng, dtype):
    for by_user, by_item in pairs(rng, dtype):
        lengths = np.empty(len(by_item.lengths), np.int64)
        REGISTRY["ecommerce.recommend.neighbours.cooccurrence_lengths"].reference(
            *by_item, *by_user, lengths
        )
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        both = [np.empty(indptr[-1], np.int32) for _ in range(2)]
        yield KernelCase([*by_item, *by_user, indptr], outputs=both)


def neighbours(rng, dtype):
    for users, items in ((0, 3), (1, 1), (6, 9), (300, 401)):
        past = histories(rng, users, items, 8)
        near = histories(rng, items, items, 9).distinct()
        weights = rng.uniform(0.1, 1, len(past.items)).astype(dtype)
        values = rng.uniform(0.1, 1, len(near.items)).astype(dtype)
        yield (users, items), [*past, weights, near.indptr, near.items.astype(np.int32), values]


def neighbour_scores(rng, dtype):
    for shape, arguments in neighbours(rng, dtype):
        yield KernelCase(arguments, outputs=[np.empty(shape, dtype)])


def strongest(rng, dtype):
    for (users, items), arguments in neighbours(rng, dtype):
        ids = rng.integers(-1, items, (users, 4))
        yield KernelCase([*arguments, ids], outputs=[np.empty((users, 4), np.int64)])


def draw_unseen(rng, dtype):
    for n, users, items in ((0, 1, 3), (1, 1, 1), (50, 9, 4), (30_001, 40, 60)):
        taken = histories(rng, users, items, items + 3).distinct()
        of = rng.integers(0, users, n)
        draws = np.where(rng.random(n) < 0.1, 0.0, rng.random(n))
        draws[n // 2 :: 7] = 1 - 2**-53
        yield KernelCase([of, draws, *taken, items], outputs=[np.empty(n, np.int64)])


def factor_scores(rng, dtype):
    for rows, dim, items in ((0, 3, 4), (1, 1, 1), (3, 5, 7), (4, 8, 512), (130, 66, 1_030)):
        arrays = [rng.standard_normal(shape).astype(dtype)
                  for shape in ((rows, dim), (dim, items), items)]
        yield KernelCase(arrays, outputs=[np.empty((rows, items), dtype)])


def nearest_taken(rng, dtype):
    for users, items, dim in ((0, 1, 1), (1, 1, 3), (20, 30, 7)):
        factors = rng.standard_normal((items, dim)).astype(dtype)
        ids = rng.integers(-1, items, (users, 5))
        past = histories(rng, users, items, 6)
        yield KernelCase([*past, factors, ids], outputs=[np.empty((users, 5), np.int64)])


def target_ranks(rng, dtype):
    for users, items in ((0, 3), (1, 1), (9, 13), (60, 2_001)):
        scores = rng.integers(0, 6, (users, items)).astype(dtype)  # many equal
        scores[rng.random(scores.shape) < 0.2] = -np.inf
        scores[rng.random(scores.shape) < 0.1] = np.nan
        wanted = histories(rng, users, items, 5).distinct()
        yield KernelCase([scores, *wanted], outputs=[np.empty(len(wanted.items), np.int64)])


CASES = {f"{home}.{sampler.__name__}": sampler for home, samplers in zip(HOMES, (
    (uniform_rows,), (cooccurrence_lengths, cooccurrence, neighbour_scores, strongest),
    (draw_unseen, factor_scores, nearest_taken), (target_ranks,),
)) for sampler in samplers}


def test_every_kernel_has_a_case():
    assert {name for name in REGISTRY if name.rpartition(".")[0] in HOMES} == set(CASES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_kernel_does_what_its_reference_does(name, dtype):
    check_kernel(REGISTRY[name], CASES[name](np.random.default_rng(3), dtype))


def test_a_score_does_not_depend_on_its_neighbours(rng):
    """To the last bit, which a product of BLAS does not promise."""
    from ecommerce.recommend.factors import factor_scores

    vectors = rng.standard_normal((65, 50), np.float32)
    factors = rng.standard_normal((50, 777), np.float32)
    bias = rng.standard_normal(777, np.float32)
    whole = np.empty((65, 777), np.float32)
    factor_scores(vectors, factors, bias, whole)
    for b in (0, 31, 64):
        one = np.empty((1, 777), np.float32)
        factor_scores(vectors[b : b + 1], factors, bias, one)
        assert one.tobytes() == whole[b].tobytes()


def test_unseen_items_are_drawn_evenly(rng):
    from ecommerce.recommend.factors import draw_unseen

    taken = Lists.of([[0, 2, 3, 9], [], list(range(10))])
    users = np.repeat([0, 1, 2], 60_000)
    out = np.empty(len(users), np.int64)
    draw_unseen(users, rng.random(len(users)), *taken, 10, out)
    assert (out[users == 2] == -1).all()
    for user, left in ((0, 6), (1, 10)):
        counts = np.bincount(out[users == user], minlength=10)
        expected = np.full(10, 60_000 / left)
        expected[taken.items[taken.indptr[user] : taken.indptr[user + 1]]] = 0
        error = 5 * np.sqrt(60_000 / left)  # five standard deviations
        assert (np.abs(counts - expected) <= np.where(expected > 0, error, 0)).all()
