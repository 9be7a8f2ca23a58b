"""Inputs for the op of `minidl.ops.attention`."""

import numpy as np

from tests.cases._case import Case


def _case(rng, note, q, k=None, v=None, mask=None, causal=False, dropout_p=0.0, **options):
    k = q if k is None else k
    arrays = [rng.standard_normal(s) for s in (q, k, k if v is None else v)]
    key = np.array([99], np.uint64) if dropout_p else None
    settings = {"scale": q[-1] ** -0.5, "causal": causal, "dropout_p": dropout_p}
    return Case((*arrays, mask, key), settings, note, **options)


def attentions(rng):
    yield _case(rng, "one head", (3, 2))
    yield _case(rng, "other lengths", (2, 3, 4), (2, 5, 4), (2, 5, 3))
    yield _case(rng, "causal", (2, 2, 5, 3), causal=True)
    yield _case(rng, "causal, more keys", (2, 3, 4), (2, 6, 4), causal=True)
    yield _case(rng, "causal, more queries", (2, 6, 4), (2, 3, 4), causal=True)
    yield _case(rng, "dropout", (2, 5, 3), dropout_p=0.4)
    yield _case(rng, "float mask", (2, 3, 4, 2), mask=rng.standard_normal((4, 4)))
    yield _case(rng, "float mask by batch", (2, 3, 4, 2), mask=rng.standard_normal((2, 1, 1, 4)))
    yield _case(rng, "grouped", (2, 2, 3, 4, 2), (2, 2, 1, 5, 2), causal=True)
    yield _case(rng, "broadcast", (3, 4, 2), (2, 1, 5, 2), (5, 3), dropout_p=0.2)
    seen = rng.random((2, 1, 4, 5)) < 0.6
    seen[0, 0, 2] = False
    yield _case(rng, "bool mask, a blind row", (2, 3, 4, 2), (2, 3, 5, 2), mask=seen)
    yield _case(rng, "no batch", (0, 3, 2))
    yield _case(rng, "no keys", (2, 3, 2), (2, 0, 2))
    yield _case(rng, "several blocks", (1, 150, 70), (1, 140, 70), causal=True, order2=False)


def packed(rng):
    seen = rng.random((3, 1, 1, 5)) < 0.7
    for shape, heads, mask, causal, p in (
        ((1, 1, 3), 1, None, False, 0.0),
        ((3, 5, 12), 2, None, True, 0.0),
        ((3, 5, 12), 2, seen, False, 0.3),
        ((2, 4, 6), 1, rng.standard_normal((1, 1, 4, 4)), False, 0.0),
        ((0, 4, 6), 2, None, False, 0.0),
        ((2, 40, 48), 4, None, True, 0.2),
    ):
        settings = {"heads": heads, "scale": 0.7, "causal": causal, "dropout_p": p}
        key = np.array([7], np.uint64) if p else None
        yield Case((rng.standard_normal(shape), mask, key), settings, f"{shape}, {heads}")


CASES = {
    "PackedAttention": lambda rng: list(packed(rng)),
    "ScaledDotProductAttention": lambda rng: list(attentions(rng)),
}
