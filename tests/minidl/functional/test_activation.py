"""Activation functions against torch, and numbers by hand where it is not installed."""

import math

import numpy as np
import pytest

import minidl.nn.functional as F
from minidl import grad, tensor

INPUTS = [
    -1e4, -100.0, -20.5, -6.0, -3.0, -2.0, -1.0, -0.5, -0.3, -1e-30, -0.0, 0.0, 1e-30, 0.3, 0.5,
    1.0, 2.5, 3.0, 6.0, 19.0, 20.5, 100.0, 1e4,
]  # fmt: skip
CALLS = {
    "relu": {}, "relu6": {}, "leaky_relu": {"negative_slope": 0.2}, "rrelu": {}, "selu": {},
    "elu": {"alpha": 0.7}, "celu": {"alpha": 0.5}, "gelu": {}, "silu": {}, "mish": {},
    "softplus": {"beta": 2.0, "threshold": 5.0}, "softsign": {}, "hardtanh": {"max_val": 2.0},
    "hardsigmoid": {}, "hardswish": {}, "logsigmoid": {}, "tanhshrink": {}, "softshrink": {},
    "hardshrink": {"lambd": 0.4}, "threshold": {"threshold": 0.4, "value": 7.0}, "sigmoid": {},
    "tanh": {},
}  # fmt: skip
IN_PLACE = [
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "mish", "hardtanh", "hardsigmoid",
    "hardswish", "threshold",
]  # fmt: skip


def leaf(values, dtype=np.float64):
    return tensor(np.asarray(values, dtype), requires_grad=True)


@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize("repeat", [1, 100])  # the long one is large enough for the kernels
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_and_gradients_are_torchs(name, repeat, dtype):
    torch = pytest.importorskip("torch")
    x = leaf(np.repeat(INPUTS, repeat), dtype)
    t = torch.tensor(x.array.copy(), requires_grad=True)
    want = getattr(torch.nn.functional, name)(t, **CALLS[name])
    want.backward(torch.ones_like(want))
    got = getattr(F, name)(x, **CALLS[name])
    got.backward(tensor(np.ones_like(x.array)))
    close = {"rtol": 1e-9, "atol": 1e-8} if dtype == np.float64 else {"rtol": 2e-6, "atol": 1e-6}
    np.testing.assert_allclose(got.array, want.detach().numpy(), **close)
    np.testing.assert_allclose(x.grad.array, t.grad.numpy(), **close)
    assert got.dtype == x.grad.dtype == dtype


# at x = -1 and x = 2: values and derivatives
s1, s2 = 1 / (1 + math.e), 1 / (1 + math.exp(-2))
phi1 = (1 + math.erf(-1 / math.sqrt(2))) / 2
phi2 = (1 + math.erf(2 / math.sqrt(2))) / 2
t1, t2 = math.tanh(1), math.tanh(2)
peak = 1 / math.sqrt(2 * math.pi)
BY_HAND = [
    ("relu", {}, (0, 2), (0, 1)),
    ("relu6", {}, (0, 2), (0, 1)),
    ("leaky_relu", {"negative_slope": 0.2}, (-0.2, 2), (0.2, 1)),
    ("elu", {"alpha": 0.5}, (0.5 * (1 / math.e - 1), 2), (0.5 / math.e, 1)),
    ("celu", {"alpha": 2.0}, (2 * math.expm1(-0.5), 2), (math.exp(-0.5), 1)),
    ("selu", {}, (-1.1113307378125625, 2.1014019741), (0.6467686, 1.0507009873554805)),
    ("gelu", {}, (-phi1, 2 * phi2), (phi1 - peak * math.exp(-0.5), phi2 + 2 * peak * math.exp(-2))),
    ("gelu", {"approximate": "tanh"}, (-0.158808009, 1.954597694), (-0.08296408, 1.0860993)),
    ("silu", {}, (-s1, 2 * s2), (s1 * (1 - (1 - s1)), s2 * (1 + 2 * (1 - s2)))),
    ("softplus", {}, (math.log1p(1 / math.e), math.log1p(math.exp(2))), (s1, s2)),
    ("logsigmoid", {}, (math.log(s1), math.log(s2)), (1 - s1, 1 - s2)),
    ("softsign", {}, (-0.5, 2 / 3), (0.25, 1 / 9)),
    ("hardtanh", {}, (-1, 1), (0, 0)),
    ("hardsigmoid", {}, (1 / 3, 5 / 6), (1 / 6, 1 / 6)),
    ("hardswish", {}, (-1 / 3, 5 / 3), (1 / 6, 7 / 6)),
    ("tanhshrink", {}, (-1 + t1, 2 - t2), (t1 * t1, t2 * t2)),
    ("softshrink", {}, (-0.5, 1.5), (1, 1)),
    ("hardshrink", {"lambd": 1.5}, (0, 2), (0, 1)),
    ("threshold", {"threshold": 0, "value": 9.0}, (9, 2), (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "value", "slope"), BY_HAND)
def test_by_hand(name, settings, value, slope):
    x = leaf([-1.0, 2.0])
    out = getattr(F, name)(x, **settings)
    out.backward(tensor(np.ones(2)))
    np.testing.assert_allclose(out.array, value, rtol=1e-7)
    np.testing.assert_allclose(x.grad.array, slope, rtol=1e-6)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_changes_the_input_and_keeps_the_gradient(name):
    settings = {"threshold": 0.4, "value": 7.0} if name == "threshold" else {}
    x, twin = leaf([-4.0, -1.0, 0.5, 2.0]), leaf([-4.0, -1.0, 0.5, 2.0])
    y = x * 1.0
    out = getattr(F, name)(y, **settings, inplace=True)
    assert out is y
    want = getattr(F, name)(twin * 1.0, **settings)
    np.testing.assert_array_equal(y.array, want.array)
    out.backward(tensor(np.ones(4)))
    want.backward(tensor(np.ones(4)))
    np.testing.assert_array_equal(x.grad.array, twin.grad.array)
    with pytest.raises(RuntimeError, match="leaf"):
        getattr(F, name)(x, **settings, inplace=True)


@pytest.mark.parametrize("name", ["gelu", "silu", "elu", "mish", "softplus", "logsigmoid"])
def test_second_derivatives(name):
    step, at = 1e-5, np.array([-1.5, -0.3, 0.4, 2.0])

    def first(values):
        x = leaf(values)
        return grad(getattr(F, name)(x).sum(), x)[0].array

    x = leaf(at)
    (dx,) = grad(getattr(F, name)(x).sum(), x, create_graph=True)
    (second,) = grad(dx.sum(), x)
    slope = (first(at + step) - first(at - step)) / (2 * step)
    np.testing.assert_allclose(second.array, slope, rtol=1e-6)


def test_prelu_has_a_slope_for_each_channel():
    x = leaf(np.array([[[-1.0, 2.0], [-3.0, 0.0]]]))  # (1, 2, 2)
    weight = leaf([0.5, 0.1])
    out = F.prelu(x, weight)
    out.backward(tensor(np.ones(out.shape)))
    np.testing.assert_allclose(out.array, [[[-0.5, 2], [-0.3, 0]]])
    np.testing.assert_allclose(x.grad.array, [[[0.5, 1], [0.1, 0.1]]])
    np.testing.assert_allclose(weight.grad.array, [-1, -3])
    with pytest.raises(ValueError, match=r"prelu: weight \(3,\) must be \(1,\) or \(2,\)"):
        F.prelu(x, leaf([1.0, 2.0, 3.0]))


def test_rrelu_draws_slopes_between_its_limits():
    x = leaf(-np.ones(1000))
    out = F.rrelu(x, 0.2, 0.4, training=True, generator=np.random.default_rng(0))
    slopes = -out.array
    assert 0.2 <= slopes.min() < 0.21
    assert 0.39 < slopes.max() <= 0.4
    out.backward(tensor(np.ones(1000)))
    np.testing.assert_allclose(x.grad.array, slopes)
    np.testing.assert_allclose(F.rrelu(x, 0.2, 0.4).array, -0.3)


def test_relu_takes_integers_and_half_precision():
    for dtype in (np.int64, np.float16):
        x = tensor(np.arange(-1000, 1000).astype(dtype))
        assert F.relu(x).dtype == dtype
        np.testing.assert_array_equal(F.relu(x).array, np.maximum(x.array, 0))
    half = leaf(np.linspace(-4, 4, 2000), np.float16)
    for name in ("relu", "gelu", "silu", "softplus", "elu", "leaky_relu", "sigmoid", "hardswish"):
        out = getattr(F, name)(half)
        (dx,) = grad(out.sum(), half)
        assert out.dtype == dx.dtype == np.float16, name


def test_extremes_stay_finite():
    x = leaf([-1e4, 1e4], np.float32)
    for name in ("sigmoid", "softplus", "logsigmoid", "silu", "gelu", "mish", "elu", "tanh"):
        out = getattr(F, name)(x)
        (dx,) = grad(out.sum(), x)
        assert np.isfinite(out.array).all(), name
        assert np.isfinite(dx.array).all(), name
    np.testing.assert_array_equal(F.logsigmoid(x).array, [-1e4, 0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.gelu(x, approximate="erf"), ValueError, "must be 'none' or 'tanh'"),
        (lambda x: F.hardtanh(x, 2.0, 1.0), ValueError, "min_val 2.0 must not exceed max_val 1.0"),
        (lambda x: F.softshrink(x, -1.0), ValueError, "lambd must be 0 or more, got -1.0"),
        (lambda x: F.celu(x, 0.0), ZeroDivisionError, "celu: alpha must not be 0"),
        (lambda x: F.elu(tensor([1])), TypeError, "elu: floating point is needed, got int64"),
        (lambda x: F.glu(x), RuntimeError, "glu: the size along dim -1 must be even"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call(leaf([1.0, 2.0, 3.0]))
