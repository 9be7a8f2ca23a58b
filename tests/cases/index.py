"""Inputs for the ops of `minidl.ops.index` and `minidl.ops.view`."""

import numpy as np

from minidl.ops.shape import Reshape, SwapAxes
from minidl.ops.view import Diagonal, Slice
from tests.cases._case import Case

_EVERY = (None, None, None)

KEYS = (
    ((4, 3), (1,)),
    ((4, 3), (None, (1, 4, 2), -1)),
    ((4, 3), (Ellipsis, (0, 2, None))),
    ((5,), (2,)),
    ((), (None,)),
    ((3, 4), (_EVERY, (2, 2, None))),
)

PATHS = (
    ((4, 3), ((Slice, (("key", (1,)),)),)),
    ((4, 4), ((Diagonal, (("first", 0), ("offset", 1), ("second", 1))),)),
    (
        (2, 6),
        (
            (Reshape, (("shape", (2, 2, 3)),)),
            (SwapAxes, (("first", 0), ("second", 2))),
            (Slice, (("key", ((1, None, None), 0)),)),
        ),
    ),
    # a part that is a view of a transposed array only: in other layouts the reshape copies
    ((3, 2), ((SwapAxes, (("first", 0), ("second", 1))), (Reshape, (("shape", (6,)),)))),
)


def part(shape, path):
    x = np.zeros(shape)
    for op, settings in path:
        x, _ = op.forward(x, **dict(settings))
    return x.shape


def slices(rng):
    for shape, key in KEYS:
        yield Case((rng.standard_normal(shape),), {"key": key}, f"{shape} {key}")


def diagonal(rng):
    for shape, offset, first, second in (
        ((3, 3), 0, 0, 1), ((2, 4, 3), 1, 2, 0), ((2, 3), -1, 0, 1), ((2, 3), 5, 0, 1),
    ):  # fmt: skip
        settings = {"offset": offset, "first": first, "second": second}
        yield Case((rng.standard_normal(shape),), settings, f"{shape} {settings}")


def unfold(rng):
    for shape, axis, size, step in (((7,), 0, 3, 2), ((2, 5, 2), 1, 2, 1), ((3, 4), 0, 3, 1)):
        yield Case((rng.standard_normal(shape),), {"axis": axis, "size": size, "step": step})


def sections(rng):
    for shape, axis, sizes, single in (
        ((5, 2), 0, (2, 3), False), ((2, 3), 1, (1, 1, 1), True), ((2, 4, 2), 1, (4, 0), False),
        ((3,), 0, (1, 1, 1), True), ((0, 2), 1, (1, 1), True),
    ):  # fmt: skip
        settings = {"axis": axis, "sizes": sizes, "single": single}
        yield Case((rng.standard_normal(shape),), settings, f"{shape} {settings}")


def put_view(rng):
    for shape, path in PATHS:
        x = rng.standard_normal(part(shape, path))
        yield Case((x,), {"path": path, "shape": shape})


def zero_view(rng):
    for shape, path in PATHS:
        yield Case((rng.standard_normal(shape),), {"path": path})


def write_view(rng):
    for shape, path in PATHS:
        value = rng.standard_normal(part(shape, path))
        yield Case((rng.standard_normal(shape), value), {"path": path})


def take_flat(rng):
    for shape, count in (((3, 4), (5,)), ((6,), (2, 3)), ((2,), (0,))):
        yield Case((rng.standard_normal(shape), rng.integers(0, np.prod(shape), count)))


def add_flat(rng):
    for shape, count in (((3, 4), (5,)), ((6,), (2, 3)), ((2,), (0,))):
        places = rng.integers(0, np.prod(shape), count)
        yield Case((rng.standard_normal(count), places), {"shape": shape})


def put_flat(rng):
    for shape, count in (((3, 4), (5,)), ((4,), (4, 3)), ((2,), (0,))):
        places = rng.integers(0, np.prod(shape), count)
        yield Case((rng.standard_normal(shape), rng.standard_normal(count), places))


ROWS = (
    ((5, 2), (4,), 0), ((2, 4, 3), (2, 3), 1), ((6,), (9,), 0), ((3, 2), (0,), 0),
    ((3, 700), (5,), 0),  # enough for the kernel
)  # fmt: skip


def take_rows(rng):
    for shape, count, axis in ROWS:
        n = shape[axis]
        yield Case((rng.standard_normal(shape), rng.integers(-n, n, count)), {"axis": axis})


def add_rows(rng):
    for shape, count, axis in ROWS:
        wide = (*shape[:axis], *count, *shape[axis + 1 :])
        ids = rng.integers(0, shape[axis], count)
        yield Case((rng.standard_normal(wide), ids), {"axis": axis, "shape": shape})


CASES = {
    "AddFlat": lambda rng: list(add_flat(rng)),
    "AddRows": lambda rng: list(add_rows(rng)),
    "Diagonal": lambda rng: list(diagonal(rng)),
    "PutFlat": lambda rng: list(put_flat(rng)),
    "PutView": lambda rng: list(put_view(rng)),
    "Sections": lambda rng: list(sections(rng)),
    "Slice": lambda rng: list(slices(rng)),
    "TakeFlat": lambda rng: list(take_flat(rng)),
    "TakeRows": lambda rng: list(take_rows(rng)),
    "Unfold": lambda rng: list(unfold(rng)),
    "WriteView": lambda rng: list(write_view(rng)),
    "ZeroView": lambda rng: list(zero_view(rng)),
}
