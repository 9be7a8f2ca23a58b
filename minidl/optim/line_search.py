"""A line search for the strong Wolfe conditions (Nocedal & Wright 2006, algorithms 3.5 and 3.6).

Given f and a direction in which it falls, look for a step t where f has fallen enough and its
slope has become flat enough:

    f(t) <= f(0) + c1 t f'(0)    and    |f'(t)| <= c2 |f'(0)|

First steps grow until an interval is known to hold such a t; then the interval shrinks. Both guess
the next t as the minimum of the cubic through the ends' values and slopes (eq. 3.59). The
safeguards are those of Schmidt's minFunc, which torch's search follows too, so both try the same
steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minidl.typing import Array


class _Point(NamedTuple):
    """The function at step t of the line."""

    t: float
    value: float
    grad: Array
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Array]],
    t: float,
    direction: Array,
    value: float,
    grad: Array,
    slope: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    max_evaluations: int = 25,
) -> tuple[float, Array, float, int]:
    """(value, gradient, t, evaluations) of the step found, or of the best one tried.

    evaluate(t): value and gradient at start + t direction; t: the first guess; value, grad, slope:
    those at the start, slope below 0. max_evaluations: after the first.
    """
    scale = float(np.abs(direction).max())
    count = 0

    def at(t: float) -> _Point:
        nonlocal count
        count += 1
        value, grad = evaluate(t)
        return _Point(t, value, grad, float(grad @ direction))

    def too_high(point: _Point) -> bool:
        return point.value > value + c1 * point.t * slope

    def flat(point: _Point) -> bool:
        return abs(point.slope) <= -c2 * slope

    start = before = _Point(0.0, value, grad, slope)
    now = at(t)
    tried = 0
    while True:  # grow
        if tried == max_evaluations:
            before = start
            break
        if too_high(now) or (tried > 1 and now.value >= before.value):
            break
        if flat(now):
            return now.value, now.grad, now.t, count
        if now.slope >= 0:
            break
        nearest, farthest = now.t + 0.01 * (now.t - before.t), 10 * now.t
        guess = _cubic_minimum(before, now, nearest, farthest)
        before, now = now, at(guess)
        tried += 1
    low, high = (before, now) if before.value <= now.value else (now, before)
    stuck = False
    while tried < max_evaluations:  # shrink: `low` is the best so far, its slope points to `high`
        left, right = min(low.t, high.t), max(low.t, high.t)
        if (right - left) * scale < tolerance_change:
            break
        t = _cubic_minimum(low, high, left, right)
        margin = 0.1 * (right - left)  # a guess near an end must not come twice in a row
        if min(right - t, t - left) < margin:
            if stuck or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new = at(t)
        tried += 1
        if too_high(new) or new.value >= low.value:
            high = new
            if high.value < low.value:
                low, high = high, low
            continue
        if flat(new):
            low = new
            break
        if new.slope * (high.t - low.t) >= 0:
            high = low
        low = new
    return low.value, low.grad, low.t, count


def _cubic_minimum(a: _Point, b: _Point, left: float, right: float) -> Any:
    """Where the cubic through both points has its minimum, within left ... right; or the middle."""
    if a.t > b.t:
        a, b = b, a
    inner = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = inner * inner - a.slope * b.slope
    if not square >= 0:
        return (left + right) / 2
    root = square**0.5
    above, below = b.slope + root - inner, b.slope - a.slope + 2 * root
    if below == 0:  # a straight line
        return right if above < 0 else left
    return min(max(b.t - (b.t - a.t) * (above / below), left), right)
