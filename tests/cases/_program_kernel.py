"""Inputs of the kernel that runs elementwise programs: each instruction, and programs of many."""

import numpy as np

from minidl.kernels import program as vm
from minidl.testing.kernels import KernelCase
from tests.cases._kernel_samples import SIZES, normal, sampler_table, special

CASES, case = sampler_table()

OUT, X, Y, Z, SMALL, PLACES = 0, 1, 2, 3, 4, 5  # places; registers come after them


def program(rows, arrays, out, once=0, registers=1, block=64, numbers=(0.0,)):
    """A case: out stands for itself, the arrays are kept by the case."""
    places = np.array([0, *[a.ctypes.data for a in arrays]], np.int64)
    made = KernelCase(
        [np.array(rows, np.int64), np.array(numbers), places, once, registers, block], outputs=[out]
    )
    made.kept = arrays
    return made


@case("elementwise_program")
def programs(rng, dtype):
    for n in (*SIZES, 99):
        x, y, z = (normal(rng, n, dtype, 2.0) for _ in range(3))
        small = normal(rng, 3, dtype)
        arrays = [x, y, z, small]
        for op in range(vm.COPY, vm.NOT_ABOVE + 1) if n < 100 else (vm.TANH, vm.LEAKY_BACK):
            given = [np.abs(x) + dtype(0.1), y, z, small] if op in (vm.LOG, vm.SQRT) else arrays
            yield program([(op, OUT, X, Y, Z)], given, x)
        steps = [
            (vm.NUMBER, PLACES, 1, 0, 0),
            (vm.ELEMENT, PLACES + 1, SMALL, 0, 0),
            (vm.REPEAT, PLACES + 2, SMALL, 2, 3),
            (vm.MUL, PLACES + 3, X, PLACES, 0),
            (vm.ADD, OUT, PLACES + 3, PLACES + 2, 0),
            (vm.TANH, PLACES + 3, OUT, 0, 0),
            (vm.SUB, OUT, PLACES + 3, PLACES + 1, 0),
        ]
        for block in (64, 192, 2048):
            yield program(steps, arrays, x, 2, 4, block, (7.0, 0.5))
    values = special(dtype)
    for op in (vm.RELU, vm.LEAKY, vm.MAXIMUM, vm.MINIMUM, vm.UNTAKEN, vm.ABOVE, vm.RELU_BACK):
        yield program([(op, OUT, X, Y, Z)], [values, values[::-1].copy(), values, values], values)
