"""What the functions share: reading axes, shapes and operands as PyTorch does."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minidl._apply import apply, cast
from minidl._tensor import Tensor, _mode
from minidl.dtypes import float16, float32, get_default_dtype, result_dtype
from minidl.ops.shape import Permute
from minidl.typing import Array


def as_tensor(x: Any, like: Tensor | None = None) -> Tensor:
    """x itself if a Tensor, else a tensor of its value; a Python number takes `like`'s dtype."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (np.ndarray, np.generic)):
        return Tensor(np.asarray(x))
    array = np.asarray(x)
    if like is not None and not array.ndim:
        return Tensor(array.astype(result_dtype([like.array, x])))
    return Tensor(array.astype(get_default_dtype()) if array.dtype.kind == "f" else array)


def common_dtype(*operands: Any) -> list[Tensor]:
    """All operands as tensors of the dtype that PyTorch's promotion gives them together."""
    first = next((x for x in operands if isinstance(x, Tensor)), None)
    dtype = result_dtype([x.array if isinstance(x, Tensor) else x for x in operands])
    return [cast(as_tensor(x, first), dtype) for x in operands]


def one_axis(dim: int, ndim: int, name: str) -> int:
    """An axis counted from the front. A 0-d tensor is treated as having one axis, as in PyTorch."""
    size = max(ndim, 1)
    if not -size <= dim < size:
        raise IndexError(
            f"{name}: dim {dim} is out of range for a tensor with {ndim} axes: "
            f"give one from {-size} to {size - 1}"
        )
    return dim % size


def axes_of(dim: Any, ndim: int, name: str) -> tuple[int, ...]:
    """The axes named by `dim` (an int, a sequence, or None or () for all), ascending."""
    if dim is None or (isinstance(dim, Sequence) and not len(dim)):
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, (int, np.integer)) else tuple(dim)
    axes = tuple(sorted(one_axis(int(d), ndim, name) for d in dims))
    if len(set(axes)) < len(axes):
        raise RuntimeError(f"{name}: dim {dims} names an axis twice")
    return axes if ndim else ()


def sizes_of(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one, or as one sequence."""
    if len(shape) == 1 and not isinstance(shape[0], (int, np.integer, Tensor)):
        shape = tuple(shape[0])
    return tuple(int(n) for n in shape)


class ValuesIndices(NamedTuple):
    """What sort, topk, max(dim) and their like return: the elements, and where they stood."""

    values: Tensor
    indices: Tensor


_Function = TypeVar("_Function", bound=Callable[..., Any])


def numpy_names(function: _Function) -> _Function:
    """Accept NumPy's names of two arguments, axis and keepdims, beside dim and keepdim."""

    @functools.wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        if "axis" in kwargs:
            kwargs["dim"] = kwargs.pop("axis")
        if "keepdims" in kwargs:
            kwargs["keepdim"] = kwargs.pop("keepdims")
        return function(*args, **kwargs)

    return named  # type: ignore[return-value]


def in_float32(function: _Function) -> _Function:
    """Compute on float16 tensors in float32, and round the result once: 11 bits add up badly."""

    @functools.wraps(function)
    def widened(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()), None)
        if not isinstance(first, Tensor) or first.array.dtype.itemsize != 2:
            return function(*args, **kwargs)
        if first.dtype != float16 or kwargs.get("dtype") is not None:
            return function(*args, **kwargs)
        out = function(*map(_wide, args), **{k: _wide(v) for k, v in kwargs.items()})
        if isinstance(out, tuple):
            parts = [_narrow(x) for x in out]
            return type(out)(*parts) if hasattr(out, "_fields") else tuple(parts)
        return _narrow(out)

    return widened  # type: ignore[return-value]


def _wide(x: Any) -> Any:
    return cast(x, float32) if isinstance(x, Tensor) and x.dtype == float16 else x


def _narrow(x: Any) -> Any:
    return cast(x, float16) if isinstance(x, Tensor) and x.dtype == float32 else x


def permuted(x: Tensor, order: Sequence[int]) -> Tensor:
    """The axes in another order, as a view; x itself if it is the same order."""
    axes = tuple(order)
    return x if axes == tuple(range(x.ndim)) else apply(Permute, x, axes=axes)


def axes_last(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The axes `axes` as one last axis, the others before it: (..., K)."""
    rest = [a for a in range(x.ndim) if a not in axes]
    shape = tuple(x.shape[a] for a in rest)
    size = math.prod([x.shape[a] for a in axes])
    return permuted(x, [*rest, *axes]).reshape(*shape, size)


def kept(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """A shape with 1 in place of `axes`."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))


def chosen(x: Tensor, indices: Array, axis: int) -> Tensor:
    """Elements of x by their index along an axis, as np.take_along_axis, with their gradient."""
    if not (x.requires_grad and _mode.grad):
        return Tensor(np.take_along_axis(x.array, indices, axis))
    size, after = x.shape[axis], math.prod(x.shape[axis + 1 :])
    before = math.prod(x.shape[:axis])
    first = np.arange(before)[:, None, None] * (size * after) + np.arange(
        after
    )  # (before, 1, after)
    places = first + indices.reshape(before, indices.shape[axis], after) * after
    return x.take_flat(places.reshape(indices.shape))
