"""Inputs for the ops of `minidl.ops.sparse`."""

import numpy as np

from minidl.sparse import CSR
from tests.cases._case import Case


def csr_matmul(rng):
    for shape, width in (((7, 5), 3), ((1, 1), 1), ((0, 4), 2)):
        full = rng.random(shape) < 0.5
        indptr = np.concatenate([[0], np.cumsum(full.sum(1))])
        matrix = CSR(indptr, np.nonzero(full)[1], rng.standard_normal(full.sum()), shape)
        parts = (matrix.indptr, matrix.indices, matrix.data)
        parts += (matrix.T.indptr, matrix.T.indices, matrix.T.data)
        yield Case((rng.standard_normal((shape[1], width)), *parts), note=f"{shape}")


CASES = {"CsrMatMul": lambda rng: list(csr_matmul(rng))}
