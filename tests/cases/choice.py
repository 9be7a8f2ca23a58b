"""Inputs for the ops of `minidl.ops.choice`."""

import numpy as np

from tests.cases._case import Case
from tests.cases._elementwise import PAIRS, away, between, binary, unary


def steps(rng):
    """Values away from the jumps, which are at whole numbers and at halves."""
    for name in ("sign", "floor", "ceil", "trunc", "round"):
        for shape in ((), (3, 4), (0, 3)):
            whole = rng.integers(-3, 3, shape)
            yield Case((whole + rng.uniform(0.1, 0.4, shape),), {"name": name}, note=name)
    yield Case((np.array([0.123, -0.456]),), {"name": "round", "decimals": 2})


def where(rng):
    for x, y in PAIRS:
        shape = np.broadcast_shapes(x, y)
        keep = rng.random(shape) < 0.5
        yield Case((keep, rng.standard_normal(x), rng.standard_normal(y)), note=f"{x} {y}")
    yield Case((rng.random((2, 1)) < 0.5, rng.standard_normal(3), rng.standard_normal(3)))
    yield Case((rng.random(4) < 0.5, 2.5, rng.standard_normal(4)), note="a number")


def apart(rng):
    """Pairs whose elements differ by more than the step of the check."""
    for x, y in PAIRS:
        high = np.asarray(rng.uniform(2.0, 2.9, x))
        low = np.asarray(rng.uniform(1.0, 1.9, y))
        for share in (0.5, 1.0):
            yield Case((high, low), {"share": share}, note=f"{x} {y}")
            yield Case((low, high), {"share": share}, note=f"{y} {x}")


def modulo(rng):
    for x, y in PAIRS:
        divisor = np.asarray(rng.choice([2.0, -2.0], y) + rng.uniform(0, 0.05, y))
        for floor in (True, False):
            value = rng.integers(-2, 2, x) * 2 + rng.uniform(0.4, 1.5, x)
            yield Case((np.asarray(value), divisor), {"floor": floor}, note=f"{x} {y} {floor}")


def limits():
    for closed in (True, False):
        for low, high in ((-1.0, 1.0), (None, 0.5), (-0.5, None)):
            yield {"low": low, "high": high, "closed": closed}


CASES = {
    "Abs": unary(away(0.0)),
    "Step": lambda rng: list(steps(rng)),
    "Where": lambda rng: list(where(rng)),
    "Clamp": unary(away(-1.0, -0.5, 0.5, 1.0), tuple(limits())),
    "Maximum": lambda rng: list(apart(rng)),
    "Minimum": lambda rng: list(apart(rng)),
    "Modulo": lambda rng: list(modulo(rng)),
    "Copysign": binary(away(0.0), between(0.5, 2.0)),
}
