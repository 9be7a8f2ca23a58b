"""The vectorised functions against NumPy in extended precision, in units in the last place."""

import math

import numpy as np
import pytest

from minidl.kernels import ENABLED, kernel
from minidl.kernels._math import (
    erf,
    exp,
    exp_below,
    from_order_key,
    log,
    log1p,
    order_key,
    quick_erf,
    quick_sigmoid,
    sigmoid,
    tanh,
)

pytestmark = pytest.mark.skipif(not ENABLED, reason="MINIDL_JIT=0: there is no compiled code")


def _no_reference(x, y):
    raise AssertionError("these kernels are for this test only")


@kernel(reference=_no_reference)
def map_exp(x, y):
    for i in range(x.size):
        y[i] = exp(x[i])


@kernel(reference=_no_reference)
def map_exp_below(x, y):
    for i in range(x.size):
        y[i] = exp_below(x[i])


@kernel(reference=_no_reference)
def map_log(x, y):
    for i in range(x.size):
        y[i] = log(x[i])


@kernel(reference=_no_reference)
def map_log1p(x, y):
    for i in range(x.size):
        y[i] = log1p(x[i])


@kernel(reference=_no_reference)
def map_tanh(x, y):
    for i in range(x.size):
        y[i] = tanh(x[i])


@kernel(reference=_no_reference)
def map_sigmoid(x, y):
    for i in range(x.size):
        y[i] = sigmoid(x[i])


@kernel(reference=_no_reference)
def map_quick_sigmoid(x, y):
    for i in range(x.size):
        y[i] = quick_sigmoid(x[i])


@kernel(reference=_no_reference)
def map_erf(x, y):
    for i in range(x.size):
        y[i] = erf(x[i])


@kernel(reference=_no_reference)
def map_quick_erf(x, y):
    for i in range(x.size):
        y[i] = quick_erf(x[i])


@kernel(reference=_no_reference)
def map_order(x, y):
    for i in range(x.size):
        y[i] = from_order_key(order_key(x[i]))


EXACT = {
    "exp": (map_exp, np.exp),
    "log": (map_log, np.log),
    "log1p": (map_log1p, np.log1p),
    "tanh": (map_tanh, np.tanh),
    "sigmoid": (map_sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "quick_sigmoid": (map_quick_sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "erf": (map_erf, np.vectorize(math.erf, otypes=[np.longdouble])),
    "quick_erf": (map_quick_erf, np.vectorize(math.erf, otypes=[np.longdouble])),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_error_in_units_in_the_last_place(name, dtype):
    compiled, exact = EXACT[name]
    rng = np.random.default_rng(0)
    low, high = (-110, 95) if dtype is np.float32 else (-760, 720)  # past both ends of exp
    bits = 148 if dtype is np.float32 else 1070
    spread = 2.0 ** rng.uniform(-bits, 120, 20_000) * rng.choice([-1, 1], 20_000)
    parts = [rng.uniform(low, high, 20_000), rng.normal(size=20_000), spread]
    x = np.concatenate(parts).astype(dtype)
    if name in ("log", "log1p"):
        x = np.abs(x)
    if name == "quick_sigmoid":
        x = x[x >= -87]
    y = np.empty_like(x)
    compiled(x, y)
    with np.errstate(all="ignore"):
        truth = exact(x.astype(np.longdouble))
        rounded = truth.astype(dtype)
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(rounded))
        finite = np.isfinite(rounded)
        ulp = np.spacing(np.abs(rounded[finite])).astype(np.longdouble)
        error = np.abs(y[finite].astype(np.longdouble) - truth[finite]) / ulp
    assert error.max() <= (5.0 if name == "quick_erf" else 2.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exp", [np.nan, np.inf, 0, 1, 1]),
        ("log", [np.nan, np.inf, np.nan, -np.inf, -np.inf]),
        ("tanh", [np.nan, 1, -1, 0, -0.0]),
        ("sigmoid", [np.nan, 1, 0, 0.5, 0.5]),
        ("quick_sigmoid", [np.nan, 1, 0, 0.5, 0.5]),
        ("erf", [np.nan, 1, -1, 0, -0.0]),
        ("quick_erf", [np.nan, 1, -1, 0, -0.0]),
    ],
)
def test_nan_inf_and_signed_zero(name, expected, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
    y = np.full_like(x, 7)
    EXACT[name][0](x, y)
    if name == "quick_sigmoid" and dtype is np.float32:
        assert 0 < y[2] < 2e-38
        y[2] = 0
    np.testing.assert_array_equal(y, np.array(expected, dtype))
    np.testing.assert_array_equal(np.signbit(y[3:]), np.signbit(np.array(expected[3:], dtype)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_exp_below_zero(dtype):
    low = -87.2 if dtype is np.float32 else -700.0
    x = np.concatenate([np.linspace(low, 0, 50_000), -np.logspace(-30, 1, 1_000)]).astype(dtype)
    y = np.empty_like(x)
    map_exp_below(x, y)
    truth = np.exp(x.astype(np.longdouble))
    ulp = np.spacing(truth.astype(dtype)).astype(np.longdouble)
    error = np.abs(y.astype(np.longdouble) - truth) / ulp
    assert error.max() <= 5.0
    assert error[x > -20].max() <= 1.5
    odd = np.array([np.nan, np.nan, -np.inf, -1e30, 0.0, -0.0], dtype)
    odd[:1].view(np.int32 if dtype is np.float32 else np.int64)[0] |= 1  # a NaN with other bits
    y = np.empty_like(odd)
    map_exp_below(odd, y)
    np.testing.assert_array_equal(y, [np.nan, np.nan, 0, 0, 1, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_order_key_is_exact(dtype):
    x = np.array([-np.inf, -3.5, -0.0, 0.0, 1e-40, 2.0, np.inf, np.nan], dtype)
    y = np.empty_like(x)
    map_order(x, y)
    assert x.tobytes() == y.tobytes()
