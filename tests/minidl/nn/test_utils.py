"""Clipping, norms, and parameters as one vector."""

import numpy as np
import pytest

import minidl
from minidl import RowSparse, Tensor, nn
from minidl.nn import utils

SHAPES = [(4, 3), (5,), ()]


def parameters(rng, scale=1.0):
    made = [nn.Parameter(Tensor(rng.standard_normal(s))) for s in SHAPES]
    for p in made[:2]:
        p.grad = Tensor(scale * rng.standard_normal(p.shape))
    return made  # the last has no gradient


@pytest.mark.parametrize("order", [0.5, 1, 2, 3, float("inf")])
@pytest.mark.parametrize("scale", [0.01, 10.0])
def test_clip_grad_norm_is_torchs(order, scale, rng):
    torch = pytest.importorskip("torch")
    ours = parameters(rng, scale)
    theirs = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in ours]
    for p, q in zip(theirs, ours):
        p.grad = None if q.grad is None else torch.tensor(q.grad.numpy())
    total = utils.clip_grad_norm_(ours, 1.5, order)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 1.5, order)
    np.testing.assert_allclose(total.numpy(), expected.numpy(), rtol=1e-12)
    for p, q in zip(ours[:2], theirs):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10)


def test_by_hand():
    p = nn.Parameter(minidl.tensor([0.0, 0.0]))
    p.grad = minidl.tensor([3.0, 4.0])
    assert float(utils.get_total_norm([p.grad])) == 5
    assert float(utils.clip_grad_norm_(p, 1.0)) == 5
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-6)
    assert p.grad.dtype == np.float32
    utils.clip_grad_value_(p, 0.7)
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.7], rtol=1e-6)
    assert float(utils.get_total_norm([])) == 0
    assert float(utils.clip_grad_norm_(nn.Parameter(minidl.tensor([1.0])), 1.0)) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("most", [1.5, 1e6])
def test_one_call_for_many_gradients(most, dtype, rng):
    shapes = [(300, 41), (7,), (90_001,), ()]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    ours = [nn.Parameter(Tensor(np.zeros(shape, dtype))) for shape in shapes]
    for p, array in zip(ours, arrays):
        p.grad = Tensor(array.copy())
    before = [p.grad._version for p in ours]
    truth = np.sqrt(sum(np.square(a, dtype=np.float64).sum() for a in arrays))
    total = utils.clip_grad_norm_(ours, most)
    assert float(total) == pytest.approx(truth, rel=1e-6)
    factor = dtype(most / (truth + 1e-6)) if most < truth else dtype(1)
    for p, array in zip(ours, arrays):
        np.testing.assert_allclose(p.grad.array, array * factor, rtol=1e-6)
    assert [p.grad._version > v for p, v in zip(ours, before)] == [most < truth] * 4
    ours[2].grad.array[5] = np.nan
    kept = ours[0].grad.array.copy()
    with pytest.raises(RuntimeError, match="is nan"):
        utils.clip_grad_norm_(ours, most, error_if_nonfinite=True)
    np.testing.assert_array_equal(ours[0].grad.array, kept)
    utils.clip_grad_norm_(ours, most)
    assert np.isnan(ours[0].grad.array).all()


def test_a_gradient_given_twice_is_scaled_twice():
    p = nn.Parameter(Tensor(np.zeros(5_000, np.float32)))
    p.grad = Tensor(np.ones(5_000, np.float32))
    total = float(utils.clip_grad_norm_([p, p], 1.0))
    assert total == pytest.approx(100.0)
    np.testing.assert_allclose(p.grad.array, 1e-4, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_norm_of_float32_extremes(scale):
    g = Tensor(np.array([3.0, 4.0], np.float32) * np.float32(scale))
    assert float(utils.get_total_norm([g])) == pytest.approx(5 * scale)


def test_row_sparse_counts_as_its_table(rng):
    rows, values = np.array([3, 1, 3]), rng.standard_normal((3, 4))
    for clip in (
        lambda p: utils.clip_grad_norm_(p, 0.1),
        lambda p: utils.clip_grad_value_(p, 0.2),
    ):
        sparse, dense = (nn.Parameter(Tensor(np.zeros((6, 4)))) for _ in range(2))
        sparse.grad = RowSparse(rows, values, (6, 4))
        dense.grad = Tensor(sparse.grad.to_dense())
        kept = values.copy()
        one, two = clip(sparse), clip(dense)
        assert one is None or float(one) == pytest.approx(float(two))
        np.testing.assert_allclose(sparse.grad.to_dense(), dense.grad.numpy())
        np.testing.assert_array_equal(values, kept)
    empty = nn.Parameter(Tensor(np.zeros((6, 4))))
    empty.grad = RowSparse(np.empty(0, np.int64), np.empty((0, 4)), (6, 4))
    assert float(utils.clip_grad_norm_(empty, 1.0)) == 0


def test_nan():
    p = nn.Parameter(minidl.tensor([0.0, 0.0]))
    p.grad = minidl.tensor([np.nan, 1.0])
    with pytest.raises(RuntimeError, match=r"norm of order 2\.0 is nan"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    utils.clip_grad_norm_(p, 1.0)
    assert np.isnan(p.grad.numpy()).all()


def test_vectors(rng):
    ours = parameters(rng)
    (utils.parameters_to_vector(ours) ** 2).sum().backward()  # a penalty on all of them
    np.testing.assert_allclose(ours[2].grad.numpy(), 2 * ours[2].detach().numpy())
    vector = utils.parameters_to_vector(ours).detach()
    assert vector.shape == (12 + 5 + 1,)
    utils.vector_to_parameters(Tensor(vector.numpy() * 2), ours)
    after = utils.parameters_to_vector(ours).detach()
    np.testing.assert_allclose(after.numpy(), 2 * vector.numpy())
    with pytest.raises(ValueError, match=r"18 elements, the vector \(3,\)"):
        utils.vector_to_parameters(Tensor(np.zeros(3)), ours)
