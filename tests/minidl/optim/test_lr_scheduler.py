"""Learning-rate schedules against torch's over 100 steps, and by hand."""

import json
import math

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.optim import lr_scheduler

SCHEDULES = {
    "step": lambda s, o: s.StepLR(o, 7, 0.7),
    "multi step": lambda s, o: s.MultiStepLR(o, [3, 20, 20, 77], 0.5),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.97),
    "constant": lambda s, o: s.ConstantLR(o, 0.25, 9),
    "linear": lambda s, o: s.LinearLR(o, 0.1, 0.8, 30),
    "polynomial": lambda s, o: s.PolynomialLR(o, 60, 1.7),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 30, 0.002),
    "lambda": lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + t)),
    "multiplicative": lambda s, o: s.MultiplicativeLR(
        o, [lambda t: 0.97, lambda t: 1 - 1 / (9 + t)]
    ),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 20, eta_min=0.01),
    "longer restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, 3),
    "triangles": lambda s, o: s.CyclicLR(o, 0.01, [0.1, 0.2], 12, 7),
    "lower triangles": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 9, mode="triangular2"),
    "shrinking triangles": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 9, mode="exp_range", gamma=0.98, base_momentum=0.5
    ),
    "own scale": lambda s, o: s.CyclicLR(
        o,
        0.01,
        0.1,
        9,
        scale_fn=lambda x: 1 / (1 + x),
        scale_mode="iterations",
        cycle_momentum=False,
    ),
    "one cycle": lambda s, o: s.OneCycleLR(o, [0.3, 0.5], 101),
    "one cycle, linear": lambda s, o: s.OneCycleLR(
        o,
        0.3,
        epochs=11,
        steps_per_epoch=10,
        anneal_strategy="linear",
        pct_start=0.17,
        div_factor=10,
        final_div_factor=50,
        base_momentum=0.6,
        max_momentum=0.9,
    ),
    "one cycle, three phases": lambda s, o: s.OneCycleLR(o, 0.3, 105, three_phase=True),
    "chained": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.97)]
    ),
    "warm-up, then restarts": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.05, total_iters=10), s.CosineAnnealingWarmRestarts(o, 30)], [10]
    ),
    "warm-up, then cosine": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.05, total_iters=10), s.CosineAnnealingLR(o, 90)], [10]
    ),
    "three": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 4), s.StepLR(o, 5), s.ExponentialLR(o, 0.9)], [8, 40]
    ),
}


def optimizer():
    parameters = [nn.Parameter(minidl.tensor([1.0])), nn.Parameter(minidl.tensor([2.0]))]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.3}]
    return optim.SGD(groups, lr=0.1, momentum=0.7)


def rates(schedule, steps):
    """Rate and momentum of each group at each step."""
    values = []
    for step in range(steps + 1):
        if step:
            schedule.step()
        groups = schedule.optimizer.param_groups
        assert schedule.get_last_lr() == [group["lr"] for group in groups]
        momenta = [g["betas"][0] if "betas" in g else g["momentum"] for g in groups]
        values.append(schedule.get_last_lr() + momenta)
    return np.array(values)


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning", "ignore:The epoch parameter")
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_torchs(name):
    torch = pytest.importorskip("torch")
    tensors = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": tensors[:1]}, {"params": tensors[1:], "lr": 0.3}]
    peer = torch.optim.SGD(groups, lr=0.1, momentum=0.7)
    theirs = SCHEDULES[name](torch.optim.lr_scheduler, peer)
    ours = SCHEDULES[name](lr_scheduler, optimizer())
    np.testing.assert_allclose(rates(ours, 100), rates(theirs, 100), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", SCHEDULES)
def test_state_goes_on_where_it_was(name):
    first = SCHEDULES[name](lr_scheduler, optimizer())
    rates(first, 13)
    other = optimizer()
    second = SCHEDULES[name](lr_scheduler, other)
    other.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    np.testing.assert_array_equal(rates(second, 40), rates(first, 40))


def test_by_hand():
    o = optimizer()
    schedule = lr_scheduler.CosineAnnealingLR(o, 4)
    expected = [0.1 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    np.testing.assert_allclose(rates(schedule, 4)[:, 0], expected, atol=1e-15)
    schedule = lr_scheduler.LinearLR(optimizer(), 0.25, 1.0, 3)
    np.testing.assert_allclose(rates(schedule, 4)[:, 0], [0.025, 0.05, 0.075, 0.1, 0.1])
    schedule = lr_scheduler.StepLR(optimizer(), 2, 0.5)
    np.testing.assert_allclose(rates(schedule, 4)[:, 0], [0.1, 0.1, 0.05, 0.05, 0.025])


def test_two_schedules_multiply():
    o = optimizer()
    one, two = lr_scheduler.StepLR(o, 2, 0.5), lr_scheduler.ExponentialLR(o, 0.9)
    for _ in range(5):
        one.step()
        two.step()
    assert o.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**2 * 0.9**5)


@pytest.mark.parametrize("settings", [{}, {"mode": "max"}, {"threshold_mode": "abs"},
                                      {"cooldown": 3, "min_lr": 1e-3}])  # fmt: skip
def test_plateau_is_torchs(settings):
    torch = pytest.importorskip("torch")
    ours = lr_scheduler.ReduceLROnPlateau(optimizer(), patience=2, **settings)
    p = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    groups = [{"params": [p[0]]}, {"params": [p[1]], "lr": 0.3}]
    peer = torch.optim.SGD(groups, lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(peer, patience=2, **settings)
    rng = np.random.default_rng(0)
    for metric in np.cumsum(rng.standard_normal(100)):
        ours.step(metric)
        theirs.step(metric)
        assert ours.get_last_lr() == pytest.approx([g["lr"] for g in peer.param_groups])
    assert ours.get_last_lr()[0] < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: lr_scheduler.StepLR(None, 2), "an optimizer is needed, got NoneType"),
        (lambda o: lr_scheduler.StepLR(o, 0), "step_size must be 1 or more"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 0), "T_max must be 1 or more"),
        (lambda o: lr_scheduler.LinearLR(o, 0.0), "start_factor must be above 0"),
        (lambda o: lr_scheduler.ConstantLR(o, 2.0), "factor must be from 0 to 1"),
        (lambda o: lr_scheduler.LambdaLR(o, [abs]), "1 functions for 2 groups"),
        (lambda o: lr_scheduler.StepLR(o, 2, last_epoch=3), "needs its 'initial_lr'"),
        (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 2)], [1]), "0 milestones"),
        (
            lambda o: lr_scheduler.SequentialLR(
                o, [lr_scheduler.StepLR(o, 2), lr_scheduler.ReduceLROnPlateau(o)], [3]
            ),
            "ReduceLROnPlateau needs a metric",
        ),
        (lambda o: lr_scheduler.ChainedScheduler([]), "at least one schedule"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), "T_0 must be a whole number"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="square"), "mode must be 'triangular'"),
        (lambda o: lr_scheduler.CyclicLR(o, [0.1], 0.2), "1 values for 2 groups"),
        (
            lambda o: lr_scheduler.CyclicLR(optim.Adagrad([nn.Parameter(minidl.ones(1))]), 0.1, 1),
            "Adagrad has neither momentum nor betas to cycle",
        ),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1), "give total_steps, or epochs"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 5, pct_start=2.0), "pct_start must be from"),
        (lambda o: rates(lr_scheduler.OneCycleLR(o, 0.1, 5), 6), "step 6 is beyond"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="least"), "mode must be 'min' or 'max'"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), "factor must be below 1"),
    ],
)
def test_errors(make, message):
    with pytest.raises((TypeError, ValueError, KeyError), match=message):
        make(optimizer())


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")
def test_momentum_of_adam_is_cycled():
    torch = pytest.importorskip("torch")
    p, q = nn.Parameter(minidl.tensor([1.0])), torch.zeros(1, requires_grad=True)
    mine, peer = optim.Adam([p], betas=(0.9, 0.99)), torch.optim.Adam([q], betas=(0.9, 0.99))
    ours = lr_scheduler.CyclicLR(mine, 0.01, 0.1, 5)
    peer.step()
    theirs = torch.optim.lr_scheduler.CyclicLR(peer, 0.01, 0.1, 5)
    for _ in range(23):
        ours.step()
        theirs.step()
        assert mine.param_groups[0]["betas"] == pytest.approx(peer.param_groups[0]["betas"])


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")
@pytest.mark.parametrize("T_mult", [1, 2])
def test_restarts_go_to_any_step(T_mult):
    torch = pytest.importorskip("torch")
    q = torch.zeros(1, requires_grad=True)
    peer = torch.optim.SGD([q], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(peer, 5, T_mult)
    ours = lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), 5, T_mult)
    for epoch in (0.0, 0.5, 4.75, 5.0, 5.25, 14.9, 15.0, 62.5, 3.0):
        ours.step(epoch)
        theirs.step(epoch)
        assert ours.get_last_lr()[0] == pytest.approx(peer.param_groups[0]["lr"])
    with pytest.raises(ValueError, match="step must be 0 or more"):
        ours.step(-1)
