"""Order: sorting, the k largest, searching, distinct values, counts.

NaN counts as larger than every number, as in PyTorch. Of equal elements the one with the lower
index comes first, in every function here.
"""

from typing import Any

import numpy as np

from minidl import kernels
from minidl._apply import record
from minidl._tensor import Tensor, method, recorders
from minidl.functional._common import ValuesIndices, chosen, numpy_names, one_axis
from minidl.typing import Array

__all__ = [
    "argsort", "bincount", "bucketize", "histc", "isin", "msort", "quantile", "searchsorted",
    "sort", "topk", "unique", "unique_consecutive",
]  # fmt: skip


def _order(x: Array, axis: int, descending: bool) -> Array:
    """Indices that sort, equals in their own order."""
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    size = x.shape[axis]
    order = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return size - 1 - np.flip(order, axis)


@method
@numpy_names
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False
) -> ValuesIndices:
    """Values in order along `dim`, and their indices; always stable."""
    axis = one_axis(dim, input.ndim, "sort")
    if not input.ndim:
        return ValuesIndices(input * 1, Tensor(np.asarray(0)))
    indices = _order(input.array, axis, descending)
    out = ValuesIndices(chosen(input, indices, axis), Tensor(indices))
    if recorders:
        record("sort", (input,), {"dim": axis, "descending": descending}, out)
    return out


@method
@numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along `dim`; always stable."""
    axis = one_axis(dim, input.ndim, "argsort")
    out = Tensor(_order(input.array, axis, descending) if input.ndim else np.asarray(0))
    if recorders and input.ndim:
        record("argsort", (input,), {"dim": axis, "descending": descending}, (out,))
    return out


@method
def msort(input: Tensor) -> Tensor:
    """Values in ascending order along the first axis."""
    return sort(input, 0).values


@method
@numpy_names
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesIndices:
    """The k largest (smallest) along `dim`, best first: values and indices.

    `sorted` False asks for no order; they are sorted all the same.
    """
    axis = one_axis(dim, input.ndim, "topk")
    size = input.shape[axis] if input.ndim else 1
    if not 0 <= k <= size:
        raise ValueError(f"topk: k {k} must be from 0 to the size {size} of dim {dim}")
    if not input.ndim:
        if k == 0:
            return ValuesIndices(input.reshape(1).take_flat(np.zeros(0, int)), _ints(0))
        return ValuesIndices(input * 1, Tensor(np.asarray(0)))
    rows = np.moveaxis(input.array, axis, -1)
    indices = np.moveaxis(_best(rows, k, largest), -1, axis)
    out = ValuesIndices(chosen(input, indices, axis), Tensor(np.ascontiguousarray(indices)))
    if recorders:
        record("topk", (input,), {"k": k, "dim": axis, "largest": largest}, out)
    return out


def _ints(size: int) -> Tensor:
    return Tensor(np.zeros(size, np.int64))


def _best(rows: Array, k: int, largest: bool) -> Array:
    """Indices (..., k) of the best of the last axis."""
    width = rows.shape[-1]
    if k and rows.size and 16 * k < width and rows.dtype.kind == "f" and rows.dtype.itemsize > 2:
        flat = np.ascontiguousarray(rows if largest else -rows).reshape(-1, width)
        if not np.isnan(flat).any():
            ids = np.empty((len(flat), k), np.int64)
            values = np.empty(ids.shape, flat.dtype)
            none = np.zeros(len(flat) + 1, np.int64)
            kernels.topk_rows(flat, none, none[:0], ids, values)
            if (ids >= 0).all():  # -inf is never chosen
                return ids.reshape(*rows.shape[:-1], k)
    return _order(rows, -1, largest)[..., :k]


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value would be inserted in an ascending sequence (of its row), to keep the order.

    side "left": before its equals; "right" (or right=True): after them. sorter: the indices that
    sort the sequence. Shapes: sequence (N,) and input any; or (..., N) and (..., M).
    """
    if side not in (None, "left", "right"):
        raise ValueError(f"searchsorted: side {side!r} must be 'left' or 'right'")
    if side == "left" and right:
        raise ValueError("searchsorted: side 'left' and right=True contradict each other")
    edge: Any = "right" if right or side == "right" else "left"
    edges = sorted_sequence.array
    values = input.array if isinstance(input, Tensor) else np.asarray(input)
    if sorter is not None:
        edges = np.take_along_axis(edges, sorter.array, -1)
    if edges.ndim == 1:
        out = np.asarray(np.searchsorted(edges, values, edge))
    elif edges.shape[:-1] != values.shape[:-1]:
        raise ValueError(
            f"searchsorted: sequences {edges.shape} and values {values.shape} must agree in all "
            "axes but the last, or the sequence must have one axis"
        )
    else:
        out = np.empty(values.shape, np.int64)
        pairs = zip(
            edges.reshape(-1, edges.shape[-1]),
            values.reshape(-1, values.shape[-1]),
            out.reshape(-1, values.shape[-1]),
        )
        for row, wanted, found in pairs:
            found[:] = np.searchsorted(row, wanted, edge)
    return Tensor(out.astype(np.int32 if out_int32 else np.int64))


def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The number of the interval between ascending boundaries into which each value falls."""
    if boundaries.ndim != 1:
        raise ValueError(f"bucketize: boundaries must have one axis, got {boundaries.shape}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@method
@numpy_names
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct values (slices along `dim`), ascending; with where each element's is, counts."""
    axis = None if dim is None else one_axis(dim, input.ndim, "unique")
    values, inverse, counts = np.unique(
        input.array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    shape = input.shape if axis is None else (input.shape[axis],)
    return _distinct(values, inverse.reshape(shape), counts, return_inverse, return_counts)


def _distinct(values: Array, inverse: Array, counts: Array, with_inverse: bool, with_counts: bool):
    out: tuple[Tensor, ...] = (Tensor(values),)
    if with_inverse:
        out += (Tensor(inverse.astype(np.int64)),)
    if with_counts:
        out += (Tensor(counts.astype(np.int64)),)
    return out if len(out) > 1 else out[0]


@method
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """The flat tensor without repeats of the element before; with each element's run, its length.

    PyTorch's `dim` is not there.
    """
    flat = input.array.reshape(-1)
    fresh = np.ones(flat.size, bool)
    fresh[1:] = flat[1:] != flat[:-1]
    inverse = np.cumsum(fresh) - 1
    counts = np.diff(np.append(np.flatnonzero(fresh), flat.size))
    inverse = inverse.reshape(input.shape)
    return _distinct(flat[fresh], inverse, counts, return_inverse, return_counts)


@method
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each whole number from 0 comes in a 1-D tensor, or the sum of its weights."""
    ids = input.array
    if ids.dtype.kind not in "iu" or ids.ndim != 1:
        raise TypeError(f"bincount: 1-D integers are needed, got {ids.dtype} {ids.shape}")
    if ids.size and ids.min() < 0:
        raise ValueError(f"bincount: numbers must not be negative, got {ids.min()}")
    if weights is None:
        return Tensor(np.bincount(ids, minlength=minlength))
    if weights.shape != input.shape:
        raise ValueError(f"bincount: weights {weights.shape} must have input's shape {ids.shape}")
    sums = np.bincount(ids, weights.array, minlength)
    return Tensor(sums.astype(weights.dtype) if weights.dtype.kind == "f" else sums)


@method
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts in `bins` equal intervals from min to max (of the data, if both are 0)."""
    x = input.array
    low, high = float(min), float(max)
    if low > high:
        raise ValueError(f"histc: min {min} must not be above max {max}")
    if low == high == 0 and x.size:
        low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - 1, high + 1
    counts, _ = np.histogram(x[(x >= low) & (x <= high)], bins=bins, range=(low, high))
    return Tensor(counts.astype(x.dtype))


def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Whether each element is among the others."""
    x, known = (t.array if isinstance(t, Tensor) else t for t in (elements, test_elements))
    return Tensor(np.asarray(np.isin(x, known, invert=invert)))


_BETWEEN = ("linear", "lower", "higher", "midpoint", "nearest")


@method
@numpy_names
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """The value below which a share q lies, along `dim` or of all elements.

    q: a number from 0 to 1, or a vector of them, which becomes the first axis. Between the two
    values around place q (n - 1) of the sorted ones, `interpolation` decides. NaN where one is in.
    """
    if interpolation not in _BETWEEN:
        raise ValueError(
            f"quantile: interpolation {interpolation!r} must be one of {', '.join(_BETWEEN)}"
        )
    if input.dtype.kind != "f":
        raise TypeError(f"quantile: floating point is needed, got {input.dtype}; use .float()")
    share = np.asarray(q.array if isinstance(q, Tensor) else q, np.float64)
    if share.ndim > 1 or not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"quantile: q must be a number or a vector, from 0 to 1, got {share}")
    if not input.array.size:
        raise ValueError(f"quantile: there are no elements in a tensor of shape {input.shape}")
    ndim = input.ndim
    if dim is None or not ndim:
        x, axis = input.reshape(-1), 0
    else:
        x, axis = input, one_axis(dim, ndim, "quantile")
    ordered = sort(x, axis).values.movedim(axis, 0)  # NaN last
    place = share.reshape(-1) * (len(ordered) - 1)
    if interpolation == "nearest":
        place = np.rint(place)
    low, high = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
    weight = {"lower": 0.0, "higher": 1.0, "midpoint": 0.5}.get(interpolation, place - low)
    beside = np.broadcast_to(weight, low.shape).reshape(-1, *(1,) * (ordered.ndim - 1))
    first, second = ordered.index_select(0, low), ordered.index_select(0, high)
    out = first.lerp(second, Tensor(beside.astype(x.dtype)))
    if np.isnan(last := ordered.array[-1]).any():
        out = out.masked_fill(Tensor(np.isnan(last)), float("nan"))
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    if keepdim:
        shape = (1,) * ndim if dim is None else (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return out.reshape(*share.shape, *shape)
