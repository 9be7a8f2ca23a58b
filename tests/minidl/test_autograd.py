"""Functions of one's own, modes, anomalies, and the checks of gradients themselves."""

import threading
import time

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
    set_detect_anomaly,
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


def test_a_gradient_is_kept_once_however_often_it_is_asked_for():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 2.0
    assert not y.retains_grad
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad
    (y * 3.0).sum().backward()
    np.testing.assert_array_equal(y.grad.array, [3, 3])
    with pytest.raises(RuntimeError, match="does not require"):
        tensor([1.0]).retain_grad()


def _doubled(gradient_of):
    class Doubled(Function):
        @staticmethod
        def forward(ctx, a):
            return a * 2.0

        @staticmethod
        def backward(ctx, dout):
            return gradient_of(dout)

    return Doubled.apply


def test_a_functions_gradients_are_checked_and_fitted():
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    wrong = [
        (lambda d: d.sum(), RuntimeError, r"gradient 0 has shape \(\), but its input has \(3,\)"),
        (lambda d: d.array, TypeError, "gradient 0 must be a Tensor or None, got ndarray"),
        (lambda d: (d, d), RuntimeError, "1 inputs need as many gradients, got 2"),
    ]
    for gradient_of, error, match in wrong:
        with pytest.raises(error, match=match):
            _doubled(gradient_of)(x).sum().backward()
    assert x.grad is None
    _doubled(lambda d: d.double().expand(4, 3))(x).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad.array, [4, 4, 4])


def test_a_function_must_return_tensors_and_may_return_its_input():
    class Nothing(Function):
        @staticmethod
        def forward(ctx, a):
            return None

    class Same(Function):
        @staticmethod
        def forward(ctx, a):
            return a

    x = tensor([2.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"Nothing\.forward must return a Tensor"):
        Nothing.apply(x)
    z = x * 1.0
    out = (z * z).sum()
    Same.apply(z).add_(1.0)  # the storage of z, whose old value `out` needs
    with pytest.raises(RuntimeError, match="in-place"):
        out.backward()


def test_anomaly_detection_switched_on_and_off():
    x = tensor([0.0], requires_grad=True)
    nan = tensor([float("nan")])
    set_detect_anomaly(True)
    try:
        with set_detect_anomaly(False):
            (x * nan).sum().backward()
        with pytest.raises(RuntimeError, match="anomaly"):
            (x * nan).sum().backward()
    finally:
        set_detect_anomaly(False)
    (x * nan).sum().backward()


def test_threads_may_share_a_graph():
    w = tensor(np.ones(3), requires_grad=True)
    h = w * 2.0
    h.register_hook(lambda g: time.sleep(1e-4))  # another thread's turn, in the middle of a walk
    h = h * 1.0
    wrong, start = [], threading.Barrier(4)

    def work(k):
        start.wait()
        for _ in range(10):
            (g,) = grad((h * k).sum(), w, retain_graph=True, allow_unused=True)
            if g is None or (g.array != 2 * k).any():
                wrong.append(g)
            (h * k).sum().backward(retain_graph=True)

    threads = [threading.Thread(target=work, args=(k,)) for k in (1.0, 2.0, 4.0, 8.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    np.testing.assert_array_equal(w.grad.array, np.full(3, 10 * 2 * 15))


class Given(Function):
    """Identity; its backward returns one array, in the given form, for both inputs."""

    form = staticmethod(lambda kept: kept)
    kept = np.ones((3, 4), np.float32)

    @staticmethod
    def forward(ctx, x, y):
        return x + y

    @staticmethod
    def backward(ctx, dout):
        part = tensor(Given.form(Given.kept))
        return part, part


@pytest.mark.parametrize(
    "form",
    [
        lambda kept: kept,
        lambda kept: kept[:],
        lambda kept: kept.reshape(4, 3).reshape(3, 4),
        lambda kept: kept.copy(),
        lambda kept: kept.copy()[:],
        lambda kept: np.ones((9, 4), np.float32)[:3],
        lambda kept: np.frombuffer(bytes(48), np.float32).reshape(3, 4),
        lambda kept: np.ones((4, 3), np.float32).T,
        lambda kept: np.broadcast_to(np.float32(1), (3, 4)),
    ],
)
def test_a_gradient_belongs_to_its_leaf_alone(form, monkeypatch):
    monkeypatch.setattr(Given, "form", staticmethod(form))
    x, y = (tensor(np.zeros((3, 4), np.float32), requires_grad=True) for _ in range(2))
    Given.apply(x, y).sum().backward()
    for p in (x, y):
        flags = p.grad.array.flags
        assert flags.c_contiguous
        assert flags.writeable
        assert not np.may_share_memory(p.grad.array, Given.kept)
    assert not np.may_share_memory(x.grad.array, y.grad.array)
    base = x.grad.array.base
    assert base is None or base.nbytes == x.grad.array.nbytes  # no larger memory is held


def test_a_gradient_of_its_own_is_not_copied():
    x, seen = tensor(np.ones((3, 4), np.float32), requires_grad=True), []
    x.register_hook(lambda g: seen.append(g.array.ctypes.data))
    (x * 2.0).sum().backward()
    assert seen == [x.grad.array.ctypes.data]
