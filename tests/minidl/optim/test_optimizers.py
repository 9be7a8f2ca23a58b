"""Optimizers against torch.optim over many steps, and by hand; state; row-sparse gradients."""

import json

import numpy as np
import pytest

import minidl
from minidl import RowSparse, Tensor, nn, optim
from minidl.nn import functional as F

SETTINGS = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "maximize": True}),
    ("Adam", {"lr": 0.02}),
    ("Adam", {"lr": 0.02, "betas": (0.7, 0.9), "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.3}),
    ("AdamW", {"lr": 0.02, "amsgrad": True, "maximize": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.3}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"lr": 0.02}),
    ("RMSprop", {"lr": 0.02, "centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.02}),
    ("Adamax", {"lr": 0.02, "betas": (0.7, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.02, "betas": (0.7, 0.8), "maximize": True}),  # rho never comes to 5
    ("Rprop", {"lr": 0.02}),
    ("Rprop", {"lr": 0.02, "etas": (0.3, 1.7), "step_sizes": (0.01, 0.03), "maximize": True}),
    ("ASGD", {"lr": 0.02, "lambd": 0.1, "t0": 3, "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.02}),
    ("Adafactor", {"lr": 0.5, "d": 2.0, "weight_decay": 0.1, "eps": (0.3, 0.7)}),
    ("Adafactor", {"lr": 0.05, "beta2_decay": -0.3, "maximize": True}),
]
IDS = [f"{name} {' '.join(settings)}" for name, settings in SETTINGS]


def parameter(values, dtype=np.float64):
    return nn.Parameter(Tensor(np.array(values, dtype)))


def gradients(shapes, steps, seed=0):
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal(shape) for shape in shapes] for _ in range(steps)]


def follow(o, parameters, steps):
    for step in steps:
        for p, g in zip(parameters, step):
            p.grad = Tensor(g.astype(p.dtype)) if isinstance(g, np.ndarray) else g
        o.step()


SHAPES = [(7, 3), (5,), ()]


@pytest.fixture
def torch():
    """torch with float64 as default: it is what NAdam keeps its product of mus in."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_values_and_state_are_torchs(name, settings, torch):
    start = gradients(SHAPES, 1, seed=1)[0]
    ours = [parameter(v) for v in start]
    theirs = [torch.tensor(v, requires_grad=True) for v in start]
    groups = lambda ps: [{"params": ps[:1]}, {"params": ps[1:], "lr": 0.3}]
    mine = getattr(optim, name)(groups(ours), **settings)
    peer = getattr(torch.optim, name)(groups(theirs), **settings)
    for step in gradients(SHAPES, 12):
        follow(mine, ours, [step])
        for p, g in zip(theirs, step):
            p.grad = torch.tensor(g)
        peer.step()
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-13)
    state, known = mine.state_dict(), peer.state_dict()
    assert [g["params"] for g in state["param_groups"]] == [[0], [1, 2]]
    for number, values in known["state"].items():
        for key, value in values.items():
            if value is not None:
                np.testing.assert_allclose(np.asarray(state["state"][number][key]), value.numpy())
    again = [parameter(p.detach().numpy()) for p in theirs]
    restored = getattr(optim, name)(groups(again))
    restored.load_state_dict(known)  # torch's own
    more = gradients(SHAPES, 3, seed=5)
    follow(restored, again, more)
    follow(mine, ours, more)
    for p, q in zip(ours, again):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_state_goes_on_bit_equal(name, settings):
    start = gradients(SHAPES, 1, seed=1)[0]
    first = [parameter(v, np.float32) for v in start]
    one = getattr(optim, name)(first, **settings)
    follow(one, first, gradients(SHAPES, 4))
    second = [parameter(p.detach().numpy(), np.float32) for p in first]
    two = getattr(optim, name)(second)
    saved = one.state_dict()
    json.dumps(saved["param_groups"])  # plain numbers
    two.load_state_dict(saved)
    for o, ps in ((one, first), (two, second)):
        follow(o, ps, gradients(SHAPES, 4, seed=9))
    for p, q in zip(first, second):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_by_hand():
    p = parameter([1.0, -2.0])
    o = optim.SGD([p], lr=0.5, momentum=0.5)
    follow(o, [p], [[np.array([1.0, 2.0])], [np.array([1.0, 0.0])]])
    np.testing.assert_allclose(p.detach().numpy(), [1 - 0.5 - 0.75, -2 - 1 - 0.5])
    p = parameter([1.0])
    follow(optim.Adam([p], lr=0.1, eps=0.0), [p], [[np.array([3.0])]])
    np.testing.assert_allclose(p.detach().numpy(), [0.9])  # the first step is lr whatever g is
    p = parameter([1.0])
    follow(optim.AdamW([p], lr=0.1, eps=0.0, weight_decay=0.5), [p], [[np.array([3.0])]])
    np.testing.assert_allclose(p.detach().numpy(), [0.85])
    p = parameter([1.0])
    follow(optim.Adagrad([p], lr=0.1, eps=0.0), [p], [[np.array([3.0])], [np.array([4.0])]])
    np.testing.assert_allclose(p.detach().numpy(), [1 - 0.1 - 0.1 * 4 / 5])
    p = parameter([1.0])
    follow(optim.RMSprop([p], lr=0.1, alpha=0.75, eps=0.0), [p], [[np.array([3.0])]])
    np.testing.assert_allclose(p.detach().numpy(), [1 - 0.1 / 0.5])


def rows_of(rng, count=9, table=50, width=4):
    return RowSparse(
        rng.integers(0, table, count), rng.standard_normal((count, width)), (table, width)
    )


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_a_row_sparse_gradient_is_the_dense_step(name, settings, rng):
    start = rng.standard_normal((50, 4))
    sparse, dense = parameter(start), parameter(start)
    one, two = getattr(optim, name)([sparse], **settings), getattr(optim, name)([dense], **settings)
    for _ in range(5):
        g = rows_of(rng)
        follow(one, [sparse], [[g]])
        follow(two, [dense], [[g.to_dense()]])
    np.testing.assert_allclose(sparse.detach().numpy(), dense.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("SGD", {"lr": 0.1}), ("Adagrad", {"lr": 0.1}), ("SparseAdam", {"lr": 0.1})],
)
def test_row_steps_leave_other_rows_alone(name, settings, rng):
    start = rng.standard_normal((50, 4)).astype(np.float32)
    p = parameter(start, np.float32)
    o = getattr(optim, name)([p], **settings)
    g = RowSparse(np.array([7, 3, 7]), np.ones((3, 4), np.float32), (50, 4))
    follow(o, [p], [[g], [RowSparse(np.empty(0, np.int64), np.empty((0, 4), np.float32), (50, 4))]])
    changed = (p.detach().numpy() != start).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [3, 7]
    assert p.dtype == np.float32


def test_sparse_adam_is_torchs(rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal((20, 3))
    table = nn.Embedding.from_pretrained(Tensor(start.copy()), freeze=False, sparse=True)
    peer = torch.nn.Embedding.from_pretrained(torch.tensor(start), freeze=False, sparse=True)
    settings = {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3}
    mine = optim.SparseAdam(table.parameters(), **settings)
    theirs = torch.optim.SparseAdam(peer.parameters(), **settings)
    for _ in range(6):
        ids = rng.integers(0, 20, (4, 2))
        for lib, layer, o in ((minidl, table, mine), (torch, peer, theirs)):
            o.zero_grad()
            (layer(lib.tensor(ids)) ** 2).sum().backward()
            o.step()
    np.testing.assert_allclose(table.weight.detach().numpy(), peer.weight.detach().numpy())


@pytest.mark.parametrize("sparse_first", [True, False])
def test_dense_and_sparse_uses_of_one_table(sparse_first, rng):
    """A tied table: read by ids and multiplied as a whole; the gradient becomes dense."""
    weight = parameter(rng.standard_normal((6, 3)))
    read = F.embedding(minidl.tensor(np.array([1, 4, 1])), weight, sparse=True).sum()
    whole = (weight * 2.0).sum()
    (read + whole if sparse_first else whole + read).backward()
    expected = np.full((6, 3), 2.0)
    expected[[1, 4]] += [[2.0], [1.0]]
    np.testing.assert_allclose(weight.grad.numpy(), expected)
    before = weight.detach().numpy().copy()
    optim.SGD([weight], lr=0.5).step()
    np.testing.assert_allclose(weight.detach().numpy(), before - 0.5 * expected)


def test_two_parameters_of_one_add_do_not_share_gradients():
    a, b = parameter([1.0, 2.0]), parameter([3.0, 4.0])
    (a + b).sum().backward()
    nn.utils.clip_grad_value_([a], 0.25)
    np.testing.assert_array_equal(a.grad.numpy(), [0.25, 0.25])
    np.testing.assert_array_equal(b.grad.numpy(), [1.0, 1.0])


def test_a_tied_parameter_is_stepped_once():
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    o = optim.SGD(model.parameters(), lr=1.0)
    assert len(o.param_groups[0]["params"]) == 1
    model(minidl.tensor(np.ones((2, 3), np.float32))).sum().backward()
    before, grad = first.weight.detach().numpy().copy(), first.weight.grad.numpy().copy()
    o.step()
    np.testing.assert_array_equal(second.weight.detach().numpy(), before - grad)
    assert list(model.state_dict()) == ["0.weight", "1.weight"]


def test_a_transposed_parameter_is_changed():
    p = nn.Parameter(Tensor(np.arange(6.0).reshape(2, 3).T))
    p.grad = Tensor(np.ones((3, 2)))
    optim.Adam([p], lr=0.5).step()
    np.testing.assert_allclose(p.detach().numpy(), np.arange(6.0).reshape(2, 3).T - 0.5)


def test_a_step_falsifies_a_waiting_backward():
    p = parameter([1.0, 2.0])
    loss = (p * p).sum()
    p.grad = Tensor(np.ones(2))
    optim.SGD([p]).step()
    with pytest.raises(RuntimeError, match="modified by an in-place"):
        loss.backward()


def test_closure_and_zero_grad():
    p = parameter([3.0])
    o = optim.SGD([p], lr=0.5)

    def closure():
        o.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with minidl.no_grad():
        assert float(o.step(closure)) == 9.0
    np.testing.assert_allclose(p.detach().numpy(), [0.0])
    o.zero_grad(set_to_none=False)
    assert p.grad.numpy().tolist() == [0.0]
    o.zero_grad()
    assert p.grad is None
    assert o.step() is None


def test_groups_and_names():
    model = nn.Linear(2, 2)
    o = optim.Adam(model.named_parameters(), lr=0.1)
    assert o.param_groups[0]["param_names"] == ["weight", "bias"]
    extra = parameter([1.0])
    o.add_param_group({"params": extra, "lr": 0.7})
    assert o.param_groups[1]["lr"] == 0.7
    assert o.param_groups[1]["betas"] == (0.9, 0.999)
    assert "Parameter Group 1" in repr(o)


P = parameter([1.0, 2.0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD([]), ValueError, "list of parameters is empty"),
        (lambda: optim.SGD(P), TypeError, "write \\[it\\]"),
        (lambda: optim.SGD([np.ones(2)]), TypeError, "parameter 0 must be a Tensor, got ndarray"),
        (lambda: optim.SGD([P * 2]), ValueError, "not a leaf"),
        (lambda: optim.SGD([P, P]), ValueError, "more than once"),
        (lambda: optim.SGD([{"params": [P]}, {"params": [P]}]), ValueError, "more than once"),
        (lambda: optim.SGD([Tensor(np.ones(2, np.int64))]), TypeError, "must be floating point"),
        (lambda: optim.SGD([P], lr=-1), ValueError, "lr must be at least 0.0, got -1"),
        (lambda: optim.SGD([P], lr=float("nan")), ValueError, "lr must be at least"),
        (lambda: optim.SGD([P], nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda: optim.Adam([P], betas=(0.9, 1.0)), ValueError, "betas\\[1\\] must be from"),
        (lambda: optim.Adagrad([P], eps=-1), ValueError, "eps must be"),
        (lambda: optim.RMSprop([P], alpha=-1), ValueError, "alpha must be"),
        (
            lambda: optim.SparseAdam([{"params": [P], "weight_decay": 0.1}]),
            ValueError,
            "weight_decay would touch every row",
        ),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_bad_steps_and_states():
    p = parameter([1.0, 2.0])
    p.grad = Tensor(np.ones(3))
    with pytest.raises(ValueError, match=r"gradient \(3,\) does not fit the parameter \(2,\)"):
        optim.SGD([p]).step()
    table = parameter(np.ones((3, 2)))
    table.grad = Tensor(np.ones((3, 2)))
    with pytest.raises(RuntimeError, match="has a dense gradient"):
        optim.SparseAdam([table]).step()
    o = optim.Adam([p])
    p.grad = Tensor(np.ones(2))
    o.step()
    with pytest.raises(ValueError, match=r"saved groups have \[1\] parameters, these \[2\]"):
        optim.Adam([parameter([1.0]), parameter([2.0])]).load_state_dict(o.state_dict())
    with pytest.raises(ValueError, match=r"exp_avg \(2,\) does not fit its parameter \(3,\)"):
        optim.Adam([parameter([1.0, 2.0, 3.0])]).load_state_dict(o.state_dict())
