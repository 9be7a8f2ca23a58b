"""Inputs for the ops of `minidl.ops.systems`."""

import numpy as np

from tests.cases._case import Case

BATCHES = ((), (2,), (0,), (2, 1))


def _regular(rng, *shape):
    return rng.standard_normal(shape) + 3 * np.eye(*shape[-2:])


def _definite(rng, *shape):
    a = rng.standard_normal(shape)
    return a @ a.swapaxes(-1, -2) + np.eye(shape[-1])


def solves(rng):
    for first, second in (((), ()), ((2,), ()), ((), (2,)), ((2, 1), (3,)), ((0,), (0,))):
        a, b = _regular(rng, *first, 3, 3), rng.standard_normal((*second, 3, 2))
        yield Case((a, b), {}, f"{a.shape}, {b.shape}")


def squares(rng):
    for batch in BATCHES:
        yield Case((_regular(rng, *batch, 3, 3),), {}, f"{batch}")
    yield Case((_regular(rng, 1, 1),), {}, "1 x 1")


def determinants(rng):
    yield from squares(rng)
    for columns in ((0, 1, 1), (0, 0, 0)):
        a = rng.standard_normal((3, 3))[:, columns]
        yield Case((a,), {}, f"rank of columns {columns}", order2=False)


def definites(rng):
    for batch in BATCHES:
        yield Case((_definite(rng, *batch, 3, 3),), {}, f"{batch}")


def tall(rng):
    for shape in ((3, 3), (5, 3), (2, 4, 2), (0, 3, 2)):
        yield Case((_regular(rng, *shape),), {}, f"{shape}", atol=1e-5)


def symmetric(rng):
    for batch in BATCHES:
        a = rng.standard_normal((*batch, 3, 3)) + np.diag([0.0, 5.0, 10.0])
        yield Case((a,), {}, f"{batch}", atol=1e-5)


def pseudo(rng):
    for shape in ((3, 3), (5, 3), (2, 2, 4)):
        yield Case((_regular(rng, *shape),), {"rcond": 1e-12}, f"{shape}", atol=1e-5)


CASES = {
    "Cholesky": lambda rng: list(definites(rng)),
    "Det": lambda rng: list(determinants(rng)),
    "Eigh": lambda rng: list(symmetric(rng)),
    "Inverse": lambda rng: list(squares(rng)),
    "PInverse": lambda rng: list(pseudo(rng)),
    "QR": lambda rng: list(tall(rng)),
    "SLogDet": lambda rng: list(squares(rng)),
    "Solve": lambda rng: list(solves(rng)),
}
