"""Backward: a walk over the tape from the outputs to the leaves.

Nodes are visited in the reverse order of their creation, so each has its whole gradient before its
turn: an op's arguments are always older than its result. Nothing here recurses, so a chain of any
length works, and what a node saved is freed as the walk leaves it.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from minidl._apply import apply1, cast, refresh
from minidl._tensor import Node, Pick, Tensor, _mode
from minidl.kernels._ways import ADD
from minidl.ops._arithmetic import MANY, arithmetic
from minidl.ops.elementwise import Alias
from minidl.sparse import RowSparse
from minidl.typing import Array

_ndarray = np.ndarray
_by_age = attrgetter("seq")

# Anomaly detection: look for NaN in what each backward returns (see `autograd.detect_anomaly`).
check_for_nan = False

# One walk at a time: nodes gather gradients in themselves, leaves add to .grad, and threads may
# share both. A thread may start another walk inside its own (a hook, a user's Function).
_turn = threading.RLock()


def backward(
    outputs: Tensor | Sequence[Tensor],
    gradients: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """Add the gradient of the sum of `outputs` to the .grad of every leaf (or of `inputs` only)."""
    roots, starts = _paired(outputs, gradients)
    wanted = None if inputs is None else ([inputs] if isinstance(inputs, Tensor) else list(inputs))
    found = _walk(roots, starts, wanted or (), retain_graph, create_graph)
    if wanted is None:
        targets = list(found.values())
    else:
        entries = [(t, found.get(id(t.node or t))) for t in wanted]
        targets = [[t, entry[1]] for t, entry in entries if entry is not None]
        entries.clear()
    found.clear()  # the only references to the gradients are those in `targets`
    with _turn:
        for target in targets:
            _deposit(target, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of the sum of `outputs` in `inputs`, leaving every .grad alone.

    grad_outputs: what each output's gradient starts from; ones for a scalar. create_graph: the
    gradients are on the tape themselves, so that they can be differentiated. allow_unused: None
    for an input that the outputs do not depend on, instead of an error; materialize_grads: zeros.
    only_inputs must be True, as in PyTorch today: `backward` fills .grad.
    """
    if not only_inputs:
        raise ValueError("grad: only_inputs must be True; call backward() to fill .grad of leaves")
    roots, starts = _paired(outputs, grad_outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, x in enumerate(wanted):
        if not x.requires_grad:
            raise RuntimeError(
                f"grad: input {i} does not require a gradient; call requires_grad_() on it first"
            )
    found = _walk(roots, starts, wanted, retain_graph, create_graph)
    gradients: list[Any] = []
    for i, x in enumerate(wanted):
        entry = found.get(id(x.node or x))
        if entry is not None:
            part = entry[1]
            on_tape = isinstance(part, (Tensor, RowSparse))
            gradients.append(part if on_tape else Tensor(np.asarray(part)))
        elif materialize_grads:
            gradients.append(Tensor(np.zeros_like(x.array)))
        elif allow_unused:
            gradients.append(None)
        else:
            raise RuntimeError(
                f"grad: the outputs do not depend on input {i}; give allow_unused=True to get None"
            )
    return tuple(gradients)


def _paired(outputs: Any, gradients: Any) -> tuple[list[Tensor], list[Any]]:
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    for root in roots:
        if root.origin is not None:
            refresh(root)  # its storage may have been changed through another tensor
    if gradients is None:
        return roots, [None] * len(roots)
    starts = [gradients] if isinstance(gradients, Tensor) else list(gradients)
    if len(starts) != len(roots):
        raise ValueError(f"backward: {len(roots)} outputs, but {len(starts)} gradients for them")
    return roots, starts


def _deposit(target: list[Any], on_tape: bool) -> None:
    """Add to a leaf's .grad, which is always an array of its own: writable and contiguous.

    target: [leaf, its gradient]; the gradient is taken out of it.
    """
    leaf, part = target
    target[1] = None
    known = leaf.grad
    if on_tape and isinstance(part, Tensor):
        leaf.grad = part if known is None else known + part
    elif isinstance(part, RowSparse):
        if known is None:
            leaf.grad = part
        elif isinstance(known, RowSparse):
            leaf.grad = known + part
        else:
            part.add_to(known.array)
    elif known is None:
        if not _is_alone(part, leaf.array):
            part = np.array(part, dtype=leaf.array.dtype, order="C")
        leaf.grad = Tensor(part)
    elif isinstance(known, RowSparse):
        leaf.grad = Tensor(np.asarray(known + part))
    elif known.node is not None:  # it came from create_graph: leave that graph as it is
        leaf.grad = Tensor(known.array + part)
    else:
        known.array += part


def _is_alone(part: Any, like: Array) -> bool:
    """Whether nobody but the caller refers to an array that may be a gradient as it is.

    Copying that of a table of 20,000 x 128 takes 2 ms. Whoever could still see it, another leaf's
    entry, a view, what a node saved, holds a reference to it or to the array it is a view of.
    """
    if type(part) is not _ndarray or _references(part) > _ALONE[0]:
        return False
    base = part.base
    if base is not None:
        whole = type(base) is _ndarray and base.base is None
        whole = whole and base.nbytes - part.nbytes <= part.nbytes >> 6  # `empty` of a large array
        if not whole or _references(base) > _ALONE[1]:
            return False
    flags = part.flags  # these hold a reference too
    return part.dtype == like.dtype and flags.c_contiguous and flags.writeable


def _references(array: Array) -> int:
    return sys.getrefcount(array)


def _alone() -> tuple[int, int]:
    """What `_is_alone` counts for an array that only its caller has, and for such a view's base.

    The numbers are the interpreter's affair, so they are found by doing the same here.
    """

    def count(part: Array) -> tuple[int, int]:
        base = part.base
        assert base is not None
        return _references(part), _references(base)

    part = np.empty(4).reshape(2, 2)
    return count(part)


_ALONE = _alone()


def _walk(
    roots: Sequence[Tensor],
    starts: Sequence[Any],
    wanted: Sequence[Tensor],
    retain_graph: bool | None,
    create_graph: bool,
    stop_at_wanted: bool = False,
) -> dict[int, list[Any]]:
    """Gradients of all leaves reached, and of the nodes of `wanted`: id -> [target, gradient].

    Gradients are arrays (or RowSparse); under `create_graph` they are Tensors on the tape.
    """
    keep = create_graph if retain_graph is None else retain_graph
    kept = {id(t.node) for t in wanted if t.node is not None}
    found: dict[int, list[Any]] = {}
    begun = [_start(root, start, create_graph) for root, start in zip(roots, starts)]
    nodes = _reachable(roots, kept if stop_at_wanted else ())
    before = _mode.grad
    _turn.acquire()
    _mode.grad = create_graph
    try:
        for root, start in zip(roots, begun):
            _give(root.node or root, start, found)
        with np.errstate(all="ignore"):
            for node in nodes:
                part, node.grad = node.grad, None
                if part is None:
                    continue
                if node.hooks:
                    part = _hooked(node.hooks, part)
                if kept and id(node) in kept:
                    found[id(node)] = [node, part]
                    if stop_at_wanted:
                        continue
                if node.op is Pick:
                    _gather(node, part)
                    continue
                saved, cells = node.saved, node.cells
                if (
                    saved is None or create_graph or node.settings is not None
                    or (cells and (len(cells) > 1 or cells[0][0] != node.version))
                ):  # fmt: skip
                    parts = _step(node, part, keep, create_graph)
                else:  # the same, for the simplest case, without a call
                    if not keep:
                        node.saved = None
                    parts = node.op.backward(part, saved, node.needs)
                if check_for_nan:
                    _check(node, parts)
                for parent, part in zip(node.parents, parts):
                    if parent is not None and part is not None:
                        if type(parent) is Node and parent.grad is None:
                            parent.grad = part
                        else:
                            _give(parent, part, found)
    finally:
        _mode.grad = before
        for node in nodes:
            node.grad = None  # an error half way must not leave gradients for the next walk
        _turn.release()
    for entry in found.values():
        if isinstance(entry[0], Tensor) and entry[0].hooks:
            entry[1] = _hooked(entry[0].hooks, entry[1])
    return found


def _start(root: Tensor, gradient: Any, create_graph: bool) -> Any:
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
        gradient = Tensor(np.ones_like(root.array))
    elif not isinstance(gradient, Tensor):
        gradient = Tensor(np.asarray(gradient, dtype=root.array.dtype))
    if gradient.shape != root.shape:
        raise ValueError(
            f"backward: gradient {gradient.shape} must have the tensor's shape {root.shape}"
        )
    if gradient.dtype != root.dtype:
        gradient = cast(gradient, root.dtype)
    return gradient if create_graph else gradient.array


def _reachable(roots: Sequence[Tensor], stop: Any) -> list[Node]:
    """All nodes behind the roots, the youngest first."""
    stack = list({root.node: None for root in roots if root.node is not None})
    seen, found = set(stack), []
    while stack:
        node = stack.pop()
        found.append(node)  # a chain is found in order, and then costs no sorting
        if stop and id(node) in stop:
            continue
        for parent in node.parents:
            if type(parent) is Node and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    found.sort(key=_by_age, reverse=True)
    return found


def _give(target: Any, part: Any, found: dict[int, list[Any]]) -> None:
    """Add `part` to what `target` has; a sum is a new array, for a part may be shared."""
    if type(target) is Node:
        target.grad = part if target.grad is None else _sum(target.grad, part)
    elif (entry := found.get(id(target))) is None:
        found[id(target)] = [target, part]
    else:
        entry[1] = _sum(entry[1], part)


def _sum(x: Any, y: Any) -> Any:
    if type(x) is _ndarray and type(y) is _ndarray and x.size >= MANY:
        return arithmetic(ADD, x, y)
    return x + y


def _gather(pick: Node, part: Any) -> None:
    """Put the gradient of one output in its place among those of an op with several."""
    (node,) = pick.parents
    assert pick.settings is not None
    index = pick.settings["index"]
    if node.grad is None:
        node.grad = [None] * len(node.op.outputs)
    if index >= len(node.grad):  # an op with as many outputs as its settings say
        node.grad += [None] * (index + 1 - len(node.grad))
    known = node.grad[index]  # a saved output comes back through a Pick of its own
    node.grad[index] = part if known is None else known + part


def _hooked(hooks: Sequence[Any], part: Any) -> Any:
    for hook in list(hooks):
        plain = isinstance(part, (_ndarray, np.generic))
        given = Tensor(np.asarray(part)) if plain else part
        answer = hook(given)
        if answer is not None:
            part = answer.array if plain else answer
    return part


def _step(node: Node, part: Any, keep: bool, create_graph: bool) -> Sequence[Any]:
    """One op's backward."""
    saved = node.saved
    if saved is None:
        raise RuntimeError(
            f"backward: the graph at {node!r} was freed by an earlier backward; "
            "give that one retain_graph=True, or compute the output again"
        )
    if node.cells and sum([cell[0] for cell in node.cells]) != node.version:
        raise RuntimeError(
            f"backward: a tensor that {node!r} saved was modified by an in-place operation since; "
            "change a copy (clone()) instead"
        )
    if not keep:
        node.saved = None
    op, settings = node.op, node.settings
    if create_graph:
        if op.composite is not None:
            return _through_composite(node, saved, part)
        saved = _on_tape(node, saved)
    if settings is None:
        return op.backward(part, saved, node.needs)
    return op.backward(part, saved, node.needs, **settings)


def _on_tape(node: Node, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a node saved, with inputs and outputs as the Tensors they were."""
    op, tensors = node.op, []
    for name, value in zip(op.saves, saved):
        if isinstance(value, np.generic):  # what NumPy makes of 0-d arrays
            value = np.asarray(value)
        if type(value) is not _ndarray:
            tensors.append(value)
        elif name in op.arrays:
            parent = node.parents[op.arrays.index(name)]
            tensors.append(
                parent if isinstance(parent, Tensor) else Tensor(value, parent is not None, parent)
            )
        elif name in op.outputs:
            if len(op.outputs) > 1:
                index = op.outputs.index(name)
                pick = Node(Pick, {"index": index}, (), (True,), (node,))
                tensors.append(Tensor(value, True, pick))
            else:
                tensors.append(Tensor(value, True, node))
        else:
            tensors.append(value)
    return tuple(tensors)


def _through_composite(node: Node, saved: tuple[Any, ...], part: Any) -> Sequence[Any]:
    """A fused op's gradient on the tape: differentiate its twin in elementary ops.

    The twin works on aliases of the arguments: the walk stops there, and yet its result hangs on
    the arguments' own history.
    """
    functional: Any = importlib.import_module("minidl.functional")
    by_name = dict(zip(node.op.saves, _on_tape(node, saved)))
    arguments, wanted = [], []
    for name, need in zip(node.op.arrays, node.needs):
        x: Any = by_name.get(name)
        if need:
            x = apply1(Alias, x)
            wanted.append(x)
        elif type(x) is _ndarray:
            x = Tensor(x)
        arguments.append(x)
    outs = node.op.composite(functional, *arguments, **(node.settings or {}))  # type: ignore[misc]
    pairs = [(outs, part)] if isinstance(outs, Tensor) else list(zip(outs, part))
    pairs = [(out, g) for out, g in pairs if g is not None and out.requires_grad]
    found = _walk([o for o, _ in pairs], [g for _, g in pairs], wanted, True, True, True)
    parts: list[Any] = []
    rest = iter(wanted)
    for need in node.needs:
        entry = found.get(id(next(rest).node)) if need else None
        parts.append(None if entry is None else entry[1])
    return parts


def _check(node: Node, parts: Sequence[Any]) -> None:
    for name, part in zip(node.op.arrays, parts):
        array: Array | None = getattr(part, "array", getattr(part, "values", part))
        if isinstance(array, _ndarray) and np.isnan(array).any():
            where = f", called at {node.where}" if node.where else ""
            raise RuntimeError(
                f"anomaly: backward of {node.op.__name__} gave NaN in the gradient of {name}{where}"
            )
