"""Inputs for the ops of `minidl.ops.bag`."""

import numpy as np

from tests.cases._case import Case

BAGS = (([0, 2, 5], 5), ([0, 0, 3, 3], 3), ([0], 0), ([0, 0], 0), ([0, 40, 100], 100))


def sums(rng):
    for indptr, count in BAGS:
        arrays = (rng.standard_normal((6, 3)), rng.standard_normal(count))
        ids = rng.integers(0, 6, count)
        for sparse in (False, True):
            settings = {"sparse": sparse}
            yield Case((*arrays, ids, np.array(indptr)), settings, f"{indptr}, {sparse}")


def maxima(rng):
    for indptr, count in BAGS:
        ids = rng.integers(0, 6, count)
        yield Case((rng.standard_normal((6, 3)), ids, np.array(indptr)), note=f"{indptr}")
    indptr = np.sort(rng.integers(0, 900, 200))
    indptr[0] = 0
    table, ids = rng.standard_normal((50, 9)), rng.integers(0, 50, 900)
    yield Case((table, ids, indptr), note="enough for the compiled kernel")


CASES = {
    "EmbeddingBag": lambda rng: list(sums(rng)),
    "EmbeddingBagMax": lambda rng: list(maxima(rng)),
}
