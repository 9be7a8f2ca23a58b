"""Inputs for the ops of `minidl.ops.reduce`."""

import numpy as np

from tests.cases._case import Case

AXES = (
    ((3, 4), (0,), False),
    ((3, 4), (1,), True),
    ((3, 4), (0, 1), False),
    ((2, 3, 4), (0, 2), True),
    ((2, 3, 4), (0, 1), False),
    ((), (), False),
)
EMPTY = (((0, 4), (0,), False), ((0, 4), (1,), True), ((3, 0), (0, 1), False))


def sums(rng):
    for shape, dim, keepdim in AXES + EMPTY:
        x = np.asarray(rng.standard_normal(shape))
        yield Case((x,), {"dim": dim, "keepdim": keepdim}, f"{shape}")
    yield Case((rng.standard_normal((3, 4)),), {"dim": None, "keepdim": True}, "all, kept")
    many = (2500, 3)  # more than a block of rows, added up in blocks
    yield Case((rng.standard_normal(many),), {"dim": (0,), "keepdim": False}, "blocks of rows")
    yield Case((rng.standard_normal((2, 2500, 3)),), {"dim": (1,), "keepdim": True}, "middle axis")


def means(rng):
    for case in sums(rng):
        x, dim = case.arrays[0], case.settings["dim"]
        if all(x.shape[d] for d in (range(x.ndim) if dim is None else dim)):
            yield case  # the mean of nothing is NaN


def extremes(rng):
    for shape, dim, keepdim in AXES:
        x = rng.permutation(np.arange(np.prod(shape, dtype=int)) * 0.5 - 3.0).reshape(shape)
        yield Case((x,), {"dim": dim, "keepdim": keepdim}, f"{shape}")
    yield Case((np.zeros((0, 3)) + 1.0,), {"dim": (1,), "keepdim": False}, "no rows")
    many = rng.permutation(np.arange(1200) * 0.5).reshape(30, 8, 5)  # enough for a kernel
    yield Case((many,), {"dim": (1, 2), "keepdim": True}, "last two axes of many")


def prods(rng):
    for shape in ((5,), (3, 4), (0, 3), (2, 3, 1)):
        yield Case((rng.uniform(0.5, 2.0, shape) * rng.choice([-1, 1], shape),), note=f"{shape}")
    x = rng.uniform(0.5, 2.0, (4, 4))
    x[1, 2] = x[2, 0] = x[2, 3] = 0
    x[3] = 0
    yield Case((x,), note="rows with 0, 1, 2 and 4 zeros", atol=1e-5)


def medians(rng):
    for shape in ((1,), (4,), (3, 5), ()):
        x = np.asarray(rng.permutation(np.arange(np.prod(shape, dtype=int)) * 0.5).reshape(shape))
        yield Case((x,), {"ignore_nan": False}, f"{shape}")
    yield Case((rng.standard_normal(7),), {"ignore_nan": True}, "without NaN")


def log_sum_exps(rng):
    for shape in ((5,), (3, 4), (0, 3), (2, 3, 1)):
        yield Case((3 * rng.standard_normal(shape),), note=f"{shape}")
    yield Case((rng.standard_normal((2, 3)) + 1e4,), note="large", atol=1e-4)


CASES = {
    "Amax": lambda rng: list(extremes(rng)),
    "Amin": lambda rng: list(extremes(rng)),
    "LogSumExp": lambda rng: list(log_sum_exps(rng)),
    "Mean": lambda rng: list(means(rng)),
    "Median": lambda rng: list(medians(rng)),
    "Prod": lambda rng: list(prods(rng)),
    "Sum": lambda rng: list(sums(rng)),
}
