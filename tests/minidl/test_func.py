"""Transformations of functions against torch.func and by hand."""

import numpy as np
import pytest

import minidl
from minidl import Tensor, autograd, func, nn
from minidl.nn import functional as F

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's jvp

X = np.array([0.5, -1.2, 2.0])
W = np.array([[0.3, -0.4, 1.1], [0.7, 0.2, -0.6]])
V = np.array([1.0, -2.0, 0.5])


def t(array, **settings):
    return minidl.tensor(np.asarray(array), **settings)


def smooth(lib):
    """A function R^3 x R^(2, 3) -> R^2 that is not symmetric in anything."""
    return lambda x, w: (w @ lib.tanh(x)) * lib.exp(-(x * x).sum()) + lib.sin(w).sum(1)


def scalar(lib):
    return lambda x, w: (smooth(lib)(x, w) ** 3).sum()


def same(ours, theirs, rtol=1e-9):
    """Equal values in equal structures."""
    if isinstance(ours, Tensor):
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(
            ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=1e-13
        )
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for key in ours:
            same(ours[key], theirs[key], rtol)
    else:
        assert isinstance(ours, tuple)
        assert isinstance(theirs, tuple)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            same(a, b, rtol)


TRANSFORMS = {
    "grad": lambda f, lib, x, w, v: f.grad(scalar(lib))(x, w),
    "grad of the second": lambda f, lib, x, w, v: f.grad(scalar(lib), 1)(x, w),
    "grad of both": lambda f, lib, x, w, v: f.grad(scalar(lib), argnums=(0, -1))(x, w),
    "grad_and_value": lambda f, lib, x, w, v: f.grad_and_value(scalar(lib))(x, w),
    "aux": lambda f, lib, x, w, v: f.grad(
        lambda x: (scalar(lib)(x, w), (x * 2, {"w": w})), has_aux=True
    )(x),
    "grad of grad": lambda f, lib, x, w, v: f.grad(lambda x: (f.grad(scalar(lib))(x, w) * v).sum())(
        x
    ),
    "three levels": lambda f, lib, x, w, v: f.grad(f.grad(f.grad(lambda s: s**4 * x[0])))(x[1]),
    "inner closes over outer": lambda f, lib, x, w, v: f.grad(
        lambda a: f.grad(lambda b: a * a * b * b * b)(x[2])
    )(x[1]),
    "vjp": lambda f, lib, x, w, v: f.vjp(smooth(lib), x, w)[1](w[:, 0]),
    "vjp's value": lambda f, lib, x, w, v: f.vjp(smooth(lib), x, w)[0],
    "jvp": lambda f, lib, x, w, v: f.jvp(smooth(lib), (x, w), (v, w * w)),
    "grad of jvp": lambda f, lib, x, w, v: f.grad(
        lambda x: f.jvp(lambda y: smooth(lib)(y, w), (x,), (v,))[1].sum()
    )(x),
    "jvp in the tangent": lambda f, lib, x, w, v: f.grad(
        lambda v: (f.jvp(lambda y: smooth(lib)(y, w), (x,), (v,))[1] ** 2).sum()
    )(v),
    "jvp of grad": lambda f, lib, x, w, v: f.jvp(lambda x: f.grad(scalar(lib))(x, w), (x,), (v,)),
    "jacrev": lambda f, lib, x, w, v: f.jacrev(smooth(lib), (0, 1))(x, w),
    "jacfwd": lambda f, lib, x, w, v: f.jacfwd(smooth(lib), (0, 1))(x, w),
    "jacrev of a dict": lambda f, lib, x, w, v: f.jacrev(
        lambda p: {"a": smooth(lib)(p["x"], p["w"]), "b": (p["x"] ** 2,)}
    )({"x": x, "w": w}),
    "hessian": lambda f, lib, x, w, v: f.hessian(scalar(lib))(x, w),
    "hessian of both": lambda f, lib, x, w, v: f.hessian(scalar(lib), argnums=(0, 1))(x, w),
    "jacfwd of jacrev": lambda f, lib, x, w, v: f.jacfwd(f.jacrev(scalar(lib), 1), 0)(x, w),
    "vmap": lambda f, lib, x, w, v: f.vmap(lambda a, b: (a * b).sum(), (0, None))(w, x),
    "vmap along the last": lambda f, lib, x, w, v: f.vmap(
        lambda a, b: (a * b, b.sum()), (1, 0), out_dims=(1, 0)
    )(w, x),
    "vmap of a nest": lambda f, lib, x, w, v: f.vmap(
        lambda p, q: p["w"] * p["s"] + q, ({"w": 0, "s": None}, None)
    )({"w": w, "s": x[0]}, x),
    "vmap of vmap": lambda f, lib, x, w, v: f.vmap(
        f.vmap(lambda a, b: a * b, (0, None)), (None, 0)
    )(x, v),
    "vmap of grad": lambda f, lib, x, w, v: f.vmap(
        f.grad(lambda p, a: (lib.tanh(p * a) ** 2).sum()), (None, 0)
    )(x, w),
    "grad of vmap": lambda f, lib, x, w, v: f.grad(
        lambda w: (f.vmap(lambda a: lib.exp(a).prod(), 1)(w) ** 2).sum()
    )(w),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_are_torchs(name):
    torch = pytest.importorskip("torch")
    ours = TRANSFORMS[name](func, minidl, t(X), t(W), t(V))
    theirs = TRANSFORMS[name](torch.func, torch, torch.tensor(X), torch.tensor(W), torch.tensor(V))
    same(ours, theirs)


FUNCTIONAL = {
    "vjp": lambda f, lib, x, w, v: f.vjp(smooth(lib), (x, w), w[:, 0]),
    "vjp, v left out": lambda f, lib, x, w, v: f.vjp(lambda x: scalar(lib)(x, w), x),
    "jvp": lambda f, lib, x, w, v: f.jvp(smooth(lib), (x, w), (v, w * w)),
    "jacobian": lambda f, lib, x, w, v: f.jacobian(smooth(lib), (x, w)),
    "jacobian of one": lambda f, lib, x, w, v: f.jacobian(lambda x: x * x * v[0], x),
    "jacobian of several": lambda f, lib, x, w, v: f.jacobian(
        lambda x: (x.sum(), smooth(lib)(x, w)), x
    ),
    "hessian": lambda f, lib, x, w, v: f.hessian(scalar(lib), (x, w)),
    "hessian of one": lambda f, lib, x, w, v: f.hessian(lambda x: scalar(lib)(x, w), x),
    "vhp": lambda f, lib, x, w, v: f.vhp(scalar(lib), (x, w), (v, w)),
    "hvp": lambda f, lib, x, w, v: f.hvp(lambda x: scalar(lib)(x, w), x, v),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", FUNCTIONAL)
def test_functional_is_torchs(name, create_graph):
    torch = pytest.importorskip("torch")
    grads = []
    for lib in (minidl, torch):
        x, w = lib.tensor(X), lib.tensor(W)
        x.requires_grad_()
        wrapped = lib.autograd.functional

        class Given:
            def __getattr__(self, attr, wrapped=wrapped):
                return lambda *args: getattr(wrapped, attr)(*args, create_graph=create_graph)

        out = FUNCTIONAL[name](Given(), lib, x, w, lib.tensor(V))
        flat = out
        while not hasattr(flat, "backward"):
            flat = flat[-1]
        (back,) = [None]
        if create_graph:
            (back,) = lib.autograd.grad((flat**2).sum(), x)
        else:
            assert not flat.requires_grad
        grads.append((out, back))
    same(grads[0][0], grads[1][0])
    if create_graph:
        same(grads[0][1], grads[1][1])


def test_forward_strategy():
    rows = autograd.functional.jacobian(smooth(minidl), (t(X), t(W)))
    columns = autograd.functional.jacobian(smooth(minidl), (t(X), t(W)), strategy="forward-mode")
    same(rows, columns)


def test_by_hand():
    square = lambda x: (x * x * x).sum()
    x = t([1.0, 2.0])
    np.testing.assert_allclose(func.grad(square)(x).numpy(), [3, 12])
    np.testing.assert_allclose(func.hessian(square)(x).numpy(), [[6, 0], [0, 12]])
    value, product = func.hvp(square, (x,), (t([1.0, -1.0]),))
    assert value.item() == 9
    np.testing.assert_allclose(product[0].numpy(), [6, -12])
    out, pushed = func.jvp(lambda x: x[0] * x, (x,), (t([1.0, 10.0]),))
    np.testing.assert_allclose(out.numpy(), [1, 2])
    np.testing.assert_allclose(pushed.numpy(), [2, 12])
    np.testing.assert_allclose(
        func.vmap(lambda a, b: a @ b)(t([[1.0, 2], [3, 4]]), t([[1.0, 1], [0, 1]])).numpy(), [3, 4]
    )


def test_jvp_beside_a_branch_not_taken():
    f = lambda x: minidl.where(x > 0, minidl.sqrt(x), x)
    _, pushed = func.jvp(f, (t([4.0, 0.0, -1.0]),), (t([1.0, 1.0, 1.0]),))
    np.testing.assert_allclose(pushed.numpy(), [0.25, 1, 1])


def test_nothing_outside_is_touched():
    layer = nn.Linear(3, 1).double()
    x = t(X)
    gradient = func.grad(lambda x: layer(x).tanh().sum())(x)
    assert x.grad is None
    assert layer.weight.grad is None
    assert not x.requires_grad
    # the parameters lie outside: the gradient can be differentiated in them
    (second,) = minidl.autograd.grad((gradient**2).sum(), layer.weight)
    assert second.shape == layer.weight.shape
    with minidl.no_grad():
        inside = func.grad(lambda x: layer(x).tanh().sum())(x)
    assert not inside.requires_grad
    np.testing.assert_array_equal(inside.numpy(), gradient.detach().numpy())
    assert not func.grad(lambda x: (x * x).sum())(x).requires_grad


def test_an_outer_graph_survives():
    a = t(X, requires_grad=True)
    b = a * a
    with minidl.no_grad():
        func.grad(lambda x: (x * b).sum())(t(V))
    func.grad(lambda x: (x * b).sum())(t(V))
    b.sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), 2 * X)


def models(torch):
    ours = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)
    ).double()
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def test_functional_call_and_gradients_of_each_example(rng):
    torch = pytest.importorskip("torch")
    x, y = rng.standard_normal((5, 3)), rng.integers(0, 2, 5)
    out = []
    for lib, model in zip((minidl, torch), models(torch)):

        def loss(parameters, x, y, lib=lib, model=model):
            logits = lib.func.functional_call(model, parameters, (x[None],))
            return lib.nn.functional.cross_entropy(logits, y[None])

        parameters = {k: p.detach() for k, p in model.named_parameters()}
        each = lib.func.vmap(lib.func.grad(loss), in_dims=(None, 0, 0))
        out.append(each(parameters, lib.tensor(x), lib.tensor(y)))
        assert all(p.grad is None for p in model.parameters())
    same(*out)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(minidl.tensor([2.0]))
        self.tied = self.weight
        self.register_buffer("seen", minidl.tensor(0.0))

    def forward(self, x, scale=1.0):
        self.seen = self.seen + 1
        return x * self.weight * self.tied * scale


def test_functional_call_on_tied_weights_and_buffers():
    model, one = Counting(), minidl.tensor([1.0])
    given = {"weight": minidl.tensor([3.0]), "seen": minidl.tensor(5.0)}
    assert func.functional_call(model, given, one).item() == 9.0
    assert given["seen"].item() == 6.0
    assert model.seen.item() == 0.0
    assert isinstance(model.weight, nn.Parameter)
    alone = func.functional_call(
        model, {"weight": minidl.tensor([3.0])}, one, {"scale": 2.0}, tie_weights=False
    )
    assert alone.item() == 12.0
    with pytest.raises(KeyError, match="has no parameter or buffer"):
        func.functional_call(model, {"wait": one}, one)
    with pytest.raises(KeyError, match="strict=True"):
        func.functional_call(model, {"weight": one}, one, strict=True)
    with pytest.raises(ValueError, match="more than one of the dicts"):
        func.functional_call(model, ({"weight": one}, {"weight": one}), one)
    with pytest.raises(ValueError, match="shapes do not broadcast"):
        func.functional_call(model, {"weight": minidl.ones(2)}, minidl.ones(3))
    assert model.weight.item() == 2.0


def test_an_ensemble(rng):
    ensemble = [nn.Linear(3, 2).double() for _ in range(4)]
    parameters, buffers = func.stack_module_state(ensemble)
    assert parameters["weight"].shape == (4, 2, 3)
    assert parameters["weight"].is_leaf
    x = t(rng.standard_normal((5, 3)))
    call = lambda p, b, x: func.functional_call(ensemble[0], (p, b), (x,))
    out = func.vmap(call, in_dims=(0, 0, None))(parameters, buffers, x)
    for row, layer in zip(out, ensemble):
        np.testing.assert_allclose(row.detach().numpy(), layer(x).detach().numpy())
    out.sum().backward()
    assert parameters["bias"].grad.numpy().tolist() == [[5.0, 5.0]] * 4


def test_vmap_and_random_numbers():
    x = minidl.zeros(3, 4)
    draw = lambda x: x + minidl.rand(4)
    with pytest.raises(RuntimeError, match="drew random numbers"):
        func.vmap(draw)(x)
    rows = func.vmap(draw, randomness="different")(x).numpy()
    assert (rows[0] != rows[1]).any()
    rows = func.vmap(draw, randomness="same")(x).numpy()
    assert (rows[0] == rows[1]).all()


def test_vmap_does_not_let_a_shared_argument_change():
    with pytest.raises(RuntimeError, match="changed a shared argument in place"):
        func.vmap(lambda x, total: total.add_(x), (0, None))(minidl.ones(3), minidl.zeros(1))
    x = minidl.ones(3, 2)
    func.vmap(lambda x: x.add_(1.0))(x)
    assert x.sum().item() == 6  # its own slices are copies


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda x: func.grad(lambda x: x)(x), RuntimeError, "must return one 0-d tensor"),
        (lambda x: func.grad(lambda x: x.sum(), 1)(x), ValueError, "argnums 1 of a function"),
        (lambda x: func.grad(lambda x, y: x.sum())(3.0, x), TypeError, "must be a Tensor, got flo"),
        (lambda x: func.grad(lambda x: x.sum())(x.long()), TypeError, "must be floating point"),
        (lambda x: func.grad(lambda x: x.sum(), has_aux=True)(x), TypeError, r"\(output, aux\)"),
        (lambda x: func.vjp(lambda x: x, x)[1](x[:1]), ValueError, "must have the output' shapes"),
        (lambda x: func.jvp(lambda x: x, x, x), TypeError, "must be tuples"),
        (lambda x: func.jvp(lambda x: x, (x,), (x[:1],)), ValueError, "the primals' shapes"),
        (lambda x: func.vmap(lambda x: x, None)(x), ValueError, "all in_dims are None"),
        (lambda x: func.vmap(lambda x: x, 1)(x), ValueError, r"in_dims 1 of an argument of shape"),
        (lambda x: func.vmap(lambda x, y: x)(x, x[:2]), ValueError, r"sizes \[2, 3\]"),
        (lambda x: func.vmap(lambda x: x)(x[:0]), ValueError, "axis has size 0"),
        (lambda x: func.vmap(lambda x: 1.0)(x), TypeError, "must return Tensors, got float"),
        (lambda x: func.vmap(lambda x: x, out_dims=None)(x), ValueError, "out_dims None must be"),
        (lambda x: func.vmap(lambda x: x, (0, 0))(x), ValueError, "does not fit the arguments"),
        (
            lambda x: func.vmap(lambda x: x[: int(x[0])])(t([[1.0, 0], [2.0, 0]])),
            ValueError,
            "returned different shapes",
        ),
        (
            lambda x: autograd.functional.jacobian(lambda x: minidl.ones(2), x, strict=True),
            RuntimeError,
            r"does not depend on input 0 \(strict",
        ),
        (
            lambda x: autograd.functional.jvp(lambda x: (x, t(X)), x, x, strict=True),
            RuntimeError,
            r"output 1 does not depend",
        ),
        (
            lambda x: autograd.functional.hvp(lambda x: x.sum(), x, x, strict=True),
            RuntimeError,
            "gradient does not depend",
        ),
        (lambda x: autograd.functional.vjp(lambda x: x, x), RuntimeError, "may be left out only"),
        (lambda x: autograd.functional.hessian(lambda x: x, x), RuntimeError, "one element"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(t(X))


def test_zeros_where_nothing_depends():
    x = t(X)
    same(func.jacrev(lambda x: t(V))(x), t(np.zeros((3, 3))))
    same(func.jvp(lambda x: t(V), (x,), (x,))[1], t(np.zeros(3)))
    same(func.hessian(lambda x: (x * t(V)).sum())(x), t(np.zeros((3, 3))))
    same(autograd.functional.hvp(lambda x: x.sum(), x, x)[1], t(np.zeros(3)))


def test_fused_ops():
    """Ops whose second derivative comes from their twin."""
    torch = pytest.importorskip("torch")
    target = np.array([0, 2])
    out = []
    for lib in (minidl, torch):
        FF = F if lib is minidl else torch.nn.functional

        def loss(x, lib=lib, FF=FF):
            return FF.cross_entropy(FF.layer_norm(x, (3,)), lib.tensor(target))

        out.append(
            (
                lib.func.hessian(loss)(lib.tensor(W)),
                lib.func.jvp(loss, (lib.tensor(W),), (lib.tensor(W) ** 2,)),
            )
        )
    same(*out)


def test_linearize_runs_the_function_once():
    runs = []

    def f(x, y):
        runs.append(1)
        return {"out": x * y, "sum": x.sum()}

    x, y = minidl.tensor([1.0, 2.0]), minidl.tensor([3.0, 4.0])
    out, push = func.linearize(f, x, y)
    assert out["out"].tolist() == [3.0, 8.0]
    for v in ([1.0, 0.0], [2.0, 5.0]):
        pushed = push(minidl.tensor(v), minidl.tensor([1.0, 1.0]))
        assert pushed["out"].tolist() == [3 * v[0] + 1, 4 * v[1] + 2]
        assert pushed["sum"].item() == sum(v)
    assert len(runs) == 1
    with pytest.raises(ValueError, match="tangents must have the primals' shapes"):
        push(x)
