"""Running sums, products and extremes along an axis, and differences."""

from typing import Any

import numpy as np

from minidl._apply import apply, apply1, cast
from minidl._tensor import Tensor, method
from minidl.dtypes import as_dtype, get_default_dtype
from minidl.functional._common import ValuesIndices, chosen, numpy_names, one_axis
from minidl.ops import cumulative as ops

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff", "logcumsumexp", "running_sum"]


@method
def running_sum(input: Tensor, reverse: bool = False) -> Tensor:
    """Sums of the last axis up to each place, or, reversed, from each place on."""
    return apply(ops.CumSum, input, reverse=reverse)


def _along(input: Tensor, dim: int, name: str, function: Any) -> Tensor:
    axis = one_axis(dim, input.ndim, name)
    if not input.ndim:
        return function(input.reshape(1)).reshape(())
    if axis == input.ndim - 1:
        return function(input)
    return function(input.swapaxes(axis, -1)).swapaxes(axis, -1)


@method
@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sum along `dim`. Integers and bool are summed as int64."""
    if dtype is not None:
        input = cast(input, as_dtype(dtype))
    out = _along(input, dim, "cumsum", running_sum)
    return out if dtype is None else cast(out, as_dtype(dtype))


@method
@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running product along `dim`. Integers and bool are multiplied as int64."""
    if dtype is not None:
        input = cast(input, as_dtype(dtype))
    out = _along(input, dim, "cumprod", lambda x: apply1(ops.CumProd, x))
    return out if dtype is None else cast(out, as_dtype(dtype))


@method
@numpy_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log(running sum(e^x)) along `dim`, without overflow."""
    if input.dtype.kind != "f":
        input = cast(input, get_default_dtype())
    return _along(input, dim, "logcumsumexp", lambda x: apply1(ops.LogCumSumExp, x))


@method
@numpy_names
def cummax(input: Tensor, dim: int) -> ValuesIndices:
    """The largest so far along `dim`, and its index, the last of equals."""
    return _running_extreme(input, dim, np.maximum, "cummax")


@method
@numpy_names
def cummin(input: Tensor, dim: int) -> ValuesIndices:
    """The smallest so far along `dim`, and its index, the last of equals."""
    return _running_extreme(input, dim, np.minimum, "cummin")


def _running_extreme(input: Tensor, dim: int, ufunc: Any, name: str) -> ValuesIndices:
    axis = one_axis(dim, input.ndim, name)
    x = input.array
    if not input.ndim:
        return ValuesIndices(input * 1, Tensor(np.asarray(0)))
    best = ufunc.accumulate(x, axis=axis)
    fresh = (x == best) | (x != x)  # NaN stays the best, as in PyTorch
    shape = [1] * x.ndim
    shape[axis] = -1
    places = np.arange(x.shape[axis]).reshape(shape)
    indices = np.maximum.accumulate(np.where(fresh, places, 0), axis=axis)
    return ValuesIndices(chosen(input, indices, axis), Tensor(indices))


@method
@numpy_names
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """x[i + 1] - x[i] along `dim`, n times; prepend and append come to its ends before that."""
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    if not input.ndim:
        raise ValueError("diff: a 0-d tensor has no neighbours; x needs at least one axis")
    axis = one_axis(dim, input.ndim, "diff")
    if n == 0:
        return input
    parts = [t for t in (prepend, input, append) if t is not None]
    out = input
    if len(parts) > 1:
        from minidl.functional import cat

        out = cat(parts, axis)
    for _ in range(min(n, out.shape[axis])):
        size = out.shape[axis]
        left, right = out.narrow(axis, 0, size - 1), out.narrow(axis, 1, size - 1)
        out = Tensor(left.array ^ right.array) if out.dtype.kind == "b" else right - left
    return out
