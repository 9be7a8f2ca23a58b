"""The tape: Tensor, Node, `apply` that records, `backward` that walks.

A Tensor holds an array. `apply2(op, x, y)` runs the op's forward on the arrays and, if a gradient
may be asked for, gives the result a Node: the op, what it saved, and the nodes of its arguments.
The walk back visits nodes in the reverse order of their creation, so each has its whole gradient
before its turn, and needs no recursion.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.ops import elementwise as ew
from minidl.ops import linear
from minidl.ops import reduce as red
from minidl.ops._op import Op
from minidl.typing import Array


class _Mode(threading.local):
    grad = True  # each thread has its own: a loader's thread never switches off training's


_mode = _Mode()
_count = itertools.count()
_by_age = attrgetter("seq")
_ndarray = np.ndarray


class Node:
    """One application of an op, as backward needs it."""

    __slots__ = (
        "cells", "grad", "needs", "op", "parents", "saved", "seq", "settings", "version",
    )

    def __init__(self, op, settings, saved, needs, parents):
        self.op = op
        self.settings = settings
        self.saved = saved
        self.needs = needs
        self.parents = parents  # a Node, a leaf Tensor, or None for each array
        self.seq = next(_count)
        self.grad = None
        # the version cells of the saved storages, and the sum that they had
        self.cells: Sequence[list[int]] = ()
        self.version = 0

    def __repr__(self) -> str:
        return f"<{self.op.__name__}>"


class Tensor:
    """An array with a place on the tape.

    array: the ndarray; node: what made it, None for a leaf; version: a cell shared by all tensors
    on one storage, counting changes in place.
    """

    __slots__ = ("__weakref__", "array", "grad", "node", "requires_grad", "version")
    __array_ufunc__ = None  # so that ndarray + Tensor reaches Tensor.__radd__
    __array_priority__ = 1000

    if TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, array: Array, requires_grad: bool = False, node: Node | None = None):
        self.array = array
        self.requires_grad = requires_grad
        self.node = node
        self.grad: Tensor | None = None
        self.version = [0]

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

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        text = np.array2string(self.array, separator=", ", prefix="tensor(", precision=4)
        dtype = "" if self.dtype in _PLAIN else f", dtype={self.dtype}"
        grad = f", grad_fn={self.node!r}" if self.node else ""
        return f"tensor({text}{dtype}{grad or (', requires_grad=True' * self.requires_grad)})"

    def numpy(self) -> Array:
        """The array itself, not a copy. Raises for a tensor that requires a gradient."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; call detach().numpy()")
        return self.array

    def detach(self) -> "Tensor":
        """The same storage, off the tape."""
        out = Tensor(self.array)
        out.version = self.version
        return out

    def item(self) -> float | int | bool:
        """The one element as a Python number."""
        if self.array.size != 1:
            raise ValueError(f"item: one element is needed, this tensor has shape {self.shape}")
        return self.array.item()

    def backward(self, gradient: "Tensor | None" = None, retain_graph: bool = False) -> None:
        """Add d self / d leaf, times `gradient` (1 for a scalar), to the grad of every leaf."""
        backward([self], [gradient], retain_graph)

    def __add__(self, other):
        return apply2(ew.Add, self, other)

    def __radd__(self, other):
        return apply2(ew.Add, other, self)

    def __sub__(self, other):
        return apply2(ew.Sub, self, other)

    def __rsub__(self, other):
        return apply2(ew.Sub, other, self)

    def __mul__(self, other):
        return apply2(ew.Mul, self, other)

    def __rmul__(self, other):
        return apply2(ew.Mul, other, self)

    def __truediv__(self, other):
        return apply2(ew.Div, self, other)

    def __rtruediv__(self, other):
        return apply2(ew.Div, other, self)

    def __matmul__(self, other):
        return apply2(linear.MatMul, self, other)

    def swapaxes(self, first: int, second: int) -> "Tensor":
        """The tensor with two axes exchanged, on the same storage."""
        return apply(linear.SwapAxes, self, first=first, second=second)

    def __neg__(self):
        return apply1(ew.Neg, self)

    def exp(self):
        return apply1(ew.Exp, self)

    def log(self):
        return apply1(ew.Log, self)

    def sqrt(self):
        return apply1(ew.Sqrt, self)

    def tanh(self):
        return apply1(ew.Tanh, self)

    def masked(self, keep: Array) -> "Tensor":
        """x where `keep`, 0 elsewhere."""
        return apply2(ew.Masked, self, keep)

    def sum(self, dim=None, keepdim=False, *, axis=None, keepdims=None) -> "Tensor":
        """Sum over `dim`: an axis, a tuple of axes, or None for all."""
        dim = axis if dim is None else dim
        dim = (dim,) if isinstance(dim, int) else None if dim is None else tuple(dim)
        keep = keepdim if keepdims is None else keepdims
        return apply(red.Sum, self, dim=dim, keepdim=keep)

    def reshape(self, *shape) -> "Tensor":
        """The same elements in another shape; one size may be -1."""
        return apply(red.Reshape, self, shape=_sizes(shape))

    def expand(self, *shape) -> "Tensor":
        """Broadcast to `shape`; -1 keeps a size."""
        sizes = _sizes(shape)
        added = len(sizes) - self.ndim
        sizes = tuple(self.shape[i - added] if n == -1 else n for i, n in enumerate(sizes))
        return apply(red.Expand, self, shape=sizes)


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape


_PLAIN = (np.dtype("float32"), np.dtype("int64"), np.dtype("bool"))


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A leaf with a copy of `data`; Python floats become float32, as in PyTorch."""
    array = np.array(data, dtype=dtype)
    if dtype is None and array.dtype == np.float64 and not isinstance(data, (_ndarray, np.generic)):
        array = array.astype(np.float32)
    if requires_grad and array.dtype.kind != "f":
        raise ValueError(f"tensor: only floating point takes a gradient, got {array.dtype}")
    return Tensor(array, requires_grad)


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing in this thread."""
    before, _mode.grad = _mode.grad, False
    try:
        yield
    finally:
        _mode.grad = before


_ONE = (True,)


def _watch(node: Node, tensors: Sequence[Any], out: Tensor) -> None:
    """Note the versions of the storages whose values the node saved."""
    op = node.op
    cells = [tensors[i].version for i in op.saved_inputs if type(tensors[i]) is Tensor]
    if op.saves_output:
        cells.append(out.version)
    node.cells = cells
    node.version = sum([cell[0] for cell in cells])


def apply1(op: type[Op], x: Tensor) -> Tensor:
    """`apply` for one array and no settings: the hot path of small models."""
    array, saved = op.forward(x.array)
    out = Tensor(array if type(array) is _ndarray else np.asarray(array))
    if x.requires_grad and _mode.grad:
        out.node = node = Node(op, None, saved, _ONE, (x.node or x,))
        out.requires_grad = True
        if op.watches:
            _watch(node, (x,), out)
    return out


def apply2(op: type[Op], x: Any, y: Any) -> Tensor:
    """`apply` for two arrays, either of which may be a Python scalar."""
    xt, yt = type(x) is Tensor, type(y) is Tensor
    try:
        array, saved = op.forward(x.array if xt else x, y.array if yt else y)
    except ValueError as error:
        raise _explained(op, (x, y), error) from None
    out = Tensor(array if type(array) is _ndarray else np.asarray(array))
    x_needs, y_needs = xt and x.requires_grad, yt and y.requires_grad
    if (x_needs or y_needs) and _mode.grad:
        parents = ((x.node or x) if x_needs else None, (y.node or y) if y_needs else None)
        out.node = node = Node(op, None, saved, (x_needs, y_needs), parents)
        out.requires_grad = True
        if op.watches:
            _watch(node, (x, y), out)
    return out


def apply(op: type[Op], *tensors: Any, **settings: Any) -> Tensor:
    """Run an op on tensors, with settings, and record it if a gradient may be asked for."""
    try:
        array, saved = op.forward(
            *(t.array if type(t) is Tensor else t for t in tensors), **settings
        )
    except ValueError as error:
        raise _explained(op, tensors, error) from None
    out = Tensor(array if type(array) is _ndarray else np.asarray(array))
    if op.view:
        out.version = tensors[0].version
    needs = tuple([type(t) is Tensor and t.requires_grad for t in tensors])
    if _mode.grad and any(needs):
        parents = tuple([(t.node or t) if need else None for t, need in zip(tensors, needs)])
        out.node = node = Node(op, settings, saved, needs, parents)
        out.requires_grad = True
        if op.watches:
            _watch(node, tensors, out)
    return out


def _explained(op: type[Op], tensors: Sequence[Any], error: Exception) -> ValueError:
    named = ", ".join(
        f"{name} {np.shape(t.array if type(t) is Tensor else t)}"
        for name, t in zip(op.arrays, tensors)
    )
    return ValueError(
        f"{op.__name__.lower()}: shapes {named} do not go together ({error}): sizes must be equal, "
        "or 1, from the last axis on"
    )


def backward(
    roots: Sequence[Tensor], gradients: Sequence[Tensor | None], retain_graph: bool = False
) -> None:
    """Walk the tape from `roots`, adding to the grad of every leaf that it reaches."""
    for leaf, grad in _walk(roots, gradients, (), retain_graph, False).values():
        if leaf.grad is None:  # its own, writable and contiguous: never one that others share
            leaf.grad = Tensor(np.array(grad, dtype=leaf.dtype, order="C"))
        else:
            leaf.grad.array += grad


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of `outputs` in `inputs`, leaving every .grad alone.

    create_graph: the gradients are on the tape themselves, so that they can be differentiated.
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    start = list(grad_outputs) if grad_outputs is not None else [None] * len(roots)
    keep = create_graph if retain_graph is None else retain_graph
    found = _walk(roots, start, wanted, keep, create_graph)
    gradients = []
    for i, tensor_ in enumerate(wanted):
        entry = found.get(id(tensor_.node or tensor_))
        if entry is None and not allow_unused:
            raise RuntimeError(
                f"grad: the outputs do not depend on input {i}; give allow_unused=True to get None"
            )
        part = None if entry is None else entry[1]
        gradients.append(Tensor(part) if type(part) is _ndarray else part)
    return tuple(gradients)


def _walk(
    roots: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    wanted: Sequence[Tensor],
    retain_graph: bool,
    create_graph: bool,
) -> dict[int, list[Any]]:
    """Gradients by the id of a leaf, or of the node of a wanted tensor: id -> [target, gradient].

    Gradients are arrays, or under `create_graph` Tensors on the tape.
    """
    nodes = _reachable(roots)
    leaves: dict[int, list[Any]] = {}
    kept = {id(t.node) for t in wanted if t.node is not None}
    before = _mode.grad
    _mode.grad = create_graph
    try:
        for root, gradient in zip(roots, gradients):
            start: Any = _start(root, gradient)
            if create_graph:
                start = gradient if gradient is not None else Tensor(start)
            _give(root.node or root, start, leaves)
        with np.errstate(all="ignore"):
            for node in nodes:
                grad, node.grad = node.grad, None
                if grad is None:
                    continue
                if id(node) in kept:
                    leaves[id(node)] = [node, grad]
                for parent, part in zip(
                    node.parents, _step(node, grad, retain_graph, create_graph)
                ):
                    if part is not None and parent is not None:
                        _give(parent, part, leaves)
    finally:
        _mode.grad = before
        for node in nodes:
            node.grad = None  # an error half way must not leave gradients for the next walk
    return leaves


def _start(root: Tensor, gradient: Tensor | None) -> Array:
    if not root.requires_grad:
        raise RuntimeError(
            "backward: this tensor does not require a gradient; "
            "make an input with requires_grad=True, outside no_grad()"
        )
    if gradient is None:
        if root.array.size != 1:
            raise RuntimeError(
                f"backward: a gradient is needed for a tensor of shape {root.shape}; "
                "reduce it to one number, or pass gradient="
            )
        return np.ones_like(root.array)
    if gradient.shape != root.shape:
        raise ValueError(
            f"backward: gradient {gradient.shape} must have the tensor's shape {root.shape}"
        )
    return gradient.array


def _reachable(roots: Sequence[Tensor]) -> list[Node]:
    stack = [root.node for root in roots if root.node is not None]
    seen = set(stack)
    while stack:
        for parent in stack.pop().parents:
            if type(parent) is Node and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=_by_age, reverse=True)


def _give(target: Any, part: Array, leaves: dict[int, list[Any]]) -> None:
    """Add `part` to what `target` has; a sum is a new array, for a part may be shared."""
    if type(target) is Node:
        target.grad = part if target.grad is None else target.grad + part
    elif (entry := leaves.get(id(target))) is None:
        leaves[id(target)] = [target, part]
    else:
        entry[1] = entry[1] + part


def _step(node: Node, grad: Any, retain: bool, create_graph: bool) -> tuple[Any, ...]:
    saved = node.saved
    if saved is None:
        raise RuntimeError(
            f"backward: the graph at {node!r} was freed by an earlier backward; "
            "give that one retain_graph=True, or compute the output again"
        )
    if node.cells and sum([cell[0] for cell in node.cells]) != node.version:
        raise RuntimeError(
            f"backward: a tensor that {node!r} saved was changed in place since; "
            "change a copy (clone()) instead"
        )
    if not retain:
        node.saved = None
    if create_graph:
        saved = _on_the_tape(node, saved)
    if node.settings is None:
        return node.op.backward(grad, saved, node.needs)
    return node.op.backward(grad, saved, node.needs, **node.settings)


def _on_the_tape(node: Node, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a node saved, with inputs and outputs as the Tensors they were."""
    tensors = []
    for name, value in zip(node.op.saves, saved):
        if name in node.op.arrays and type(value) is _ndarray:
            parent = node.parents[node.op.arrays.index(name)]
            if type(parent) is not Tensor:
                parent = Tensor(value, parent is not None, parent)
            tensors.append(parent)
        elif name in node.op.outputs:
            tensors.append(Tensor(value, True, node))
        else:
            tensors.append(value)
    return tuple(tensors)
