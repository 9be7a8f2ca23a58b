"""Scaled dot-product attention: by the formula, against torch, at the edges, and its memory."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.functional
import minidl.nn.functional as F
from minidl import set_num_threads, tensor
from minidl.kernels import get_num_threads
from minidl.ops.attention import ScaledDotProductAttention
from tests.oracles.torch_twin import Constant, compare

NAME = "nn.functional.scaled_dot_product_attention"


def naive(q, k, v, mask=None, causal=False, scale=None):
    """The formula in float64, and its gradients for an incoming gradient of ones * cos."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    s = scale * q @ np.swapaxes(k, -1, -2)
    if causal:
        s = np.where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isinf(top), 0, top))
    p = e / np.where(e.sum(-1, keepdims=True) == 0, 1, e.sum(-1, keepdims=True))
    out = p @ v
    dout = np.cos(np.arange(out.size)).reshape(out.shape)
    dp = dout @ np.swapaxes(v, -1, -2)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True))
    return out, scale * ds @ k, scale * np.swapaxes(ds, -1, -2) @ q, np.swapaxes(p, -1, -2) @ dout


def ours(q, k, v, mask=None, **options):
    given = [tensor(x, requires_grad=True) for x in (q, k, v)]
    mask = None if mask is None else tensor(mask)
    out = F.scaled_dot_product_attention(*given, mask, **options)
    dout = np.cos(np.arange(out.array.size)).reshape(out.shape)
    out.backward(tensor(dout.astype(out.dtype)))
    return [out.detach().numpy(), *(x.grad.numpy() for x in given)]


def same(got, want, tolerance):
    for name, g, w in zip(("out", "dq", "dk", "dv"), got, want):
        error = np.abs(g - w).max(initial=0) / (1 + np.abs(w).max(initial=0))
        assert error < tolerance, f"{name} differs by {error:.1e}"


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    lead = draw(st.lists(st.integers(1, 3), max_size=3))
    length, keys = (draw(st.sampled_from([1, 2, 7, 33, 130, 200])) for _ in range(2))
    width, depth = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    arrays = [rng.standard_normal((*lead, n, d))
              for n, d in ((length, width), (keys, width), (keys, depth))]  # fmt: skip
    kind = draw(st.sampled_from(["none", "bool", "float", "keys"]))
    shape = [draw(st.sampled_from([1, n])) for n in lead] + [length, keys]
    mask = None
    if kind == "keys":
        mask = rng.random((*shape[:-2], 1, keys)) < 0.7
    elif kind != "none":
        mask = rng.random(shape) < 0.6 if kind == "bool" else rng.standard_normal(shape)
    return arrays, mask, draw(st.booleans())


@given(problems())
@settings(max_examples=60, deadline=None)
def test_the_formula(problem):
    arrays, mask, causal = problem
    same(ours(*arrays, mask, is_causal=causal), naive(*arrays, mask, causal), 1e-12)
    single = [x.astype(np.float32) for x in arrays]
    got = ours(*single, mask, is_causal=causal)
    assert all(x.dtype == np.float32 for x in got)
    same(got, naive(*arrays, mask, causal), 1e-5)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}])
def test_as_torch(rng, options):
    shapes = ((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7))
    compare(NAME, *(rng.standard_normal(s) for s in shapes), **options)


def test_masks_as_torch(rng):
    arrays = [rng.standard_normal((2, 3, 5, 4)) for _ in range(3)]
    allowed = rng.random((2, 1, 5, 5)) < 0.6
    allowed[..., 0] = True
    compare(NAME, *arrays, Constant(allowed), order=1)  # torch's fused path knows no second order
    for lead in ((), (2, 1), (1, 3), (2, 3)):  # the mask has a gradient too
        compare(NAME, *arrays, rng.standard_normal((*lead, 5, 5)))


def test_grouped_queries_as_torch_and_as_repeated_keys(rng):
    q, k, v = (rng.standard_normal((2, h, 5, 4)) for h in (6, 2, 2))
    compare(NAME, q, k, v, enable_gqa=True, is_causal=True, order=1)
    out, dq, dk, dv = ours(q, k, v, enable_gqa=True)
    wide = ours(q, *(np.repeat(x, 3, axis=1) for x in (k, v)))
    parts = [x.reshape(2, 2, 3, 5, 4).sum(2) for x in wide[2:]]
    same([out, dq, dk, dv], [*wide[:2], *parts], 1e-12)
    mask = rng.random((2, 6, 5, 5)) < 0.8  # a mask for each query head
    same(ours(q, k, v, mask, enable_gqa=True)[:2],
         ours(q, *(np.repeat(x, 3, axis=1) for x in (k, v)), mask)[:2], 1e-12)  # fmt: skip


@pytest.mark.parametrize("lead", [(1, 6), (6,), (2, 1), (1, 1)])
def test_a_mask_beside_grouped_queries_has_a_gradient(rng, lead):
    q, k, v = (rng.standard_normal((2, h, 5, 4)) for h in (6, 2, 2))
    numbers = rng.standard_normal((*lead, 5, 5))
    grads = []
    for repeats in (1, 3):
        mask = tensor(numbers, requires_grad=True)
        given = q, np.repeat(k, repeats, axis=1), np.repeat(v, repeats, axis=1)
        out = F.scaled_dot_product_attention(*map(tensor, given), mask, enable_gqa=repeats == 1)
        (out * out).sum().backward()
        grads.append(mask.grad.array)
    np.testing.assert_allclose(*grads, atol=1e-12)


def test_a_query_that_sees_nothing_gives_0_and_no_gradient(rng):
    q, k, v = (rng.standard_normal((2, 4, 3)) for _ in range(3))
    for mask in (np.ones((4, 4), bool), np.zeros((4, 4))):
        mask[2] = False if mask.dtype == bool else -np.inf
        got = ours(q, k, v, mask)
        assert not got[0][:, 2].any()
        assert not got[1][:, 2].any()
        same(got, naive(q, k, v, mask), 1e-12)
    allowed = tensor(np.zeros((4, 4), bool))
    given = [tensor(x, requires_grad=True) for x in (q, k, v)]
    out = F.scaled_dot_product_attention(*given, allowed)
    parts = minidl.autograd.grad(out.sum(), given, create_graph=True)
    assert not out.array.any()
    assert not any(p.array.any() for p in parts)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_10_000_do_not_overflow(rng, dtype):
    q, k, v = (rng.standard_normal((2, 50, 3)).astype(dtype) for _ in range(3))
    q = q * dtype(1e4)
    got = ours(q, k, v, scale=1.0)
    assert all(np.isfinite(x).all() for x in got)
    np.testing.assert_allclose(got[0], naive(q, k, v, scale=1.0)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("length", [6, 600])
def test_nan_and_inf_stay_in_their_rows(rng, length):
    q, k, v = (rng.standard_normal((1, length, 3)) for _ in range(3))
    q[0, 2, 0], q[0, 4, 1] = np.nan, np.inf
    out = ours(q, k, v)[0][0]
    assert np.isnan(out[[2, 4]]).all()
    assert np.isfinite(out[[0, 1, 3, 5]]).all()
    k[0, 5] = np.nan
    late = ours(q, k, v, is_causal=True)[0][0]
    assert np.isfinite(late[[0, 1, 3]]).all()
    assert np.isnan(late[[2, 4, 5]]).all()


def test_dropout_is_the_same_in_any_cut(rng):
    """Several blocks against the composite, which makes the whole matrix at once."""
    arrays = [rng.standard_normal((2, 3, 140, 40)) for _ in range(3)]
    key = np.array([5], np.uint64)
    options = {"scale": 0.2, "causal": True, "dropout_p": 0.3}
    out, _ = ScaledDotProductAttention.forward(*arrays, None, key, keep=False, **options)
    twin = ScaledDotProductAttention.composite(
        minidl.functional, *(tensor(x) for x in arrays), None, tensor(key), **options
    )
    np.testing.assert_allclose(out, twin.numpy(), rtol=1e-10, atol=1e-12)


def test_dropout_keeps_the_mean_and_follows_the_seed():
    q = tensor(np.zeros((8, 64, 4), np.float32))
    v = tensor(np.ones((8, 64, 4), np.float32))
    minidl.manual_seed(3)
    out = F.scaled_dot_product_attention(q, q, v, dropout_p=0.25).numpy()
    assert abs(out.mean() - 1) < 0.01
    assert out.std() > 0.03
    minidl.manual_seed(3)
    again = F.scaled_dot_product_attention(q, q, v, dropout_p=0.25).numpy()
    np.testing.assert_array_equal(out, again)
    assert not F.scaled_dot_product_attention(q, q, v, dropout_p=1.0).numpy().any()


def test_the_bits_do_not_depend_on_threads(rng):
    arrays = [rng.standard_normal((6, 4, 200, 32)).astype(np.float32) for _ in range(3)]
    before, results = get_num_threads(), []
    try:
        for threads in (1, 2):
            set_num_threads(threads)
            results.append(ours(*arrays, is_causal=True))
    finally:
        set_num_threads(before)
    for one, two in zip(*results):
        assert one.tobytes() == two.tobytes()


def test_memory_is_linear_in_the_length(rng):
    """T = 4,096: a (T, T) implementation holds 268 MB in each of its arrays, and several."""
    shape = (1, 4, 4096, 32)
    arrays = [rng.standard_normal(shape).astype(np.float32) for _ in range(3)]
    ours(*(x[:, :, :64] for x in arrays))  # the kernels are compiled
    tracemalloc.start()
    try:
        got = ours(*arrays)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 4096 * 4096 * 4 / 8
    head = [x[:, 3] for x in arrays]
    out = np.zeros(shape, np.float32)
    dout = np.cos(np.arange(out.size)).reshape(shape)[:, 3]
    same([x[:, 3] for x in got], naive_in_rows(*head, dout), 1e-5)


def naive_in_rows(q, k, v, dout):
    """The formula for rows of queries at a time, in float64."""
    q, k, v = (x[0].astype(np.float64) for x in (q, k, v))
    out, dq, dk, dv = np.zeros_like(q), np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for i in range(0, len(q), 512):
        rows = slice(i, i + 512)
        s = q[rows] @ k.T / math.sqrt(q.shape[1])
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        dp = dout[0, rows] @ v.T
        ds = p * (dp - (p * dp).sum(-1, keepdims=True)) / math.sqrt(q.shape[1])
        out[rows], dq[rows] = p @ v, ds @ k
        dk += ds.T @ q[rows]
        dv += p.T @ dout[0, rows]
    return [x[None] for x in (out, dq, dk, dv)]


def test_half_precision_and_no_keys():
    q = tensor(np.ones((2, 3, 4), np.float16))
    assert F.scaled_dot_product_attention(q, q, q).dtype == np.float16
    empty = tensor(np.ones((2, 0, 4), np.float32))
    assert F.scaled_dot_product_attention(q.float(), empty, empty).array.sum() == 0


@pytest.mark.parametrize(
    ("shapes", "options", "text"),
    [
        (((3,), (3,), (3,)), {}, "query .* key .* value .* needed"),
        (((2, 3), (2, 4), (2, 4)), {}, "query and key must agree in the last axis"),
        (((2, 3), (2, 3), (4, 3)), {}, "key and value in the one before"),
        (((2, 5, 3), (3, 5, 3), (3, 5, 3)), {}, "enable_gqa"),
        (((1, 5, 2, 3), (1, 2, 2, 3), (1, 2, 2, 3)), {"enable_gqa": True}, "multiple"),
        (((2, 3), (2, 3), (2, 3)), {"dropout_p": 2}, "dropout_p must be from 0 to 1"),
        (((2, 3), (4, 3), (4, 3)), {"attn_mask": np.ones((2, 3), bool)}, r"broadcast to \(2, 4\)"),
        (((2, 3), (4, 3), (4, 3)), {"attn_mask": np.ones((2, 4), int)}, "bool or floating point"),
    ],
)
def test_what_does_not_fit_is_named(shapes, options, text):
    if "attn_mask" in options:
        options = {"attn_mask": tensor(options["attn_mask"])}
    with pytest.raises((ValueError, TypeError), match=text):
        F.scaled_dot_product_attention(*(tensor(np.ones(s)) for s in shapes), **options)
