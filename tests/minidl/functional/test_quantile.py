"""quantile against torch and NumPy."""

import numpy as np
import pytest

import minidl
from tests.oracles.torch_twin import compare


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_as_torch(interpolation, rng):
    x, several = rng.standard_normal((4, 5, 3)), np.array([0.0, 0.3, 0.5, 1.0])
    for dim, keepdim in ((None, False), (1, False), (-1, True), (0, True)):
        compare("quantile", x, 0.4, dim, keepdim, interpolation=interpolation, order=1)
        _values(x, several, dim, keepdim, interpolation)


def _values(x, q, dim, keepdim, interpolation):
    torch = pytest.importorskip("torch")
    settings = {"dim": dim, "keepdim": keepdim, "interpolation": interpolation}
    want = torch.quantile(torch.tensor(x), torch.tensor(q), **settings).numpy()
    got = minidl.quantile(minidl.tensor(x), minidl.tensor(q), **settings).numpy()
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_as_numpy_and_nan():
    x = minidl.tensor([[3.0, 1.0, 2.0], [np.nan, 1.0, 2.0]])
    np.testing.assert_array_equal(x.quantile(0.75, 1).numpy(), [2.5, np.nan])
    with pytest.raises(ValueError, match="from 0 to 1"):
        x.quantile(1.5)
    with pytest.raises(ValueError, match="no elements"):
        minidl.zeros(0).quantile(0.5)
