"""Statistics over axes: variances, norms, medians and order statistics.

`dim` and `keepdim` as in `reduce`.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from minidl._apply import apply, cast
from minidl._tensor import Tensor, method
from minidl.dtypes import as_dtype
from minidl.functional._common import (
    ValuesIndices,
    axes_of,
    in_float32,
    kept,
    numpy_names,
    one_axis,
)
from minidl.functional.reduce import picked
from minidl.ops import reduce as ops

__all__ = [
    "kthvalue", "median", "mode", "nanmedian", "norm", "std", "std_mean", "var", "var_mean",
]  # fmt: skip


class VarMean(NamedTuple):
    """What var_mean returns."""

    var: Tensor
    mean: Tensor


class StdMean(NamedTuple):
    """What std_mean returns."""

    std: Tensor
    mean: Tensor


def _moments(input: Tensor, dim: Any, unbiased: Any, correction: Any, keepdim: bool, name: str):
    if isinstance(dim, bool):  # PyTorch's older form: var(x, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: floating point is needed, got {input.dtype}; use .float()")
    axes = axes_of(dim, input.ndim, name)
    mean = input.mean(axes, keepdim=True)
    centred = input - mean
    free = math.prod([input.shape[a] for a in axes]) - correction
    variance = (centred * centred).sum(axes, keepdim) / float(free if free > 0 else 0)
    if not keepdim:
        mean = mean.reshape(tuple(n for a, n in enumerate(input.shape) if a not in axes))
    return variance, mean


@method
@numpy_names
@in_float32
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance over `dim`: squared deviations from the mean, summed, over n - correction.

    correction is 1 unless given; unbiased False means 0. Two passes, so nothing cancels.
    """
    return _moments(input, dim, unbiased, correction, keepdim, "var")[0]


@method
@numpy_names
@in_float32
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> VarMean:
    """Variance and mean."""
    return VarMean(*_moments(input, dim, unbiased, correction, keepdim, "var_mean"))


@method
@numpy_names
@in_float32
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Standard deviation, the root of `var`; the derivative at 0 is 0."""
    return root(_moments(input, dim, unbiased, correction, keepdim, "std")[0])


@method
@numpy_names
@in_float32
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> StdMean:
    """Standard deviation and mean."""
    variance, mean = _moments(input, dim, unbiased, correction, keepdim, "std_mean")
    return StdMean(root(variance), mean)


def away_from_zero(x: Tensor, function: Any) -> Tensor:
    """function(x) where x is not 0, and 0 with derivative 0 where it is."""
    keep = np.asarray(x.array != 0)
    if keep.all():
        return function(x)
    ones = Tensor((~keep).astype(x.dtype))
    return function(x.masked(keep) + ones).masked(keep)


def root(x: Tensor) -> Tensor:
    """Square root whose derivative at 0 is 0: the usual choice for norms and deviations."""
    return away_from_zero(x, lambda v: v.sqrt())


@in_float32
def vector_norm(input: Tensor, p: float, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """(sum |x|^p)^(1/p) over axes; p inf, -inf: the largest, smallest |x|; 0: how many are not 0.

    Where the derivative does not exist it is 0, as in PyTorch.
    """
    if p == 2:
        return root((input * input).sum(axes, keepdim))
    if abs(p) == math.inf:
        empty = [a for a in axes if not input.shape[a]]
        if empty:
            raise ValueError(f"norm: of order {p} needs elements, got x {input.shape}")
        size = input.abs()
        return size.amax(axes, keepdim) if p > 0 else size.amin(axes, keepdim)
    if p == 0:
        counted = Tensor((input.array != 0).astype(input.dtype))
        return (input.masked(np.zeros(input.shape, bool)) + counted).sum(axes, keepdim)
    size = input.abs()
    if p == 1:
        return size.sum(axes, keepdim)
    if p > 0:
        powers = away_from_zero(size, lambda v: v**p)
        return away_from_zero(powers.sum(axes, keepdim), lambda v: v ** (1 / p))
    return (size**p).sum(axes, keepdim) ** (1 / p)


@method
@numpy_names
@in_float32
def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """(sum |x|^p)^(1/p) over `dim`, taken as a vector's elements; "fro" is p = 2.

    "nuc": the sum of singular values of the two axes `dim`. See also `linalg.norm`.
    """
    if dtype is not None:
        input = cast(input, as_dtype(dtype))
    if input.dtype.kind != "f":
        raise TypeError(f"norm: floating point is needed, got {input.dtype}; use .float()")
    if p == "nuc":
        from minidl.functional.linalg import matrix_norm

        return matrix_norm(input, "nuc", (0, 1) if dim is None else dim, keepdim)
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm: p {p!r} is not known: give a number, 'fro' or 'nuc'")
    order = 2.0 if p is None or p == "fro" else float(p)
    return vector_norm(input, order, axes_of(dim, input.ndim, "norm"), keepdim)


def _row(input: Tensor, dim: int, name: str) -> int:
    axis = one_axis(dim, input.ndim, name)
    if input.ndim and not input.shape[axis]:
        raise ValueError(f"{name}: x {input.shape} has size 0 along dim {dim}; nothing to choose")
    return axis


def _ranked(input: Tensor, axis: int, ranks: Any, keepdim: bool) -> ValuesIndices:
    """The element of each row with a rank, counted from 0 in ascending order, NaN last."""
    if not input.ndim:
        return ValuesIndices(input * 1, Tensor(np.asarray(0)))
    order = np.argsort(input.array, axis=axis, kind="stable")
    ranks = np.broadcast_to(np.asarray(ranks), kept(input.shape, (axis,)))
    indices = np.take_along_axis(order, ranks, axis)
    return picked(input, indices.squeeze(axis), axis, keepdim)


@method
@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the middle two of all; along `dim`, values and indices. NaN where there is one.

    Of all, equal ones share the gradient; along a dim it goes to the index that is returned.
    """
    if dim is None:
        return _median_of_all(input, False)
    axis = _row(input, dim, "median")
    if not input.ndim:
        return _ranked(input, axis, 0, keepdim)
    size = input.shape[axis]
    holes = np.isnan(input.array).any(axis=axis, keepdims=True)
    known = (~np.isnan(input.array)).sum(axis=axis, keepdims=True)
    return _ranked(input, axis, np.where(holes, known, (size - 1) // 2), keepdim)


@method
@numpy_names
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """As median, of the elements that are not NaN."""
    if dim is None:
        return _median_of_all(input, True)
    axis = _row(input, dim, "nanmedian")
    if not input.ndim:
        return _ranked(input, axis, 0, keepdim)
    known = (~np.isnan(input.array)).sum(axis=axis, keepdims=True)
    return _ranked(input, axis, np.maximum(known - 1, 0) // 2, keepdim)


def _median_of_all(input: Tensor, ignore_nan: bool) -> Tensor:
    if not input.array.size:
        return Tensor(np.asarray(np.nan, input.dtype))
    return apply(ops.Median, input, ignore_nan=ignore_nan)


@method
@numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The k-th smallest along `dim`, k from 1: values and indices."""
    axis = _row(input, dim, "kthvalue")
    size = input.shape[axis] if input.ndim else 1
    if not 1 <= k <= size:
        raise ValueError(f"kthvalue: k {k} must be from 1 to the size {size} of dim {dim}")
    return _ranked(input, axis, k - 1, keepdim)


@method
@numpy_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The most frequent value along `dim`, the smallest of equals: values and last indices."""
    axis = _row(input, dim, "mode")
    if not input.ndim:
        return _ranked(input, axis, 0, keepdim)
    rows = np.moveaxis(input.array, axis, -1)
    order = np.argsort(rows, axis=-1, kind="stable")
    ascending = np.take_along_axis(rows, order, -1)
    places = np.arange(rows.shape[-1])
    fresh = np.ones(rows.shape, bool)
    fresh[..., 1:] = ascending[..., 1:] != ascending[..., :-1]
    start = np.maximum.accumulate(np.where(fresh, places, 0), axis=-1)  # of each run of equals
    length = places - start + 1
    longest = (length == length.max(axis=-1, keepdims=True)).argmax(axis=-1)
    indices = np.take_along_axis(order, longest[..., None], -1)[..., 0]
    return picked(input, indices, axis, keepdim)
