"""A Linear and the ReLU after it in one pass: values, gradients, and when it must not be done."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn import functional as F


def ops_of(step):
    """Names of the ops that ran."""
    with minidl.profile() as seen:
        step()
    return [row.name for row in seen.rows if row.kind == "op" and row.phase == "forward"]


def grads_of(loss, tensors):
    for t in tensors:
        t.grad = None
    loss.backward()
    return [t.grad.numpy().copy() for t in tensors]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [
    (1, 3, 2), (7, 35, 1), (35, 7, 100), (100, 1000, 35), (1000, 100, 33), (300, 35, 1000),
])  # fmt: skip
def test_same_bits_as_apart(rng, dtype, rows, inputs, outputs):
    layer = nn.Linear(inputs, outputs).to(minidl.tensor(np.zeros(1, dtype)).dtype)
    x = minidl.tensor(rng.standard_normal((rows, inputs)).astype(dtype), requires_grad=True)
    dout = minidl.tensor(rng.standard_normal((rows, outputs)).astype(dtype))
    together, apart = nn.Sequential(layer, nn.ReLU())(x), F.relu(layer(x))
    np.testing.assert_array_equal(together.array, apart.array)
    tensors = [x, layer.weight, layer.bias]
    first, second = (grads_of((out * dout).sum(), tensors) for out in (together, apart))
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(first[2], np.where(apart.array > 0, dout.array, 0).sum(0),
                               rtol=1e-4, atol=1e-4)  # fmt: skip


def test_not_a_number_stays_and_zero_has_no_gradient():
    layer = nn.Linear(1, 3)
    with minidl.no_grad():
        layer.weight[:] = minidl.tensor([[1.0], [0.0], [-1.0]])
        layer.bias[:] = 0.0
    x = minidl.tensor([[np.nan], [2.0]])
    out = nn.Sequential(layer, nn.ReLU())(x)
    np.testing.assert_array_equal(out.array, [[np.nan] * 3, [2.0, 0.0, 0.0]])
    x = minidl.tensor([[2.0]], requires_grad=True)
    nn.Sequential(layer, nn.ReLU())(x).sum().backward()
    np.testing.assert_array_equal(layer.bias.grad.numpy(), [1, 0, 0])


def test_sequential_joins_them_where_nobody_looks_in_between(rng):
    x = minidl.tensor(rng.standard_normal((4, 3)).astype(np.float32))
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    want = F.linear(F.relu(model[0](x)), model[2].weight, model[2].bias)
    assert ops_of(lambda: model(x)) == ["LinearRelu", "Linear"]
    np.testing.assert_array_equal(model(x).array, want.array)

    seen = []
    handle = model[0].register_forward_hook(lambda module, args, out: seen.append(out))
    model(x)
    np.testing.assert_array_equal(seen[0].array, model[0](x).array)
    handle.remove()
    for register in (
        model[1].register_forward_hook, model[1].register_forward_pre_hook,
        model[1].register_full_backward_hook, model[0].register_full_backward_hook,
    ):  # fmt: skip
        handle = register(lambda *given: None)
        assert "LinearRelu" not in ops_of(lambda: model(x))
        handle.remove()

    class Quiet(nn.ReLU):
        def forward(self, input):
            return input

    other = nn.Sequential(model[0], Quiet())
    np.testing.assert_array_equal(other(x).array, model[0](x).array)
    model[1].forward = lambda input: input
    np.testing.assert_array_equal(model[:2](x).array, model[0](x).array)


def test_an_error_names_the_layer(rng):
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(4, 2), nn.ReLU())
    with pytest.raises(ValueError, match=r"^2: linear: x \(\.\.\., 5\) needs weight"):
        model(minidl.zeros(4, 3))


def test_gradients_of_gradients(rng):
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)).double()
    x = minidl.tensor(rng.standard_normal((6, 3)), requires_grad=True)
    for forward in (model, lambda x: model[2](F.relu(model[0](x)))):
        (dx,) = minidl.autograd.grad(forward(x).sum(), [x], create_graph=True)
        found = grads_of((dx**2).sum(), [model[0].weight, model[2].weight])
        if forward is model:
            first = found
    for a, b in zip(first, found):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_captured(rng):
    model = nn.Sequential(nn.Linear(30, 50), nn.ReLU(), nn.Linear(50, 1))
    x = minidl.tensor(rng.standard_normal((200, 30)).astype(np.float32))

    def step(x):
        model.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        return loss

    want = step(x).item(), [p.grad.numpy().copy() for p in model.parameters()]
    replay = minidl.capture(step)
    for _ in range(3):
        assert replay(x).item() == pytest.approx(want[0], rel=1e-6)
    for p, grad in zip(model.parameters(), want[1]):
        np.testing.assert_allclose(p.grad.numpy(), grad, rtol=1e-5, atol=1e-6)


def test_not_joined_where_a_pre_hook_sees_the_arguments_or_forward_is_replaced(rng, monkeypatch):
    x = minidl.tensor(rng.standard_normal((4, 3)).astype(np.float32))
    model, seen = nn.Sequential(nn.Linear(3, 5), nn.ReLU()), []
    handle = model[0].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    want = model(x).array
    assert seen == [{}]
    handle.remove()

    monkeypatch.setattr(nn.Linear, "forward", lambda self, input: F.linear(input, self.weight) * 2)
    doubled = 2 * (x.array @ model[0].weight.detach().numpy().T)
    np.testing.assert_allclose(model(x).array, np.maximum(doubled, 0), rtol=1e-5, atol=1e-6)
    monkeypatch.undo()
    np.testing.assert_array_equal(model(x).array, want)
