"""Elements and slices by arrays of indices: gather and scatter, index_add, put and take."""

from typing import Any

import numpy as np

from minidl._apply import apply, apply1, cast, record
from minidl._inplace import overwrite
from minidl._tensor import Tensor, method, recorders
from minidl.functional._common import as_tensor, one_axis
from minidl.functional._subscript import in_range
from minidl.functional.shape import expand, reshape
from minidl.ops import index as ops
from minidl.ops import view as views
from minidl.ops.elementwise import Alias
from minidl.typing import Array

__all__ = [
    "gather", "index_add", "index_copy", "index_fill", "index_put", "index_select",
    "masked_scatter", "put", "scatter", "scatter_add", "take", "take_along_dim",
]  # fmt: skip


# what the backward of indexing ops calls on tensors; not PyTorch's names


@method
def applied(input: Tensor, op: Any, arguments: Any, settings: dict[str, Any]) -> Any:
    """An op of `arguments`, of which `input` is one."""
    return apply(op, *arguments, **settings)


@method
def take_flat(input: Tensor, places: Array) -> Tensor:
    """Elements by their flat, row-major index."""
    return apply(ops.TakeFlat, input, places)


@method
def add_flat(input: Tensor, places: Array, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape`, with the elements of `input` added at flat places."""
    return apply(ops.AddFlat, input, places, shape=shape)


@method
def take_rows(input: Tensor, ids: Array, axis: int) -> Tensor:
    """Slices along an axis by their number."""
    return apply(ops.TakeRows, input, ids, axis=axis)


@method
def add_rows(input: Tensor, ids: Array, axis: int, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape`, with the slices of `input` added along an axis by their number."""
    return apply(ops.AddRows, input, ids, axis=axis, shape=shape)


@method
def part_of(input: Tensor, path: Any) -> Tensor:
    """The view at the end of a path of view ops."""
    for op, settings in path:
        input = apply(op, input, **dict(settings))
    return input


@method
def put_view(input: Tensor, path: Any, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape`, with `input` as the view at the end of a path."""
    return apply(views.PutView, input, path=path, shape=shape)


@method
def zero_view(input: Tensor, path: Any) -> Tensor:
    """`input` with zeros in the view at the end of a path."""
    return apply(views.ZeroView, input, path=path)


# along an axis, by a vector of numbers


def _ids(index: Any, name: str) -> Array:
    ids = index.array if isinstance(index, Tensor) else np.asarray(index)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: the index must be whole numbers, got {ids.dtype}; use .long()")
    return ids


def _no_negative(ids: Array, name: str) -> None:
    """As in PyTorch: -1, which often stands for "none", must not quietly mean the last."""
    if ids.size and ids.dtype.kind == "i" and int(ids.min()) < 0:
        raise IndexError(f"{name}: indices count from 0, got {int(ids.min())}")


def _vector(x: Tensor, dim: int, index: Any, name: str) -> tuple[int, Array]:
    """The axis, and the index as numbers from 0 on; a single number counts as a vector of one."""
    ids = _ids(index, name)
    if ids.ndim > 1:
        raise IndexError(f"{name}: the index must be a vector, got shape {ids.shape}")
    axis = one_axis(dim, x.ndim, name)
    count = x.shape[axis] if x.ndim else 1
    if name != "index_fill":
        _no_negative(ids, name)
    return axis, in_range(ids.reshape(-1), count, axis, name)


@method
def index_select(input: Tensor, dim: int, index: Any) -> Tensor:
    """The slices of `dim` with these numbers, in their order."""
    axis, ids = _vector(input, dim, index, "index_select")
    if not input.ndim:
        return reshape(apply(ops.TakeRows, reshape(input, 1), ids, axis=0), ())
    return apply(ops.TakeRows, input, ids, axis=axis)


@method
def index_add(input: Tensor, dim: int, index: Any, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """input, and alpha * source[i] added to its slice index[i]; a number may come repeatedly."""
    axis, ids = _vector(input, dim, index, "index_add")
    shape = input.shape if input.ndim else (1,)
    wanted = (*shape[:axis], ids.size, *shape[axis + 1 :])
    if source.shape != wanted and (source.ndim or source.array.size != np.prod(wanted)):
        raise RuntimeError(
            f"index_add: source must have shape {wanted} for input {input.shape} and "
            f"{ids.size} indices along dim {dim}, got {source.shape}"
        )
    rows = reshape(source if alpha == 1 else source * alpha, wanted)
    return input + reshape(apply(ops.AddRows, rows, ids, axis=axis, shape=shape), input.shape)


def _places(shape: tuple[int, ...], axis: int, ids: Array) -> Array:
    """Flat places in an array of `shape` of the slices `ids` of an axis."""
    before = int(np.prod(shape[:axis], dtype=np.int64))
    after = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    grid = np.arange(before)[:, None, None] * shape[axis] + ids[:, None]
    places: Array = (grid * after + np.arange(after)).reshape(
        (*shape[:axis], ids.size, *shape[axis + 1 :])
    )
    return places


@method
def index_copy(input: Tensor, dim: int, index: Any, source: Tensor) -> Tensor:
    """input with its slices index[i] replaced by source[i]; of repeated numbers the last wins."""
    axis, ids = _vector(input, dim, index, "index_copy")
    places = _places(input.shape if input.ndim else (1,), axis, ids)
    if source.shape != places.shape and source.array.size != places.size:
        raise RuntimeError(f"index_copy: source must have shape {places.shape}, got {source.shape}")
    rows = cast(reshape(source, places.shape), input.dtype)
    return apply(ops.PutFlat, input, rows, places)


@method
def index_fill(input: Tensor, dim: int, index: Any, value: Any) -> Tensor:
    """input with `value`, one number, in the slices of these numbers."""
    axis, ids = _vector(input, dim, index, "index_fill")
    if not input.ndim:
        return input.masked_fill(Tensor(np.asarray(ids.size > 0)), value)
    fill = np.zeros(input.shape[axis], bool)
    fill[ids] = True
    mask = np.broadcast_to(fill.reshape(-1, *(1,) * (input.ndim - axis - 1)), input.shape)
    return input.masked_fill(Tensor(mask), value)


# element by element, by an index of their own


def _grid(x: Tensor, dim: int, index: Any, name: str) -> tuple[int, Array]:
    """The axis, and the flat place in x of each element of the index."""
    ids = _ids(index, name)
    axis = one_axis(dim, x.ndim, name)
    shape = x.shape if x.ndim else (1,)
    ids = ids if ids.ndim else ids.reshape(1)
    if not ids.size:
        return axis, ids.astype(np.int64)
    if ids.ndim != len(shape) or any(
        n > m for i, (n, m) in enumerate(zip(ids.shape, shape)) if i != axis
    ):
        raise RuntimeError(
            f"{name}: index {ids.shape} must have as many axes as the tensor {x.shape}, "
            f"none longer but dim {dim}"
        )
    _no_negative(ids, name)
    places = in_range(ids, shape[axis], axis, name)
    step = 1
    out: Any = 0
    for i in range(len(shape) - 1, -1, -1):
        along = (
            places
            if i == axis
            else np.arange(ids.shape[i]).reshape(-1, *(1,) * (len(shape) - i - 1))
        )
        out = out + along * step
        step *= shape[i]
    return axis, out


@method
def gather(input: Tensor, dim: int, index: Any, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j][k] = input[i][index[i][j][k]][k] for dim 1; out has the index's shape."""
    if sparse_grad:
        raise ValueError("gather: sparse_grad=True is not there; the gradient is dense")
    _, places = _grid(input, dim, index, "gather")
    out = apply(ops.TakeFlat, input, places.reshape(_ids(index, "gather").shape))
    if recorders:
        record("gather", (input, index), {"dim": dim % input.ndim if input.ndim else 0}, (out,))
    return out


def _source(src: Any, input: Tensor, places: Array, name: str) -> Tensor:
    """The part of src that the index covers, or one number for all."""
    if not isinstance(src, Tensor):
        return expand(cast(as_tensor(src, input), input.dtype), places.shape)
    if src.dtype != input.dtype:
        raise TypeError(f"{name}: src {src.dtype} must have the tensor's dtype {input.dtype}")
    if not places.size:
        return Tensor(np.zeros(places.shape, input.dtype))
    src = src if src.ndim else reshape(src, 1)
    if src.ndim != places.ndim or any(n > m for n, m in zip(places.shape, src.shape)):
        raise RuntimeError(
            f"{name}: src {src.shape} must be at least as long as the index {places.shape} "
            "along every axis"
        )
    return src[tuple(slice(n) for n in places.shape)] if src.shape != places.shape else src


@method
def scatter(
    input: Tensor, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Tensor:
    """out[i][index[i][j]][k] = src[i][j][k] for dim 1; src is a tensor or a number.

    Of several for one place the last wins; reduce "add" or "multiply" takes them together.
    """
    _, places = _grid(input, dim, index, "scatter")
    part = _source(value if src is None else src, input, places, "scatter")
    if reduce == "add":
        added = apply(ops.AddFlat, part, places, shape=input.shape)
        return input + added
    if reduce == "multiply":
        return _scatter_product(input, part, places)
    if reduce is not None:
        raise ValueError(f"scatter: reduce {reduce!r} must be None, 'add' or 'multiply'")
    out = apply(ops.PutFlat, input, part, places)
    if recorders:
        record("scatter", (input, index, part), {"dim": dim}, (out,))
    return out


def _scatter_product(input: Tensor, part: Tensor, places: Array) -> Tensor:
    """Values for one place are multiplied in rounds, the first of each, the second of each, ..."""
    flat = places.reshape(-1)
    order = flat.argsort(kind="stable")
    first = np.concatenate([[True], flat[order][1:] != flat[order][:-1]])
    number = np.arange(flat.size) - np.maximum.accumulate(np.where(first, np.arange(flat.size), 0))
    out = input
    for turn in range(int(number.max(initial=-1)) + 1):
        now = order[number == turn]
        factor = apply(ops.TakeFlat, part, now)
        old = apply(ops.TakeFlat, out, flat[now])
        out = apply(ops.PutFlat, out, old * factor, flat[now])
    return out


@method
def scatter_add(input: Tensor, dim: int, index: Any, src: Tensor) -> Tensor:
    """out[i][index[i][j]][k] += src[i][j][k] for dim 1; a place may come more than once."""
    _, places = _grid(input, dim, index, "scatter_add")
    part = _source(src, input, places, "scatter_add")
    return input + apply(ops.AddFlat, part, places, shape=input.shape)


@method
def scatter_reduce(
    input: Tensor, dim: int, index: Any, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input[index] and all of src that goes there as one: "sum", "mean", "amax" or "amin".

    include_self=False: input's own values count only where nothing goes. Of equal extremes each
    has an equal share of the gradient. "prod" is not there.
    """
    if reduce not in ("sum", "mean", "amax", "amin"):
        raise ValueError(
            f"scatter_reduce: reduce {reduce!r} is not known: give 'sum', 'mean', 'amax' or 'amin'"
        )
    _, places = _grid(input, dim, index, "scatter_reduce")
    src = _source(src, input, places, "scatter_reduce")
    flat = places.reshape(-1)
    hits = np.bincount(flat, minlength=input.array.size).reshape(input.shape)
    own = np.ones(input.shape, bool) if include_self else hits == 0
    if reduce in ("sum", "mean"):
        out = apply(ops.AddFlat, src, places, shape=input.shape) + input * Tensor(own)
        if reduce == "sum":
            return out
        count = Tensor((hits + own).astype(input.dtype))
        return out / count if input.dtype.kind == "f" else out.div(count, rounding_mode="floor")
    extreme = np.maximum if reduce == "amax" else np.minimum
    best = np.where(own, input.array, _worst(input.dtype, reduce)).reshape(-1)
    if flat.size:
        order = flat.argsort(kind="stable")
        first = np.flatnonzero(np.diff(flat[order], prepend=-1))
        groups = extreme.reduceat(src.array.reshape(-1)[order], first)
        best[flat[order][first]] = extreme(best[flat[order][first]], groups)
    if input.dtype.kind != "f":
        return Tensor(best.reshape(input.shape))
    own &= input.array == best.reshape(input.shape)
    won = Tensor((src.array == best[places]).astype(input.dtype))
    shares = Tensor(own.astype(input.dtype))
    count = apply(ops.AddFlat, won, places, shape=input.shape) + shares
    total = apply(ops.AddFlat, (src * won), places, shape=input.shape) + input * shares
    return total / count


def _worst(dtype: np.dtype, reduce: str) -> Any:
    if dtype.kind == "f":
        return -np.inf if reduce == "amax" else np.inf
    limits = np.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


@method
def take(input: Tensor, index: Any) -> Tensor:
    """Elements by their number in row-major order; out has the index's shape."""
    ids = _ids(index, "take")
    return apply(ops.TakeFlat, input, in_range(ids, input.array.size, 0, "take"))


@method
def put(input: Tensor, index: Any, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with source[i] at the element of number index[i], or added to it."""
    ids = _ids(index, "put")
    places = in_range(ids, input.array.size, 0, "put")
    part = cast(reshape(source, places.shape), input.dtype)
    if accumulate:
        return input + apply(ops.AddFlat, part, places, shape=input.shape)
    return apply(ops.PutFlat, input, part, places)


@method
def take_along_dim(input: Tensor, indices: Any, dim: int | None = None) -> Tensor:
    """`gather` in which input and indices broadcast; without dim, of all elements in one axis."""
    if dim is None:
        return take(input, indices.reshape(-1))
    ids = _ids(indices, "take_along_dim")
    axis = one_axis(dim, input.ndim, "take_along_dim")
    if ids.ndim != input.ndim:
        raise RuntimeError(
            f"take_along_dim: input {input.shape} and indices {ids.shape} must have as many axes"
        )
    if input.ndim:
        ids = in_range(ids, input.shape[axis], axis, "take_along_dim")  # it takes negative ones
    shape = [1 if i == axis else n for i, n in enumerate(input.shape)]
    other = [1 if i == axis else n for i, n in enumerate(ids.shape)]
    common = list(np.broadcast_shapes(shape, other))
    wide = expand(input, *[input.shape[axis] if i == axis else n for i, n in enumerate(common)])
    common[axis] = ids.shape[axis]
    return gather(wide, axis, Tensor(np.broadcast_to(ids, common)))


# by tuples of indices, and by masks


@method
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """input with input[indices] = values, or += values with `accumulate`."""
    key = tuple(slice(None) if i is None else i for i in indices)
    places = Tensor(np.arange(input.array.size).reshape(input.shape))[key].array
    part = expand(cast(as_tensor(values, input), input.dtype), places.shape)
    if accumulate:
        return input + apply(ops.AddFlat, part, places, shape=input.shape)
    return apply(ops.PutFlat, input, part, places)


@method
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the elements of `source`, in order, where the mask is true."""
    shape = np.broadcast_shapes(input.shape, mask.shape)
    places = np.broadcast_to(mask.array, shape).reshape(-1).nonzero()[0]
    if source.array.size < places.size:
        raise RuntimeError(
            f"masked_scatter: the mask has {places.size} true elements, source only "
            f"{source.array.size}"
        )
    part = cast(reshape(source, -1)[: places.size], input.dtype)
    return apply(ops.PutFlat, expand(input, shape), part, places)


@method
def copy_(input: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Overwrite with the values of `src`, which broadcasts and is cast."""
    source = src if isinstance(src, Tensor) else Tensor(np.asarray(src))
    value = cast(expand(source, input.shape), input.dtype)
    return overwrite(input, apply1(Alias, value) if value.requires_grad else value, "copy_")
