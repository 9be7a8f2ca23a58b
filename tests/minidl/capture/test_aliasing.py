"""Second names of an array, views and gradients that are passed on: a replay has eager's numbers.

Each of these was once wrong, in silence, and found by PyTorch's operator samples run in captured
steps. The data change from call to call, and what earlier calls returned must stay as it was.
"""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn import functional as F


def differences(x, t):
    """Views that begin inside the result of a sum, read by a fused run."""
    return (x - t).diff(n=2) + (x + t)[2:].tanh() * x[2:] if x.ndim == 1 else (x + t).diff(n=2)


def passed_on(x, t):
    """The gradient of `-` is that of the first operand, and goes on to an op that is not fused."""
    return t.xlogy(t) - t * x


def spread(x, t):
    """The gradient of a sum, one number seen everywhere, through `+` alone."""
    part = (x * t).tanh() * t
    return part + (part * x).masked_fill(t < 1, 0.0)


def root_of_sum(x, t):
    """A power of one element, in a run."""
    return minidl.linalg.norm((x - t).reshape(-1), 0.5, keepdim=True)


def windows(x, t):
    """A view made by strides, which is returned."""
    return x.unfold(0, 3, 1)


def halves(x, t):
    """Two slices whose gradients are summed in a run, and stay a leaf's gradient."""
    return x[:2] * t[:2] + x[-2:] * x[:2]


CASES = (differences, passed_on, spread, root_of_sum, windows, halves,
         lambda x, t: F.poisson_nll_loss(x, t, full=True, reduction="none"),
         lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=t),
         lambda x, t: F.kl_div(x.log_softmax(0), t, reduction="batchmean"))  # fmt: skip


@pytest.mark.parametrize("closed", [False, True], ids=["argument", "older"])
@pytest.mark.parametrize("shape", [(7,), (5, 6)])
@pytest.mark.parametrize("function", CASES)
def test_replays_are_eager(rng, function, shape, closed):
    first = minidl.tensor(np.zeros(shape), requires_grad=True)
    second = minidl.tensor(np.zeros(shape), requires_grad=True)

    def step(x, t):
        y = function(x, t)
        y.sum().backward()
        return y

    captured = minidl.capture((lambda: step(first, second)) if closed else step)
    kept = []
    for call in range(5):
        data = rng.standard_normal(shape), rng.uniform(0.2, 2, shape)
        x, t = (minidl.tensor(d, requires_grad=True) for d in data)
        expected = step(x, t).numpy(force=True)
        if closed:
            with minidl.no_grad():
                first.copy_(minidl.tensor(data[0]))
                second.copy_(minidl.tensor(data[1]))
            first.grad = second.grad = None
            got, leaves = captured(), (first, second)
        else:
            leaves = tuple([minidl.tensor(d, requires_grad=True) for d in data])
            got = captured(*leaves)
        kept.append((call, got.numpy(), expected.copy()))
        for leaf, right in zip(leaves, (x, t)):
            assert (leaf.grad is None) == (right.grad is None)
            if right.grad is not None:
                np.testing.assert_allclose(leaf.grad.numpy(), right.grad.numpy(), rtol=1e-9)
    for call, values, expected in kept:
        np.testing.assert_allclose(values, expected, rtol=1e-9, err_msg=f"call {call}")
    assert captured.replays == 3


def test_attention_without_its_own_batch(rng):
    """One packed projection for three inputs: its gradient is a sum of slices' gradients."""
    minidl.manual_seed(0)
    attention = nn.MultiheadAttention(3, 1)
    scale = minidl.tensor(np.arange(9, dtype=np.float32).reshape(3, 3))

    def step(*inputs):
        attention.zero_grad()
        y, shares = attention(*inputs)
        ((y * scale).sum() + (shares * scale).sum()).backward()
        return y

    captured = minidl.capture(step)
    for _ in range(4):
        inputs = [minidl.tensor(rng.standard_normal((3, 3)).astype(np.float32)) for _ in range(3)]
        captured(*inputs)
        got = {name: p.grad.numpy().copy() for name, p in attention.named_parameters()}
        step(*inputs)
        for name, p in attention.named_parameters():
            np.testing.assert_allclose(got[name], p.grad.numpy(), rtol=1e-4, atol=1e-5)
    assert captured.replays == 2


def test_halves_of_a_turned_array(rng):
    """Columns of an array in Fortran's order are contiguous; of a run's result they are not."""

    def run(x):
        (slope,) = minidl.grad(F.glu(x, 0).sum(), [x], create_graph=True)
        (second,) = minidl.grad((slope * slope).sum(), [x])
        return slope, second

    step = minidl.capture(run)
    for _ in range(4):
        x = minidl.tensor(rng.standard_normal((2, 4)), requires_grad=True)
        for got, want in zip(step(x), run(x), strict=True):
            np.testing.assert_allclose(got.detach().array, want.detach().array, rtol=1e-12)
    assert step.replays == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_counts_of_ignored_classes_are_no_conditions(rng, weighted):
    weight = minidl.tensor(rng.random(5)) if weighted else None

    def run(x, target):
        loss = F.cross_entropy(x, target, weight, ignore_index=0)
        pooled, places = F.max_pool1d(x[None], 2, return_indices=True)
        return loss, pooled, places

    step = minidl.capture(run, fuse=False)
    for ignored in (1, 2, 3, 5):
        target = rng.integers(1, 5, 8)
        target[:ignored] = 0
        given = minidl.tensor(rng.standard_normal((8, 5))), minidl.tensor(target)
        for got, want in zip(step(*given), run(*given), strict=True):
            np.testing.assert_array_equal(got.array, want.array)
    assert step.replays == 2
