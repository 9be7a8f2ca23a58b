"""check_kernel: a compiled kernel does what its NumPy reference does."""

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.kernels import ENABLED, Kernel, get_num_threads, set_num_threads
from minidl.kernels._jit import ParallelKernel
from minidl.typing import Array

_RTOL = {"float32": 3e-5, "float64": 1e-11}
_JUNK = (np.nan, 7.0, -3.0)  # outputs start as this: reference, one thread, two threads


@dataclass
class KernelCase:
    """Arguments of one call, in three groups that follow one another.

    `inputs` must stay as they are; `state` is read and changed; `outputs` are only filled (their
    values here do not matter).
    """

    inputs: Sequence[Any]
    state: Sequence[Array] = ()
    outputs: Sequence[Array] = ()
    note: str = ""


def check_kernel(
    kernel: Kernel, cases: Iterable[KernelCase], rtol: float | None = None
) -> None:
    """Compare a kernel with its reference, and its result on one thread with that on two.

    `kernel`: an entry of `minidl.kernels.REGISTRY`. Checked for every case: equal signatures;
    inputs read-only and unchanged; every output element filled; results within `rtol` of the
    reference (default 3e-5 in float32, 1e-11 in float64; relative to the element, and to the
    largest one if that is below 1; integers exactly), NaN and inf in the same places; one and two
    threads bit-equal. Raises AssertionError otherwise.
    """
    names = list(inspect.signature(kernel.reference).parameters)
    assert list(inspect.signature(kernel.function).parameters) == names, "signatures differ"
    for number, case in enumerate(cases):
        where = f"{kernel.name}, case {number} {case.note}"
        changed = names[len(case.inputs) :]
        expected = _run(kernel.reference, case, _JUNK[0], where)
        if not ENABLED:
            continue
        one = _run_with_threads(kernel, case, 1, where)
        for name, got, want in zip(changed, one, expected):
            _assert_close(got, want, rtol, f"{where}: {name}")
        two = _run_with_threads(kernel, case, 2, where)
        for name, got, want in zip(changed, two, one):
            # equal bits: NaN equals NaN, and 0.0 is not -0.0
            assert got.tobytes() == want.tobytes(), f"{where}: {name} differs with two threads"


def _run(function: Any, case: KernelCase, junk: float, where: str) -> list[Array]:
    """Call with copies; returns what was changed."""
    inputs = [a.copy() if isinstance(a, np.ndarray) else a for a in case.inputs]
    for array in inputs:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    state = [a.copy() for a in case.state]
    outputs = [_filled(a, junk) for a in case.outputs]
    result = function(*inputs, *state, *outputs)
    assert result is None, f"{where}: returned {result!r}, must fill its outputs and return None"
    for before, after in zip(case.inputs, inputs):
        if isinstance(before, np.ndarray):
            assert before.tobytes() == after.tobytes(), f"{where}: an input was changed"
    return state + outputs


def _filled(array: Array, junk: float) -> Array:
    if array.dtype.kind != "f" and np.isnan(junk):
        junk = 5
    return np.full(array.shape, junk, array.dtype)


def _run_with_threads(kernel: Kernel, case: KernelCase, threads: int, where: str) -> list[Array]:
    """Run on so many threads whatever the size of the arrays."""
    before = get_num_threads(), kernel.serial_below
    set_num_threads(threads)
    if isinstance(kernel, ParallelKernel):
        kernel.serial_below = 0
    try:
        return _run(kernel, case, _JUNK[threads], where)
    finally:
        set_num_threads(before[0])
        kernel.serial_below = before[1]


def _assert_close(got: Array, want: Array, rtol: float | None, where: str) -> None:
    assert got.dtype == want.dtype, f"{where}: dtype {got.dtype}, reference {want.dtype}"
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=where)
        return
    relative = _RTOL[got.dtype.name] if rtol is None else rtol
    finite = np.abs(want[np.isfinite(want)])
    scale = min(1.0, float(finite.max(initial=0.0))) or 1.0
    np.testing.assert_allclose(got, want, rtol=relative, atol=relative * scale, err_msg=where)
