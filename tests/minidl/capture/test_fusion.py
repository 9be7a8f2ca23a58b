"""Runs of elementwise ops as one kernel: the same numbers, for any graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import kernels

UNARY = ("tanh", "sigmoid", "relu", "abs", "neg", "exp", "square", "gelu", "silu", "leaky_relu")
BINARY = ("add", "sub", "mul", "div")


def graph(draw):
    """Steps of a random program: (name, operands), each operand one of the values before."""
    steps, known = [], 4  # x, y, a row, a number as a tensor
    for _ in range(draw(st.integers(1, 14))):
        if draw(st.booleans()):
            steps.append((draw(st.sampled_from(UNARY)), draw(st.integers(0, known - 1)), None))
        else:
            other = draw(st.one_of(st.integers(0, known - 1), st.floats(0.5, 2.0, width=16)))
            steps.append((draw(st.sampled_from(BINARY)), draw(st.integers(0, known - 1)), other))
        known += 1
    return steps


def run(steps, *inputs):
    values = list(inputs)
    for name, first, second in steps:
        x = values[first]
        if second is None:
            if name in ("gelu", "silu", "leaky_relu"):
                out = getattr(minidl.nn.functional, name)(x)
            else:
                out = (x * 0.1).exp() if name == "exp" else getattr(x, name)()
        else:
            y = values[second] if isinstance(second, int) else second
            out = x / (abs(y) + 1.0) if name == "div" else getattr(x, name)(y)
        values.append(out * 0.5)
    return values


def step_of(steps):
    def step(*inputs):
        leaves = [x for x in inputs if x.requires_grad]
        for x in leaves:
            x.grad = None
        values = run(steps, *inputs)
        loss = sum((v * v).sum() * 0.1 for v in values[4:])
        loss.backward()
        return [loss, *[v.detach() for v in values[4:]]]

    return step


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_graphs(dtype, data):
    steps = graph(data.draw)
    shape = data.draw(st.sampled_from([(1,), (3, 4), (2, 5, 3), (70, 20)]))
    seed = data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)

    def inputs():
        shapes = (shape, shape, shape[-1:], ())
        return [minidl.tensor(rng.uniform(-2, 2, s).astype(dtype), requires_grad=True)
                for s in shapes]  # fmt: skip

    step = step_of(steps)
    fused, plain = minidl.capture(step), minidl.capture(step, fuse=False)
    for _ in range(3):
        given = inputs()
        results = []
        for form in (step, plain, fused):
            outs = form(*given)
            grads = [None if x.grad is None else x.grad.numpy().copy() for x in given]
            results.append([[o.detach().numpy().copy() for o in outs], grads])
        eager, same, near = results
        eps = np.finfo(dtype).eps
        for a, b, c in zip(eager[0] + eager[1], same[0] + same[1], near[0] + near[1]):
            if a is None:
                assert b is None
                assert c is None
                continue
            np.testing.assert_array_equal(a, b)
            scale = max(1.0, float(np.abs(a).max()))
            np.testing.assert_allclose(c, a, rtol=500 * eps, atol=500 * eps * scale)
    assert fused.replays == plain.replays == 1


def chain(x, c, length=40):
    for _ in range(length):
        x = (x * c + c).tanh() - c
    return x


def count_calls(step, *args):
    calls = []
    run = kernels.elementwise_program

    def counted(*given):
        calls.append(len(given[0]))
        run(*given)

    for program in step.programs:
        program._scope["run"] = counted
    step(*args)
    return calls


def test_a_chain_is_two_calls():
    x = minidl.tensor(np.full((8, 8), 0.5, np.float32), requires_grad=True)
    c = minidl.tensor(np.full((8, 8), 0.25, np.float32))

    @minidl.capture
    def step():
        x.grad = None
        chain(x, c).sum().backward()
        return x.grad

    for _ in range(3):
        got = step()
    assert count_calls(step) == [160, 82]  # forward; backward, sums pass through
    x.grad = None
    chain(x, c).sum().backward()
    np.testing.assert_allclose(got.numpy(), x.grad.numpy(), rtol=1e-5)


def test_inference_keeps_nothing_between():
    """Without a gradient, what passes between the ops of a run never reaches memory."""
    step = minidl.capture(lambda x, c: chain(x, c))
    x, c = (minidl.tensor(np.full((64, 64), v, np.float32)) for v in (0.5, 0.25))
    for _ in range(3):
        step(x, c)
    (program,) = step.programs
    assert program.nbytes <= 2 * x.array.nbytes
    assert count_calls(step, x, c) == [160]


def test_special_values():
    x = minidl.tensor([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1.0])

    def run(x):
        a = x * 2 + 1
        return a, a.relu(), a.tanh(), a.sigmoid(), (a / x), a.abs().sqrt()

    step = minidl.capture(run)
    for _ in range(3):
        outs = step(x)
    for got, want in zip(outs, run(x), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-6)


def test_large_arrays_on_any_number_of_threads():
    rng = np.random.default_rng(0)
    x, c = (minidl.tensor(rng.standard_normal((300, 401)).astype(np.float32)) for _ in range(2))
    row = minidl.tensor(rng.standard_normal(401).astype(np.float32))
    column = minidl.tensor(rng.standard_normal((300, 1)).astype(np.float32))

    def run(x, c):
        return chain((x + row) * column, c, 2)

    step = minidl.capture(run)
    results = []
    before = kernels.get_num_threads()
    try:
        for threads in (1, 1, 1, 2):
            kernels.set_num_threads(threads)
            results.append(step(x, c).numpy())
    finally:
        kernels.set_num_threads(before)
    np.testing.assert_array_equal(results[2], results[3])
    np.testing.assert_allclose(results[2], run(x, c).numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "steps",
    [
        [("mul", 2, 1), ("add", 2, 0)],
        [("mul", 2, 3), ("neg", 0, None), ("add", 4, 1)],
        [("add", 2, 0), ("tanh", 3, None), ("sub", 5, 3), ("silu", 2, None)],
    ],
)
def test_a_gradient_with_two_names_keeps_its_memory(steps):
    """Of row + x, x's gradient is the array summed for the row's; it must outlive the sum."""
    step = step_of(steps)
    captured, rng = minidl.capture(step), np.random.default_rng(0)
    for _ in range(3):
        arrays = [rng.uniform(-2, 2, shape) for shape in ((3, 4), (3, 4), (4,), ())]
        gradients = []
        for form in (step, captured):
            given = [minidl.tensor(a.copy(), requires_grad=True) for a in arrays]
            form(*given)
            gradients.append([None if x.grad is None else x.grad.numpy().copy() for x in given])
        for eager, replayed in zip(*gradients):
            assert (eager is None) == (replayed is None)
            if eager is not None:
                np.testing.assert_allclose(replayed, eager, rtol=1e-9, atol=1e-12)
