"""The steps that the line search tries, against torch's, and the conditions it looks for."""

import numpy as np
import pytest

from minidl.optim.line_search import strong_wolfe

LINES = {  # f, f', start
    "far": (lambda x: np.log(1 + (x - 7) ** 2), lambda x: 2 * (x - 7) / (1 + (x - 7) ** 2), 0.0),
    "wiggly": (lambda x: 0.05 * x * x + np.sin(3 * x), lambda x: 0.1 * x + 3 * np.cos(3 * x), 1.4),
    "kink": (lambda x: abs(x - 3) ** 1.2, lambda x: 1.2 * np.sign(x - 3) * abs(x - 3) ** 0.2, 0.0),
    "steep": (lambda x: np.exp(3 * (x - 2)) - x, lambda x: 3 * np.exp(3 * (x - 2)) - 1, 0.0),
    "plateau": (
        lambda x: np.tanh(10 * (x - 4)) - 0.001 * x,
        lambda x: 10 / np.cosh(10 * (x - 4)) ** 2 - 0.001,
        0.0,
    ),
    "parabola": (lambda x: (x - 1e3) ** 2, lambda x: 2 * (x - 1e3), 0.0),
}
FIRST = (1e-4, 0.3, 4.0, 6.0, 30.0, 50.0)


def search(name, t, run):
    """(steps tried, result) of run(evaluate, t, direction, value, gradient, slope)."""
    f, slope, x0 = LINES[name]
    direction = -np.sign(slope(x0))
    tried = []

    def evaluate(t):
        x = x0 + float(t) * direction
        tried.append(float(t))
        return float(f(x)), np.array([slope(x)])

    start = float(f(x0)), np.array([slope(x0)]), float(slope(x0) * direction)
    return tried, run(evaluate, t, np.array([direction]), *start)


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("t", FIRST)
@pytest.mark.parametrize("name", LINES)
def test_steps_are_torchs(name, t):
    torch = pytest.importorskip("torch")
    from torch.optim.lbfgs import _strong_wolfe

    def peer(evaluate, t, direction, value, grad, slope):
        def objective(x, t, d):
            value, grad = evaluate(t)
            return value, torch.tensor(grad)

        d = torch.tensor(direction)
        return _strong_wolfe(
            objective,
            None,
            t,
            d,
            value,
            torch.tensor(grad),
            torch.tensor(slope, dtype=torch.float64),
        )

    tried, result = search(name, t, strong_wolfe)
    known, expected = search(name, t, peer)
    np.testing.assert_allclose(tried, known, rtol=1e-7)
    assert result[0] == pytest.approx(float(expected[0]))
    assert result[2] == pytest.approx(float(expected[2]))
    assert result[3] == expected[3] == len(tried)


@pytest.mark.parametrize("t", FIRST)
@pytest.mark.parametrize("name", ["far", "wiggly", "kink", "steep", "parabola"])
def test_the_conditions_hold(name, t):
    f, slope, x0 = LINES[name]
    _, (value, _, found, _) = search(name, t, strong_wolfe)
    direction = -np.sign(slope(x0))
    x = x0 + found * direction
    first = slope(x0) * direction
    assert value == f(x)
    assert value <= f(x0) + 1e-4 * found * first
    assert abs(slope(x)) <= 0.9 * abs(first)
