"""Inputs for the ops of `minidl.ops.softmax`."""

from tests.cases._case import Case


def rows(rng):
    for shape in ((5,), (3, 4), (0, 3), (2, 3, 1), (2, 2, 7)):
        yield Case((2 * rng.standard_normal(shape),), note=f"{shape}")
    yield Case((rng.standard_normal((2, 3)) + 1e4,), note="large", atol=1e-4)
    yield Case((rng.standard_normal((40, 60)),), note="enough for the kernel", atol=1e-5)


CASES = {
    "LogSoftmax": lambda rng: list(rows(rng)),
    "Softmax": lambda rng: list(rows(rng)),
}
