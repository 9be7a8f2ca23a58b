"""Arithmetic of arrays that are large enough for the kernel: the bits of NumPy's."""

import operator

import numpy as np
import pytest

from minidl import kernels, tensor
from minidl.ops import _arithmetic

SHAPE = (500, 401)
RNG = np.random.default_rng(0)
OTHERS = {
    "equal": RNG.standard_normal(SHAPE, np.float32),
    "row": RNG.standard_normal(401, np.float32),
    "row of a matrix": RNG.standard_normal((1, 401), np.float32),
    "row with more axes": RNG.standard_normal((1, 1, 401), np.float32),
    "column": RNG.standard_normal((500, 1), np.float32),
    "number": 2.5,
    "whole number": 3,
    "float64": RNG.standard_normal(SHAPE),
    "strided": RNG.standard_normal((401, 500), np.float32).T,
}
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("what", OPERATORS, ids=lambda f: f.__name__)
def test_bits_are_numpys(what, other):
    x, y = RNG.standard_normal(SHAPE, np.float32), OTHERS[other]
    assert x.size >= _arithmetic.MANY
    given = tensor(y) if isinstance(y, np.ndarray) else y
    for ours, truth in (
        (what(tensor(x), given), what(x, y)),
        (what(given, tensor(x)), what(y, x)),
    ):
        assert ours.numpy().dtype == truth.dtype
        np.testing.assert_array_equal(ours.numpy(), truth)


@pytest.mark.parametrize("other", ["equal", "row", "number"])
@pytest.mark.parametrize("what", OPERATORS, ids=lambda f: f.__name__)
def test_gradients(what, other):
    def gradients(large):
        monkeypatch.setattr("minidl.ops.elementwise.MANY", _arithmetic.MANY if large else 10**9)
        x = tensor(RNG.standard_normal(SHAPE, np.float32), requires_grad=True)
        y = OTHERS[other]
        y = tensor(y, requires_grad=True) if isinstance(y, np.ndarray) else y
        (what(x, y) * x).sum().backward()
        return x.grad.array, getattr(getattr(y, "grad", None), "array", np.zeros(1))

    with pytest.MonkeyPatch.context() as monkeypatch:
        state = RNG.bit_generator.state
        ours = gradients(True)
        RNG.bit_generator.state = state
        for mine, truth in zip(ours, gradients(False)):
            np.testing.assert_array_equal(mine, truth)


@pytest.mark.skipif(not kernels.ENABLED, reason="MINIDL_JIT=0: NumPy does it")
@pytest.mark.parametrize("other", ["equal", "row", "number"])
def test_the_kernel_does_it(other, monkeypatch):
    calls = []
    monkeypatch.setattr(kernels, "arithmetic", lambda *args: calls.append(args), raising=False)
    _ = tensor(np.ones(SHAPE, np.float32)) + OTHERS[other]
    assert len(calls) == 1


@pytest.mark.skipif(not kernels.ENABLED, reason="MINIDL_JIT=0: NumPy does it")
@pytest.mark.parametrize("form", ["one wide", "a gradient of sums"])
def test_a_column_beside_a_matrix(form, monkeypatch):
    """Bits are NumPy's, from either side; the kernel does it."""
    x = RNG.standard_normal((50, 80, 64), np.float32)
    column = RNG.standard_normal((50, 80, 1), np.float32)
    y = column if form == "one wide" else np.broadcast_to(column, x.shape)
    for what, numpy in enumerate([np.add, np.subtract, np.multiply, np.divide]):
        np.testing.assert_array_equal(_arithmetic.arithmetic(what, x, y), numpy(x, y))
        np.testing.assert_array_equal(_arithmetic.arithmetic(what, y, x), numpy(y, x))
    calls = []
    monkeypatch.setattr(kernels, "arithmetic_columns", lambda *args: calls.append(args))
    _arithmetic.arithmetic(0, x, y)
    assert len(calls) == 1


def test_division_by_zero_in_a_large_array():
    x = tensor(np.ones(SHAPE, np.float32))
    np.testing.assert_array_equal((x / 0.0).numpy(), np.inf)
    x = tensor(np.ones(SHAPE, np.float32), requires_grad=True)
    (x / 0.0 * 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad.array, 0.0)  # as of a small one
