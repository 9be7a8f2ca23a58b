"""The tape against derivatives by hand."""

import copy
import pickle

import numpy as np
import pytest

from minidl import grad, no_grad, tensor


def test_gradient_of_a_product_and_a_broadcast_sum():
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    b = tensor([0.5, -1.0], requires_grad=True)
    weights = tensor([[1.0, -2.0], [0.5, 3.0]])
    y = (x * x + b) * 2.0
    y.backward(weights)
    np.testing.assert_allclose(x.grad.array, 4 * x.array * weights.array)
    np.testing.assert_allclose(b.grad.array, 2 * weights.array.sum(0))
    assert y.dtype == np.float32


def test_tanh_and_a_shared_input():
    x = tensor(0.3, dtype=np.float64, requires_grad=True)
    y = x.tanh()
    (y * y + y).backward()
    t = np.tanh(0.3)
    assert x.grad.item() == pytest.approx((2 * t + 1) * (1 - t * t), rel=1e-14)


def test_a_chain_of_200_000_ops_needs_no_recursion():
    x = tensor(1.0, dtype=np.float64, requires_grad=True)
    y = x
    for _ in range(200_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0


def test_leaf_gradients_of_one_add_are_their_own():
    a, b = tensor([1.0], requires_grad=True), tensor([1.0], requires_grad=True)
    (a + b).backward()
    a.grad.array += 1
    assert b.grad.item() == 1.0


def test_backward_twice_says_that_the_graph_was_freed():
    x = tensor(2.0, requires_grad=True)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_a_change_in_place_of_a_saved_value_is_found():
    x = tensor(2.0, requires_grad=True)
    y = x * x
    x.version[0] += 1
    with pytest.raises(RuntimeError, match="modified by an in-place"):
        y.backward()


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(ValueError, match=r"mul: shapes do not .* got x \(2,\), y \(3,\)"):
        tensor([1.0, 2.0]) * tensor([1.0, 2.0, 3.0])


def test_no_grad_records_nothing():
    x = tensor(1.0, requires_grad=True)
    with no_grad():
        y = x * x
    assert not y.requires_grad


def test_second_derivative_of_tanh_and_a_quotient():
    x = tensor([0.3, -1.2], dtype=np.float64, requires_grad=True)
    (first,) = grad((x.tanh() / x).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    v, t = x.array, np.tanh(x.array)
    slope = 1 - t * t
    np.testing.assert_allclose(first.array, slope / v - t / v**2, rtol=1e-12)
    expected = -2 * t * slope / v - 2 * slope / v**2 + 2 * t / v**3
    np.testing.assert_allclose(second.array, expected, rtol=1e-12)


def test_a_branch_not_taken_sends_no_nan():
    x = tensor([0.0, 4.0], requires_grad=True)
    (x.sqrt().masked(x.array > 0)).sum().backward()
    np.testing.assert_allclose(x.grad.array, [0.0, 0.25])


def test_grad_of_an_inner_tensor_leaves_grad_alone():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 3.0
    (dy,) = grad((y * y).sum(), y)
    np.testing.assert_allclose(dy.array, 2 * y.array)
    assert x.grad is None


def test_sum_keeps_or_drops_axes():
    x = tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    (x.sum(1) * tensor([1.0, 2.0])).sum().backward()
    np.testing.assert_allclose(x.grad.array, [[1, 1, 1], [2, 2, 2]])
    assert x.sum(0, keepdim=True).shape == (1, 3)


def test_matmul_broadcasts_and_differentiates_twice():
    rng = np.random.default_rng(0)
    x = tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    w = tensor(rng.standard_normal((4, 5)), requires_grad=True)
    dx, dw = grad(((x @ w) * (x @ w)).sum(), [x, w], create_graph=True)
    y = x.array @ w.array
    np.testing.assert_allclose(dx.array, 2 * y @ w.array.T, rtol=1e-12)
    np.testing.assert_allclose(dw.array, 2 * np.einsum("bnd,bnm->dm", x.array, y), rtol=1e-12)
    (second,) = grad(dx.sum(), x)  # d/dx of sum 2 x w w^T
    row = 2 * (w.array @ w.array.T).sum(0)
    np.testing.assert_allclose(second.array, np.broadcast_to(row, (2, 3, 4)))


def test_a_change_of_a_view_reaches_its_owner_and_other_views():
    x = tensor([1.0, 2.0, 3.0, 4.0], dtype=np.float64, requires_grad=True)
    y = x * 2.0
    matrix, turned = y.reshape(2, 2), y.reshape(2, 2).swapaxes(0, 1)
    matrix.copy_(matrix * 2.0 * matrix.detach().array.copy())
    np.testing.assert_array_equal(y.array, [8, 32, 72, 128])
    (turned * tensor([[1.0, 10.0], [100.0, 1000.0]], dtype=np.float64)).sum().backward()
    np.testing.assert_array_equal(x.grad.array, 8 * x.array * [1, 100, 10, 1000])


def test_a_leaf_cannot_change_while_ops_are_recorded():
    x = tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        x.copy_(0.0)
    with pytest.raises(RuntimeError, match="leaf"):
        x.reshape(2, 1).copy_(0.0)
    with no_grad():
        x.copy_(5.0)
    np.testing.assert_array_equal(x.array, [5, 5])


def test_a_saved_value_overwritten_raises():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 1.0
    z = (y * y).sum()
    y.copy_(0.0)
    with pytest.raises(RuntimeError, match="in-place"):
        z.backward()


def test_a_deep_copy_is_a_leaf_of_its_own():
    x = tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    y.array[0] = 9.0
    y.grad.array[0] = 9.0
    np.testing.assert_array_equal(x.array, [1, 2])
    np.testing.assert_array_equal(x.grad.array, [2, 4])
    with pytest.raises(RuntimeError, match="clone"):
        copy.deepcopy(x * 2.0)


def test_a_leaf_can_be_pickled_and_a_graph_says_why_not():
    x = tensor([1.0, 2.0], requires_grad=True)
    again = pickle.loads(pickle.dumps(x))
    assert again.requires_grad
    np.testing.assert_array_equal(again.array, x.array)
    for how in (pickle.dumps, copy.copy):
        with pytest.raises(RuntimeError, match="only leaves"):
            how(x * 2.0)


def test_casts_beyond_a_dtypes_range_are_silent():
    assert tensor([1e300], dtype="float64").float().item() == float("inf")
