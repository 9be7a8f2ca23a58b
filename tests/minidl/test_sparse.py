"""RowSparse and CSR against dense arithmetic."""

import numpy as np
import pytest

import minidl
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
    with pytest.raises(ValueError, match=r"needs a tensor \(5, D\), got \(4, 3\)"):
        random_csr(rng) @ minidl.tensor(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="column index"):
        CSR(np.array([0, 1]), np.array([9]), np.ones(1), (1, 3))
