"""LBFGS, Muon, Lion, decay by group, float16 and gradient accumulation."""

import json

import numpy as np
import pytest

import minidl
from minidl import RowSparse, Tensor, nn, optim
from minidl.optim.factored import orthogonalized


def parameter(values, dtype=np.float64):
    return nn.Parameter(Tensor(np.array(values, dtype)))


def rosenbrock(p, lib):
    """A narrow bent valley with its floor at (1, 1), and a scalar beside it."""
    x, y = p[0][0], p[0][1]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2 + (p[1] - 3.0) ** 2


LBFGS = [
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 3},
    {"line_search_fn": "strong_wolfe", "lr": 0.01, "max_iter": 7, "max_eval": 9},
    {"lr": 0.1, "max_iter": 5, "history_size": 2},
    {"lr": 0.5, "max_iter": 3, "tolerance_change": 1e-3},
]


def run(o, parameters, steps, lib):
    losses = []

    def closure():
        o.zero_grad()
        loss = rosenbrock(parameters, lib)
        loss.backward()
        losses.append(loss.item())
        return loss

    returned = [o.step(closure).item() for _ in range(steps)]
    return returned, losses


@pytest.mark.parametrize("settings", LBFGS, ids=str)
def test_lbfgs_tries_the_points_that_torchs_tries(settings):
    torch = pytest.importorskip("torch")
    ours = [parameter([-1.2, 1.0]), parameter(0.5)]
    theirs = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in ours]
    mine, peer = optim.LBFGS(ours, **settings), torch.optim.LBFGS(theirs, **settings)
    returned, losses = run(mine, ours, 6, minidl)
    expected, known = run(peer, theirs, 6, torch)
    assert len(losses) == len(known)
    # 50 evaluations down this valley make 1e-16 about 1e-6
    np.testing.assert_allclose(losses[:20], known[:20], rtol=1e-9)
    np.testing.assert_allclose(losses, known, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(returned, expected, rtol=1e-5, atol=1e-12)
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-7)
    a, b = mine.state_dict()["state"][0], peer.state_dict()["state"][0]
    assert (a["func_evals"], a["n_iter"]) == (b["func_evals"], b["n_iter"])
    assert set(b) - {"al"} == set(a)  # al: a scratch list


def test_lbfgs_finds_the_floor():
    p = [parameter([-1.2, 1.0]), parameter(0.5)]
    run(optim.LBFGS(p, max_iter=60, line_search_fn="strong_wolfe"), p, 2, minidl)
    np.testing.assert_allclose(p[0].detach().numpy(), [1, 1], rtol=1e-5)
    assert float(p[1]) == pytest.approx(3, abs=1e-5)


def test_lbfgs_goes_on_where_it_was():
    first = [parameter([-1.2, 1.0]), parameter(0.5)]
    one = optim.LBFGS(first, max_iter=4, line_search_fn="strong_wolfe")
    run(one, first, 2, minidl)
    second = [parameter(p.detach().numpy()) for p in first]
    two = optim.LBFGS(second)
    two.load_state_dict(one.state_dict())
    assert run(one, first, 3, minidl) == run(two, second, 3, minidl)
    torch = pytest.importorskip("torch")
    third = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in second]
    peer = torch.optim.LBFGS(third, max_iter=4, line_search_fn="strong_wolfe")
    run(peer, third, 3, torch)
    fourth = [parameter(p.detach().numpy()) for p in third]
    mine = optim.LBFGS(fourth)
    mine.load_state_dict(peer.state_dict())
    np.testing.assert_allclose(
        run(mine, fourth, 1, minidl)[1], run(peer, third, 1, torch)[1], rtol=1e-6, atol=1e-12
    )


def test_lbfgs_down_a_straight_line():
    p = parameter([0.0, 0.0])
    o = optim.LBFGS([p], max_iter=2, line_search_fn="strong_wolfe")

    def closure():
        o.zero_grad()
        loss = (p * minidl.tensor([1.0, -2.0], dtype=minidl.float64)).sum()
        loss.backward()
        return loss

    o.step(closure)
    x, y = p.detach().numpy()
    assert np.isfinite([x, y]).all()
    assert x < 0
    assert y == pytest.approx(-2 * x)


def test_lbfgs_refusals():
    p = parameter([1.0])
    with pytest.raises(TypeError, match="needs a closure"):
        optim.LBFGS([p]).step()
    with pytest.raises(ValueError, match="one group of parameters, got 2"):
        optim.LBFGS([{"params": [p]}, {"params": [parameter([2.0])]}])
    with pytest.raises(ValueError, match="must be None or 'strong_wolfe', got 'armijo'"):
        optim.LBFGS([p], line_search_fn="armijo")
    with pytest.raises(ValueError, match="no decay by group"):
        optim.LBFGS([{"params": [p], "l1_decay": 0.1}])


def test_orthogonalized_is_near_u_vt(rng):
    for shape in ((6, 4), (4, 6), (5, 5)):
        matrix = rng.standard_normal(shape)
        u, _, vt = np.linalg.svd(matrix, full_matrices=False)
        out = orthogonalized(matrix, (3.4445, -4.775, 2.0315), 5, 1e-7)
        inside = np.diag(u.T @ out @ vt.T)
        assert ((inside > 0.6) & (inside < 1.3)).all()
        np.testing.assert_allclose(u @ np.diag(inside) @ vt, out, atol=1e-10)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
@pytest.mark.parametrize(
    "settings", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "momentum": 0.5}]
)
def test_muon_is_torchs_to_its_bfloat16(settings, shape, rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal(shape).astype(np.float32)
    p, q = parameter(start, np.float32), torch.tensor(start, requires_grad=True)
    mine = optim.Muon([p], lr=0.1, weight_decay=0.3, **settings)
    peer = torch.optim.Muon([q], lr=0.1, weight_decay=0.3, **settings)
    for _ in range(5):
        g = rng.standard_normal(shape).astype(np.float32)
        p.grad, q.grad = Tensor(g.copy()), torch.tensor(g)
        mine.step()
        peer.step()
    moved = np.abs(q.detach().numpy() - start).max()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=0.02 * moved)
    buffer = mine.state_dict()["state"][0]["momentum_buffer"].numpy()
    np.testing.assert_allclose(buffer, peer.state[q]["momentum_buffer"].numpy(), rtol=1e-5)


def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match=r"parameter 0 \(3,\) is not a matrix; give vectors"):
        optim.Muon([parameter([1.0, 2.0, 3.0])])
    with pytest.raises(ValueError, match="adjust_lr_fn must be"):
        optim.Muon([parameter([[1.0]])], adjust_lr_fn="none")


def test_lion_by_hand():
    p = parameter([1.0, -2.0, 0.0])
    o = optim.Lion([p], lr=0.1, betas=(0.5, 0.75), weight_decay=0.5)
    p.grad = Tensor(np.array([4.0, -8.0, 0.0]))
    o.step()  # m = 0.25 g = (1, -2, 0)
    np.testing.assert_allclose(p.detach().numpy(), [0.95 - 0.1, -1.9 + 0.1, 0.0])
    p.grad = Tensor(np.array([-3.0, 1.0, 0.0]))
    o.step()  # 0.5 m + 0.5 g = (-1, -0.5, 0)
    np.testing.assert_allclose(p.detach().numpy(), [0.85 * 0.95 + 0.1, -1.8 * 0.95 + 0.1, 0.0])
    np.testing.assert_allclose(o.state[p]["exp_avg"].numpy(), [0.75 * 1 - 0.75, -1.5 + 0.25, 0])
    again = optim.Lion([p])
    again.load_state_dict(o.state_dict())
    assert again.param_groups[0]["betas"] == (0.5, 0.75)
    np.testing.assert_array_equal(again.state[p]["exp_avg"].numpy(), o.state[p]["exp_avg"].numpy())


def test_decay_by_group():
    p, q = parameter([2.0, -0.04]), parameter([2.0, -0.04])
    o = optim.SGD([{"params": [p], "l1_decay": 0.5}, {"params": [q], "decoupled_decay": 0.5}], 0.1)
    p.grad = q.grad = Tensor(np.array([1.0, 0.0]))
    o.step()
    np.testing.assert_allclose(p.detach().numpy(), [2 - 0.1 - 0.05, 0.0])  # ends at 0, not beyond
    np.testing.assert_allclose(q.detach().numpy(), [2 * 0.95 - 0.1, -0.04 * 0.95])
    json.dumps(o.state_dict()["param_groups"])
    with pytest.raises(ValueError, match="l1_decay must be at least"):
        optim.Adam([{"params": [p], "l1_decay": -1}])


def test_decoupled_decay_is_adamws():
    start = np.random.default_rng(0).standard_normal(5)
    p, q = parameter(start), parameter(start)
    one = optim.Adam([{"params": [p], "decoupled_decay": 0.3}], lr=0.1)
    two = optim.AdamW([q], lr=0.1, weight_decay=0.3)
    for seed in range(4):
        g = np.random.default_rng(seed).standard_normal(5)
        p.grad, q.grad = Tensor(g), Tensor(g.copy())
        one.step()
        two.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)


def test_l1_decay_finds_the_lasso():
    """Proximal descent ends at the soft-thresholded least squares for an orthogonal design."""
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.standard_normal((20, 4)))[0]
    target = x @ [2.0, -1.0, 0.05, 0.0]
    w = parameter(np.zeros(4))
    o = optim.SGD([{"params": [w], "l1_decay": 0.25}], lr=0.5)
    for _ in range(200):
        o.zero_grad()
        ((minidl.tensor(x) @ w - minidl.tensor(target)) ** 2).sum().mul(0.5).backward()
        o.step()
    np.testing.assert_allclose(w.detach().numpy(), [1.75, -0.75, 0, 0], atol=1e-9)
    assert w.detach().numpy()[2] == 0


def test_groups_with_and_without_decay():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    groups = optim.decay_groups(model, weight_decay=0.1)
    assert groups[0]["param_names"] == ["0.weight", "1.weight", "3.weight"]
    assert groups[0]["weight_decay"] == 0.1
    assert groups[1]["param_names"] == ["1.bias", "2.weight", "2.bias", "3.bias"]
    assert groups[1]["weight_decay"] == 0.0
    o = optim.AdamW(groups, lr=0.1)
    for p in model.parameters():
        p.grad = Tensor(np.zeros_like(p.array))
    before = [p.detach().numpy().copy() for p in model.parameters()]
    o.step()
    moved = [bool((p.detach().numpy() != b).any()) for p, b in zip(model.parameters(), before)]
    assert moved == [True, True, False, False, False, True, False]
    groups = optim.decay_groups(model, l1_decay=0.1, no_decay=("0.weight", nn.Linear))
    assert [len(g["params"]) for g in groups] == [0, 7]
    model[1].weight.requires_grad_(False)
    groups = optim.decay_groups(model, decoupled_decay=0.1, no_decay=())
    assert "1.weight" not in groups[0]["param_names"] + groups[1]["param_names"]
    with pytest.raises(ValueError, match="give weight_decay, decoupled_decay or l1_decay"):
        optim.decay_groups(model)


NAMES = [
    "SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop",
    "ASGD", "Adafactor", "Lion", "Muon", "LBFGS",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_float16_is_stepped_in_float32(name, rng):
    """A half parameter moves as a float32 one, up to its rounding; its states are float32."""
    start = rng.standard_normal((3, 4)).astype(np.float16)
    half, full = parameter(start, np.float16), parameter(start, np.float32)
    one, two = getattr(optim, name)([half], lr=0.1), getattr(optim, name)([full], lr=0.1)
    for _ in range(3):
        g = rng.standard_normal((3, 4)).astype(np.float16)
        half.grad, full.grad = Tensor(g.copy()), Tensor(g.astype(np.float32))
        one.step(lambda: 1.0)
        two.step(lambda: 1.0)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.detach().numpy(), full.detach().numpy(), atol=5e-3, rtol=2e-3)
    for state in one.state_dict()["state"].values():
        for value in state.values():
            assert not isinstance(value, Tensor) or value.dtype == np.float32


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_accumulated_gradients_are_those_of_the_big_batch(name, rng):
    x, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 1))
    start = rng.standard_normal((3, 1))
    w, v = parameter(start), parameter(start)
    one, two = getattr(optim, name)([w], lr=0.1), getattr(optim, name)([v], lr=0.1)
    for _ in range(3):
        one.zero_grad()
        two.zero_grad()
        for part in np.split(np.arange(12), 4):  # four small batches, one step
            loss = ((minidl.tensor(x[part]) @ w - minidl.tensor(y[part])) ** 2).mean()
            (loss / 4).backward()
        ((minidl.tensor(x) @ v - minidl.tensor(y)) ** 2).mean().backward()
        one.step()
        two.step()
    np.testing.assert_allclose(w.detach().numpy(), v.detach().numpy(), rtol=1e-12)


def test_accumulated_row_sparse_gradients(rng):
    table, whole = (nn.Embedding(9, 2, sparse=True) for _ in range(2))
    whole.load_state_dict(table.state_dict())
    ids = np.array([[1, 2], [2, 7], [1, 1], [0, 8]])
    one, two = (optim.SparseAdam(t.parameters(), lr=0.1) for t in (table, whole))
    for _ in range(2):
        one.zero_grad()
        two.zero_grad()
        for part in ids:
            ((table(minidl.tensor(part)) ** 2).mean() / 4).backward()
        (whole(minidl.tensor(ids)) ** 2).mean().backward()
        one.step()
        two.step()
    np.testing.assert_allclose(
        table.weight.detach().numpy(), whole.weight.detach().numpy(), rtol=1e-5
    )


@pytest.mark.parametrize("name", ["Lion", "Muon"])
def test_row_sparse_is_the_dense_step_here_too(name, rng):
    start = rng.standard_normal((8, 3))
    sparse, dense = parameter(start), parameter(start)
    for _ in range(3):
        g = RowSparse(rng.integers(0, 8, 4), rng.standard_normal((4, 3)), (8, 3))
        for p, grad in ((sparse, g), (dense, Tensor(g.to_dense()))):
            p.grad = grad
    one, two = getattr(optim, name)([sparse], lr=0.1), getattr(optim, name)([dense], lr=0.1)
    one.step()
    two.step()
    np.testing.assert_allclose(sparse.detach().numpy(), dense.detach().numpy(), rtol=1e-12)
    assert (sparse.detach().numpy() != start).any()


def test_lbfgs_of_a_row_sparse_table(rng):
    tables = [nn.Embedding(8, 3, sparse=sparse).double() for sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    ids, target = minidl.tensor([1, 5, 1]), minidl.tensor(rng.standard_normal((3, 3)))
    for table in tables:
        o = optim.LBFGS(table.parameters(), line_search_fn="strong_wolfe", max_iter=5)

        def closure(table=table, o=o):
            o.zero_grad()
            loss = ((table(ids) - target) ** 2).sum()
            loss.backward()
            return loss

        o.step(closure)
    np.testing.assert_allclose(
        tables[0].weight.detach().numpy(), tables[1].weight.detach().numpy(), rtol=1e-9
    )
    mean = (target.numpy()[0] + target.numpy()[2]) / 2
    np.testing.assert_allclose(tables[0].weight.detach().numpy()[1], mean, rtol=1e-4)
