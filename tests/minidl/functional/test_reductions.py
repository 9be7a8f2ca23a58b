"""Reductions and statistics against torch where it is installed, and against numbers by hand."""

import math

import numpy as np
import pytest

import minidl
from tests.oracles.torch_twin import compare

DIMS = (None, 0, -1, (0, 2), (1,))


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "var", "std", "norm", "logsumexp"])
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("keepdim", [False, True])
def test_over_axes_as_torch(rng, name, dim, keepdim):
    if dim is None and name in ("amax", "amin", "logsumexp"):
        dim = (0, 1, 2)
    settings = {"p": 3} if name == "norm" else {}
    compare(name, rng.standard_normal((2, 3, 4)), dim=dim, keepdim=keepdim, **settings)


@pytest.mark.parametrize("name", ["prod", "max", "min", "median", "nanmedian", "mode"])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_along_one_axis_as_torch(rng, name, dim, keepdim):
    compare(name, rng.standard_normal((2, 3, 4)), dim, keepdim)


@pytest.mark.parametrize("name", ["argmax", "argmin", "all", "any"])
@pytest.mark.parametrize("dim", [None, 0, -1])
def test_without_gradient_as_torch(rng, name, dim):
    x = rng.integers(0, 2, (3, 4, 5)).astype(float) if name in ("all", "any") else None
    x = rng.standard_normal((3, 4, 5)) if x is None else x
    compare(name, x, order=0, **({} if dim is None else {"dim": dim, "keepdim": True}))


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, math.inf, -math.inf, -1, "fro"])
def test_norms_as_torch(rng, p):
    compare("norm", rng.standard_normal((3, 4)), p, order=2 if p != 0 else 1)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, math.inf, -math.inf])
def test_norm_of_zeros_has_gradient_zero(p):
    x = minidl.tensor(np.zeros((2, 3)), requires_grad=True)
    x.norm(p, 1).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    if p != 1:
        assert not x.grad.numpy().any() or abs(p) == math.inf


def test_correction_and_unbiased(rng):
    assert np.isnan(minidl.var(minidl.tensor([1.0])).item())
    three = minidl.tensor([1.0, 2.0, 6.0])
    assert [three.var().item(), three.var(correction=0).item()] == [7.0, pytest.approx(14 / 3)]
    x = rng.standard_normal((4, 5))
    for settings in ({"unbiased": False}, {"correction": 0}, {"correction": 2}):
        compare("var", x, dim=1, **settings)
        compare("std_mean", x, dim=1, **settings)
        compare("var_mean", x, dim=(0, 1), **settings)


def test_of_all_with_ties_the_gradient_is_shared():
    x = minidl.tensor([3.0, 1.0, 3.0, 3.0], requires_grad=True)
    for function in (minidl.amax, minidl.max, lambda t: minidl.median(t)):
        x.grad = None
        function(x).backward()
        np.testing.assert_allclose(x.grad.numpy(), [1 / 3, 0, 1 / 3, 1 / 3], rtol=1e-6)


def test_along_a_dim_the_gradient_goes_to_the_index_returned():
    x = minidl.tensor([[3.0, 1.0, 3.0], [0.0, 0.0, 0.0]], requires_grad=True)
    values, indices = minidl.max(x, 1)
    assert indices.tolist() == [0, 0]
    values.sum().backward()
    assert x.grad.tolist() == [[1, 0, 0], [1, 0, 0]]
    found = minidl.min(x, 1)
    assert found.indices.tolist() == [1, 0]
    assert found.values.tolist() == [1, 0]


@pytest.mark.parametrize(
    "row", [[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]]
)
def test_prod_with_zeros(row):
    x = np.array(row)
    t = minidl.tensor(x, requires_grad=True)
    minidl.prod(t).backward()
    others = [np.prod(np.delete(x, i)) for i in range(3)]
    assert t.grad.tolist() == others
    compare("prod", x)
    compare("prod", np.stack([x, x[::-1] + 1]), 1)


def test_nan_is_the_largest_and_the_smallest():
    x = minidl.tensor([1.0, math.nan, 3.0])
    assert math.isnan(minidl.amax(x).item())
    assert math.isnan(minidl.min(x).item())
    assert minidl.argmax(x).item() == 1
    assert math.isnan(minidl.median(x).item())
    assert minidl.median(x, 0).indices.item() == 1
    assert minidl.nanmedian(x).item() == 1
    assert minidl.nanmedian(x, 0).values.item() == 1
    assert minidl.nansum(x).item() == 4
    assert minidl.nanmean(x).item() == 2


def test_nansum_sends_nothing_to_nan():
    x = minidl.tensor([1.0, math.nan, 3.0], requires_grad=True)
    minidl.nanmean(x).backward()
    assert x.grad.tolist() == [0.5, 0, 0.5]


def test_empty():
    x = minidl.tensor(np.zeros((0, 3), np.float32))
    assert x.sum().item() == 0
    assert x.sum(0).tolist() == [0, 0, 0]
    assert x.prod().item() == 1
    assert np.isnan(x.mean().item())
    assert x.logsumexp(0).tolist() == [-math.inf] * 3
    assert x.logsumexp(1).shape == (0,)
    assert x.all().item() is True
    assert x.any().item() is False
    assert x.amax(1).shape == (0,)
    for name in ("amax", "amin", "max", "argmax"):
        with pytest.raises(ValueError, match="size 0"):
            getattr(minidl, name)(x, 0)
    with pytest.raises(ValueError, match="size 0"):
        minidl.kthvalue(x, 1, 0)


def test_logsumexp_of_infinities():
    x = minidl.tensor([[-math.inf, -math.inf], [0.0, math.inf], [1e4, 1e4]], requires_grad=True)
    out = x.logsumexp(1)
    np.testing.assert_allclose(
        out.detach().numpy(), [-math.inf, math.inf, 1e4 + math.log(2)], rtol=1e-6
    )
    out[2].backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [0, 0], [0.5, 0.5]])


def test_integers_and_bool():
    x = minidl.tensor(np.array([[1, 2], [3, 4]], np.uint8))
    assert x.sum().dtype == np.int64
    assert x.prod(1).tolist() == [2, 12]
    assert (x > 1).sum(0).tolist() == [1, 2]
    assert x.sum(dtype=minidl.float32).dtype == np.float32
    assert x.max(1).values.tolist() == [2, 4]
    assert minidl.count_nonzero(x - 1).item() == 3
    with pytest.raises(TypeError, match="floating point"):
        x.mean()
    with pytest.raises(TypeError, match="floating point"):
        x.var()


def test_numpys_names_of_arguments(rng):
    x = minidl.tensor(rng.standard_normal((3, 4)))
    for name in ("sum", "mean", "amax", "var", "argmax", "all", "logsumexp", "median"):
        found = getattr(minidl, name)(x, axis=1, keepdims=True)
        found = found[0] if isinstance(found, tuple) else found
        assert found.shape == (3, 1), name


@pytest.mark.parametrize("shape", [(300_000, 3), (70_000, 64), (7, 90_000, 2)])
def test_float32_sums_do_not_drift(rng, shape):
    x = rng.uniform(0, 1, shape).astype(np.float32)
    axis = 0 if len(shape) == 2 else 1
    want = x.sum(axis=axis, dtype=np.float64)
    got = minidl.tensor(x).sum(axis).numpy()
    assert got.dtype == np.float32
    assert np.abs(got / want - 1).max() < 5e-7  # adding row after row is wrong by 1e-5


def test_kthvalue_and_mode(rng):
    x = rng.standard_normal((4, 7))
    ids = minidl.tensor([[1, 2, 2, 3, 3], [5, 5, 4, 4, 4]])
    assert minidl.mode(ids).values.tolist() == [2, 4]
    assert ids.tolist()[0][minidl.mode(ids).indices.tolist()[0]] == 2
    with pytest.raises(ValueError, match="k 8 must be from 1 to the size 7"):
        minidl.kthvalue(minidl.tensor(x), 8)
    for k in (1, 3, 7):
        np.testing.assert_array_equal(
            minidl.kthvalue(minidl.tensor(x), k).values.numpy(), np.sort(x)[:, k - 1]
        )
        compare("kthvalue", x, k, 1)


def test_wrong_dims():
    x = minidl.tensor(np.ones((2, 3)))
    with pytest.raises(IndexError, match="dim 2 is out of range"):
        x.sum(2)
    with pytest.raises(RuntimeError, match="twice"):
        x.sum((0, -2))
    with pytest.raises(ValueError, match="'fro' or 'nuc'"):
        x.norm("max")


def test_aminmax():
    found = minidl.aminmax(minidl.tensor([[1.0, 5.0], [0.0, 2.0]]), dim=1)
    assert found.min.tolist() == [1, 0]
    assert found.max.tolist() == [5, 2]


def test_bias_gradient_of_float32_does_not_drift(rng):
    x = rng.uniform(0, 1, (300_000, 3)).astype(np.float32)
    bias = minidl.tensor(np.zeros(3, np.float32), requires_grad=True)
    ((minidl.tensor(x) + bias) * minidl.tensor(x)).sum().backward()
    want = x.sum(axis=0, dtype=np.float64)
    assert np.abs(bias.grad.numpy() / want - 1).max() < 5e-7
