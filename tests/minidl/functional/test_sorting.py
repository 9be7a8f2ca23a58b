"""Sorting, the k largest, searching, distinct values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from tests.oracles.torch_twin import compare


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("descending", [False, True])
def test_sort_as_torch(rng, dim, descending):
    x = rng.standard_normal((3, 4, 5))
    compare("sort", x, dim=dim, descending=descending)
    ids = rng.integers(0, 3, (3, 4, 5))  # many equals: only a stable order is one order
    compare("sort", ids, dim=dim, descending=descending, stable=True, order=0)
    compare("argsort", ids, dim=dim, descending=descending, stable=True, order=0)
    compare("msort", x)


def test_nan_is_larger_than_all():
    x = minidl.tensor([math.nan, 1.0, math.inf])
    assert minidl.argsort(x).tolist() == [1, 2, 0]
    assert minidl.argsort(x, descending=True).tolist() == [0, 2, 1]
    assert minidl.topk(x, 2).indices.tolist() == [0, 2]
    assert minidl.topk(x, 2, largest=False).indices.tolist() == [1, 2]


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_topk_as_torch(rng, k, largest):
    compare("topk", rng.standard_normal((4, 60)), k, 1, largest)
    compare("topk", rng.standard_normal((60, 4)), k, 0, largest)
    compare("topk", rng.standard_normal((4, 5, 3)), k, -1, largest)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([5, 33, 200]), st.booleans())
@settings(deadline=None, max_examples=40)
def test_topk_is_the_head_of_a_stable_sort(seed, k, width, largest):
    """Equals, infinities and NaN: whichever way topk takes, the order is one."""
    rng = np.random.default_rng(seed)
    k = min(k, width)
    x = rng.integers(-3, 3, (3, width)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = rng.choice([np.inf, -np.inf, np.nan][: rng.integers(1, 4)])
    found = minidl.topk(minidl.tensor(x), k, largest=largest)
    order = minidl.argsort(minidl.tensor(x), descending=largest).numpy()[:, :k]
    np.testing.assert_array_equal(found.indices.numpy(), order)
    np.testing.assert_array_equal(found.values.numpy(), np.take_along_axis(x, order, 1))


def test_topk_takes_minus_infinity_where_nothing_else_is_left():
    x = np.full((1, 100), -np.inf)
    x[0, 50] = 1.0
    assert minidl.topk(minidl.tensor(x), 3).indices.tolist() == [[50, 0, 1]]


def test_topk_errors():
    with pytest.raises(ValueError, match="k 4 must be from 0 to the size 3"):
        minidl.topk(minidl.tensor([1.0, 2.0, 3.0]), 4)


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted_as_torch(rng, right):
    edges = np.sort(rng.integers(0, 9, (4, 6)).astype(float), axis=-1)
    ascending, wanted = minidl.tensor([1, 3, 3, 5]), minidl.tensor([3, 0, 6])
    found = minidl.searchsorted(ascending, wanted, right=right)
    assert found.tolist() == ([3, 0, 4] if right else [1, 0, 4])
    assert minidl.searchsorted(minidl.tensor([1.0, 2.0]), 1.5).item() == 1
    with pytest.raises(ValueError, match="must agree"):
        minidl.searchsorted(minidl.tensor(edges), minidl.tensor(edges[:2]))
    compare("searchsorted", edges, rng.integers(-1, 10, (4, 3)).astype(float), right=right, order=0)
    compare("bucketize", rng.integers(-1, 10, (4, 3)).astype(float), edges[0], right=right, order=0)


def test_unique():
    x = minidl.tensor([[3, 1], [1, 2]])
    values, inverse, counts = minidl.unique(x, return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 2, 3]
    assert inverse.tolist() == [[2, 0], [0, 1]]
    assert counts.tolist() == [2, 1, 1]
    rows = minidl.unique(minidl.tensor([[1, 2], [0, 1], [1, 2]]), dim=0)
    assert rows.tolist() == [[0, 1], [1, 2]]
    runs, where, length = minidl.unique_consecutive(
        minidl.tensor([1, 1, 2, 1]), return_inverse=True, return_counts=True
    )
    assert (runs.tolist(), where.tolist(), length.tolist()) == ([1, 2, 1], [0, 0, 1, 2], [2, 1, 1])


def test_counts(rng):
    x = minidl.tensor([1, 3, 1])
    assert minidl.bincount(x).tolist() == [0, 2, 0, 1]
    assert minidl.bincount(x, minidl.tensor([0.5, 1.0, 2.0]), 5).tolist() == [0, 2.5, 0, 1, 0]
    assert minidl.histc(minidl.tensor([0.0, 1.0, 1.0, 4.0]), 4).tolist() == [1, 2, 0, 1]
    assert minidl.isin(x, minidl.tensor([3, 4])).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="negative"):
        minidl.bincount(minidl.tensor([1, -1]))
    with pytest.raises(TypeError, match="integers"):
        minidl.bincount(minidl.tensor([1.0]))
    compare("histc", rng.standard_normal(50), 7, order=0)
    compare("histc", rng.standard_normal(50), 7, -1.0, 1.0, order=0)
