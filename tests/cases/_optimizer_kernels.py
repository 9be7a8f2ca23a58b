"""Inputs for the kernels of optimizers: whole parameters, and rows of tables."""

import numpy as np

from minidl.optim._tables import _cut
from minidl.sparse import group_rows
from minidl.testing.kernels import KernelCase
from tests.cases._kernel_samples import ROWS, normal, sampler_table

CASES, case = sampler_table()

SIZES = (0,), (1,), (7, 0, 3), (20_001, 5, 9_000)
"""Of the parameters of one call: several pieces in a share, several shares in a parameter."""


def _call(dtype, sizes, settings, numbers, make):
    """A case whose arrays all lie in its last argument, a state, so that a copy moves them all.

    make(n): gradient, parameter and states of n elements, None for a state that is not used.
    """
    places = np.zeros((8, len(sizes)), np.int64)
    arrays, at = [np.zeros(3, dtype)], 3
    for k, n in enumerate(sizes):
        made = make(n)
        places = places[: len(made)]
        for row, array in enumerate(made):
            if array is not None:
                places[row, k] = at
                arrays += [array.astype(dtype), np.zeros(2, dtype)]  # with room between them
                at += n + 2
    pieces, shares = _cut(sizes)
    each = np.array([numbers] * len(sizes), np.float64)
    return KernelCase([places, pieces, shares, each, *settings], [np.concatenate(arrays)])


@case("sgd")
def sgd(rng, dtype):
    for sizes in SIZES:
        for momentum, dampening, nesterov, first, sign in (
            (0.0, 0.0, False, True, 1.0),
            (0.9, 0.0, True, False, 1.0),
            (0.9, 0.3, False, False, -1.0),
            (0.9, 0.3, False, True, 1.0),
        ):

            def arrays(n, unused=momentum == 0, first=first):
                buffer = np.zeros(n) if first else normal(rng, n, dtype)
                return normal(rng, n, dtype), normal(rng, n, dtype), None if unused else buffer

            settings = [0.1, momentum, dampening, 0.01, nesterov, sign]
            yield _call(dtype, sizes, settings, [float(first)], arrays)


@case("clip_norm")
def clip_norm(rng, dtype):
    for sizes in SIZES:
        for most, also_nonfinite, scale in ((1.5, True, 1.0), (1e9, True, 1.0), (1.5, False, 1e19)):

            def arrays(n, scale=scale):
                return (normal(rng, n, dtype) * scale,)

            made = _call(dtype, sizes, [], [], arrays)
            inputs = [*made.inputs[:3], most, also_nonfinite]
            yield KernelCase(inputs, [np.zeros(1), *made.state])
    made = _call(dtype, (40,), [], [], lambda n: (np.full(n, np.inf),))
    for also_nonfinite in (True, False):
        inputs = [*made.inputs[:3], 1.0, also_nonfinite]
        yield KernelCase(inputs, [np.zeros(1), *made.state], note="inf")


@case("adam")
def adam(rng, dtype):
    for sizes in SIZES:
        for decoupled, amsgrad, sign in ((False, False, 1.0), (True, True, -1.0)):

            def arrays(n, amsgrad=amsgrad):
                v = rng.random(n) + 0.5
                return *(normal(rng, n, dtype) for _ in range(3)), v, v if amsgrad else None

            settings = [0.01, 0.9, 0.999, 1e-8, 0.02, decoupled, amsgrad, sign]
            yield _call(dtype, sizes, settings, [3.0], arrays)


@case("rmsprop")
def rmsprop(rng, dtype):
    for sizes in SIZES:
        for momentum, centered in ((0.0, False), (0.9, False), (0.0, True), (0.9, True)):

            def arrays(n, momentum=momentum, centered=centered):
                mean = normal(rng, n, dtype, 0.1) if centered else None
                buffer = normal(rng, n, dtype) if momentum else None
                grad, param = normal(rng, n, dtype), normal(rng, n, dtype)
                return grad, param, rng.random(n) + 2.5, mean, buffer

            settings = [0.01, 0.99, 1e-8, 0.02, momentum, centered, 1.0]
            yield _call(dtype, sizes, settings, [], arrays)


def _plain(names, count, settings, numbers):
    """A kernel with `count` states that stay positive, as sums of squares do."""

    @case(*names)
    def sampler(rng, dtype):
        def arrays(n):
            grad, param = normal(rng, n, dtype), normal(rng, n, dtype)
            grad[::5] = 0
            return grad, param, *(rng.random(n) + 0.5 for _ in range(count))

        for sizes in SIZES:
            for each in numbers:
                yield _call(dtype, sizes, settings, each, arrays)


_plain(["adagrad"], 1, [0.1, 0.05, 0.01, 1e-10, 1.0], [[4.0]])
_plain(["adadelta"], 2, [0.7, 0.9, 1e-6, 0.01, -1.0], [[]])
_plain(["adamax"], 2, [0.01, 0.9, 0.999, 1e-8, 0.02, 1.0], [[3.0]])
_plain(
    ["adam_mixed"], 2, [0.9, 0.999, 1e-8, 0.02, 0.99, -1.0],
    [[0.1, 0.2, 0.0, 1.4], [0.0, 0.0, 0.3, 1.4]],
)  # fmt: skip
_plain(["move_average"], 0, [], [[0.1]])


@case("rprop")
def rprop(rng, dtype):
    def arrays(n):
        grad, before, param = (normal(rng, n, dtype) for _ in range(3))
        grad[::5] = 0
        return grad, param, before, rng.random(n)

    for sizes in SIZES:
        yield _call(dtype, sizes, [0.5, 1.2, 0.1, 0.9, -1.0], [], arrays)


@case("lion")
def lion(rng, dtype):
    def arrays(n):
        grad, param, m = (normal(rng, n, dtype) for _ in range(3))
        grad[::5] = m[::5] = 0
        return grad, param, m

    for sizes in SIZES:
        yield _call(dtype, sizes, [0.1, 0.9, 0.99, 0.98, -1.0], [], arrays)


def _rows(rng, dtype):
    for n, d in ROWS:
        rows = rng.permutation(400)[:n]
        table = normal(rng, (400, d), dtype)
        yield normal(rng, (n, d), dtype), rows, table, rng.random((400, d)).astype(dtype)


@case("sgd_rows")
def sgd_rows(rng, dtype):
    for values, rows, table, _ in _rows(rng, dtype):
        yield KernelCase([values, rows, 0.1, -1.0], [table])


@case("adagrad_rows")
def adagrad_rows(rng, dtype):
    for values, rows, table, total in _rows(rng, dtype):
        yield KernelCase([values, rows, 3, 0.1, 0.05, 1e-10, 1.0], [table, total])


@case("sparse_adam_rows")
def sparse_adam_rows(rng, dtype):
    for values, _, table, v in _rows(rng, dtype):
        rows, order, starts = group_rows(rng.integers(0, 1 + len(values) // 2, len(values)))
        inputs = [values, order, starts, rows, 3, 0.1, 0.9, 0.999, 1e-8, 1.0]
        yield KernelCase(inputs, [table, table * dtype(0.1), v])
