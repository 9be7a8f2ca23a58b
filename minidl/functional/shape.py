"""The same elements in another shape or order."""

from typing import Any

import numpy as np

from minidl._tensor import Tensor, apply, method
from minidl.functional._common import one_axis, sizes_of
from minidl.ops import shape as ops

__all__ = ["expand", "reshape", "swapaxes"]


@method
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements, in row-major order, in another shape; one size may be -1."""
    sizes = sizes_of(shape)
    known = int(np.prod([n for n in sizes if n != -1], dtype=np.int64))
    total = input.array.size
    if sizes.count(-1) > 1 or (known != total if -1 not in sizes else known and total % known):
        raise RuntimeError(
            f"reshape: shape {sizes} is invalid for a tensor of shape {input.shape} with "
            f"{total} elements"
        )
    return apply(ops.Reshape, input, shape=sizes)


@method
def expand(input: Tensor, *shape: Any) -> Tensor:
    """Broadcast to a shape without copying; -1 keeps a size."""
    sizes = sizes_of(shape)
    added = len(sizes) - input.ndim
    sizes = tuple(input.shape[i - added] if n == -1 else n for i, n in enumerate(sizes))
    return apply(ops.Expand, input, shape=sizes)


@method
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """The tensor with two axes exchanged, on the same storage."""
    first = one_axis(axis0, input.ndim, "swapaxes")
    second = one_axis(axis1, input.ndim, "swapaxes")
    return apply(ops.SwapAxes, input, first=first, second=second) if input.ndim else input
