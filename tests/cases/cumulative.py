"""Inputs for the ops of `minidl.ops.cumulative`."""

from tests.cases._case import Case

SHAPES = ((5,), (3, 4), (0, 3), (2, 3, 1), (2, 0))


def sums(rng):
    for shape in SHAPES:
        for reverse in (False, True):
            yield Case((rng.standard_normal(shape),), {"reverse": reverse}, f"{shape}")


def prods(rng):
    for shape in SHAPES:
        yield Case((rng.uniform(0.5, 2.0, shape) * rng.choice([-1, 1], shape),), note=f"{shape}")
    x = rng.uniform(0.5, 2.0, (5, 5))
    x[1, 2] = x[2, 0] = x[2, 3] = x[4, 4] = 0
    x[3] = 0
    yield Case((x,), note="rows with zeros", atol=1e-5)


def log_sums(rng):
    for shape in SHAPES:
        yield Case((3 * rng.standard_normal(shape),), note=f"{shape}")
    yield Case((rng.standard_normal((2, 4)) - 900.0,), note="e^x underflows", atol=1e-4)


CASES = {
    "CumProd": lambda rng: list(prods(rng)),
    "CumSum": lambda rng: list(sums(rng)),
    "LogCumSumExp": lambda rng: list(log_sums(rng)),
}
