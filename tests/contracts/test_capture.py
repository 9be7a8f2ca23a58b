"""Every op replays as it runs: the samplers of `tests/cases`, forward and backward, captured."""

import numpy as np
import pytest

import minidl
from minidl import CaptureError, Tensor
from minidl._apply import apply
from minidl.ops._op import REGISTRY
from tests.contracts.test_ops import CASES

# Ops that cannot be captured, and the reason that the error must give.
REFUSED: dict[str, str] = {}


def tensors_of(op, case, factor):
    """The case's arrays as tensors, float ones times a factor that keeps their signs."""
    tensors = []
    for name, x in zip(op.arrays, case.arrays):
        if isinstance(x, np.ndarray):
            real = x.dtype.kind == "f"
            array = np.array(x * x.dtype.type(factor) if real and name not in op.constants else x)
            wants = real and op.differentiable and name not in op.constants
            tensors.append(Tensor(array, requires_grad=wants))
        else:
            tensors.append(x)
    return tensors


def run(op, settings, *tensors):
    """The outputs, and the gradients of a weighted sum of them."""
    out = apply(op, *tensors, **settings)
    outs = out if isinstance(out, tuple) else (out,)
    pairs = [(o, o.detach() * 0.5 + 1) for o in outs if o.requires_grad]
    wanted = [t for t in tensors if isinstance(t, Tensor) and t.requires_grad]
    if not pairs or not wanted:
        return outs, ()
    total = [(o * w).sum() for o, w in pairs]
    loss = total[0]
    for part in total[1:]:
        loss = loss + part
    return outs, minidl.grad(loss, wanted, allow_unused=True)


@pytest.mark.parametrize("fuse", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_replay_equals_eager(name, fuse):
    op = REGISTRY[name]
    for case in CASES[name](np.random.default_rng(0))[:4]:
        step = minidl.capture(lambda *x, s=case.settings: run(op, s, *x), fuse=fuse)
        for factor in (1.0, 0.75, 0.875, 0.625):
            tensors = tensors_of(op, case, factor)
            try:
                outs, grads = step(*tensors)
            except CaptureError as error:
                refusal = str(error)
                break
            expected, slopes = run(op, case.settings, *tensors)
            for got, want in zip((*outs, *grads), (*expected, *slopes), strict=True):
                if want is None:
                    assert got is None
                elif fuse:
                    close(got, want)
                else:
                    same(got, want)
        else:
            refusal = ""
            assert step.replays == 2
        assert REFUSED.get(name, "") in refusal, f"{name} can be captured: take it off the list"
        assert not refusal or name in REFUSED, refusal


def arrays(x):
    return [x.rows, x.values] if isinstance(x, minidl.RowSparse) else [x.array]


def same(got, want):
    for a, b in zip(arrays(got), arrays(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def close(got, want):
    for a, b in zip(arrays(got), arrays(want), strict=True):
        assert a.dtype == b.dtype
        if a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b)
        else:
            eps = np.finfo(a.dtype).eps
            np.testing.assert_allclose(a, b, rtol=32 * eps, atol=32 * eps)


def twice(op, settings, *tensors):
    """Gradients of a weighted sum, and the gradients of a weighted sum of their squares."""
    wanted = [t for t in tensors if isinstance(t, Tensor) and t.requires_grad]
    out = apply(op, *tensors, **settings)
    parts = [(o * o).sum() for o in (out if isinstance(out, tuple) else (out,)) if o.requires_grad]
    if not parts or not wanted:
        return []
    loss = sum(parts[1:], parts[0])
    grads = minidl.grad(loss, wanted, create_graph=True, allow_unused=True)
    grads = [g for g in grads if isinstance(g, Tensor)]
    parts = [(g * g).sum() for g in grads if g.requires_grad]
    if not parts:
        return grads
    return [*grads, *minidl.grad(sum(parts[1:], parts[0]), wanted, allow_unused=True)]


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_second_derivatives_are_no_constants(name):
    """What an op saved or computes from it (masks, means, signs) follows the arguments."""
    op = REGISTRY[name]
    for case in [c for c in CASES[name](np.random.default_rng(0)) if c.order2][:3]:
        step = minidl.capture(lambda *x, s=case.settings: twice(op, s, *x), fuse=False)
        for factor in (1.0, 1.0, 0.75, -0.625):  # equal when recorded: a constant would pass
            tensors = tensors_of(op, case, factor)
            try:
                expected = twice(op, case.settings, *tensors)
            except (ValueError, IndexError, np.linalg.LinAlgError):
                break  # values that the op refuses
            try:
                found = step(*tensors)
            except CaptureError:
                break  # refused aloud
            for got, want in zip(found, expected, strict=True):
                if want is None:
                    assert got is None
                else:
                    same(got, want)
