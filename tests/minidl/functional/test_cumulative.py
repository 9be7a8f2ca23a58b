"""Running sums, products and extremes."""

import math

import numpy as np
import pytest

import minidl
from tests.oracles.torch_twin import compare


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_as_torch(rng, name, dim):
    compare(name, rng.standard_normal((3, 4, 5)), dim)
    compare(name, rng.standard_normal((0, 4, 0)), dim)
    compare(name, np.asarray(rng.standard_normal()), 0)


@pytest.mark.parametrize(
    "row", [[2.0, 3.0, 4.0, 5.0], [2.0, 0.0, 4.0, 5.0], [0.0, 2.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0]]
)
def test_cumprod_with_zeros(row):
    compare("cumprod", np.array(row), 0)
    compare("cumprod", np.stack([np.array(row), np.arange(4.0)]), 1)


def test_logcumsumexp_does_not_overflow():
    x = minidl.tensor([-math.inf, 1e4, 1e4, -1e4], requires_grad=True)
    out = x.logcumsumexp(0)
    np.testing.assert_allclose(
        out.detach().numpy(), [-math.inf, 1e4, 1e4 + math.log(2), 1e4 + math.log(2)]
    )
    out[3].backward()
    np.testing.assert_allclose(x.grad.numpy(), [0, 0.5, 0.5, 0], atol=1e-7)
    compare("logcumsumexp", np.array([-800.0, -801.0, 700.0, 3.0]), 0)


def test_ties_and_nan_in_running_extremes():
    x = minidl.tensor([1.0, 3.0, 3.0, math.nan, 5.0])
    values, indices = minidl.cummax(x, 0)
    assert values.tolist()[:3] == [1, 3, 3]
    assert np.isnan(values.numpy()[3:]).all()
    assert indices.tolist() == [0, 1, 2, 3, 3]
    compare("cummin", np.array([[2.0, 2.0, 1.0], [0.0, 1.0, 0.0]]), 1)


def test_integers_become_int64():
    x = minidl.tensor(np.array([100, 100, 100], np.uint8))
    assert x.cumsum(0).tolist() == [100, 200, 300]
    assert x.cumprod(0).tolist() == [100, 10_000, 1_000_000]
    assert x.cumsum(0, dtype=minidl.float32).dtype == np.float32


def test_float32_running_sums_do_not_drift(rng):
    x = rng.uniform(0, 1, 1_000_000).astype(np.float32)
    got = minidl.tensor(x).cumsum(0)
    assert got.dtype == np.float32
    want = np.cumsum(x, dtype=np.float64)
    assert np.abs(got.numpy() / want - 1).max() < 1e-6


def test_diff(rng):
    assert minidl.diff(minidl.tensor([True, True, False])).tolist() == [False, True]
    assert minidl.diff(minidl.tensor([1, 4, 9, 16]), 2).tolist() == [2, 2]
    with pytest.raises(ValueError, match="at least one axis"):
        minidl.diff(minidl.tensor(1.0))
    x = rng.standard_normal((3, 5))
    for n in (0, 1, 2, 7):
        for dim in (0, 1):
            compare("diff", x, n, dim)
    compare("diff", x, 1, 1, prepend=x[:, :1], append=x[:, :2])
