"""Pooling against loops written from the definitions, and against torch."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import Tensor

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
geometries = st.fixed_dictionaries({
    "shape": st.tuples(*[st.integers(0, 2), st.integers(1, 2), *[st.integers(1, 8)] * 2]),
    "kernel": pairs, "stride": pairs, "dilation": pairs,
    "half": st.tuples(st.booleans(), st.booleans()), "ceil": st.booleans(),
})  # fmt: skip


def counts(n, kernel, stride, padding, dilation, ceil):
    """How many windows fit; with ceil also one cut short, if it begins before the input's end."""
    count = 0
    while True:
        start = count * stride - padding
        missing = start + dilation * (kernel - 1) - (n + padding - 1)
        if missing > 0 and not (ceil and missing < stride and start < n):
            return count
        count += 1


def regular(g, dilated):
    """(size, padding) of a pooling, None if it is refused."""
    dilation = g["dilation"] if dilated else (1, 1)
    padding = tuple(k // 2 if half else 0 for k, half in zip(g["kernel"], g["half"]))
    parts = zip(g["shape"][2:], g["kernel"], g["stride"], padding, dilation)
    size = [counts(n, k, s, p, d, g["ceil"]) for n, k, s, p, d in parts]
    return (size, padding) if min(size) > 0 else None


@settings(max_examples=100, deadline=None)
@given(geometries, st.integers(0, 2**32 - 1))
def test_max_pool2d_is_its_definition(g, seed):
    x = np.random.default_rng(seed).integers(-3, 3, g["shape"]).astype(float)  # with ties
    known = regular(g, True)
    if known is None:
        return
    size, padding = known
    arguments = g["kernel"], g["stride"], padding, g["dilation"], g["ceil"]
    starts = [-p + s * o for n, s, p in zip(size, g["stride"], padding) for o in range(n)]
    axes = [i for i, n in enumerate(size) for _ in range(n)]
    if any(t < 0 and t % g["dilation"][i] >= x.shape[2 + i] for t, i in zip(starts, axes)):
        with pytest.raises(ValueError, match="some windows have no tap in the input"):
            F.max_pool2d(Tensor(x), *arguments)
        return
    out, indices = F.max_pool2d(Tensor(x), *arguments, return_indices=True)
    plain = F.max_pool2d(Tensor(x), *arguments)
    assert out.shape == (*g["shape"][:2], *size)
    np.testing.assert_array_equal(out.numpy(), plain.numpy())
    for place in itertools.product(*map(range, out.shape)):
        best, where = -np.inf, None
        for i, j in itertools.product(*map(range, g["kernel"])):
            h = place[2] * g["stride"][0] + i * g["dilation"][0] - padding[0]
            w = place[3] * g["stride"][1] + j * g["dilation"][1] - padding[1]
            if 0 <= h < x.shape[2] and 0 <= w < x.shape[3] and x[(*place[:2], h, w)] > best:
                best, where = x[(*place[:2], h, w)], h * x.shape[3] + w
        assert out.numpy()[place] == best
        assert indices.numpy()[place] == where


@settings(max_examples=100, deadline=None)
@given(geometries, st.booleans(), st.sampled_from([None, 3]), st.integers(0, 2**32 - 1))
def test_avg_pool2d_is_its_definition(g, include, divisor, seed):
    x = np.random.default_rng(seed).standard_normal(g["shape"])
    known = regular(g, False)
    if known is None:
        return
    size, padding = known
    out = F.avg_pool2d(Tensor(x), g["kernel"], g["stride"], padding, g["ceil"], include, divisor)
    assert out.shape == (*g["shape"][:2], *size)
    for place in itertools.product(*map(range, out.shape)):
        total, inside, around = 0.0, 0, 0
        for i, j in itertools.product(*map(range, g["kernel"])):
            h = place[2] * g["stride"][0] + i - padding[0]
            w = place[3] * g["stride"][1] + j - padding[1]
            around += h < x.shape[2] + padding[0] and w < x.shape[3] + padding[1]
            if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                inside += 1
                total += x[(*place[:2], h, w)]
        size_ = divisor or (around if include else inside)
        if size_:
            np.testing.assert_allclose(out.numpy()[place], total / size_, rtol=1e-12, atol=1e-14)


def test_by_hand():
    x = minidl.tensor([[[1.0, 5.0, 2.0, 4.0, 3.0]]])
    assert F.max_pool1d(x, 2).tolist() == [[[5.0, 4.0]]]
    assert F.max_pool1d(x, 2, ceil_mode=True).tolist() == [[[5.0, 4.0, 3.0]]]
    np.testing.assert_allclose(F.avg_pool1d(x, 3, 2, 1).numpy(), [[[2.0, 11 / 3, 7 / 3]]])
    np.testing.assert_allclose(
        F.avg_pool1d(x, 3, 2, 1, count_include_pad=False).numpy(), [[[3.0, 11 / 3, 3.5]]]
    )
    np.testing.assert_allclose(F.adaptive_avg_pool1d(x, 2).numpy(), [[[8 / 3, 3.0]]])
    out, indices = F.adaptive_max_pool1d(x, 2, return_indices=True)
    assert (out.tolist(), indices.tolist()) == ([[[5.0, 4.0]]], [[[1, 3]]])
    assert F.max_unpool1d(out, indices, 2, output_size=(5,)).tolist() == [[[0.0, 5.0, 0, 4.0, 0]]]
    np.testing.assert_allclose(F.lp_pool1d(x, 2, 2).numpy(), np.sqrt([[[26.0, 20.0]]]))


def test_the_first_of_equals_gets_the_gradient():
    x = Tensor(np.array([[[2.0, 2.0, 2.0]]]), True)
    F.max_pool1d(x, 3).sum().backward()
    assert x.grad.tolist() == [[[1.0, 0.0, 0.0]]]


CALLS = {
    "max_pool2d": [(2,), (3, 2, 1), (3, 1, 1, 2), ((2, 3), None, 0, 1, True)],
    "avg_pool2d": [(2,), (3, 2, 1), (3, 2, 1, True, False), ((2, 3), 2, 0, True, True, 5)],
    "adaptive_avg_pool2d": [((3, 2),), ((None, 4),), (1,), (7,)],
    "adaptive_max_pool2d": [((3, 2),), ((None, 4),), (1,), (7,)],
    "lp_pool2d": [(2, 2), (3, (2, 3), 1, True)],
}


@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients_are_torchs(name, rng):
    torch = pytest.importorskip("torch")
    for arguments in CALLS[name]:
        for special in (False, True):
            x = rng.standard_normal((2, 3, 9, 10))
            if special and "max" in name:
                x = np.where(
                    rng.random(x.shape) < 0.3,
                    rng.choice([np.nan, np.inf, -np.inf, 0.0], x.shape),
                    x,
                )
            ours, theirs = Tensor(x.copy(), True), torch.tensor(x, requires_grad=True)
            out = getattr(F, name)(ours, *arguments)
            known = getattr(torch.nn.functional, name)(theirs, *arguments)
            np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), rtol=1e-9)
            weight = rng.standard_normal(out.shape)
            out.backward(Tensor(weight))
            known.backward(torch.tensor(weight))
            np.testing.assert_allclose(
                ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-8, atol=1e-12
            )


def test_pooling_and_back_is_torchs(rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 3, 7, 6))
    ours, theirs = Tensor(x.copy(), True), torch.tensor(x, requires_grad=True)
    out = F.max_unpool2d(*F.max_pool2d(ours, 2, return_indices=True), 2, output_size=(7, 6))
    call = torch.nn.functional
    known = call.max_unpool2d(
        *call.max_pool2d(theirs, 2, return_indices=True), 2, output_size=(7, 6)
    )
    np.testing.assert_array_equal(out.detach().numpy(), known.detach().numpy())
    (out**3).sum().backward()
    (known**3).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


def test_empty_batches_and_single_examples():
    assert F.max_pool2d(minidl.zeros(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    assert F.adaptive_max_pool2d(minidl.zeros(0, 3, 5, 4), (3, 3)).shape == (0, 3, 3, 3)
    assert F.adaptive_avg_pool2d(minidl.zeros(3, 5, 4), 1).shape == (3, 1, 1)
    out, indices = F.max_pool1d(minidl.zeros(3, 5), 2, return_indices=True)
    assert out.shape == indices.shape == (3, 2)


def test_errors():
    x = minidl.zeros(2, 3, 5, 5)
    for text, function, args in (
        (r"max_pool2d: input must be \(B, C, H, W\)", F.max_pool2d, (x[0, 0], 2)),
        ("at most half of kernel_size", F.max_pool2d, (x, 2, 2, 2)),
        ("at most half of kernel_size", F.avg_pool2d, (x, 3, 1, 2)),
        ("larger than the padded input", F.max_pool2d, (x, 6)),
        ("kernel_size must be", F.avg_pool2d, (x, 0)),
        ("stride must be", F.avg_pool2d, (x, 2, 0)),
        ("divisor_override must not be 0", F.avg_pool2d, (x, 2, 2, 0, False, True, 0)),
        ("output_size must be", F.adaptive_avg_pool2d, (x, (1, 2, 3))),
        ("must not be empty", F.adaptive_avg_pool2d, (x[:, :, :0], 2)),
        ("indices must be int64", F.max_unpool2d, (x, x, 2)),
        ("do not fit an output", F.max_unpool2d, (x, x.long() + 100, 2)),
    ):
        with pytest.raises(ValueError, match=text):
            function(*args)
    with pytest.raises(TypeError, match="floating point is needed"):
        F.max_pool2d(x.long(), 2)
