"""Leaves, and the arrays of tensors and of what ops saved, as recordings see them."""

from typing import Any

import numpy as np

from minidl._capture.traced import Traced, plain
from minidl._tensor import Node, Tensor
from minidl.sparse import RowSparse


class LeafArg:
    """A tensor among the arguments, by number: the leaf whose .grad is meant."""

    __slots__ = ("number",)

    def __init__(self, number: int):
        self.number = number


class LeafTensor:
    """An older tensor: the leaf whose .grad is meant."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


_slot = Tensor.__dict__["array"]


def raw_array(x: Tensor) -> Any:
    """The array of a tensor, whatever `Tensor.array` is at the moment."""
    return plain(_slot.__get__(x))


def address(array: Any) -> int:
    """Where an array's first element lies."""
    return int(array.__array_interface__["data"][0])


def base_of(array: Any) -> Any:
    """The array that a view looks into, or None."""
    if type(array) is Traced and array.raw is not None:
        return array.raw
    base = array.base
    if base is not None and not isinstance(base, np.ndarray):
        base = getattr(base, "base", None)  # as_strided puts an object of its own in between
    return base if isinstance(base, np.ndarray) else None


def root_of(array: Any) -> Any:
    """The array that owns the memory of a view."""
    base = array
    while base is not None:
        root, base = base, base_of(base)
    return root


def arrays_in(tree: Any) -> list[Any]:
    """All arrays of what an op saved."""
    if isinstance(tree, np.ndarray):
        return [tree]
    if isinstance(tree, RowSparse):
        return [tree.rows, tree.values]
    if isinstance(tree, (tuple, list)):
        return [a for branch in tree for a in arrays_in(branch)]
    if isinstance(tree, dict):
        return arrays_in(list(tree.values()))
    return []


def trimmed(node: Node) -> Any:
    """Where the engine left a shape in place of an array (`Op.crossed`): those shapes, or None."""
    if not node.op.crossed or not any(type(x) is tuple for x in node.saved):
        return None
    return tuple([x if type(x) is tuple else None for x in node.saved])


def strided(base: Any, shape: Any, dtype: Any, strides: Any, offset: int) -> Any:
    """A view of an array's memory."""
    if offset == 0 and dtype == base.dtype:
        return np.lib.stride_tricks.as_strided(base, shape, strides)
    root = root_of(base)
    offset += base.ctypes.data - root.ctypes.data
    return np.ndarray(shape, dtype, root, offset, strides)


def set_grad(leaf: Tensor, grad: Any) -> None:
    leaf.grad = grad


def grad_array(leaf: Tensor) -> Any:
    grad: Any = leaf.grad
    return grad.array
