"""What the functions share: reading axes, shapes and operands as PyTorch does."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl._tensor import Tensor, cast
from minidl.dtypes import get_default_dtype, result_dtype


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
