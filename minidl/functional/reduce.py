"""Reductions over axes: sums, means, extremes, logic; `statistics` has variances and medians.

`dim` is an axis, several, or None for all; `keepdim` leaves 1 in their place. NumPy's names of the
two, axis and keepdims, are accepted as well.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from minidl._apply import apply, apply1, cast, record
from minidl._tensor import Tensor, method, recorders
from minidl.dtypes import as_dtype, get_default_dtype
from minidl.functional._common import (
    ValuesIndices,
    axes_last,
    axes_of,
    chosen,
    in_float32,
    kept,
    numpy_names,
    one_axis,
)
from minidl.ops import reduce as ops
from minidl.typing import Array

__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "logsumexp",
    "max", "mean", "min", "nanmean", "nansum", "prod", "sum",
]  # fmt: skip


@method
def sum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Sum over `dim`. Integers and bool are summed as int64; dtype: convert to it first."""
    if dtype is not None:
        input = cast(input, as_dtype(dtype))
    if axis is not None:
        dim = axis
    if keepdims is not None:
        keepdim = keepdims
    if dim is not None:
        dim = axes_of(dim, input.ndim, "sum")
    out = apply(ops.Sum, input, dim=dim, keepdim=keepdim)
    return out if dtype is None else cast(out, as_dtype(dtype))


@method
def mean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Arithmetic mean over `dim`; NaN of nothing."""
    if dtype is not None:
        input = cast(input, as_dtype(dtype))
    if input.dtype.kind != "f":
        raise TypeError(f"mean: floating point is needed, got {input.dtype}; use .float()")
    if axis is not None:
        dim = axis
    if keepdims is not None:
        keepdim = keepdims
    if dim is not None:
        dim = axes_of(dim, input.ndim, "mean")
    return apply(ops.Mean, input, dim=dim, keepdim=keepdim)


@method
@numpy_names
@in_float32
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None):
    """Product along the axis `dim`, or of all elements; 1 of nothing."""
    if dtype is not None:
        input = cast(input, as_dtype(dtype))
    axes = tuple(range(input.ndim)) if dim is None else _axes(dim, input, "prod")
    out = apply1(ops.Prod, axes_last(input, axes))
    return out.reshape(kept(input.shape, axes)) if keepdim else out


def _axes(dim: int, input: Tensor, name: str) -> tuple[int, ...]:
    axis = one_axis(dim, input.ndim, name)
    return (axis,) if input.ndim else ()


def _some(input: Tensor, axes: tuple[int, ...], name: str) -> None:
    empty = [a for a in axes if not input.shape[a]]
    if empty:
        raise ValueError(
            f"{name}: nothing has no {name}; x {input.shape} has size 0 along dim {empty[0]}"
        )


@method
@numpy_names
def amax(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The largest element over `dim`; equal ones share the gradient."""
    axes = axes_of(dim, input.ndim, "amax")
    _some(input, axes, "amax")
    return apply(ops.Amax, input, dim=axes, keepdim=keepdim)


@method
@numpy_names
def amin(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The smallest element over `dim`; equal ones share the gradient."""
    axes = axes_of(dim, input.ndim, "amin")
    _some(input, axes, "amin")
    return apply(ops.Amin, input, dim=axes, keepdim=keepdim)


class MinMax(NamedTuple):
    """What aminmax returns."""

    min: Tensor
    max: Tensor


@method
@numpy_names
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The smallest and the largest element along the axis `dim`, or of all."""
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


@method
@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest of all; along `dim` its values and indices; or, of two tensors, each maximum.

    Along a dim, the gradient goes to the index that is returned, the first of equals.
    """
    if isinstance(dim, Tensor):
        return input.maximum(dim)
    if dim is None:
        return amax(input, None, keepdim)
    return _extreme(input, dim, keepdim, np.argmax, "max")


@method
@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest of all; along `dim` its values and indices; or, of two tensors, each minimum.

    Along a dim, the gradient goes to the index that is returned, the first of equals.
    """
    if isinstance(dim, Tensor):
        return input.minimum(dim)
    if dim is None:
        return amin(input, None, keepdim)
    return _extreme(input, dim, keepdim, np.argmin, "min")


def _extreme(input: Tensor, dim: int, keepdim: bool, arg: Any, name: str) -> ValuesIndices:
    axes = _axes(dim, input, name)
    _some(input, axes, name)
    if not axes:
        return ValuesIndices(input * 1, Tensor(np.asarray(0)))
    out = picked(input, arg(input.array, axis=axes[0]), axes[0], keepdim)
    if recorders:
        record(name, (input,), {"dim": axes[0], "keepdim": keepdim}, out)
    return out


def picked(input: Tensor, indices: Array, axis: int, keepdim: bool) -> ValuesIndices:
    """One element of each row along an axis, by index."""
    wide = np.expand_dims(indices, axis)
    values = chosen(input, wide, axis)
    if keepdim:
        return ValuesIndices(values, Tensor(wide))
    return ValuesIndices(values.reshape(indices.shape), Tensor(np.asarray(indices)))


@method
@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the largest along `dim`, or in the flat tensor; the first of equals."""
    return _index(input, dim, keepdim, np.argmax, "argmax")


@method
@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest along `dim`, or in the flat tensor; the first of equals."""
    return _index(input, dim, keepdim, np.argmin, "argmin")


def _index(input: Tensor, dim: int | None, keepdim: bool, arg: Any, name: str) -> Tensor:
    axes = tuple(range(input.ndim)) if dim is None else _axes(dim, input, name)
    _some(input, axes, name)
    if dim is None or not axes:
        out = np.asarray(arg(input.array))
        return Tensor(out.reshape((1,) * input.ndim) if keepdim else out)
    found = Tensor(np.asarray(arg(input.array, axis=axes[0], keepdims=keepdim)))
    if recorders:
        record(name, (input,), {"dim": axes[0], "keepdim": keepdim}, (found,))
    return found


@method
@numpy_names
@in_float32
def logsumexp(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """log(sum(e^x)) over `dim`, without overflow; -inf of nothing."""
    axes = axes_of(dim, input.ndim, "logsumexp")
    if input.dtype.kind != "f":
        input = cast(input, get_default_dtype())
    if input.dtype.itemsize == 2:  # the kernel is for float32 and float64
        return cast(logsumexp(cast(input, np.dtype("float32")), dim, keepdim), input.dtype)
    rows = axes_last(input, axes)
    if rows.shape[-1]:
        out = apply1(ops.LogSumExp, rows)
    else:
        out = rows.sum(-1) - math.inf
    return out.reshape(kept(input.shape, axes)) if keepdim else out


@method
@numpy_names
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether no element is 0 (False)."""
    return _logic(input, dim, keepdim, np.all, "all")


@method
@numpy_names
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether an element is not 0 (True)."""
    return _logic(input, dim, keepdim, np.any, "any")


def _logic(input: Tensor, dim: Any, keepdim: bool, function: Any, name: str) -> Tensor:
    axes = axes_of(dim, input.ndim, name)
    return Tensor(np.asarray(function(input.array, axis=axes, keepdims=keepdim)))


@method
@numpy_names
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not 0."""
    axes = axes_of(dim, input.ndim, "count_nonzero")
    return Tensor(np.asarray((input.array != 0).sum(axis=axes, dtype=np.int64)))


@method
@numpy_names
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None):
    """Sum of the elements that are not NaN."""
    if input.dtype.kind == "f":
        input = input.masked(~np.isnan(input.array))
    return sum(input, dim, keepdim, dtype=dtype)


@method
@numpy_names
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None):
    """Mean of the elements that are not NaN; NaN where there are none."""
    known = ~np.isnan(input.array)
    count = known.sum(axis=axes_of(dim, input.ndim, "nanmean"), keepdims=keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / Tensor(np.asarray(count, input.dtype))
