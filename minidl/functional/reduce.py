"""Reductions over axes."""

from typing import Any

from minidl._tensor import Tensor, apply, method
from minidl.functional._common import axes_of
from minidl.ops import reduce as ops

__all__ = ["sum"]


@method
def sum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims=None
) -> Tensor:
    """Sum over `dim`: an axis, several, or None for all."""
    axes = axes_of(axis if dim is None else dim, input.ndim, "sum")
    return apply(ops.Sum, input, dim=axes, keepdim=keepdim if keepdims is None else keepdims)
