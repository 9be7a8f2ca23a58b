"""Inputs for the ops of `minidl.ops.shape`."""

import numpy as np

from tests.cases._case import Case


def expand(rng):
    for before, after in (((3, 1), (2, 3, 4)), ((), (2,)), ((1, 1), (1, 5)), ((0, 1), (0, 3))):
        yield Case((rng.standard_normal(before),), {"shape": after}, f"{before} to {after}")


def reshape(rng):
    for before, after in (((3, 4), (2, 6)), ((), (1, 1)), ((2, 0), (0, 5)), ((2, 3, 2), (12,))):
        yield Case((rng.standard_normal(before),), {"shape": after}, f"{before} to {after}")


def swap_axes(rng):
    for shape, first, second in (((2, 3, 4), 0, 2), ((3, 2), 0, 1), ((0, 2), 1, 0)):
        yield Case((rng.standard_normal(shape),), {"first": first, "second": second})


def permute(rng):
    for shape, axes in (((2, 3, 4), (1, 2, 0)), ((), ()), ((3, 0, 2), (2, 0, 1))):
        yield Case((rng.standard_normal(shape),), {"axes": axes})


def cast(rng):
    # float32 has steps of 1e-7, which a difference quotient makes a hundred thousand times larger
    yield Case((rng.standard_normal((2, 3)),), {"dtype": np.dtype("float32")}, atol=0.05)


def clone(rng):
    for shape in ((2, 3), (), (0, 2)):
        yield Case((rng.standard_normal(shape),))


def flip(rng):
    for shape, axes in (((2, 3, 2), (0, 2)), ((4,), (0,)), ((2, 2), ()), ((0, 3), (1,))):
        yield Case((rng.standard_normal(shape),), {"axes": axes})


def concat(rng):
    for shapes, axis in (
        (((2, 3), (2, 1), (2, 4)), 1),
        (((2,),), 0),
        (((1, 2, 2), (3, 2, 2)), 0),
        (((0, 2), (2, 2)), 0),
    ):
        yield Case(tuple(rng.standard_normal(s) for s in shapes), {"axis": axis}, f"{shapes}")


CASES = {
    "Cast": lambda rng: list(cast(rng)),
    "Clone": lambda rng: list(clone(rng)),
    "Concat": lambda rng: list(concat(rng)),
    "Expand": lambda rng: list(expand(rng)),
    "Flip": lambda rng: list(flip(rng)),
    "Permute": lambda rng: list(permute(rng)),
    "Reshape": lambda rng: list(reshape(rng)),
    "SwapAxes": lambda rng: list(swap_axes(rng)),
}
