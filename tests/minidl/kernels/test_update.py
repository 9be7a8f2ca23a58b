"""Optimizer kernels against torch.optim, in float64 over several steps."""

import numpy as np
import pytest

from minidl import kernels
from minidl.optim._tables import run_together
from minidl.sparse import group_rows

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # torch's own

STEPS, N = 5, 37


def follow(optimizer_class, settings, step, n_state, maximize=False):
    """Run torch's optimizer and `step(grad, t, param, *states)` on the same gradients."""
    rng = np.random.default_rng(0)
    param = rng.standard_normal(N)
    states = [np.zeros(N) for _ in range(n_state)]
    theirs = torch.tensor(param.copy(), requires_grad=True)
    optimizer = optimizer_class([theirs], maximize=maximize, **settings)
    for t in range(1, STEPS + 1):
        grad = rng.standard_normal(N)
        theirs.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        step(grad, t, param, *states)
    np.testing.assert_allclose(param, theirs.detach().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize(
    ("momentum", "dampening", "nesterov"), [(0, 0, False), (0.9, 0, True), (0.9, 0.4, False)]
)
def test_sgd(momentum, dampening, nesterov, maximize):
    settings = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
    settings |= {"lr": 0.1, "weight_decay": 0.03}
    sign = -1.0 if maximize else 1.0

    def step(grad, t, param, buffer):
        numbers = 0.1, float(momentum), float(dampening), 0.03, nesterov, sign
        arrays = grad, param, buffer if momentum else None
        run_together(kernels.sgd, [arrays], [(float(t == 1),)], numbers)

    follow(torch.optim.SGD, settings, step, 1, maximize)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(decoupled, amsgrad, maximize):
    settings = {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.05, "amsgrad": amsgrad}
    sign = -1.0 if maximize else 1.0

    def step(grad, t, param, m, v, vmax):
        numbers = 0.01, 0.8, 0.95, 1e-8, 0.05, decoupled, amsgrad, sign
        arrays = grad, param, m, v, vmax if amsgrad else None
        run_together(kernels.adam, [arrays], [(t,)], numbers)

    optimizer = torch.optim.AdamW if decoupled else torch.optim.Adam
    follow(optimizer, settings, step, 3, maximize)


def test_adagrad():
    def step(grad, t, param, total):
        numbers = 0.1, 0.05, 0.02, 1e-10, 1.0
        run_together(kernels.adagrad, [(grad, param, total)], [(t,)], numbers)

    settings = {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.02}
    follow(torch.optim.Adagrad, settings, step, 1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("centered", [False, True])
def test_rmsprop(centered, momentum):
    def step(grad, t, param, square, mean, buffer):
        mean, buffer = mean if centered else None, buffer if momentum else None
        numbers = 0.01, 0.9, 1e-8, 0.02, momentum, centered, 1.0
        run_together(kernels.rmsprop, [(grad, param, square, mean, buffer)], [()], numbers)

    settings = {"lr": 0.01, "alpha": 0.9, "weight_decay": 0.02}
    settings |= {"momentum": momentum, "centered": centered}
    follow(torch.optim.RMSprop, settings, step, 3)


def _follow_rows(optimizer_class, settings, step, n_state):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 4))
    states = [np.zeros_like(table) for _ in range(n_state)]
    theirs = torch.tensor(table.copy(), requires_grad=True)
    optimizer = optimizer_class([theirs], **settings)
    for t in range(1, STEPS + 1):
        rows = rng.permutation(50)[:9]
        values = rng.standard_normal((9, 4))
        theirs.grad = torch.sparse_coo_tensor(rows[None], values.copy(), (50, 4))
        optimizer.step()
        step(values, rows, t, table, *states)
    np.testing.assert_allclose(table, theirs.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_sparse_adam_rows():
    def step(values, rows, t, table, m, v):
        distinct, order, starts = group_rows(rows)
        settings = (t, 0.01, 0.8, 0.95, 1e-8, 1.0)
        kernels.sparse_adam_rows(values, order, starts, distinct, *settings, table, m, v)

    _follow_rows(torch.optim.SparseAdam, {"lr": 0.01, "betas": (0.8, 0.95)}, step, 2)


def test_adagrad_rows():
    def step(values, rows, t, table, total):
        kernels.adagrad_rows(values, rows, t, 0.1, 0.05, 1e-10, 1.0, table, total)

    _follow_rows(torch.optim.Adagrad, {"lr": 0.1, "lr_decay": 0.05}, step, 1)


def test_sgd_rows():
    def step(values, rows, t, table):
        kernels.sgd_rows(values, rows, 0.1, 1.0, table)

    _follow_rows(torch.optim.SGD, {"lr": 0.1}, step, 0)
