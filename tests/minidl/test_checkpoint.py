"""Checkpointed segments against plain calls: values, gradients, masks and memory."""

import tracemalloc

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn
from minidl.nn import functional as F
from minidl.utils.checkpoint import checkpoint, checkpoint_sequential


def block(width=6, p=0.0):
    return nn.Sequential(nn.Linear(width, 2 * width), nn.Tanh(), nn.Dropout(p),
                         nn.Linear(2 * width, width))  # fmt: skip


def gradients(model, run, x):
    model.zero_grad()
    x = Tensor(x.copy(), requires_grad=True)
    minidl.manual_seed(7)
    out = run(x * 1.0)  # a node outside the segment
    (out**2).sum().backward()
    parts = [p.grad.numpy().copy() for p in model.parameters()]
    return [out.detach().numpy(), x.grad.numpy(), *parts]


def assert_same(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_gradients_and_masks_are_those_of_the_plain_call(p, rng):
    model = nn.Sequential(block(p=p), block(p=p), block(p=p))
    x = rng.standard_normal((5, 6)).astype(np.float32)

    def checked(x):
        for part in model:
            x = checkpoint(part, x, use_reentrant=False)
        return x

    plain = gradients(model, model, x)
    assert_same(gradients(model, checked, x), plain)
    assert_same(gradients(model, lambda x: checkpoint_sequential(model, 2, x), x), plain)
    nested = lambda x: checkpoint(lambda x: checkpoint(model[1], model[0](x)) + x, x)
    plain = lambda x: model[1](model[0](x)) + x
    assert_same(gradients(model[:2], nested, x), gradients(model[:2], plain, x))


def test_the_generator_goes_on_after_backward():
    layer = nn.Dropout(0.5)
    x = minidl.ones(100, requires_grad=True)
    minidl.manual_seed(0)
    out = checkpoint(layer, x)
    middle = minidl.rand(3).numpy()
    out.sum().backward()
    after = minidl.rand(3).numpy()
    np.testing.assert_array_equal(x.grad.numpy(), out.detach().numpy())
    minidl.manual_seed(0)
    layer(x)
    np.testing.assert_array_equal(minidl.rand(3).numpy(), middle)
    np.testing.assert_array_equal(minidl.rand(3).numpy(), after)


def test_nested_results_and_arguments(rng):
    w = Tensor(rng.standard_normal(3), requires_grad=True)
    x = Tensor(rng.standard_normal(3), requires_grad=True)
    y = x.exp()

    def f(pair, *, scale):
        a, b = pair
        return {"a": a * w * scale, "b": (b * b * y, "text"), "c": a.detach()}

    def total(out):
        return (out["a"] * out["b"][0]).sum() + out["c"].sum() + out["a"].sum()

    out = checkpoint(f, (y, x), scale=3.0)
    assert out["b"][1] == "text"
    assert not out["c"].requires_grad
    known = minidl.grad(total(f((y, x), scale=3.0)), (w, x), retain_graph=True)
    for a, b in zip(minidl.grad(total(out), (w, x)), known):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-14)
    only = checkpoint(f, (x, x), scale=2.0)["a"]  # the other output is not used
    (part,) = minidl.grad(only.sum(), w)
    np.testing.assert_allclose(part.numpy(), 2 * x.detach().numpy())


def test_an_argument_used_inside_and_outside(rng):
    """The walk that is under way keeps what it has gathered at the segment's arguments."""
    x = Tensor(rng.standard_normal(4), requires_grad=True)

    def loss(wrap):
        h = x.sin()
        out = wrap(lambda h: h * h * x, h)
        return (out * h).sum() + h.sum()

    plain = minidl.grad(loss(lambda f, h: f(h)), x)[0]
    np.testing.assert_allclose(minidl.grad(loss(checkpoint), x)[0].numpy(), plain.numpy())
    calls = []
    x.register_hook(lambda g: calls.append(1))
    loss(checkpoint).backward()
    assert calls == [1]
    np.testing.assert_allclose(x.grad.numpy(), plain.numpy())


def test_second_derivatives(rng):
    model = block().double()
    x = Tensor(rng.standard_normal((2, 6)), requires_grad=True)

    def second(run):
        (slope,) = minidl.grad((run(x.sin()) ** 2).sum(), x, create_graph=True)
        return minidl.grad((slope**2).sum(), [x, *model.parameters()], allow_unused=True)

    for a, b in zip(second(lambda h: checkpoint(model, h)), second(model)):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10)


def test_row_sparse_gradients():
    table = nn.Embedding(8, 3, sparse=True)
    ids = minidl.tensor([1, 5, 1])
    checkpoint(lambda: (table(ids) ** 2).sum()).backward()
    grad = table.weight.grad
    assert isinstance(grad, minidl.RowSparse)
    np.testing.assert_allclose(grad.to_dense()[5], 2 * table.weight.detach().numpy()[5], rtol=1e-6)


def peak(run):
    tracemalloc.start()
    try:
        run().sum().backward()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_falls():
    """12 blocks, each of 5 activations of 1 MB: one block's activations and 12 inputs are left."""
    x = minidl.zeros(1024, 256)
    blocks = [lambda x: F.relu(x * 2.0).sigmoid().tanh().exp().sqrt() for _ in range(12)]
    w = minidl.ones(256, requires_grad=True)

    def run(wrap):
        h = x * w
        for one in blocks:
            h = wrap(one, h)
        return h

    run(checkpoint).sum().backward()  # compiles, untraced
    plain, less = peak(lambda: run(lambda f, h: f(h))), peak(lambda: run(checkpoint))
    assert less < 0.5 * plain
    assert less > 12 * 2**20  # the inputs


def test_without_recording_it_is_the_function():
    x = minidl.ones(3, requires_grad=True)
    with minidl.no_grad():
        assert not checkpoint(lambda x: x * 2, x).requires_grad
    assert not checkpoint(lambda x: x * 2, minidl.ones(3)).requires_grad
    assert checkpoint(lambda: 5) == 5


def test_what_cannot_be_done_twice():
    x = minidl.ones(3, requires_grad=True)
    counter = iter(range(10))
    out = checkpoint(lambda x: x * next(counter), x)
    with pytest.raises(RuntimeError, match="gave other outputs than the first"):
        out.sum().backward()
    unchecked = checkpoint(lambda x: x * next(counter), x, determinism_check="none")
    unchecked.sum().backward()
    own = np.random.default_rng(0)
    out = checkpoint(lambda x: x * float(own.random()), x)
    with pytest.raises(RuntimeError, match="gave other outputs"):
        out.sum().backward()
    with pytest.raises(RuntimeError, match="changed an argument in place"):
        checkpoint(lambda x: x.mul_(2.0), x * 1.0)
    h = x * 1.0
    out = checkpoint(lambda h: h * h, h)
    h.add_(1.0)
    with pytest.raises(RuntimeError, match="changed between forward and backward"):
        out.sum().backward()
    layer = nn.Linear(3, 1)
    out = checkpoint(layer, x)
    with minidl.no_grad():
        layer.weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="changed between forward and backward"):
        out.sum().backward()
    with pytest.raises(ValueError, match="only use_reentrant=False"):
        checkpoint(layer, x, use_reentrant=True)
    with pytest.raises(ValueError, match="segments must be from 1 to the 2 functions, got 3"):
        checkpoint_sequential([layer, layer], 3, x)


def test_a_view_as_the_result():
    x = minidl.ones(4, requires_grad=True)
    h = x * 3.0
    out = checkpoint(lambda h: (h[:2], h), h)
    (out[0].sum() + out[1].sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6, 6, 3, 3])
