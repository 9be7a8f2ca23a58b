"""Inputs for the kernels of optimizers: whole parameters, and rows of tables."""

from minidl.sparse import group_rows
from minidl.testing.kernels import KernelCase
from tests.cases._kernel_samples import ROWS, SIZES, normal, sampler_table

CASES, case = sampler_table()


def _state(rng, n, dtype):
    """A parameter, and two states that stay positive as sums of squares do."""
    return [normal(rng, n, dtype), *(rng.random(n).astype(dtype) + dtype(0.5) for _ in range(2))]


@case("sgd")
def sgd(rng, dtype):
    for n in SIZES:
        for momentum, dampening, nesterov, first, sign in (
            (0.0, 0.0, False, True, 1.0),
            (0.9, 0.0, True, False, 1.0),
            (0.9, 0.3, False, False, -1.0),
            (0.9, 0.3, False, True, 1.0),
        ):
            param, buffer, _ = _state(rng, n, dtype)
            if momentum == 0:
                buffer = buffer[:0]
            elif first:
                buffer[:] = 0
            settings = [0.1, momentum, dampening, 0.01, nesterov, sign, first]
            yield KernelCase([normal(rng, n, dtype), *settings], [param, buffer])


@case("adam")
def adam(rng, dtype):
    for n in SIZES:
        for decoupled, amsgrad, sign in ((False, False, 1.0), (True, True, -1.0)):
            param, m, v = _state(rng, n, dtype)
            vmax = v.copy() if amsgrad else v[:0]
            settings = [3, 0.01, 0.9, 0.999, 1e-8, 0.02, decoupled, sign]
            yield KernelCase([normal(rng, n, dtype), *settings], [param, m, v, vmax])


@case("adagrad")
def adagrad(rng, dtype):
    for n in SIZES:
        param, total, _ = _state(rng, n, dtype)
        settings = [4, 0.1, 0.05, 0.01, 1e-10, 1.0]
        yield KernelCase([normal(rng, n, dtype), *settings], [param, total])


@case("rmsprop")
def rmsprop(rng, dtype):
    for n in SIZES:
        for momentum, centered in ((0.0, False), (0.9, False), (0.0, True), (0.9, True)):
            param, square, buffer = _state(rng, n, dtype)
            mean = normal(rng, n, dtype, 0.1) if centered else param[:0]
            buffer = buffer if momentum else buffer[:0]
            settings = [0.01, 0.99, 1e-8, 0.02, momentum, 1.0]
            yield KernelCase([normal(rng, n, dtype), *settings], [param, square + 2, mean, buffer])


@case("adadelta")
def adadelta(rng, dtype):
    for n in SIZES:
        yield KernelCase([normal(rng, n, dtype), 0.7, 0.9, 1e-6, 0.01, -1.0], _state(rng, n, dtype))


@case("adamax")
def adamax(rng, dtype):
    for n in SIZES:
        settings = [3, 0.01, 0.9, 0.999, 1e-8, 0.02, 1.0]
        yield KernelCase([normal(rng, n, dtype), *settings], _state(rng, n, dtype))


@case("adam_mixed")
def adam_mixed(rng, dtype):
    for n in SIZES:
        for now, ahead, plain in ((0.1, 0.2, 0.0), (0.0, 0.0, 0.3)):
            settings = [now, ahead, plain, 0.9, 0.999, 1.4, 1e-8, 0.02, 0.99, -1.0]
            yield KernelCase([normal(rng, n, dtype), *settings], _state(rng, n, dtype))


@case("rprop")
def rprop(rng, dtype):
    for n in SIZES:
        grad, before, param = (normal(rng, n, dtype) for _ in range(3))
        grad[::5] = 0
        size = rng.random(n).astype(dtype)
        yield KernelCase([grad, 0.5, 1.2, 0.1, 0.9, -1.0], [param, before, size])


@case("lion")
def lion(rng, dtype):
    for n in SIZES:
        grad, param, m = (normal(rng, n, dtype) for _ in range(3))
        grad[::5] = m[::5] = 0
        yield KernelCase([grad, 0.1, 0.9, 0.99, 0.98, -1.0], [param, m])


@case("move_average")
def move_average(rng, dtype):
    for n in SIZES:
        yield KernelCase([normal(rng, n, dtype), 0.1], [normal(rng, n, dtype)])


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
