"""The functions behind layers, against torch where it is installed and by hand."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from tests.oracles.torch_twin import Constant, compare


def named(name):
    return f"nn.functional.{name}"


@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 5, 3), (0, 3), (2, 0, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_as_torch(rng, shape, bias):
    more = (rng.standard_normal(2),) if bias else ()
    compare(named("linear"), rng.standard_normal(shape), rng.standard_normal((2, 3)), *more)


def test_bilinear_as_torch(rng):
    shapes = ((4, 3), (4, 5), (2, 3, 5), (2,))
    compare(named("bilinear"), *(rng.standard_normal(s) for s in shapes))


@pytest.mark.parametrize("sizes", [(4,), (3, 4)])
def test_norms_as_torch(rng, sizes):
    x, weight, bias = rng.standard_normal((2, 3, 4)), rng.standard_normal(sizes), None
    compare(named("layer_norm"), x, sizes)
    compare(named("layer_norm"), x, sizes, weight, rng.standard_normal(sizes))
    compare(named("rms_norm"), x, sizes, weight)
    compare(named("rms_norm"), x, sizes, bias, 1e-3)


def test_layer_norm_of_equal_numbers_is_finite():
    x = minidl.tensor(np.full((2, 3), 1e4, np.float32), requires_grad=True)
    out = F.layer_norm(x, (3,))
    assert not out.detach().numpy().any()
    out.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_normalize_as_torch(rng, p):
    zero = minidl.tensor(np.zeros((2, 3)), requires_grad=True)
    F.normalize(zero).sum().backward()
    assert np.isfinite(zero.grad.numpy()).all()
    compare(named("normalize"), rng.standard_normal((3, 4, 2)), p, 1)


def test_embedding_as_torch(rng):
    ids, table = np.array([[1, 4], [4, 0]]), rng.standard_normal((5, 3))
    compare(named("embedding"), ids, table)
    compare(named("embedding"), ids, table, padding_idx=4)
    compare(named("embedding"), ids, table, padding_idx=-1)
    compare(named("embedding"), ids, table, scale_grad_by_freq=True, order=1)
    compare(named("embedding"), ids, Constant(3 * table), max_norm=1.0, order=0)


def test_embedding_sparse_equals_dense(rng):
    ids = minidl.tensor([1, 4, 4, 2])
    grads = []
    for sparse in (False, True):
        table = minidl.tensor(rng.standard_normal((5, 3)), requires_grad=True)
        out = F.embedding(ids, table, padding_idx=2, sparse=sparse)
        (out * minidl.tensor(np.arange(12.0).reshape(4, 3))).sum().backward()
        grads.append(table.grad.to_dense() if sparse else table.grad.numpy())
    np.testing.assert_array_equal(*grads)
    assert not grads[0][2].any()
    assert grads[0][4].tolist() == [9, 11, 13]


def test_one_hot():
    assert F.one_hot(minidl.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert F.one_hot(minidl.tensor(1), 3).tolist() == [0, 1, 0]
    assert F.one_hot(minidl.tensor(np.zeros((0,), np.int64)), 3).shape == (0, 3)


def test_dropout_keeps_the_mean_and_is_seeded():
    x = minidl.tensor(np.ones(100_000, np.float32), requires_grad=True)
    minidl.manual_seed(3)
    out = F.dropout(x, 0.3)
    values = np.unique(out.detach().numpy())
    np.testing.assert_allclose(values, [0, 1 / 0.7], rtol=1e-6)
    assert abs(out.mean().item() - 1) < 0.01
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.detach().numpy())
    minidl.manual_seed(3)
    np.testing.assert_array_equal(F.dropout(x, 0.3).detach().numpy(), out.detach().numpy())
    assert (F.dropout(x, 0.3).detach().numpy() != out.detach().numpy()).any()


def test_dropout_off_all_and_in_place():
    x = minidl.tensor(np.ones((3, 4)), requires_grad=True)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert not F.dropout(x, 1.0).detach().numpy().any()
    y = minidl.tensor(np.ones(50))
    assert F.dropout(y, 0.5, inplace=True) is y
    assert set(y.tolist()) == {0, 2}


def test_dropout_to_the_second_order():
    x = minidl.tensor(np.arange(1.0, 5.0), requires_grad=True)
    minidl.manual_seed(1)
    out = F.dropout(x * x, 0.5)
    kept = (out.detach().numpy() != 0).astype(float) * 2
    (first,) = minidl.autograd.grad(out.sum(), x, create_graph=True)
    np.testing.assert_allclose(first.detach().numpy(), 2 * x.detach().numpy() * kept)
    (second,) = minidl.autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), 2 * kept)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, i: F.linear(x, x[:, :2]), ValueError, r"x \(..., 3\) needs weight \(out, 3\)"),
        (lambda x, i: F.linear(x, x, x[0, :2]), ValueError, r"bias must be \(4,\)"),
        (lambda x, i: F.linear(x, x.double()), TypeError, "differ"),
        (lambda x, i: F.bilinear(x, x, x), ValueError, "O, D1, D2"),
        (lambda x, i: F.embedding(x, x), TypeError, "integers"),
        (lambda x, i: F.embedding(i + 3, x), IndexError, r"id 4 at \(1,\).*4 rows \(0 to 3\)"),
        (lambda x, i: F.embedding(i, x, padding_idx=9), ValueError, "padding_idx 9"),
        (lambda x, i: F.embedding(i, x[0]), ValueError, r"\(V, D\)"),
        (lambda x, i: F.one_hot(i, 2), ValueError, "num_classes=2"),
        (lambda x, i: F.one_hot(x), TypeError, "int64"),
        (lambda x, i: F.dropout(x, 1.5), ValueError, "from 0 to 1"),
        (lambda x, i: F.dropout(i), TypeError, "floating point"),
        (lambda x, i: F.layer_norm(x, (4,)), ValueError, r"end with normalized_shape \(4,\)"),
        (lambda x, i: F.layer_norm(x, 3, x[0, :2]), ValueError, r"weight must be \(3,\)"),
        (lambda x, i: F.layer_norm(x, 3, x[0].double()), TypeError, "differ"),
        (lambda x, i: F.rms_norm(x, 4), ValueError, "rms_norm"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(minidl.tensor(np.ones((4, 3), np.float32)), minidl.tensor([0, 1, 2]))
