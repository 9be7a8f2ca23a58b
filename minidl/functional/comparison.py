"""Comparisons and logic: bool tensors, bits, and tests for equality."""

from typing import Any

import numpy as np

from minidl._apply import record
from minidl._tensor import Tensor, method, recorders
from minidl.dtypes import result_dtype
from minidl.typing import Array

__all__ = [
    "allclose", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "eq", "equal", "ge",
    "greater", "greater_equal", "gt", "isclose", "isfinite", "isinf", "isnan", "le", "less",
    "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "ne",
    "not_equal", "signbit",
]  # fmt: skip


def _arrays(name: str, *operands: Any) -> list[Any]:
    """Arrays of the dtype that PyTorch's promotion gives the operands together."""
    arrays = [x.array if isinstance(x, Tensor) else x for x in operands]
    try:
        np.broadcast_shapes(*[np.shape(a) for a in arrays])
    except ValueError:
        shapes = " and ".join(str(np.shape(a)) for a in arrays)
        raise ValueError(
            f"{name}: shapes {shapes} do not broadcast: sizes must be equal, or 1, from the last "
            "axis on"
        ) from None
    dtype = result_dtype(arrays)
    # NumPy compares Python integers exactly, whatever the array's dtype can hold
    return [a if type(a) is int and dtype.kind in "iu" else np.asarray(a, dtype) for a in arrays]


def _truth(name: str, ufunc: Any, line: str) -> Any:
    def function(input: Any, other: Any) -> Tensor:
        out = Tensor(np.asarray(ufunc(*_arrays(name, input, other))))
        if recorders:
            record(name, (input, other), {}, (out,))
        return out

    function.__name__ = function.__qualname__ = name
    function.__doc__ = line
    return method(function)


eq = _truth("eq", np.equal, "input == other, a bool tensor.")
ne = _truth("ne", np.not_equal, "input != other, a bool tensor.")
lt = _truth("lt", np.less, "input < other, a bool tensor.")
le = _truth("le", np.less_equal, "input <= other, a bool tensor.")
gt = _truth("gt", np.greater, "input > other, a bool tensor.")
ge = _truth("ge", np.greater_equal, "input >= other, a bool tensor.")
logical_and = _truth("logical_and", np.logical_and, "Both are not 0.")
logical_or = _truth("logical_or", np.logical_or, "One or both are not 0.")
logical_xor = _truth("logical_xor", np.logical_xor, "Exactly one is not 0.")

not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def _equals(self: Tensor, other: Any) -> Any:
    return eq(self, other) if _comparable(other) else NotImplemented


def _differs(self: Tensor, other: Any) -> Any:
    return ne(self, other) if _comparable(other) else NotImplemented


def _comparable(x: Any) -> bool:
    return isinstance(x, (Tensor, int, float, np.ndarray, np.generic))


Tensor.__eq__ = _equals  # type: ignore[method-assign, assignment]
Tensor.__ne__ = _differs  # type: ignore[method-assign, assignment]
for _name, _function in (("lt", lt), ("le", le), ("gt", gt), ("ge", ge)):
    setattr(Tensor, f"__{_name}__", _function)
for _name in ("not_equal", "less", "less_equal", "greater", "greater_equal"):
    setattr(Tensor, _name, globals()[_name])


def _bits(name: str, ufunc: Any, line: str) -> Any:
    def function(input: Any, other: Any) -> Tensor:
        out = Tensor(np.asarray(ufunc(*_whole(name, input, other))))
        if recorders:
            record(name, (input, other), {}, (out,))
        return out

    function.__name__ = function.__qualname__ = name
    function.__doc__ = line
    short = name.removeprefix("bitwise_")
    setattr(Tensor, f"__{short}__", function)
    setattr(Tensor, f"__r{short}__", lambda self, other: function(other, self))
    return method(function)


def _whole(name: str, *operands: Any) -> list[Array]:
    arrays = [x.array if isinstance(x, Tensor) else x for x in operands]
    dtype = result_dtype(arrays)
    if dtype.kind == "f":
        raise TypeError(f"{name}: bool or integers are needed, got {dtype}")
    return [np.asarray(a).astype(dtype) for a in _arrays(name, *operands)]


bitwise_and = _bits("bitwise_and", np.bitwise_and, "Bits of both; `and` of bool tensors.")
bitwise_or = _bits("bitwise_or", np.bitwise_or, "Bits of one or both; `or` of bool tensors.")
bitwise_xor = _bits("bitwise_xor", np.bitwise_xor, "Bits of exactly one of both.")


@method
def bitwise_not(input: Tensor) -> Tensor:
    """Every bit turned; `not` of a bool tensor."""
    (array,) = _whole("bitwise_not", input)
    out = Tensor(np.asarray(np.invert(array)))
    if recorders:
        record("bitwise_not", (input,), {}, (out,))
    return out


Tensor.__invert__ = bitwise_not  # type: ignore[operator, attr-defined]


@method
def logical_not(input: Tensor) -> Tensor:
    """x is 0."""
    out = Tensor(np.asarray(np.logical_not(input.array)))
    if recorders:
        record("logical_not", (input,), {}, (out,))
    return out


@method
def isnan(input: Tensor) -> Tensor:
    """Whether x is NaN."""
    out = Tensor(np.asarray(np.isnan(input.array)))
    if recorders:
        record("isnan", (input,), {}, (out,))
    return out


@method
def isinf(input: Tensor) -> Tensor:
    """Whether x is infinite."""
    out = Tensor(np.asarray(np.isinf(input.array)))
    if recorders:
        record("isinf", (input,), {}, (out,))
    return out


@method
def isfinite(input: Tensor) -> Tensor:
    """Whether x is neither infinite nor NaN."""
    return Tensor(np.asarray(np.isfinite(input.array)))


@method
def signbit(input: Tensor) -> Tensor:
    """Whether the sign is minus, that of -0.0 too."""
    if input.dtype.kind != "f":
        return Tensor(np.asarray(input.array < 0))
    return Tensor(np.asarray(np.signbit(input.array)))


@method
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|input - other| <= atol + rtol * |other|; equal infinities are close."""
    _same_dtype("isclose", input, other)
    x, y = _arrays("isclose", input, other)
    return Tensor(np.asarray(np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)))


@method
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close, as `isclose` says."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


@method
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal; NaN equals nothing."""
    return input.shape == other.shape and bool(eq(input, other).array.all())


def _same_dtype(name: str, x: Tensor, y: Tensor) -> None:
    if x.dtype != y.dtype:
        raise TypeError(
            f"{name}: dtypes {x.dtype} and {y.dtype} differ; bring both to one, with .to(dtype)"
        )
