"""Reading and writing elements by index."""

from typing import Any

import numpy as np

from minidl._inplace import overwrite
from minidl._tensor import Tensor, apply, method
from minidl.ops import index as ops
from minidl.typing import Array

__all__ = ["add_flat", "copy_", "take_flat"]


@method
def take_flat(input: Tensor, places: Array) -> Tensor:
    """Elements by their flat, row-major index."""
    return apply(ops.TakeFlat, input, places)


@method
def add_flat(input: Tensor, places: Array, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape`, with the elements of `input` added at flat places."""
    return apply(ops.AddFlat, input, places, shape=shape)


@method
def copy_(input: Tensor, src: Any) -> Tensor:
    """Overwrite with the values of `src`, which broadcasts."""
    source = src if isinstance(src, Tensor) else Tensor(np.asarray(src))
    return overwrite(input, source.expand(input.shape).astype(input.dtype), "copy_")
