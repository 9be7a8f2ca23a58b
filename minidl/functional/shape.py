"""The same elements in another shape or order. Most results share the storage of their input."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from minidl._apply import apply, apply1, shares_storage
from minidl._tensor import Tensor, method
from minidl.functional._common import axes_of, one_axis, sizes_of
from minidl.ops import shape as ops

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes", "broadcast_tensors",
    "broadcast_to", "clone", "contiguous", "expand", "flatten", "flip", "fliplr", "flipud",
    "moveaxis", "movedim", "permute", "ravel", "reshape", "roll", "rot90", "squeeze", "swapaxes",
    "swapdims", "t", "transpose", "unflatten", "unsqueeze",
]  # fmt: skip


@method
def reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """The same elements, in row-major order, in another shape; one size may be -1."""
    if not sizes or type(sizes[0]) is not int:
        sizes = sizes_of(sizes if shape is None else (shape,))
    return apply(ops.Reshape, input, shape=_sizes(input, sizes, "reshape"))


def _sizes(input: Tensor, sizes: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Sizes with -1 worked out, or an error that says why they do not fit."""
    total = input.array.size
    known = prod(sizes)
    if known == total and min(sizes, default=0) >= 0:
        return sizes
    if known < 0 and sizes.count(-1) == 1 and min(sizes) == -1 and total % known == 0:
        return tuple([total // -known if n == -1 else n for n in sizes])
    raise RuntimeError(
        f"{name}: shape {sizes} is invalid for a tensor of shape {input.shape} with "
        f"{total} elements"
    )


@method
def view(input: Tensor, *shape: Any) -> Tensor:
    """`reshape` that never copies: an error if the elements do not lie that way in memory.

    Given a dtype of the same width, the same bytes read as that type, off the tape.
    """
    if len(shape) == 1 and isinstance(shape[0], (np.dtype, type)):
        dtype = np.dtype(shape[0])
        if dtype.itemsize != input.dtype.itemsize:
            raise RuntimeError(
                f"view: {dtype} has not the width of {input.dtype}; convert with .to({dtype})"
            )
        out = Tensor(input.array.view(dtype))
        out.version = input.version
        return out
    out = apply(ops.Reshape, input, shape=_sizes(input, sizes_of(shape), "view"))
    if out.origin is None and out.array.size and not shares_storage(out.array, input.array):
        raise RuntimeError(
            f"view: shape {out.shape} of a tensor of shape {input.shape} whose elements lie "
            f"{input.array.strides} bytes apart needs a copy; use reshape() instead"
        )
    return out


@method
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of another tensor."""
    return reshape(input, other.shape)


@method
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` in the shape of another tensor."""
    return view(input, other.shape)


@method
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` as one."""
    first = one_axis(start_dim, input.ndim, "flatten")
    last = one_axis(end_dim, input.ndim, "flatten")
    if first > last:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    if first == last and input.ndim:
        return input
    shape = input.shape
    size = int(np.prod(shape[first : last + 1], dtype=np.int64))
    return apply(ops.Reshape, input, shape=(*shape[:first], size, *shape[last + 1 :]))


@method
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several, of these sizes; one may be -1."""
    axis = one_axis(dim, input.ndim, "unflatten")
    sizes = tuple(int(n) for n in sizes)
    count, known = input.shape[axis], int(np.prod([n for n in sizes if n != -1], dtype=np.int64))
    if sizes.count(-1) == 1 and known:
        sizes = tuple(count // known if n == -1 else n for n in sizes)
    if not sizes or -1 in sizes or int(np.prod(sizes, dtype=np.int64)) != count:
        raise RuntimeError(f"unflatten: sizes {sizes} do not multiply to axis {dim}'s {count}")
    shape = (*input.shape[:axis], *sizes, *input.shape[axis + 1 :])
    return apply(ops.Reshape, input, shape=shape)


@method
def ravel(input: Tensor) -> Tensor:
    """All elements in one axis."""
    return apply(ops.Reshape, input, shape=(input.array.size,))


@method
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the axes of size 1: all of them, or those of `dim`."""
    axes = set(axes_of(dim, input.ndim, "squeeze")) if dim != () else set()
    shape = tuple([n for i, n in enumerate(input.shape) if n != 1 or i not in axes])
    return apply(ops.Reshape, input, shape=shape)


@method
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new axis of size 1 in place `dim`."""
    axis = one_axis(dim, input.ndim + 1, "unsqueeze")
    return apply(ops.Reshape, input, shape=(*input.shape[:axis], 1, *input.shape[axis:]))


@method
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """The tensor with two axes exchanged, on the same storage."""
    first = one_axis(dim0, input.ndim, "transpose")
    second = one_axis(dim1, input.ndim, "transpose")
    return apply(ops.SwapAxes, input, first=first, second=second) if input.ndim else input


@method
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose`, under NumPy's name."""
    return transpose(input, axis0, axis1)


@method
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose`."""
    return transpose(input, dim0, dim1)


@method
def t(input: Tensor) -> Tensor:
    """A matrix with rows and columns exchanged; a vector as it is."""
    if input.ndim > 2:
        raise RuntimeError(
            f"t: at most 2 axes are expected, got {input.shape}; use .mT or transpose(dim0, dim1)"
        )
    return transpose(input, 0, 1) if input.ndim == 2 else input


@method
def permute(input: Tensor, *axis: Any, dims: Any = None) -> Tensor:
    """Axes in another order: axis dims[i] comes to place i."""
    given = sizes_of(axis if dims is None else (dims,))
    axes = tuple(one_axis(d, input.ndim, "permute") for d in given)
    if len(axes) != input.ndim or len(set(axes)) < len(axes):
        raise RuntimeError(
            f"permute: dims {axes} must name each of the {input.ndim} axes of {input.shape} once"
        )
    return apply(ops.Permute, input, axes=axes)


@method
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Axes `source` brought to the places `destination`; the others keep their order."""
    sources = [one_axis(d, input.ndim, "movedim") for d in sizes_of((source,))]
    targets = [one_axis(d, input.ndim, "movedim") for d in sizes_of((destination,))]
    distinct = len({*sources}) == len(sources) and len({*targets}) == len(targets)
    if len(sources) != len(targets) or not distinct:
        raise RuntimeError(
            f"movedim: source {source} and destination {destination} must be as many axes, "
            "each named once"
        )
    if not input.ndim:
        return input
    axes = [axis for axis in range(input.ndim) if axis not in sources]
    for target, axis in sorted(zip(targets, sources)):
        axes.insert(target, axis)
    return apply(ops.Permute, input, axes=tuple(axes))


@method
def moveaxis(input: Tensor, source: Any, destination: Any) -> Tensor:
    """`movedim`, under NumPy's name."""
    return movedim(input, source, destination)


@method
def expand(input: Tensor, *shape: Any, size: Any = None) -> Tensor:
    """Broadcast to a shape without copying; -1 keeps a size."""
    sizes = sizes_of(shape if size is None else (size,))
    added = len(sizes) - input.ndim
    if -1 in sizes and -1 not in sizes[: max(added, 0)]:
        sizes = tuple(input.shape[i - added] if n == -1 else n for i, n in enumerate(sizes))
    fits = added >= 0 and all(n in (1, m) for n, m in zip(input.shape, sizes[max(added, 0) :]))
    if not fits or any(n < 0 for n in sizes):
        raise RuntimeError(
            f"expand: a tensor of shape {input.shape} does not broadcast to {sizes}: from the "
            "last axis on, sizes must be equal or stand for a 1"
        )
    return apply(ops.Expand, input, shape=sizes)


@method
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor."""
    return expand(input, other.shape)


@method
def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """`expand`, under NumPy's name."""
    return expand(input, size)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that arrays of these shapes have together."""
    return np.broadcast_shapes(*shapes)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Each tensor expanded to the shape they have together."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape = np.broadcast_shapes(*[x.shape for x in given])
    return tuple(expand(x, shape) for x in given)


@method
def flip(input: Tensor, *axis: Any, dims: Any = None) -> Tensor:
    """Elements in reverse order along the axes `dims`; a copy."""
    given = sizes_of(axis if dims is None else (dims,))
    axes = axes_of(given, input.ndim, "flip") if given else ()
    return apply(ops.Flip, input, axes=axes)


@method
def fliplr(input: Tensor) -> Tensor:
    """Axis 1 reversed."""
    return flip(input, 1)


@method
def flipud(input: Tensor) -> Tensor:
    """Axis 0 reversed."""
    return flip(input, 0)


@method
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved on by `shifts` along `dims`, those over the end back to the start.

    Without dims: along all elements in one axis.
    """
    if dims is None or dims == ():
        return roll(ravel(input), shifts, 0).reshape(input.shape)
    moves = sizes_of((shifts,))
    axes = [one_axis(d, input.ndim, "roll") for d in sizes_of((dims,))]
    if len(moves) != len(axes):
        raise RuntimeError(f"roll: shifts {shifts} and dims {dims} must be as many")
    out = input
    for shift, axis in zip(moves, axes):
        size = input.shape[axis] if input.ndim else 1
        if size and shift % size:
            cut = size - shift % size
            head, tail = out.split((cut, size - cut), axis)
            out = apply(ops.Concat, tail, head, axis=axis)
    return apply1(ops.Clone, out) if out is input else out


@method
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by 90 degrees k times in the plane of two axes, from the first to the second."""
    if len(dims) != 2:
        raise RuntimeError(f"rot90: two axes are needed, got dims {dims}")
    first, second = (one_axis(d, input.ndim, "rot90") for d in dims)
    if first == second:
        raise RuntimeError(f"rot90: the axes must differ, got dims {dims}")
    if k % 4 == 1:
        return transpose(flip(input, second), first, second)
    if k % 4 == 2:
        return flip(input, first, second)
    if k % 4 == 3:
        return flip(transpose(input, first, second), second)
    return clone(input)


@method
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with a storage of its own, through which the gradient flows."""
    return apply1(ops.Clone, input)


@method
def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in row-major order, else a copy in which they do."""
    return input if input.array.flags.c_contiguous else apply1(ops.Clone, input)


def _at_least(count: int, tensors: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return tuple(_at_least(count, (x,)) for x in tensors[0])
    if len(tensors) > 1:
        return tuple(_at_least(count, (x,)) for x in tensors)
    x = tensors[0]
    while x.ndim < count:
        x = unsqueeze(x, 2 if x.ndim == 2 else 0)
    return x


def atleast_1d(*tensors: Any) -> Any:
    """Each with one axis at least."""
    return _at_least(1, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Each with two axes at least; new ones come first."""
    return _at_least(2, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Each with three axes at least: a matrix (N, D) becomes (N, D, 1), a vector (1, D, 1)."""
    return _at_least(3, tensors)


def _transposed(self: Tensor) -> Tensor:
    """All axes in reverse order."""
    if self.array.ndim == 2:
        return apply(ops.SwapAxes, self, first=0, second=1)
    return apply(ops.Permute, self, axes=tuple(range(self.array.ndim))[::-1])


def _matrices_transposed(self: Tensor) -> Tensor:
    """The last two axes exchanged."""
    return transpose(self, -2, -1)


Tensor.T = property(_transposed)  # type: ignore[attr-defined]
Tensor.mT = property(_matrices_transposed)  # type: ignore[attr-defined]
