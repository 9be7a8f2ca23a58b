"""Elementwise functions: values, edges, operators, branches not taken, messages."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import grad, tensor

nan, inf = math.nan, math.inf
EDGES = [
    nan, inf, -inf, 0.0, -0.0, 5e-324, 1e-310, -1e-310, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0,
    0.3, 2.5, 1.5, 1e4, -1e4, 1e300, -1e300,
]  # fmt: skip
UNARY = [
    "neg", "abs", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "rsqrt",
    "square", "reciprocal", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "sigmoid", "logit", "erf", "erfc", "erfinv", "sign", "floor", "ceil",
    "round", "trunc", "frac", "sinc", "nan_to_num",
]  # fmt: skip
BINARY = [
    "add", "sub", "mul", "div", "pow", "atan2", "hypot", "logaddexp", "logaddexp2", "xlogy", "fmod",
    "remainder", "maximum", "minimum", "fmax", "fmin",
]  # fmt: skip
PAIR_EDGES = [nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5, 1e300]


def leaf(values, dtype=np.float64):
    with np.errstate(all="ignore"):
        return tensor(np.asarray(values).astype(dtype), requires_grad=True)


@pytest.mark.parametrize("name", UNARY)
def test_edges_of_one_argument_are_torchs(name):
    torch = pytest.importorskip("torch")
    for dtype in (np.float64, np.float32):
        x = leaf(EDGES, dtype)
        t = torch.tensor(x.array.copy(), requires_grad=True)
        want = getattr(torch, name)(t)
        want.backward(torch.ones_like(want))
        with np.errstate(all="ignore"):
            got = getattr(minidl, name)(x)
            got.backward(tensor(np.ones_like(x.array)))
            same(got.array, want, dtype)
            if dtype == np.float64:  # in float32 both are rounded values of a steep curve
                same(x.grad.array, t.grad, dtype)
        assert got.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("name", BINARY)
def test_edges_of_two_arguments_are_torchs(name):
    torch = pytest.importorskip("torch")
    first, second = np.meshgrid(PAIR_EDGES, PAIR_EDGES)
    x, y = leaf(first.ravel()), leaf(second.ravel())
    t, u = (torch.tensor(a.array.copy(), requires_grad=True) for a in (x, y))
    want = getattr(torch, name)(t, u)
    want.sum().backward()
    with np.errstate(all="ignore"):
        got = getattr(minidl, name)(x, y)
        got.backward(tensor(np.ones(got.shape)))
    same(got.array, want, np.float64)
    chosen = np.ones(got.shape, bool)
    if name == "xlogy":  # our derivative in y is 0 where x is, torch's NaN at y = 0
        chosen = x.array != 0
    if name.startswith("logaddexp"):  # equal infinities share the gradient, torch gives NaN
        chosen = ~(np.isinf(x.array) & (x.array == y.array))
    same(x.grad.array[chosen], t.grad[torch.tensor(chosen)], np.float64)
    same(y.grad.array[chosen], u.grad[torch.tensor(chosen)], np.float64)


def same(got, want, dtype):
    rtol = 1e-9 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=rtol, atol=1e-16)


# name, x, value, derivative: by hand, for where torch is not installed
BY_HAND = [
    ("exp2", 3.0, 8.0, 8 * math.log(2)),
    ("log2", 8.0, 3.0, 1 / (8 * math.log(2))),
    ("log10", 1000.0, 3.0, 1 / (1000 * math.log(10))),
    ("log1p", 1e-20, 1e-20, 1.0),
    ("expm1", 1e-20, 1e-20, 1.0),
    ("rsqrt", 4.0, 0.5, -1 / 16),
    ("reciprocal", 4.0, 0.25, -1 / 16),
    ("square", 3.0, 9.0, 6.0),
    ("tan", 0.3, math.tan(0.3), 1 + math.tan(0.3) ** 2),
    ("asin", 0.5, math.pi / 6, 1 / math.sqrt(0.75)),
    ("acosh", 2.0, math.acosh(2), 1 / math.sqrt(3)),
    ("atanh", 0.5, math.atanh(0.5), 1 / 0.75),
    ("logit", 0.8, math.log(4), 1 / 0.16),
    ("erf", 0.5, math.erf(0.5), 2 / math.sqrt(math.pi) * math.exp(-0.25)),
    ("erfc", 10.0, math.erfc(10.0), -2 / math.sqrt(math.pi) * math.exp(-100)),
    ("erfinv", math.erf(0.7), 0.7, math.sqrt(math.pi) / 2 * math.exp(0.49)),
    ("sigmoid", -1e4, 0.0, 0.0),
    ("sigmoid", 1e4, 1.0, 0.0),
    ("sinc", 0.0, 1.0, 0.0),
    ("sinc", 0.5, 2 / math.pi, -4 / math.pi),
    ("abs", 0.0, 0.0, 0.0),
    ("frac", -2.75, -0.75, 1.0),
    ("round", 2.5, 2.0, 0.0),
    ("trunc", -2.5, -2.0, 0.0),
    ("sign", -0.3, -1.0, 0.0),
]


@pytest.mark.parametrize(("name", "x", "value", "slope"), BY_HAND)
def test_by_hand(name, x, value, slope):
    t = leaf(x)
    out = getattr(t, name)()
    out.backward()
    assert out.item() == pytest.approx(value, rel=1e-14, abs=1e-300)
    assert t.grad.item() == pytest.approx(slope, rel=1e-13, abs=1e-300)


def test_erfinv_inverts_erf_into_the_tails():
    x = np.array([1e-300, 1e-9, 0.1, 0.5, 0.9, 0.999999, 1 - 1e-15])
    out = tensor(np.concatenate([x, -x])).erfinv().array
    np.testing.assert_allclose(out[7:], -out[:7])
    tails = [math.erfc(v) for v in out[3:7]]
    np.testing.assert_allclose(tails, 1 - x[3:], rtol=1e-12)
    np.testing.assert_allclose([math.erf(v) for v in out[:4]], x[:4], rtol=1e-14)


BRANCHES = {
    "sqrt": (lambda x: x.sqrt(), 0.0),
    "rsqrt": (lambda x: x.rsqrt(), 0.0),
    "log": (lambda x: x.log(), 0.0),
    "log2": (lambda x: x.log2(), 0.0),
    "log10": (lambda x: x.log10(), 0.0),
    "log1p": (lambda x: x.log1p(), -1.0),
    "reciprocal": (lambda x: x.reciprocal(), 0.0),
    "div": (lambda x: x / x, 0.0),
    "pow": (lambda x: x**0.5, 0.0),
    "pow of tensors": (lambda x: x**x, -1.0),
    "asin": (lambda x: x.asin(), 1.0),
    "acos": (lambda x: x.acos(), -1.0),
    "acosh": (lambda x: x.acosh(), 1.0),
    "atanh": (lambda x: x.atanh(), 1.0),
    "logit": (lambda x: x.logit(), 1.0),
    "erfinv": (lambda x: x.erfinv(), 1.0),
    "exp": (lambda x: x.exp(), inf),
    "sinh": (lambda x: x.sinh(), inf),
    "xlogy": (lambda x: minidl.xlogy(x + 1.0, x), 0.0),
    "atan2": (lambda x: x.atan2(x), 0.0),
    "hypot": (lambda x: x.hypot(x), 0.0),
}


@pytest.mark.parametrize("name", sorted(BRANCHES))
def test_a_branch_that_was_not_taken_sends_nothing_back(name):
    function, pole = BRANCHES[name]
    x = leaf([pole, pole])
    keep = tensor(np.array([False, True]))
    out = minidl.where(keep, 0.0, function(x))  # only the first element is used
    used = minidl.where(tensor(np.array([True, True])), 0.0, out)
    (dx,) = grad(used.sum(), x, create_graph=True)
    np.testing.assert_array_equal(dx.array, [0, 0])
    (second,) = grad(dx.sum(), x, allow_unused=True, materialize_grads=True)
    np.testing.assert_array_equal(second.array, [0, 0])


NAMES = ["add", "sub", "mul", "div", "maximum", "atan2", "logaddexp", "remainder"]
shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)


@given(shapes, st.sampled_from(NAMES))
@settings(max_examples=60, deadline=None)
def test_broadcast_gradients_are_sums(both, name):
    """A gradient of broadcast arguments is that of expanded ones, summed over the copies."""
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.5, 2.0, shape) for shape in both.input_shapes]
    weights = rng.standard_normal(both.result_shape)
    function = getattr(minidl, name)
    x, y = (leaf(a) for a in arrays)
    function(x, y).backward(tensor(weights))
    full = [leaf(np.broadcast_to(a, both.result_shape).copy()) for a in arrays]
    function(*full).backward(tensor(weights))
    for small, large in zip((x, y), full):
        copies = large.grad.array
        added = copies.ndim - small.ndim
        copies = copies.sum(axis=tuple(range(added)))
        ones = tuple(i for i, n in enumerate(small.shape) if n == 1)
        expected = copies.sum(axis=ones, keepdims=True)
        assert small.grad.shape == small.shape
        np.testing.assert_allclose(small.grad.array, expected, rtol=1e-12, atol=1e-12)


def test_operators_both_ways():
    x, array = leaf([-3.0, 2.0]), np.array([2.0, 4.0])
    for number in (2.0, 2, np.float64(2), array):
        np.testing.assert_array_equal((number - x).array, number - x.array)
        np.testing.assert_array_equal((number / x).array, number / x.array)
        np.testing.assert_array_equal((x // number).array, x.array // number)
        np.testing.assert_array_equal((number // x).array, number // x.array)
        np.testing.assert_array_equal((x % number).array, x.array % number)
        np.testing.assert_array_equal((number % x).array, number % x.array)
        np.testing.assert_allclose((number**x).array, number**x.array)
        np.testing.assert_array_equal((number < x).array, number < x.array)
        np.testing.assert_array_equal((number == x).array, number == x.array)
    assert abs(x).array.tolist() == [3, 2]
    assert abs(tensor([-3, 2])).tolist() == [3, 2]
    assert abs(tensor([True])).tolist() == [True]
    assert isinstance(array * x, minidl.Tensor)
    assert (x == "text") is False
    assert (x != None) is True  # noqa: E711


def test_bits_and_logic():
    a, b = tensor([True, True, False]), tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (a | b).tolist() == [True, True, False]
    assert (a ^ b).tolist() == [False, True, False]
    assert (~a).tolist() == [False, False, True]
    n = tensor([6, 3])
    assert (n & 2).tolist() == (2 & n).tolist() == [2, 2]
    assert (n | 8).tolist() == [14, 11]
    assert (~n).tolist() == [-7, -4]
    assert (n & tensor([True, True])).dtype == np.int64
    assert n.logical_xor(tensor([0.0, 1.0])).tolist() == [True, False]
    with pytest.raises(TypeError, match=r"bitwise_and: bool or integers are needed, got float32"):
        tensor([1.0]) & tensor([1.0])


def test_closeness_and_equality():
    x = tensor([1.0, inf, nan])
    assert minidl.isclose(x, x).tolist() == [True, True, False]
    assert minidl.isclose(x, x, equal_nan=True).tolist() == [True, True, True]
    assert minidl.allclose(tensor([1.0]), tensor([1.0 + 1e-6]))
    assert not minidl.allclose(tensor([1.0]), tensor([1.001]))
    assert minidl.equal(tensor([1, 2]), tensor([1, 2]))
    assert not minidl.equal(tensor([1, 2]), tensor([[1, 2]]))
    assert tensor([-0.0, 0.0]).signbit().tolist() == [True, False]


def test_integer_division():
    x, y = tensor([-7, 7, -7, 7]), tensor([2, 2, -2, -2])
    assert (x // y).tolist() == [-4, 3, 3, -4]
    assert minidl.div(x, y, rounding_mode="trunc").tolist() == [-3, 3, 3, -3]
    assert (x % y).tolist() == [1, 1, -1, -1]
    assert minidl.fmod(x, y).tolist() == [-1, 1, -1, 1]
    for function in (minidl.floor_divide, minidl.remainder, minidl.fmod):
        with pytest.raises(ZeroDivisionError, match="integers cannot be divided by 0"):
            function(x, 0)


def test_limits_and_their_gradients():
    x = leaf([-2.0, -1.0, 0.0, 1.0, 2.0, nan])
    out = x.clamp(-1, 1)
    out.backward(tensor(np.ones(6)))
    np.testing.assert_array_equal(out.array, [-1, -1, 0, 1, 1, nan])
    np.testing.assert_array_equal(x.grad.array[:5], [0, 1, 1, 1, 0])
    low = leaf([0.0, -3.0])
    y = leaf([-2.0, -2.0])
    y.clamp(low, 5.0).backward(tensor(np.ones(2)))
    np.testing.assert_array_equal(y.grad.array, [0, 1])
    np.testing.assert_array_equal(low.grad.array, [1, 0])


def test_equal_ones_share_the_gradient_of_a_maximum():
    x, y = leaf([1.0, inf, 3.0]), leaf([1.0, inf, 2.0])
    out = minidl.maximum(x, y)
    np.testing.assert_array_equal(out.array, [1, inf, 3])
    out.backward(tensor(np.ones(3)))
    np.testing.assert_array_equal(x.grad.array, [0.5, 0.5, 1])
    np.testing.assert_array_equal(y.grad.array, [0.5, 0.5, 0])


def test_large_arrays_choose_as_small_ones(rng):
    """From some size on, bits and kernels choose: the same values, the same signs."""
    x = rng.standard_normal(5000).astype(np.float32)
    x[:6] = [nan, inf, -inf, 0.0, -0.0, 1e-40]
    keep = rng.random(5000) < 0.5
    for function in (
        lambda t, k: minidl.where(tensor(k), t, t * 2.0),
        lambda t, k: t.masked(k),
        lambda t, k: t.relu(),
        lambda t, k: t.clamp(-0.5, 0.5),
        lambda t, k: t.sigmoid(),
    ):
        large = leaf(x, np.float32)
        out = function(large, keep)
        out.backward(tensor(np.ones(5000, np.float32)))
        parts, grads = [], []
        for start in range(0, 5000, 500):
            small = leaf(x[start : start + 500], np.float32)
            part = function(small, keep[start : start + 500])
            part.backward(tensor(np.ones(500, np.float32)))
            parts.append(part.array)
            grads.append(small.grad.array)
        np.testing.assert_allclose(out.array, np.concatenate(parts), rtol=3e-7)
        np.testing.assert_allclose(large.grad.array, np.concatenate(grads), rtol=3e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.clamp(), RuntimeError, "clamp: at least one of min and max"),
        (lambda x: x.clamp("a"), TypeError, "clamp: min must be a number or a Tensor, got str"),
        (lambda x: minidl.div(x, 2, rounding_mode="up"), ValueError, "rounding_mode 'up' must be"),
        (lambda x: tensor([2]) ** -1, ValueError, "negative integer powers"),
        (lambda x: tensor([True]) ** tensor([True]), TypeError, "bool tensors have no powers"),
        (lambda x: minidl.exp(2.0), TypeError, "exp: a Tensor is needed, got float"),
        (
            lambda x: tensor([1]).masked_fill(tensor([True]), -inf),
            ValueError,
            "masked_fill: -inf does not fit a tensor of int64",
        ),
        (lambda x: x.masked_fill(x, 1.0), TypeError, "mask must be bool, got float64"),
        (lambda x: x < tensor([1.0] * 3), ValueError, r"lt: shapes \(2,\) and \(3,\) do not"),
        (lambda x: minidl.maximum(x, tensor([1.0] * 3)), ValueError, "maximum: shapes do not"),
        (lambda x: minidl.isclose(x, tensor([1, 2])), TypeError, "float64 and int64 differ"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call(leaf([1.0, 2.0]))
