"""Several tensors as one, and one repeated."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl._apply import apply, cast
from minidl._tensor import Tensor, method
from minidl.dtypes import result_dtype
from minidl.functional._common import one_axis, sizes_of
from minidl.functional.shape import atleast_1d, atleast_2d, atleast_3d, expand, reshape
from minidl.ops import shape as ops
from minidl.ops.index import TakeRows

__all__ = [
    "cat", "column_stack", "concat", "concatenate", "dstack", "hstack", "meshgrid",
    "repeat_interleave", "row_stack", "stack", "tile", "vstack",
]  # fmt: skip


def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors one after another along `dim`; the other sizes must be equal.

    The result has the dtype that PyTorch's promotion gives them together. An empty vector, shape
    (0,), fits anything, as in PyTorch.
    """
    tensors = list(tensors)
    if not tensors:
        raise ValueError("cat: a sequence of at least one tensor is needed, got none")
    first = next((x for x in tensors if x.array.shape != (0,)), tensors[0])
    ndim, shape = first.array.ndim, first.array.shape
    if not ndim:
        raise RuntimeError("cat: 0-d tensors have no axis to be joined along; use stack()")
    along = one_axis(dim if axis is None else axis, ndim, "cat")
    for place, x in enumerate(tensors):
        if x.array.shape == (0,) != shape:
            empty = (*shape[:along], 0, *shape[along + 1 :])
            tensors[place] = apply(ops.Reshape, x, shape=empty)
        elif x.ndim != ndim or any(x.shape[i] != shape[i] for i in range(ndim) if i != along):
            raise RuntimeError(
                f"cat: all sizes but that of dim {dim} must be equal: tensor {place} has shape "
                f"{x.shape}, the first {shape}"
            )
    return apply(ops.Concat, *_one_dtype(tensors), axis=along)


@method
def concat_parts(input: Tensor, parts: Sequence[Any], axis: int) -> Tensor:
    """`cat` of tensors and arrays of one dtype, for the backward of `Sections`."""
    return apply(ops.Concat, *parts, axis=axis)


def _one_dtype(tensors: list[Tensor]) -> list[Tensor]:
    first = tensors[0].array.dtype
    if all(x.array.dtype == first for x in tensors):
        return tensors
    dtype = result_dtype([x.array for x in tensors])
    return [cast(x, dtype) for x in tensors]


def concat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """`cat`."""
    return cat(tensors, dim, axis=axis)


def concatenate(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """`cat`, under NumPy's name."""
    return cat(tensors, dim, axis=axis)


def stack(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors of one shape along a new axis `dim`."""
    tensors = list(tensors)
    if not tensors:
        raise ValueError("stack: a sequence of at least one tensor is needed, got none")
    shape = tensors[0].shape
    for place, x in enumerate(tensors):
        if x.shape != shape:
            raise RuntimeError(
                f"stack: all shapes must be equal: tensor {place} has {x.shape}, the first {shape}"
            )
    along = one_axis(dim if axis is None else axis, len(shape) + 1, "stack")
    wide = (*shape[:along], 1, *shape[along:])
    parts = [apply(ops.Reshape, x, shape=wide) for x in _one_dtype(tensors)]
    return apply(ops.Concat, *parts, axis=along)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Along the second axis; vectors along their only one."""
    tensors = [atleast_1d(x) for x in tensors]
    return cat(tensors, 0 if tensors and tensors[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Along the first axis; vectors are rows."""
    return cat([atleast_2d(x) for x in tensors], 0)


def row_stack(tensors: Sequence[Tensor]) -> Tensor:
    """`vstack`."""
    return vstack(tensors)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Along the third axis; matrices are layers."""
    return cat([atleast_3d(x) for x in tensors], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Along the second axis; vectors are columns."""
    return cat([reshape(x, (x.array.size, 1)) if x.ndim < 2 else x for x in tensors], 1)


# repeated


@method
def repeat(input: Tensor, *copies: Any, repeats: Any = None) -> Tensor:
    """Copies side by side: axis i `repeats[i]` times; more repeats than axes add axes in front."""
    counts = sizes_of(copies if repeats is None else (repeats,))
    if len(counts) < input.ndim or min(counts, default=0) < 0:
        raise RuntimeError(
            f"repeat: one number of copies, 0 or more, for each of the {input.ndim} axes is "
            f"needed, got {counts}"
        )
    shape = (1,) * (len(counts) - input.ndim) + input.shape
    narrow = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for count, size in zip(counts, shape) for n in (count, size))
    final = tuple(count * size for count, size in zip(counts, shape))
    out = apply(ops.Expand, apply(ops.Reshape, input, shape=narrow), shape=wide)
    return apply(ops.Reshape, apply(ops.Clone, out), shape=final)


@method
def tile(input: Tensor, *copies: Any, dims: Any = None) -> Tensor:
    """`repeat`, in which missing numbers are 1."""
    counts = sizes_of(copies if dims is None else (dims,))
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


@method
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element `repeats` times in a row: one number, or one for each index of `dim`.

    Without dim, of all elements in one axis. Of a tensor of counts alone: 0 as often as its first
    element says, 1 as often as its second, and so on.
    """
    if repeats is None:
        counts = input.array
        return Tensor(np.repeat(np.arange(counts.size), counts))
    x = reshape(input, -1) if dim is None else input
    if dim is not None and not x.ndim:
        x = reshape(x, 1)
    axis = 0 if dim is None else one_axis(dim, input.ndim, "repeat_interleave")
    counts = repeats.array if isinstance(repeats, Tensor) else np.asarray(repeats)
    if counts.ndim > 1 or (counts.ndim and counts.size not in (1, x.shape[axis])):
        raise RuntimeError(
            f"repeat_interleave: repeats must be one number or {x.shape[axis]}, one for each "
            f"index of dim {axis}, got shape {counts.shape}"
        )
    if counts.size and counts.min() < 0:
        raise RuntimeError("repeat_interleave: repeats must not be negative")
    ids = np.repeat(np.arange(x.shape[axis]), counts)
    return apply(TakeRows, x, ids, axis=axis)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid from those of its axes, expanded without a copy.

    indexing "ij": the first tensor varies along the first axis; "xy": along the second.
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    if any(x.ndim > 1 for x in given):
        raise RuntimeError(f"meshgrid: vectors are needed, got shapes {[x.shape for x in given]}")
    shape = tuple(x.array.size for x in given)
    grids = []
    for i, x in enumerate(given):
        flat = reshape(x, (1,) * i + (-1,) + (1,) * (len(given) - i - 1))
        grid = expand(flat, shape)
        grids.append(grid.swapaxes(0, 1) if indexing == "xy" and len(given) > 1 else grid)
    return tuple(grids)
