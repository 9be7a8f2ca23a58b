"""Module: names, state, hooks, and what it does with all that is below it."""

import copy

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn, optim


class Block(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.ffn = nn.Linear(width, width)
        self.register_buffer("scale", minidl.tensor([2.0]))
        self.register_buffer("cache", minidl.tensor([0.0]), persistent=False)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.ffn(x)) * self.scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(minidl.tensor([1.0]))
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList([Block(), Block()])

    def forward(self, x):
        for layer in self.encoder.layers:
            x = layer(x)
        return x + self.bias


def x(*shape):
    return minidl.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_to_takes_a_device_by_name_or_as_an_object():
    device = minidl.device("cuda" if minidl.cuda.is_available() else "cpu")
    layer = nn.Linear(2, 2).to(device)
    assert layer.to(device, minidl.float64).weight.dtype == minidl.float64
    assert minidl.cuda.device_count() == 0


def test_names_and_order():
    net = Net()
    layer = "encoder.layers.0"
    assert [n for n, _ in net.named_parameters()][:3] == [
        "bias", f"{layer}.ffn.weight", f"{layer}.ffn.bias",
    ]  # fmt: skip
    assert [n for n, _ in net.named_buffers()][:2] == [f"{layer}.scale", f"{layer}.cache"]
    assert [n for n, _ in net.named_children()] == ["encoder"]
    assert [n for n, _ in net.named_modules()][:4] == ["", "encoder", "encoder.layers", layer]
    assert f"{layer}.scale" in net.state_dict()
    assert f"{layer}.cache" not in net.state_dict()
    assert next(iter(net.state_dict(prefix="m."))) == "m.bias"
    assert net.state_dict(keep_vars=True)["bias"] is net.bias
    assert not net.state_dict()["bias"].requires_grad
    assert net.get_submodule(layer) is net.encoder.layers[0]
    assert net.get_parameter("bias") is net.bias
    assert net.get_buffer(f"{layer}.scale").numpy() == 2
    assert "ffn" in dir(net.encoder.layers[0])


def test_a_new_parameter_keeps_the_place_of_the_old():
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(minidl.tensor(np.ones((2, 2), np.float32)))
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]
    layer.bias = None
    assert [n for n, _ in layer.named_parameters()] == ["weight"]
    assert layer(x(1, 2)).shape == (1, 2)
    layer.bias = nn.Parameter(minidl.tensor([0.0, 0.0]))
    layer.weight = None
    layer.weight = nn.Linear(2, 2)  # a module takes the parameter's name
    assert list(layer._modules) == ["weight"]
    assert list(layer._parameters) == ["bias"]


def test_tied_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 3)
            self.out = nn.Linear(3, 5, bias=False)
            self.out.weight = self.table.weight

    model = Tied()
    assert [n for n, _ in model.named_parameters()] == ["table.weight"]
    both = ["table.weight", "out.weight"]
    assert [n for n, _ in model.named_parameters(remove_duplicate=False)] == both
    assert list(model.state_dict()) == both
    twin = copy.deepcopy(model)
    assert twin.out.weight is twin.table.weight
    assert twin.out.weight is not model.out.weight
    twin.load_state_dict(model.state_dict())
    model.double()
    assert model.out.weight is model.table.weight
    assert model.out.weight.dtype == np.float64


def test_load_state_dict_tells_everything_at_once():
    net = Net()
    state = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    before = {k: v.copy() for k, v in state.items()}
    state["extra"] = np.ones(2)
    del state["bias"]
    state["encoder.layers.1.ffn.bias"] = np.ones(4)
    state["encoder.layers.0.ffn.bias"] = np.full(3, 7.0)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    for part in ("missing keys: bias", "unexpected keys: extra", "the file has (4,), the model"):
        assert part in str(error.value)
    for key, value in net.state_dict().items():  # nothing was changed
        np.testing.assert_array_equal(value.numpy(), before[key])
    del state["encoder.layers.1.ffn.bias"]
    report = net.load_state_dict(state, strict=False)
    assert report.missing_keys == ["bias", "encoder.layers.1.ffn.bias"]
    assert report.unexpected_keys == ["extra"]
    assert net.get_parameter("encoder.layers.0.ffn.bias").array.tolist() == [7, 7, 7]


def test_state_travels_to_torch_and_back():
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.PReLU(), nn.Embedding(2, 2))
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.PReLU(), torch.nn.Embedding(2, 2)
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    given = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_allclose(
        ours[:3](minidl.tensor(given)).detach().numpy(),
        theirs[:3](torch.tensor(given)).detach().numpy(),
        atol=1e-6,
    )


def test_train_eval_apply_and_dtypes():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    np.testing.assert_array_equal(net(x(2, 3)).detach().numpy(), net(x(2, 3)).detach().numpy())
    net.train()
    assert all(m.training for m in net.modules())
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen[-1] == "Net"
    assert seen[0] == "Linear"
    assert {p.dtype for p in net.double().parameters()} == {np.dtype("float64")}
    assert net.encoder.layers[0].scale.dtype == np.float64
    assert {p.dtype for p in net.to(minidl.float32).parameters()} == {np.dtype("float32")}
    assert net.to("cpu").cpu() is net
    net.requires_grad_(False)
    assert not net.eval()(x(1, 3)).requires_grad


def test_zero_grad():
    net = Net().eval()
    net(x(2, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.bias.grad.numpy().tolist() == [0.0]
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_hooks():
    layer, calls = nn.Linear(2, 2), []
    first = layer.register_forward_pre_hook(lambda m, args: calls.append(args) or (args[0] * 2.0,))
    second = layer.register_forward_hook(lambda m, args, out: out + 1.0)
    given = x(3, 2)
    plain = layer.forward(given * 2.0) + 1.0
    np.testing.assert_allclose(layer(given).detach().numpy(), plain.detach().numpy())
    assert calls[0][0] is given
    first.remove()
    second.remove()
    np.testing.assert_array_equal(
        layer(given).detach().numpy(), layer.forward(given).detach().numpy()
    )


def test_full_backward_hook():
    torch = pytest.importorskip("torch")
    seen = {}
    for lib in (minidl, torch):
        layer = lib.nn.Linear(2, 3)
        weight = np.arange(6.0, dtype=np.float32).reshape(3, 2)
        layer.load_state_dict({"weight": lib.tensor(weight), "bias": lib.tensor([0.0, 0.0, 0.0])})
        given = lib.tensor(np.ones((4, 2), np.float32), requires_grad=True)

        def hook(module, grad_input, grad_output, lib=lib):
            seen[lib] = [grad_input[0].detach().numpy(), grad_output[0].detach().numpy()]
            return (grad_input[0] * 2.0,)

        handle = layer.register_full_backward_hook(hook)
        (layer(given) * 3.0).sum().backward()
        seen[lib].append(given.grad.numpy())
        handle.remove()
        given.grad = None
        (layer(given) * 3.0).sum().backward()
        seen[lib].append(given.grad.numpy())
    for ours, theirs in zip(seen[minidl], seen[torch]):
        np.testing.assert_allclose(ours, theirs)


def test_an_error_names_the_path():
    net = Net()
    net.encoder.layers[1].ffn = nn.Linear(4, 3)
    with pytest.raises(ValueError, match=r"^encoder\.layers\.1\.ffn: linear: x \(\.\.\., 3\)"):
        net(x(2, 3))


def test_repr_is_torchs():
    torch = pytest.importorskip("torch")

    def model(n):
        inner = n.ModuleDict({"norm": n.LayerNorm(4), "none": n.Identity()})
        return n.Sequential(
            n.Linear(3, 4, bias=False), n.GELU(), n.Dropout(0.1, True), n.Embedding(5, 3, 0), inner,
            n.RMSNorm((4,)), n.LeakyReLU(), n.Hardtanh(-2.0, 2.0), n.Softmax(1), n.PReLU(),
            n.Flatten(), n.Unflatten(1, (2, 2)), n.Softplus(), n.Threshold(1.0, 2.0), n.ReLU(True),
            n.Bilinear(2, 3, 4), n.MSELoss(), n.Hardshrink(), n.ModuleList(),
            n.BatchNorm1d(3), n.BatchNorm2d(3, affine=False), n.BatchNorm1d(3, bias=False),
            n.InstanceNorm1d(3), n.InstanceNorm2d(3, affine=True), n.GroupNorm(2, 4),
            n.GroupNorm(2, 4, affine=False), n.ModuleList([n.ReLU(), n.Tanh(), n.Tanh()]),
            n.ModuleList([n.Sequential(n.Linear(2, 2), n.ReLU()) for _ in range(3)]),
        )  # fmt: skip

    assert repr(model(nn)) == repr(model(torch.nn))


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda m: setattr(m, "ffn", 3), TypeError, "give a Module, or None"),
        (lambda m: setattr(m.ffn, "weight", minidl.tensor([1.0])), TypeError, "nn.Parameter"),
        (lambda m: m.register_parameter("a.b", None), KeyError, "without dots"),
        (lambda m: m.register_parameter("ffn", None), KeyError, "already has an attribute"),
        (lambda m: m.register_parameter("p", np.ones(2)), TypeError, "must be an nn.Parameter"),
        (lambda m: m.register_buffer("b", np.ones(2)), TypeError, "must be a Tensor"),
        (lambda m: m.add_module("c", 3), TypeError, "must be a Module"),
        (lambda m: m.get_submodule("ffn.x"), AttributeError, "Linear has no submodule 'x'"),
        (lambda m: m.get_parameter("ffn.x"), AttributeError, "has no parameter 'x'"),
        (lambda m: m.to("cuda"), ValueError, "'cpu' only"),
        (lambda m: m.to(minidl.int64), TypeError, "floating point"),
        (lambda m: m.train("yes"), ValueError, "True or False"),
        (lambda m: nn.Module()(1), TypeError, "has no forward"),
        (lambda m: m.missing, AttributeError, "no attribute 'missing'"),
        (lambda m: nn.Linear(-1, 2), ValueError, "in_features must be a whole number"),
        (lambda m: nn.Linear(2.5, 2), ValueError, "in_features must be a whole number"),
        (lambda m: nn.Linear(2, 2, device="cuda"), ValueError, "'cpu' only"),
        (lambda m: nn.Embedding(3, 2, padding_idx=3), ValueError, "outside 3 rows"),
        (lambda m: nn.Dropout(1.5), ValueError, "from 0 to 1"),
        (lambda m: nn.MSELoss(reduction="avg"), ValueError, "none, mean, sum"),
        (lambda m: nn.Softmax()(x(2, 2)), ValueError, "give the axis"),
        (lambda m: nn.Sequential(3), TypeError, "int is not a Module"),
        (lambda m: nn.ModuleList([m])[1], IndexError, "out of range"),
        (lambda m: nn.ParameterList([3]), TypeError, "int is not a tensor"),
        (lambda m: nn.Hardtanh(2, 1), ValueError, "must lie below"),
    ],
)
def test_errors(act, error, message):
    with pytest.raises(error, match=message):
        act(Block())


def test_no_init():
    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(2, 2)

    with pytest.raises(AttributeError, match="call super"):
        Forgetful()


def test_containers():
    layers = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    layers.append(nn.Linear(3, 1))
    assert isinstance(layers[1:], nn.Sequential)
    assert layers[1:][0] is layers[1]
    assert layers[-1].out_features == 1
    del layers[1]
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    layers.insert(1, nn.Tanh())
    assert layers(x(5, 2)).shape == (5, 1)
    assert layers.pop(1).extra_repr() == ""
    named = nn.Sequential({"a": nn.Identity(), "b": nn.ReLU()})
    assert [n for n, _ in named[:1].named_children()] == ["a"]
    listed = nn.ModuleList([nn.ReLU()]) + nn.ModuleList([nn.Tanh()])
    listed += [nn.Identity()]
    assert len(listed) == 3
    table = nn.ModuleDict([("x", nn.Linear(1, 1))])
    table.update({"y": nn.Identity()})
    assert list(table) == ["x", "y"]
    assert "x" in table
    assert isinstance(table.pop("y"), nn.Identity)
    values = nn.ParameterList([minidl.tensor([1.0]), nn.Parameter(minidl.tensor([2.0]))])
    values.append(minidl.tensor([3.0]))
    assert [float(p.detach()) for p in values] == [1, 2, 3]
    assert all(isinstance(p, nn.Parameter) for p in values[1:])
    named = nn.ParameterDict({"w": minidl.tensor([1.0])})
    named["v"] = minidl.tensor([2.0])
    assert list(named.state_dict()) == ["w", "v"]
    optim.SGD([*values, *named.values()])


def test_parameter():
    with pytest.raises(TypeError, match="only floating point"):
        nn.Parameter(Tensor(np.arange(3)))
    assert not nn.Parameter(Tensor(np.arange(3)), requires_grad=False).requires_grad


def test_what_is_no_tensor_is_named():
    model = nn.Sequential(nn.Linear(3, 2))
    for x, name in ((np.zeros((1, 3), np.float32), "ndarray"), ([[1.0, 2.0, 3.0]], "list")):
        with pytest.raises(AttributeError, match=rf"^0: a Tensor is needed, got {name}; minidl"):
            model(x)


def test_to_takes_a_device_as_programs_give_it():
    model = nn.Linear(2, 2)
    assert model.to(minidl.device("cpu")) is model
    assert model.to("cpu", minidl.float64).weight.dtype == np.float64
    assert model.to(minidl.device("cpu"), minidl.float32, True).weight.dtype == np.float32
    assert model.to(None).weight.dtype == np.float32
    assert model.to(minidl.zeros(1, dtype=minidl.float64)).weight.dtype == np.float64
    with pytest.raises(ValueError, match="device 'cuda' is not there"):
        model.to("cuda")


def test_a_hook_may_remove_itself_and_a_handle_is_a_block():
    model, seen = nn.Linear(1, 1), []

    def once(*_):
        seen.append("once")
        handle.remove()

    def always(*_):
        seen.append("always")

    handle = model.register_forward_hook(once)
    first, _second = (model.register_forward_hook(always) for _ in range(2))
    first.remove()
    first.remove()  # the other one stays
    with model.register_forward_pre_hook(lambda *_: seen.append("block")):
        model(minidl.ones(1, 1))
    model(minidl.ones(1, 1))
    assert seen == ["block", "once", "always", "always"]
