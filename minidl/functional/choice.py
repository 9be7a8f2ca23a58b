"""Functions that choose: branches, limits, the larger and the smaller of two."""

from typing import Any

import numpy as np

from minidl._apply import apply, cast
from minidl._tensor import Tensor, method
from minidl.dtypes import get_default_dtype
from minidl.functional._common import as_tensor, common_dtype
from minidl.ops import choice as ops
from minidl.ops.elementwise import Masked
from minidl.typing import Array

__all__ = [
    "clamp", "clamp_max", "clamp_min", "clip", "fmax", "fmin", "masked", "masked_fill", "maximum",
    "minimum", "nan_to_num", "where",
]  # fmt: skip


@method
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max], numbers or tensors; the derivative is 1 at the limits, 0 beyond."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must be given")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        out = input
        if min is not None:
            out = apply(ops.Maximum, *common_dtype(out, min), share=1.0)
        if max is not None:
            out = apply(ops.Minimum, *common_dtype(out, max), share=1.0)
        return out
    min, max = _number(min, "min"), _number(max, "max")
    if input.dtype.kind != "f" and float in (type(min), type(max)):
        input = cast(input, get_default_dtype())
    return apply(ops.Clamp, input, low=min, high=max, closed=True)


def _number(x: Any, name: str) -> Any:
    if isinstance(x, np.generic):
        x = x.item()
    if x is not None and not isinstance(x, (int, float)):
        raise TypeError(f"clamp: {name} must be a number or a Tensor, got {type(x).__name__}")
    return x


@method
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """max(x, min)."""
    return clamp(input, min=min)


@method
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """min(x, max)."""
    return clamp(input, max=max)


clip = clamp
Tensor.clip = clamp  # type: ignore[attr-defined]


@method
def maximum(input: Any, other: Any) -> Tensor:
    """The larger of two, NaN if one is; equal ones share the gradient."""
    return apply(ops.Maximum, *common_dtype(input, other), share=0.5)


@method
def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two, NaN if one is; equal ones share the gradient."""
    return apply(ops.Minimum, *common_dtype(input, other), share=0.5)


@method
def fmax(input: Any, other: Any) -> Tensor:
    """The larger of two, or the one that is not NaN; of equal ones the first has the gradient."""
    x, y = common_dtype(input, other)
    return apply(ops.Where, (x.array >= y.array) | np.isnan(y.array), x, y)


@method
def fmin(input: Any, other: Any) -> Tensor:
    """The smaller of two, or the one that is not NaN; of equal ones the first has the gradient."""
    x, y = common_dtype(input, other)
    return apply(ops.Where, (x.array <= y.array) | np.isnan(y.array), x, y)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where the condition holds, other elsewhere; alone, the places where it holds."""
    keep = condition.array if isinstance(condition, Tensor) else np.asarray(condition)
    if input is None:
        return tuple(Tensor(places) for places in np.nonzero(keep))
    return apply(ops.Where, keep.astype(bool, copy=False), *common_dtype(input, other))


def _where_method(self: Tensor, condition: Any, other: Any) -> Tensor:
    return where(condition, self, other)


Tensor.where = _where_method  # type: ignore[attr-defined]


@method
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """value where the mask is true, x elsewhere."""
    if mask.dtype.kind != "b":
        raise TypeError(f"masked_fill: the mask must be bool, got {mask.dtype}; use mask != 0")
    fill = as_tensor(value, input)
    if fill.ndim:
        raise ValueError(f"masked_fill: value must be one number, got shape {fill.shape}")
    if input.dtype.kind in "iu" and not np.isfinite(fill.array):
        raise ValueError(
            f"masked_fill: {fill.item()} does not fit a tensor of {input.dtype}; use .float() first"
        )
    return apply(ops.Where, mask.array, cast(fill, input.dtype), input)


@method
def masked(input: Tensor, keep: Array) -> Tensor:
    """x where the constant mask `keep` is true, 0 elsewhere."""
    return apply(Masked, input, keep)


@method
def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN and infinities replaced by numbers; by default infinities by the dtype's extremes."""
    if input.dtype.kind != "f":
        return Tensor(input.array.copy())
    value = np.nan_to_num(input.array, nan=nan, posinf=posinf, neginf=neginf)
    return apply(ops.Where, np.isfinite(input.array), input, value)
