"""Products of matrices in all ranks, and linalg."""

import math

import numpy as np
import pytest

import minidl
from tests.oracles.torch_twin import compare


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((3,), (3,)),
        ((3,), (3, 4)),
        ((2, 3), (3,)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3,)),
        ((3,), (5, 3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
        ((5, 2, 3), (5, 3, 4)),
        ((6, 1, 2, 3), (5, 3, 4)),
        ((0, 3), (3, 4)),
        ((2, 0), (0, 4)),
        ((2, 5, 0), (0,)),
        ((2, 0, 3), (3, 2)),
    ],
)
def test_matmul_in_all_ranks(rng, x, y):
    a, b = rng.standard_normal(x), rng.standard_normal(y)
    got = minidl.matmul(minidl.tensor(a), minidl.tensor(b)).numpy()
    np.testing.assert_allclose(got, a @ b)
    compare("matmul", a, b)


def test_matmul_operators_with_arrays(rng):
    x, y = rng.standard_normal((2, 3)), rng.standard_normal((3, 2))
    np.testing.assert_allclose((minidl.tensor(x) @ y).numpy(), x @ y)
    np.testing.assert_allclose((x @ minidl.tensor(y)).numpy(), x @ y)
    np.testing.assert_allclose((minidl.tensor(x[0]) @ minidl.tensor(y)).numpy(), x[0] @ y)


def test_matmul_of_float32_stays_float32(rng):
    for x, y in (((3,), (3,)), ((2, 3), (3,)), ((2, 2, 3), (3, 4))):
        a, b = (minidl.tensor(rng.standard_normal(s), dtype=minidl.float32) for s in (x, y))
        assert minidl.matmul(a, b).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("mm", ((2, 3), (3, 4))),
        ("bmm", ((5, 2, 3), (5, 3, 4))),
        ("mv", ((2, 3), (3,))),
        ("dot", ((3,), (3,))),
        ("vdot", ((3,), (3,))),
        ("inner", ((2, 3), (4, 3))),
        ("inner", ((3,), (2, 4, 3))),
        ("outer", ((3,), (4,))),
        ("ger", ((3,), (4,))),
        ("kron", ((2, 3), (4, 5))),
        ("kron", ((3,), (2, 4))),
        ("trace", ((3, 5),)),
        ("matrix_power", ((3, 3),)),
    ],
)
def test_products_as_torch(rng, name, shapes):
    more = (3,) if name == "matrix_power" else ()
    compare(name, *(rng.standard_normal(s) for s in shapes), *more)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("addmm", ((4,), (2, 3), (3, 4))),
        ("addmv", ((2,), (2, 3), (3,))),
        ("addr", ((2, 3), (2,), (3,))),
        ("baddbmm", ((5, 2, 4), (5, 2, 3), (5, 3, 4))),
        ("addbmm", ((2, 4), (5, 2, 3), (5, 3, 4))),
    ],
)
@pytest.mark.parametrize("scale", [{}, {"beta": 0.5, "alpha": 2.0}])
def test_sums_with_products_as_torch(rng, name, shapes, scale):
    compare(name, *(rng.standard_normal(s) for s in shapes), **scale)


def test_beta_zero_forgets_even_nan(rng):
    nan = minidl.tensor(np.full((2, 4), np.nan))
    x, y = (minidl.tensor(rng.standard_normal(s)) for s in ((2, 3), (3, 4)))
    assert np.isfinite(minidl.addmm(nan, x, y, beta=0).numpy()).all()


def test_tensordot(rng):
    x, y = rng.standard_normal((2, 3, 4)), rng.standard_normal((3, 4, 5))
    np.testing.assert_allclose(
        minidl.tensordot(minidl.tensor(x), minidl.tensor(y), ([2, 1], [1, 0])).numpy(),
        np.tensordot(x, y, ([2, 1], [1, 0])),
    )
    for dims in (0, 2, ([1, 2], [0, 1])):
        compare("tensordot", x, y, dims, order=1)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("rows", [(3, 4), (30, 40)])
def test_cdist_as_torch(rng, p, rows):
    x, y = (rng.standard_normal((2, n, 5)) for n in rows)
    compare("cdist", x, y, p, order=1 if p else 0, rtol=1e-7)


def test_cdist_of_one_point_with_itself():
    x = minidl.tensor(np.ones((30, 3)), requires_grad=True)
    minidl.cdist(x, x).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("order", [None, "fro", "nuc", math.inf, -math.inf, 1, -1, 2, -2])
def test_matrix_norms_as_torch(rng, order):
    second = 2 if order in (None, "fro", "nuc", 2, -2) else 1
    compare("linalg.norm", rng.standard_normal((3, 4)), order, order=second, rtol=1e-7)
    if order is not None:
        x = rng.standard_normal((2, 3, 4))
        compare("linalg.matrix_norm", x, order, (2, 0), True, order=1, rtol=1e-7)


def test_vector_norm_as_torch(rng):
    for dim in (None, 1, (0, 2)):
        compare("linalg.vector_norm", rng.standard_normal((2, 3, 4)), 3, dim)


def test_svd(rng):
    x = minidl.tensor(rng.standard_normal((2, 4, 3)))
    u, s, vh = minidl.linalg.svd(x)
    np.testing.assert_allclose(((u * s.unsqueeze(1)) @ vh).numpy(), x.numpy(), atol=1e-12)
    with pytest.raises(ValueError, match="full_matrices"):
        minidl.linalg.svd(x, full_matrices=True)
    compare("linalg.svdvals", rng.standard_normal((2, 4, 3)), rtol=1e-7)


def test_multi_dot(rng):
    parts = [rng.standard_normal(s) for s in ((4,), (4, 50), (50, 2), (2, 9), (9,))]
    want = np.linalg.multi_dot(parts)
    got = minidl.linalg.multi_dot([minidl.tensor(p) for p in parts])
    assert got.shape == ()
    np.testing.assert_allclose(got.numpy(), want)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: minidl.matmul(t((2, 3)), t((2, 3))), r"x \(2, 3\).*y \(2, 3\)"),
        (lambda t: minidl.matmul(t((2, 2, 3)), t((2, 3))), "equal D"),
        (lambda t: minidl.matmul(t(()), t((2, 3))), "at least one axis"),
        (lambda t: minidl.mm(t((2, 3, 4)), t((4, 3))), "2 axes"),
        (lambda t: minidl.bmm(t((2, 3, 4)), t((3, 4, 3))), "batch sizes differ"),
        (lambda t: minidl.dot(t((2, 3)), t((3,))), "1 axes"),
        (lambda t: minidl.inner(t((2, 3)), t((2, 4))), "last axes differ"),
        (lambda t: minidl.tensordot(t((2, 3)), t((2, 4))), "differ in size"),
        (lambda t: minidl.cdist(t((2, 3)), t((2, 4))), "one D"),
        (lambda t: minidl.matrix_power(t((2, 3)), 2), "square"),
        (lambda t: minidl.linalg.norm(t((2, 3)), "max"), "not known"),
        (lambda t: minidl.linalg.norm(t((2,)), "fro"), "needs a matrix"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(lambda shape: minidl.tensor(np.ones(shape)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_batch_of_products_may_run_along_memory_first(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 60, 40)).astype(dtype), rng.standard_normal((7, 40, 50))
    y = y.astype(dtype)
    turned = (np.asfortranarray(x), np.asfortranarray(y))  # (B, N, D) with B the innermost
    for a, b in (turned, (turned[0], y), (x, turned[1])):
        got = minidl.bmm(minidl.as_tensor(a), minidl.as_tensor(b)).numpy()
        np.testing.assert_allclose(got, x @ y, atol=1e-4)
