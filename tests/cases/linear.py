"""Inputs for the ops of `minidl.ops.linear` and `minidl.ops.linalg`."""

import numpy as np

from tests.cases._case import Case


def matmuls(rng):
    for x, y in (
        ((2, 3), (3, 4)),
        ((1, 1), (1, 1)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
        ((5, 2, 3), (5, 3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 1, 2, 3), (4, 3, 2)),
    ):
        yield Case((rng.standard_normal(x), rng.standard_normal(y)), note=f"{x} @ {y}")


def linears(rng):
    for shape in ((4, 3), (1, 3), (2, 5, 3), (3,), (0, 3), (2200, 3)):
        arrays = (rng.standard_normal(shape), rng.standard_normal((2, 3)), rng.standard_normal(2))
        yield Case(arrays, note=f"{shape}")
        yield Case((*arrays[:2], None), note=f"{shape} without bias")


def svds(rng):
    for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1), (0, 2, 2)):
        size = min(shape[-2:])
        u = np.linalg.qr(rng.standard_normal((*shape[:-1], shape[-2])))[0][..., :size]
        v = np.linalg.qr(rng.standard_normal((*shape[:-2], shape[-1], shape[-1])))[0][..., :size]
        values = np.arange(size, 0, -1.0)  # well apart
        yield Case(((u * values) @ v.swapaxes(-1, -2),), note=f"{shape}", atol=1e-5)


CASES = {
    "Linear": lambda rng: list(linears(rng)),
    "LinearRelu": lambda rng: list(linears(rng)),
    "MatMul": lambda rng: list(matmuls(rng)),
    "SVD": lambda rng: list(svds(rng)),
}
