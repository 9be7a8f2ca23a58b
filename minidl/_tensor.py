"""Tensor and Node: an array with a place on the tape, and that place.

What puts it there, `apply`, stands in `_apply`, how the tape is walked back in `_walk`, changes in
place in `_inplace`; the functions that users call, and that Tensor has as methods, in `functional`.
"""

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from minidl.dtypes import float32, result_dtype
from minidl.ops._op import Op
from minidl.typing import Array

if TYPE_CHECKING:
    from minidl.sparse import RowSparse

_ndarray = np.ndarray
_count = itertools.count()


class _Mode(threading.local):
    """What is switched on, for each thread apart: a loader's thread must not stop training's."""

    grad = True
    inference = False


_mode = _Mode()

observers: list[Callable[["Node"], None]] = []
"""Called with each new Node: anomaly detection and the profiler listen here."""

recorders: list[Callable[..., None]] = []
"""Called as recorder(op, inputs, settings, outputs) with each op that runs, whether it is on the
tape or not; a comparison, which is no op, comes by its name. The ONNX export listens here."""

hosts: list[Callable[..., Any]] = []
"""A capture that is recording takes calls of `host_call` functions here."""


class Node:
    """One application of an op, as backward needs it.

    parents has for each array a Node, a leaf Tensor, or None where no gradient is needed; grad
    gathers the gradient in a walk; cells are the version cells of the storages whose values
    were saved, version the sum they then had; where is the user's line, under detect_anomaly.
    """

    __slots__ = (
        "__weakref__", "cells", "grad", "hooks", "needs", "op", "parents", "saved", "seq",
        "settings", "version", "where",
    )  # fmt: skip

    def __init__(
        self,
        op: type[Op],
        settings: dict[str, Any] | None,
        saved: Any,
        needs: tuple[bool, ...],
        parents: tuple[Any, ...],
    ):
        self.op = op
        self.settings = settings
        self.saved = saved
        self.needs = needs
        self.parents = parents
        self.seq = next(_count)
        self.grad: Any = None
        self.cells: Sequence[list[int]] = ()
        self.version = 0
        self.hooks: list[Any] | None = None
        self.where: str | None = None

    def __repr__(self) -> str:
        return f"<{self.op.__name__}>"

    def name(self) -> str:
        return self.op.__name__


class Pick(Op):
    """One of the outputs of an op that has several; the walk gathers their gradients in a list."""

    @staticmethod
    def forward(x, *, index):
        return x[index], ()


class Tensor:
    """An array with a place on the tape.

    array: the ndarray. grad: the gradient of a leaf after backward, a Tensor or, for a table of
    which few rows were used, a RowSparse. node: what made it, None for a leaf. version: a cell
    shared by all tensors on one storage, counting changes in place. origin: for a view, the tensor
    that owns the storage and the ops that lead from it to here; stamp: the version `node` is of.
    """

    __slots__ = (
        "__dict__", "__weakref__", "array", "grad", "hooks", "node", "origin", "requires_grad",
        "stamp", "version",
    )  # fmt: skip
    __array_ufunc__ = None  # so that ndarray + Tensor reaches Tensor.__radd__
    __array_priority__ = 1000

    if TYPE_CHECKING:  # the operators of `_apply`, and the functions marked @method

        def __add__(self, other: Any) -> "Tensor": ...
        def __radd__(self, other: Any) -> "Tensor": ...
        def __sub__(self, other: Any) -> "Tensor": ...
        def __rsub__(self, other: Any) -> "Tensor": ...
        def __mul__(self, other: Any) -> "Tensor": ...
        def __rmul__(self, other: Any) -> "Tensor": ...
        def __truediv__(self, other: Any) -> "Tensor": ...
        def __rtruediv__(self, other: Any) -> "Tensor": ...
        def __matmul__(self, other: Any) -> "Tensor": ...
        def __neg__(self) -> "Tensor": ...
        def __pow__(self, other: Any) -> "Tensor": ...
        def __rpow__(self, other: Any) -> "Tensor": ...
        def __lt__(self, other: Any) -> "Tensor": ...
        def __le__(self, other: Any) -> "Tensor": ...
        def __gt__(self, other: Any) -> "Tensor": ...
        def __ge__(self, other: Any) -> "Tensor": ...
        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> "Tensor": ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __iter__(self) -> Iterator["Tensor"]: ...

    def __init__(self, array: Array, requires_grad: bool = False, node: Node | None = None):
        self.array = array
        self.requires_grad = requires_grad
        self.node = node
        self.grad: Tensor | RowSparse | None = None
        self.version = [0]
        self.origin: tuple[Tensor, tuple[Any, ...]] | None = None
        self.stamp = 0
        self.hooks: list[Any] | None = None

    # what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    @property
    def grad_fn(self) -> Node | None:
        return self.node

    @property
    def _version(self) -> int:
        return self.version[0]

    def __len__(self) -> int:
        if not self.array.ndim:
            raise TypeError("len: a 0-d tensor has no length")
        return len(self.array)

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ValueError(
                f"bool: the truth of a tensor of shape {self.shape} is ambiguous; "
                "use .any() or .all()"
            )
        return bool(self.array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.array.dtype.kind not in "iu":
            raise TypeError(f"only an integer tensor can be an index, got {self.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.array.size == 1 else repr(self)

    def __repr__(self) -> str:
        text = np.array2string(self.array, separator=", ", prefix="tensor(", precision=4)
        plain = self.dtype in (float32, np.dtype("int64"), np.dtype("bool"))
        dtype = "" if plain else f", dtype=minidl.{self.dtype}"
        grad = ", requires_grad=True" if self.requires_grad else ""
        if self.node is not None:
            grad = f", grad_fn={self.node!r}"
        return f"tensor({text}{dtype}{grad})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        return array if dtype is None and not copy else np.array(array, dtype=dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        if self.node is not None:
            raise RuntimeError(
                "deepcopy: only leaves can be copied deeply, for a copy has no history; "
                "copy x.detach(), or use clone()"
            )
        if id(self) not in memo:
            copy = Tensor(self.array.copy(), self.requires_grad)
            copy.grad = deepcopy(self.grad, memo)
            memo[id(self)] = copy
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For pickle and copy.copy: the state of a leaf, for a graph cannot be written."""
        if self.node is not None:
            raise RuntimeError(
                "pickle: only leaves can be pickled or copied, for the copy would have no history; "
                "take x.detach(), or write files with minidl.save"
            )
        return object.__reduce_ex__(self, protocol)

    # out of the tape

    def numpy(self, *, force: bool = False) -> Array:
        """The array itself, not a copy. A tensor that requires a gradient needs force=True."""
        if self.requires_grad and not force:
            raise RuntimeError("numpy: this tensor requires a gradient; call detach().numpy()")
        return self.array

    def detach(self) -> "Tensor":
        """The same storage, off the tape."""
        out = Tensor(self.array)
        out.version = self.version
        return out

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.array.size != 1:
            raise ValueError(f"item: one element is needed, this tensor has shape {self.shape}")
        return self.array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.array.tolist()

    @property
    def data(self) -> "Tensor":
        """The same storage, off the tape and with a version of its own: changes go unseen."""
        return Tensor(self.array)

    @data.setter
    def data(self, value: "Tensor") -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"data: a Tensor is needed, got {type(value).__name__}")
        self.array, self.version, self.origin = value.array, [0], None  # another storage from now

    # gradients

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Switch recording for this leaf on or off."""
        if self.node is not None and not requires_grad:
            raise RuntimeError("requires_grad_: only a leaf can be switched off; use detach()")
        if requires_grad and self.array.dtype.kind != "f":
            raise RuntimeError(
                f"requires_grad_: only floating point takes a gradient, got {self.dtype}"
            )
        self.requires_grad = requires_grad
        return self

    def backward(
        self,
        gradient: "Tensor | None" = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: "Sequence[Tensor] | None" = None,
    ) -> None:
        """Add d self / d leaf, times `gradient` (1 for a scalar), to the grad of every leaf."""
        from minidl._walk import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable[["Tensor"], Any]) -> "HookHandle":
        """Call `hook(grad)` when the gradient is known; a result other than None replaces it."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        owner: Any = self.node or self
        if owner.hooks is None:
            owner.hooks = []
        owner.hooks.append(hook)
        return HookHandle(owner.hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in .grad as well."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        if self.node is None or self.retains_grad:
            return

        def keep(grad: Tensor) -> None:
            self.grad = grad if self.grad is None else self.grad + grad

        keep.retains = True  # type: ignore[attr-defined]
        self.register_hook(keep)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was asked for."""
        hooks = self.node.hooks if self.node is not None else None
        return any(getattr(hook, "retains", False) for hook in hooks or ())


class HookHandle:
    """Takes a hook away again: `handle.remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: list[Any], hook: Any):
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)
        self._hooks = []  # a second call must not take another handle's equal hook

    def __enter__(self) -> "HookHandle":
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


_Function = TypeVar("_Function", bound=Callable[..., Any])


def method(function: _Function) -> _Function:
    """A function of `functional` that is also a method of Tensor."""
    setattr(Tensor, function.__name__, function)
    return function


def host_call(function: _Function) -> _Function:
    """A function that looks at values and changes tensors off the tape, such as clipping.

    A captured step (`minidl.capture`) does not look inside: its replay makes the same call.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if hosts:
            return hosts[-1](function, args, kwargs)
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def as_tensor_like(x: Any, like: Tensor) -> Tensor:
    """x itself if a Tensor, else a tensor of its value."""
    if isinstance(x, Tensor):
        return x
    array = np.asarray(x)
    if not isinstance(x, (_ndarray, np.generic)):
        array = array.astype(result_dtype([like.array, x]))
    return Tensor(array)
