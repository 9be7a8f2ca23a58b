"""Systems, inverses, determinants and factors, against torch and by definition."""

import numpy as np
import pytest

import minidl
from minidl import linalg
from tests.oracles.torch_twin import compare

SHAPES = [(3, 3), (2, 3, 3), (1, 1), (0, 3, 3)]


def regular(rng, *shape):
    return rng.standard_normal(shape) + 2 * np.eye(*shape[-2:])


def definite(rng, *shape):
    a = rng.standard_normal(shape)
    return a @ a.swapaxes(-1, -2) + np.eye(shape[-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_of_square_matrices_as_torch(shape, rng):
    a = regular(rng, *shape)
    for name in ("linalg.inv", "inverse", "linalg.det", "det", "linalg.slogdet", "linalg.pinv"):
        compare(name, a, rtol=1e-7)
    compare("linalg.matrix_exp", a, rtol=1e-7)
    for power in (-2, 3):
        compare("linalg.matrix_power", a, power, rtol=1e-7)
    compare("logdet", definite(rng, *shape), rtol=1e-7)
    compare("linalg.cholesky", definite(rng, *shape), rtol=1e-7)
    compare("linalg.eigvalsh", definite(rng, *shape), rtol=1e-7)


def test_by_hand():
    a = minidl.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=minidl.float64, requires_grad=True)
    np.testing.assert_allclose(linalg.inv(a).detach().numpy(), [[0.6, -0.2], [-0.2, 0.4]])
    np.testing.assert_allclose(linalg.solve(a, minidl.tensor([3.0, 4.0])).detach().numpy(), [1, 1])
    det = linalg.det(a)
    det.backward()
    assert det.item() == pytest.approx(5)
    np.testing.assert_allclose(a.grad.numpy(), [[3, -1], [-1, 2]])  # the cofactors
    factor = linalg.cholesky(a.detach()).numpy()
    np.testing.assert_allclose(factor, [[2**0.5, 0], [0.5**0.5, 2.5**0.5]])
    np.testing.assert_allclose(linalg.eigvalsh(a.detach()).sum().item(), 5)


def test_solve_as_torch(rng):
    a = regular(rng, 2, 3, 3)
    compare("linalg.solve", a, rng.standard_normal((2, 3, 4)), rtol=1e-7)
    compare("linalg.solve", a, rng.standard_normal((2, 3)), rtol=1e-7)  # vectors
    compare("linalg.solve", a[0], rng.standard_normal(3), rtol=1e-7)
    compare("linalg.solve", a[0], rng.standard_normal((5, 3, 1)), rtol=1e-7)  # broadcast
    compare("linalg.solve", a, rng.standard_normal((2, 4, 3)), left=False, rtol=1e-7)
    for settings in ({"upper": True}, {"upper": False, "unitriangular": True}):
        compare("linalg.solve_triangular", a, rng.standard_normal((2, 3, 4)), rtol=1e-7, **settings)
    compare("cholesky_solve", rng.standard_normal((3, 2)), np.tril(a[0]), rtol=1e-7)
    compare("cholesky_inverse", np.tril(a[0]), rtol=1e-7)


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5), (2, 3, 4)])
def test_qr_as_torch(shape, rng):
    compare("linalg.qr", rng.standard_normal(shape), rtol=1e-6)


def test_eigenvectors(rng):
    a = definite(rng, 2, 4, 4)
    x = minidl.tensor(a, requires_grad=True)
    w, v = linalg.eigh(x)
    np.testing.assert_allclose((v * w.unsqueeze(-2) @ v.mT).detach().numpy(), a, atol=1e-12)
    # the spectrum put together again is a: the gradient is that of the sum of weights * a
    weight = rng.standard_normal(a.shape)
    ((v * w.unsqueeze(-2) @ v.mT) * minidl.tensor(weight)).sum().backward()
    symmetric = (weight + weight.swapaxes(-1, -2)) / 2
    np.testing.assert_allclose(x.grad.numpy(), symmetric, atol=1e-9)


def test_least_squares_as_numpy(rng):
    a, b = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    want, residuals, rank, values = np.linalg.lstsq(a, b, rcond=None)
    found = linalg.lstsq(minidl.tensor(a), minidl.tensor(b), driver="gelsd")
    np.testing.assert_allclose(found.solution.numpy(), want, rtol=1e-9)
    np.testing.assert_allclose(found.residuals.numpy(), residuals, rtol=1e-9)
    np.testing.assert_allclose(found.singular_values.numpy(), values, rtol=1e-9)
    assert found.rank.item() == rank == linalg.matrix_rank(minidl.tensor(a)).item()
    compare("linalg.pinv", a, rtol=1e-6)
    assert linalg.matrix_rank(minidl.tensor(a[:, [0, 0, 1]])).item() == 2


def test_determinant_of_a_singular_matrix_has_a_gradient():
    x = minidl.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=minidl.float64, requires_grad=True)
    linalg.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4, -2], [-2, 1]], atol=1e-12)
    sign, log = linalg.slogdet(x)
    assert sign.item() == 0
    assert log.item() == -np.inf


def test_a_large_determinant_does_not_overflow_its_logarithm():
    x = minidl.eye(400) * 100.0
    assert minidl.slogdet(x).logabsdet.item() == pytest.approx(400 * np.log(100), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t: linalg.inv(t(2, 3)), ValueError, r"square matrices.*\(2, 3\)"),
        (lambda t: linalg.inv(t(2, 2)), ValueError, "singular"),
        (lambda t: linalg.inv(minidl.stack([minidl.eye(2), t(2, 2)])), ValueError, r"at \(1,\)"),
        (lambda t: linalg.solve(t(2, 2), t(2, 2)), ValueError, "singular.*pinv"),
        (lambda t: linalg.solve(t(2, 2), t(3, 2)), ValueError, "do not fit"),
        (lambda t: linalg.cholesky(-minidl.eye(2)), ValueError, "positive definite"),
        (lambda t: linalg.det(t(2, 2).long()), TypeError, "float"),
        (lambda t: linalg.qr(t(2, 2), "complete"), ValueError, "complete"),
    ],
)
def test_errors_say_what_was_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call(lambda *shape: minidl.ones(*shape))
