"""Inputs for the ops of `minidl.ops.losses`."""

import itertools

import numpy as np

from tests.cases._case import Case


def cross_entropies(rng):
    for rows, classes in ((5, 3), (1, 1), (0, 4), (40, 60)):
        x, weight = 2 * rng.standard_normal((rows, classes)), rng.uniform(0.5, 2, classes)
        target = rng.integers(0, classes, rows)
        for smoothing in (0.0, 0.2):
            settings = {"label_smoothing": smoothing, "ignore_index": -100}
            yield Case((x, target, weight), settings, f"{rows} x {classes}, {smoothing}")
        if rows:
            ignored = np.where(np.arange(rows) % 2, target, -1)
            settings = {"label_smoothing": 0.1, "ignore_index": -1}
            yield Case((x, ignored, weight), settings, f"{rows} x {classes}, ignored")


def table_entropies(rng):
    shapes = ((5, 2, 3), (1, 3, 1), (0, 2, 4), (9, 20, 60))
    for (n, d, v), reduction in itertools.product(shapes, ("none", "sum", "mean")):
        if not n and reduction == "mean":
            continue  # 0 / 0
        x, weight = rng.standard_normal((n, d)), rng.standard_normal((v, d))
        bias, shares = rng.standard_normal(v), rng.uniform(0.5, 2, v)
        target = rng.integers(0, v, n)
        for number, smoothing in enumerate((0.0, 0.2)):
            classes = np.where(np.arange(n) % 3 == 2, -1, target) if number else target
            settings = {
                "label_smoothing": smoothing, "ignore_index": -1, "reduction": reduction,
                "ahead": d % 2 == 0,
            }  # fmt: skip
            arrays = (x, weight, None if number else bias, classes, shares)
            yield Case(arrays, settings, f"{n} x {d}, {v} classes, {reduction}, {smoothing}")


def pairs(rng):
    for shape in ((5,), (3, 4), (0,), (2, 3, 1), (40, 60)):
        yield Case((2 * rng.standard_normal(shape), rng.uniform(0, 1, shape)), note=f"{shape}")


def scores(rng):
    for shape in ((5,), (3, 4), (0,), (2, 3, 1), (40, 60)):
        yield Case((rng.standard_normal(shape), rng.standard_normal(shape)), note=f"{shape}")


CASES = {
    "BCEWithLogits": lambda rng: list(pairs(rng)),
    "BPR": lambda rng: list(scores(rng)),
    "CrossEntropy": lambda rng: list(cross_entropies(rng)),
    "LinearCrossEntropy": lambda rng: list(table_entropies(rng)),
}
