"""Sums, differences, products and quotients of large arrays, on all cores."""

import operator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.kernels._ways import ADD, DIV, DIV_INTO, MUL, SUB, SUB_FROM
from minidl.ops._memory import empty
from minidl.typing import Array

MANY = 200_000
"""Elements from which a kernel is quicker than NumPy's one thread: 512 x 1024 and as many 44 µs
instead of 66, a row 38 instead of 102, a number 36 instead of 51; 128 x 512 no quicker."""

_WIDE = 32  # elements that a row must have to be worth a loop of its own

_NUMPY = {ADD: operator.add, SUB: operator.sub, MUL: operator.mul}
_TURNED = {ADD: ADD, SUB: SUB_FROM, MUL: MUL, DIV: DIV_INTO, SUB_FROM: SUB, DIV_INTO: DIV}


def arithmetic(what: int, x: Any, y: Any) -> Array:
    """x + y, x - y, x * y or x / y, of which one is a large array and the other of any kind."""
    first, second, way = x, y, what
    if type(first) is not np.ndarray or (type(second) is np.ndarray and second.size > first.size):
        first, second, way = y, x, _TURNED[what]
    if type(first) is np.ndarray and type(second) is np.ndarray and not first.strides[-1]:
        first, second, way = second, first, _TURNED[way]  # of a matrix and a column the matrix
    repeated, run = _repeated(first, second), kernels.arithmetic
    if repeated is None:
        repeated, run = _column(first, second), kernels.arithmetic_columns
    if repeated is None:
        if what == DIV:
            with np.errstate(all="ignore"):
                return x / y
        return _NUMPY[what](x, y)
    out = empty(first.shape, first.dtype)
    flat = (-1,) if run is kernels.arithmetic else (repeated.size, first.shape[-1])
    run(first.reshape(flat), repeated, way, out.reshape(flat))
    return out


def _suits(x: Any) -> bool:
    """Whether the kernels take x as their matrix."""
    if type(x) is not np.ndarray or not kernels.ENABLED or not x.flags.c_contiguous:
        return False
    return x.dtype.kind == "f" and x.dtype.itemsize >= 4


def _repeated(x: Any, y: Any) -> Array | None:
    """y as a flat array that fits x when it is repeated; None where NumPy must do it."""
    if not _suits(x):
        return None
    if type(y) is float or type(y) is int:
        return np.full(1024, y, x.dtype)
    if type(y) is not np.ndarray or y.dtype != x.dtype or not y.flags.c_contiguous:
        return None
    if y.shape == x.shape:
        return y.reshape(-1)
    is_row = y.size == x.shape[-1] >= _WIDE and y.shape[-1] == y.size and y.ndim <= x.ndim
    return y.reshape(-1) if is_row else None


def _column(x: Any, y: Any) -> Array | None:
    """y as a flat array of a number for each row of x, or None."""
    if not _suits(x) or type(y) is not np.ndarray or y.dtype != x.dtype or y.ndim != x.ndim:
        return None
    if x.shape[-1] < _WIDE or (y.shape[-1] > 1 and y.strides[-1]):
        return None
    column = y[..., 0]
    if column.shape != x.shape[:-1] or not column.flags.c_contiguous:
        return None
    return column.reshape(-1)
