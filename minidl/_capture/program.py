"""A program: what a step did, as a straight list of instructions on numbered values."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class CaptureError(RuntimeError):
    """A step, or a part of it, that cannot be captured: what, where, and what to do instead."""


class Storage:
    """The memory behind a value and its views. alloc: the array that an op took from `empty`."""

    __slots__ = ("alloc", "kind")

    def __init__(self, kind: str, alloc: "Alloc | None" = None):
        self.kind = kind  # "arg", "tensor", "const", "made", "grad"
        self.alloc = alloc


class Alloc:
    """One call of `empty` in an instruction; `pinned`: its memory is never given out again."""

    __slots__ = ("array", "dtype", "pinned", "shape", "storage")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        self.shape, self.dtype = shape, dtype
        self.pinned = False
        self.storage: Storage | None = None
        self.array: Any = None  # the buffer of a replay, once planned

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Value:
    """One value of the program: an array, a RowSparse, or what an op saved.

    kind: where it comes from: "arg", "tensor" (one that is older than the step), "const", "made".
    """

    __slots__ = ("contiguous", "dtype", "kind", "number", "offset", "shape", "source",
                 "storages", "uniform")  # fmt: skip

    def __init__(self, number: int, kind: str, source: Any = None):
        self.number, self.kind, self.source = number, kind, source
        self.shape: Any = None
        self.dtype: Any = None
        self.contiguous = False
        self.uniform = False  # one number seen everywhere, such as the gradient of a sum
        self.offset = 0  # bytes from where its memory starts
        self.storages: tuple[Storage, ...] = ()

    def describe(self, array: Any) -> "Value":
        """Note shape and dtype of an array."""
        if isinstance(array, (np.ndarray, np.generic)):
            self.shape, self.dtype = array.shape, array.dtype
            self.contiguous = array.flags.c_contiguous
            self.uniform = array.size > 1 and not any(array.strides)
        return self

    @property
    def name(self) -> str:
        return f"v{self.number}"

    def __repr__(self) -> str:
        return f"<{self.name} {self.kind} {self.shape} {self.dtype}>"


class Instruction:
    """One call of a replay.

    kind: "op" (an op's forward), "back" (its backward), "call" (a function of arrays), "add" (two
    gradients), "deposit" (into a leaf's .grad), "host" (a live Python object, such as an
    optimizer), "check" (a value that the step looked at), "draw" (random numbers), "fused".
    """

    __slots__ = ("allocs", "args", "effect", "extra", "function", "kind", "kwargs", "outs",
                 "saved", "where", "writes")  # fmt: skip

    def __init__(
        self, kind: str, function: Any, args: Any = (), kwargs: Any = None, where: str = ""
    ):
        self.kind, self.function, self.args = kind, function, args
        self.kwargs: dict[str, Any] = kwargs or {}
        self.outs: Any = ()  # Value, or a nest of tuples of them
        self.saved: Value | None = None
        self.writes: list[Value] = []  # what is changed in place
        self.effect = False  # must run even if nothing uses its outcome
        self.allocs: list[Alloc] = []
        self.extra: Any = None
        self.where = where

    def title(self) -> str:
        name = getattr(self.function, "__name__", None) or type(self.function).__name__
        return f"{self.kind} {name}"

    def reads(self) -> Iterator[Value]:
        yield from values_in((self.args, self.kwargs))

    def makes(self) -> Iterator[Value]:
        yield from values_in(self.outs)
        if self.saved is not None:
            yield self.saved


class TensorOf:
    """A value that a host call gets as a Tensor."""

    __slots__ = ("value",)

    def __init__(self, value: Value):
        self.value = value


class Program:
    """Instructions, the values they start from, and what the step returns.

    args: the values of the tensors and arrays among the arguments; tensors: values of older
    tensors; result: the nest that is returned, with values in place of tensors.
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.args: list[Value] = []
        self.tensors: list[Value] = []
        self.consts: list[Value] = []
        self.result: Any = None
        self.modules: list[Any] = []
        self.leaf_states: list[tuple[Any, str]] = []
        self.written: list[Any] = []  # older tensors that are changed in place


def values_in(tree: Any) -> Iterator[Value]:
    """All values of a nest of tuples, lists, dictionaries and slices."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, TensorOf):
        yield tree.value
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from values_in(branch)
    elif isinstance(tree, dict):
        for branch in tree.values():
            yield from values_in(branch)
    elif isinstance(tree, slice):
        yield from values_in((tree.start, tree.stop, tree.step))


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same nest with `function` of each leaf."""
    if isinstance(tree, tuple):
        parts = [mapped(branch, function) for branch in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, list):
        return [mapped(branch, function) for branch in tree]
    if isinstance(tree, dict):
        return {key: mapped(branch, function) for key, branch in tree.items()}
    if isinstance(tree, slice):
        return slice(*[mapped(x, function) for x in (tree.start, tree.stop, tree.step)])
    return function(tree)
