"""Functions of one's own, modes, anomalies, and the checks of gradients themselves."""

import numpy as np
import pytest

from minidl import tensor
from minidl.autograd import (
    Function,
    detect_anomaly,
    enable_grad,
    grad,
    gradcheck,
    gradgradcheck,
    is_grad_enabled,
    no_grad,
)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, dout):
        (x,) = ctx.saved_tensors
        return x * x * dout * 3.0


class WrongCube(Cube):
    @staticmethod
    def backward(ctx, dout):
        (x,) = ctx.saved_tensors
        return x * x * dout * 2.0


def doubles(*shape):
    values = np.random.default_rng(0).standard_normal(shape) + 2.0
    return tensor(values, requires_grad=True)


def test_a_function_is_differentiated_twice():
    x = doubles(3)
    (first,) = grad(Cube.apply(x).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    np.testing.assert_allclose(first.array, 3 * x.array**2)
    np.testing.assert_allclose(second.array, 6 * x.array)


def test_gradcheck_sees_a_wrong_backward():
    assert gradcheck(Cube.apply, doubles(3))
    assert gradgradcheck(Cube.apply, doubles(3))
    with pytest.raises(RuntimeError, match="input 0"):
        gradcheck(WrongCube.apply, doubles(3))


@pytest.mark.parametrize("function", [lambda x: x.exp(), lambda x: x.log(), lambda x: x.sqrt()])
def test_elementary_functions_twice(function):
    assert gradcheck(function, doubles(2, 3))
    assert gradgradcheck(function, doubles(2, 3))


def test_modes_nest_and_decorate():
    @no_grad
    def plain():
        return is_grad_enabled()

    @no_grad()
    def called():
        with enable_grad():
            return is_grad_enabled()

    assert plain() is False
    assert called() is True
    assert is_grad_enabled()


def test_an_anomaly_names_op_and_line():
    with detect_anomaly():
        x = tensor([0.0], requires_grad=True)
        y = x.sqrt() * tensor([float("nan")])  # this line
        with pytest.raises(RuntimeError, match=r"(?s)backward of Mul .*test_autograd.*this line"):
            y.sum().backward()


def test_hooks_see_and_replace_gradients():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 3.0
    seen = []
    y.register_hook(lambda g: seen.append(g.array.copy()))
    handle = y.register_hook(lambda g: g * 10.0)
    y.sum().backward(retain_graph=True)
    np.testing.assert_array_equal(seen[0], [1, 1])
    np.testing.assert_array_equal(x.grad.array, [30, 30])
    handle.remove()
    x.grad = None
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, [3, 3])
