"""RowSparse and CSR against dense arithmetic."""

import numpy as np
import pytest

import minidl
from minidl import Tensor
from minidl.autograd import gradcheck, gradgradcheck
from minidl.sparse import CSR, RowSparse


def random_csr(rng, shape=(7, 5)):
    full = rng.random(shape) < 0.4
    indptr = np.concatenate([[0], np.cumsum(full.sum(1))])
    return CSR(indptr, np.nonzero(full)[1], rng.standard_normal(full.sum()), shape)


def test_row_sparse_sums_repeated_rows_in_any_order(rng):
    rows = np.array([3, 1, 3, 0, 1, 3])
    values = rng.standard_normal((6, 2))
    dense = np.zeros((5, 2))
    np.add.at(dense, rows, values)
    sparse = RowSparse(rows, values, (5, 2))
    merged = sparse.coalesced()
    np.testing.assert_array_equal(merged.rows, [0, 1, 3])
    np.testing.assert_allclose(merged.to_dense(), dense)
    np.testing.assert_allclose((sparse + sparse).to_dense(), 2 * dense)
    np.testing.assert_allclose(sparse + np.ones((5, 2)), dense + 1)
    np.testing.assert_allclose(np.ones((5, 2)) + sparse, dense + 1)


def test_row_sparse_says_which_shape_is_wrong():
    with pytest.raises(ValueError, match=r"need values \(2, 3\), got \(2, 4\)"):
        RowSparse(np.array([0, 1]), np.zeros((2, 4)), (5, 3))


def test_csr_multiplies_transposes_and_selects(rng):
    matrix, x = random_csr(rng), rng.standard_normal((5, 3))
    dense = matrix.to_dense()
    np.testing.assert_allclose((matrix @ minidl.tensor(x)).array, dense @ x, atol=1e-14)
    np.testing.assert_allclose(matrix.T.to_dense(), dense.T)
    np.testing.assert_allclose(matrix[np.array([4, 0, 4])].to_dense(), dense[[4, 0, 4]])


def test_csr_gradients(rng):
    matrix = random_csr(rng)
    x = minidl.tensor(rng.standard_normal((5, 3)), requires_grad=True)
    assert gradcheck(lambda x: matrix @ x, x)
    assert gradgradcheck(lambda x: (matrix @ x) * (matrix @ x), x)


def test_csr_names_a_shape_that_does_not_fit(rng):
    with pytest.raises(ValueError, match=r"needs a tensor \(5, D\) or \(5,\), got \(4, 3\)"):
        random_csr(rng) @ minidl.tensor(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="column index"):
        CSR(np.array([0, 1]), np.array([9]), np.ones(1), (1, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_csr_is_scipys(dtype, rng):
    """Values and gradients, for (V, D) and (V,), the same bits on one thread and on two."""
    scipy_sparse = pytest.importorskip("scipy.sparse")
    known = scipy_sparse.random(700, 900, 0.6, format="csr", dtype=dtype, rng=rng)
    matrix = CSR(known.indptr, known.indices, known.data, known.shape)
    assert len(matrix.data) > 200_000  # enough for threads
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for shape in ((900, 5), (900,)):
        dense = rng.standard_normal(shape).astype(dtype)
        weight = rng.standard_normal((700, *shape[1:])).astype(dtype)
        results = []
        for threads in (1, 2):
            before = minidl.get_num_threads()
            minidl.set_num_threads(threads)
            try:
                x = Tensor(dense, requires_grad=True)
                out = matrix @ x
                (out * Tensor(weight)).sum().backward()
            finally:
                minidl.set_num_threads(before)
            assert out.dtype == dtype
            results.append((out.detach().numpy(), x.grad.numpy()))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        np.testing.assert_array_equal(results[0][1], results[1][1])
        out, dx = results[0]
        np.testing.assert_allclose(out, known @ dense, rtol=tolerance, atol=30 * tolerance)
        np.testing.assert_allclose(dx, known.T @ weight, rtol=tolerance, atol=30 * tolerance)
