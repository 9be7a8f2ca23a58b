"""The types of elements, under PyTorch's names, and PyTorch's rule for mixing them.

A dtype is NumPy's. Only the rule for mixing differs: bool < integer < floating point are
categories, and an operand of a higher category decides alone. Among operands, tensors with axes go
before tensors without, and those before Python scalars; the lower kinds count only if their
category is higher. So float32 * int64 is float32, and so is float32 * (0-d float64).
"""

from typing import Any

import numpy as np

_bool, _int = bool, int  # the builtins, before dtypes take their names

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
half, float, double = float16, float32, float64
uint8, int8 = np.dtype("uint8"), np.dtype("int8")
int16, int32, int64 = np.dtype("int16"), np.dtype("int32"), np.dtype("int64")
short, int, long = int16, int32, int64
bool = np.dtype("bool")

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}
_default = float32


def set_default_dtype(dtype: Any) -> None:
    """The floating type of `tensor([1.0])`, `zeros(3)` and 1 / integer tensor; float32 at first."""
    global _default
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"set_default_dtype: a floating type is needed, got {dtype}")
    _default = dtype


def get_default_dtype() -> np.dtype:
    """The floating type that Python floats take."""
    return _default


def as_dtype(dtype: Any) -> np.dtype:
    """A supported dtype from anything that names one."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.kind not in _CATEGORY:
        raise TypeError(
            f"dtype {dtype!r} is not supported: use float16, float32, float64, int8 to int64, "
            "uint8 or bool"
        )
    return found


def scalar_dtype(value: Any) -> np.dtype:
    """The type that a Python number has as a tensor."""
    if isinstance(value, (_bool, np.bool_)):
        return bool
    return int64 if isinstance(value, (_int, np.integer)) else _default


def mix(first: np.dtype, second: np.dtype) -> np.dtype:
    """The type of the result of two tensors of one kind."""
    a, b = _CATEGORY[first.kind], _CATEGORY[second.kind]
    if a == b:
        return np.promote_types(first, second)
    return first if a > b else second


def result_dtype(operands: Any) -> np.dtype:
    """The type of an operation on arrays and Python scalars; NumPy's scalars count as these."""
    levels: list[np.dtype | None] = [None, None, None]  # with axes, without, Python scalars
    for x in operands:
        if isinstance(x, np.ndarray):
            level, dtype = (0 if x.ndim else 1), x.dtype
        else:
            level, dtype = 2, scalar_dtype(x)
        known = levels[level]
        levels[level] = dtype if known is None else mix(known, dtype)
    result = None
    for level_dtype in levels:
        if level_dtype is None:
            continue
        if result is None or _CATEGORY[level_dtype.kind] > _CATEGORY[result.kind]:
            result = level_dtype
    assert result is not None
    return result
