"""Parametrized weights against torch's: state, values, gradients, steps; register and remove."""

from copy import deepcopy

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn, optim
from minidl.nn.utils import parametrizations, parametrize

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.nn.utils.*weight_norm. is deprecated"),
    pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning"),
]

LAYERS = {
    "linear": (lambda n: n.Linear(5, 3), (4, 5)),
    "conv": (lambda n: n.Conv2d(2, 4, 3), (2, 2, 5, 5)),
    "transposed": (lambda n: n.ConvTranspose1d(2, 3, 3), (2, 2, 6)),
    "embedding": (lambda n: n.Embedding(4, 3), None),
}
WAYS = {
    "weight norm": lambda u, m: u.parametrizations.weight_norm(m),
    "weight norm, axis 1": lambda u, m: u.parametrizations.weight_norm(m, dim=1),
    "weight norm, all": lambda u, m: u.parametrizations.weight_norm(m, dim=None),
    "spectral norm": lambda u, m: u.parametrizations.spectral_norm(m),
    "spectral norm, three": lambda u, m: u.parametrizations.spectral_norm(
        m, n_power_iterations=3, dim=1
    ),
    "old weight norm": lambda u, m: u.weight_norm(m),
    "old weight norm, axis 1": lambda u, m: u.weight_norm(m, dim=1),
    "old weight norm, all": lambda u, m: u.weight_norm(m, dim=None),
    "old spectral norm": lambda u, m: u.spectral_norm(m),
    "old spectral norm, three": lambda u, m: u.spectral_norm(m, n_power_iterations=3),
}
ORTHOGONAL = {
    f"{name} {way} {trivial}": (shape, way, trivial)
    for name, shape in (("square", (4, 4)), ("tall", (3, 5)), ("wide", (5, 3)))
    for way in ("matrix_exp", "cayley", "householder")
    for trivial in (True, False)
}


def follow(torch, ours, theirs, x, steps=4):
    """The same training in both libraries, from the same state: outputs and state agree."""
    known = {k: Tensor(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(known)
    ours.load_state_dict(known)
    mine = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    peer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for step in range(steps):
        if step == steps - 1:
            ours.eval()
            theirs.eval()
        outs = []
        for lib, model, o in ((minidl, ours, mine), (torch, theirs, peer)):
            o.zero_grad()
            out = model(lib.tensor(x))
            (out**2).mean().backward()
            o.step()
            outs.append(out.detach().numpy())
        np.testing.assert_allclose(outs[0], outs[1], rtol=1e-9, atol=1e-12)
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
            np.testing.assert_allclose(
                p.grad.numpy(), q.grad.numpy(), rtol=1e-8, atol=1e-11, err_msg=name
            )
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(
            ours.state_dict()[key].numpy(), value.numpy(), rtol=1e-8, atol=1e-12, err_msg=key
        )


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("way", WAYS)
def test_norms_are_torchs(way, layer, rng):
    torch = pytest.importorskip("torch")
    make, shape = LAYERS[layer]
    ours = WAYS[way](nn.utils, make(nn).double())
    theirs = WAYS[way](torch.nn.utils, make(torch.nn).double())
    x = np.array([0, 3, 3]) if shape is None else rng.standard_normal(shape)
    follow(torch, ours, theirs, x)


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_orthogonal_is_torchs(name, rng):
    torch = pytest.importorskip("torch")
    shape, way, trivial = ORTHOGONAL[name]
    models = []
    for lib in (nn, torch.nn):
        layer = lib.Linear(*shape, bias=False).double()
        lib.utils.parametrizations.orthogonal(layer, orthogonal_map=way, use_trivialization=trivial)
        models.append(layer)
    follow(torch, *models, rng.standard_normal((2, shape[0])))
    w = models[0].weight.detach().numpy()
    w = w if w.shape[0] >= w.shape[1] else w.T
    np.testing.assert_allclose(w.T @ w, np.eye(w.shape[1]), atol=1e-10)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 4, 3)])
@pytest.mark.parametrize("way", [None, "cayley", "householder"])
def test_orthogonal_begins_at_the_value(shape, way, rng):
    """A matrix made orthogonal by QR; an orthogonal one as it is."""
    module = nn.Module()
    module.w = nn.Parameter(Tensor(rng.standard_normal(shape)))
    tall = shape[-2] >= shape[-1]
    start = module.w.detach().numpy() if tall else module.w.detach().numpy().swapaxes(-1, -2)
    q, r = np.linalg.qr(start)
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    q = q if tall else q.swapaxes(-1, -2)
    parametrizations.orthogonal(module, "w", way)
    np.testing.assert_allclose(module.w.detach().numpy(), q, atol=1e-12)
    if way == "householder":
        plain = nn.Module()
        plain.w = nn.Parameter(Tensor(q.copy()))
        parametrizations.orthogonal(plain, "w", way, use_trivialization=False)
        np.testing.assert_allclose(plain.w.detach().numpy(), q, atol=1e-12)


def test_a_spectral_norm_becomes_one(rng):
    layer = parametrizations.spectral_norm(nn.Linear(6, 4).double(), n_power_iterations=30)
    assert np.linalg.norm(layer.weight.detach().numpy(), 2) == pytest.approx(1)
    before = layer.parametrizations.weight[0]._u.numpy().copy()
    layer.eval()
    layer(minidl.ones(1, 6).double())
    np.testing.assert_array_equal(layer.parametrizations.weight[0]._u.numpy(), before)
    bias = parametrizations.spectral_norm(nn.Linear(6, 4), "bias")
    assert float((bias.bias**2).sum()) == pytest.approx(1, rel=1e-5)


def test_two_forwards_before_a_backward():
    """As in a GAN's step: u and v move on, and the first graph keeps its own."""
    layer = parametrizations.spectral_norm(nn.Linear(3, 2))
    old = nn.utils.spectral_norm(nn.Linear(3, 2))
    for m in (layer, old):
        (m(minidl.ones(1, 3)).sum() - m(minidl.zeros(1, 3)).sum()).backward()


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, value):
        return value.triu()


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


def test_register_assign_and_remove():
    layer = nn.Linear(3, 3)
    weight = layer.weight
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert parametrize.is_parametrized(layer)
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert type(layer).__name__ == "ParametrizedLinear"
    assert isinstance(layer, nn.Linear)
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert layer.parametrizations.weight.original is weight  # the optimizer has it already
    assert [n for n, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    w = layer.weight.detach().numpy()
    np.testing.assert_array_equal(w, w.T)
    layer(minidl.ones(1, 3)).sum().backward()
    optimizer.step()
    w = layer.weight.detach().numpy()
    np.testing.assert_array_equal(w, w.T)
    layer.weight = minidl.eye(3)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), np.eye(3))
    layer.weight = nn.Parameter(minidl.ones(3, 3))
    np.testing.assert_array_equal(layer.weight.detach().numpy(), np.ones((3, 3)))
    parametrize.register_parametrization(layer, "weight", Double())
    np.testing.assert_array_equal(layer.weight.detach().numpy(), 2 * np.ones((3, 3)))
    with pytest.raises(RuntimeError, match="Double has no right_inverse"):
        layer.weight = minidl.eye(3)
    copy = deepcopy(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert layer.weight is weight
    assert list(layer.state_dict()) == ["bias", "weight"]
    np.testing.assert_array_equal(layer.weight.detach().numpy(), 2 * np.ones((3, 3)))
    np.testing.assert_array_equal(copy.weight.detach().numpy(), 2 * np.ones((3, 3)))
    parametrize.remove_parametrizations(copy, "weight", leave_parametrized=False)
    np.testing.assert_array_equal(np.tril(copy.weight.detach().numpy(), -1), np.zeros((3, 3)))


def test_two_tensors_of_one_module():
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "bias", Double())
    parametrizations.weight_norm(layer)
    value = layer.weight.detach().numpy().copy()
    parametrize.remove_parametrizations(layer, "bias")
    assert parametrize.is_parametrized(layer, "weight")
    assert isinstance(layer.bias, nn.Parameter)
    parametrize.remove_parametrizations(layer, "weight")
    np.testing.assert_array_equal(layer.weight.detach().numpy(), value)
    assert isinstance(layer.weight, nn.Parameter)
    module = nn.Module()
    module.register_buffer("table", minidl.ones(2))
    parametrize.register_parametrization(module, "table", Double())
    assert list(module.state_dict()) == ["parametrizations.table.original"]
    np.testing.assert_array_equal(module.table.numpy(), [2, 2])
    parametrize.remove_parametrizations(module, "table")
    assert list(module.state_dict()) == ["table"]


def test_cached():
    calls = []

    class Counted(nn.Module):
        def forward(self, x):
            calls.append(1)
            return 3 * x

    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Counted())
    calls.clear()
    with parametrize.cached():
        one = layer.weight
        with parametrize.cached():
            assert layer.weight is one
        assert layer.weight is one
    assert len(calls) == 1
    assert layer.weight is not one
    (layer(minidl.ones(1, 2)).sum()).backward()
    np.testing.assert_array_equal(layer.parametrizations.weight.original.grad.numpy(), 3)


@pytest.mark.parametrize("dim", [0, None])
def test_old_forms_are_removed(dim):
    layer = nn.Linear(3, 2)
    value = layer.weight.detach().numpy().copy()
    nn.utils.weight_norm(layer, dim=dim)
    np.testing.assert_allclose(layer.weight.detach().numpy(), value, rtol=1e-6)
    nn.utils.remove_weight_norm(layer)
    np.testing.assert_allclose(layer.weight.detach().numpy(), value, rtol=1e-6)
    assert list(layer.state_dict()) == ["bias", "weight"]
    nn.utils.spectral_norm(layer)
    layer(minidl.ones(1, 3))
    value = layer.weight.detach().numpy().copy()
    nn.utils.remove_spectral_norm(layer)
    np.testing.assert_allclose(layer.weight.detach().numpy(), value, rtol=1e-6)
    assert list(layer.state_dict()) == ["bias", "weight"]
    assert not layer._pre_hooks


class Bigger(nn.Module):
    def forward(self, x):
        return minidl.cat([x, x])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: parametrizations.weight_norm(m, "wait"), ValueError, "no parameter or buffer"),
        (lambda m: parametrize.register_parametrization(m, "x", Double()), ValueError, "r 'x'"),
        (
            lambda m: parametrize.register_parametrization(m, "weight", Bigger()),
            ValueError,
            r"the tensor is \(2, 3\) float32, its parametrization \(4, 3\)",
        ),
        (lambda m: parametrize.remove_parametrizations(m, "weight"), ValueError, "no parametrized"),
        (
            lambda m: parametrize.remove_parametrizations(
                parametrizations.weight_norm(m), "weight", leave_parametrized=False
            ),
            ValueError,
            "needs one original, this tensor has 2",
        ),
        (lambda m: parametrizations.spectral_norm(m, dim=2), IndexError, "dim 2 of a weight"),
        (
            lambda m: parametrizations.spectral_norm(m, n_power_iterations=0),
            ValueError,
            "must be 1 or more",
        ),
        (lambda m: parametrizations.orthogonal(m, "bias"), ValueError, "a matrix is needed"),
        (lambda m: parametrizations.orthogonal(m, orthogonal_map="qr"), ValueError, "must be 'mat"),
        (
            lambda m: nn.utils.weight_norm(nn.utils.weight_norm(m)),
            RuntimeError,
            "has one already",
        ),
        (lambda m: nn.utils.remove_spectral_norm(m), ValueError, "not found on 'weight'"),
    ],
)
def test_errors(make, error, message):
    layer = nn.Linear(3, 2)
    with pytest.raises(error, match=message):
        make(layer)
    layer(minidl.ones(1, 3))  # still whole
