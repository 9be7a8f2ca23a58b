"""Changes in place, on the tape.

`x.add_(y)` and `x[i] = v` write into x's storage. For the tape they are ordinary ops whose result
takes x's place: x gets the new node, and the version of its storage goes up, so that a backward
which saved the old values notices. If x is a view, its owner gets a new node, `WriteView`, and x
and every other view of that owner find their own anew when next used (`_apply.refresh`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl._apply import _tell, apply1, cast, record, refresh
from minidl._tensor import Node, Tensor, _mode, observers, recorders
from minidl.ops.elementwise import Alias, Masked
from minidl.ops.view import WriteView

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def overwrite(x: Tensor, new: Tensor, name: str) -> Tensor:
    """Write `new` into x's storage and give x its place on the tape; returns x."""
    if new.array.shape != x.array.shape:
        raise ValueError(
            f"{name}: the result has shape {new.shape}, which does not fit in place into {x.shape}"
        )
    if _CATEGORY[new.dtype.kind] > _CATEGORY[x.dtype.kind]:
        raise TypeError(
            f"{name}: a result of dtype {new.dtype} cannot be stored in a tensor of dtype "
            f"{x.dtype}; convert the tensor first, for example with .float()"
        )
    check_writable(x, name)
    recorded = will_record(x, (new,))
    if recorded:
        check_may_change(x, name)
    x.array[...] = new.array
    if recorders:
        record(Alias, (new,), {}, (x,))
    changed(x)
    if recorded:
        _take_place(x, cast(new, x.dtype))
    return x


def will_record(x: Tensor, others: Sequence[Any]) -> bool:
    """Whether a change of x with these arguments belongs on the tape."""
    if not _mode.grad or x.array.dtype.kind != "f":
        return False
    if x.origin is not None:
        refresh(x)
    if x.requires_grad or (x.origin is not None and x.origin[0].requires_grad):
        return True
    return any(isinstance(t, Tensor) and t.requires_grad for t in others)


def changed(x: Tensor) -> None:
    """Count a change of x's storage. What a view's own node says stays true if it was before."""
    fresh = x.stamp == x.version[0] or x.origin is None
    x.version[0] += 1
    if fresh:
        x.stamp = x.version[0]


def _take_place(x: Tensor, new: Tensor) -> None:
    if x.origin is None:
        if new.requires_grad:
            x.node, x.requires_grad = new.node or apply1(Alias, new).node, True
        elif x.requires_grad:  # still a function of its past, with derivative 0
            nowhere = np.broadcast_to(np.False_, x.shape)
            x.node = Node(Masked, None, (nowhere,), (True, False), (x.node, None))
        return
    owner, path = x.origin
    settings = {"path": tuple((op, tuple(sorted((s or {}).items()))) for op, s in path)}
    needs = (owner.requires_grad, new.requires_grad)
    parents = (
        (owner.node or owner) if needs[0] else None,
        (new.node or new) if needs[1] else None,
    )
    owner.node = node = Node(WriteView, settings, (), needs, parents)  # its values are there
    owner.requires_grad = x.requires_grad = True
    x.stamp = -1  # its own node is found from the owner's, if it is used again
    if observers:
        _tell(node)


def check_writable(x: Tensor, name: str) -> None:
    """Expanded tensors, windows, and arrays that NumPy calls read-only cannot be changed."""
    if not x.array.flags.writeable:
        raise ValueError(
            f"{name}: this tensor's memory is read-only (an expanded tensor or a read-only array); "
            "change a clone() instead"
        )


def check_may_change(x: Tensor, name: str) -> None:
    """A leaf that requires a gradient, or a view of one, cannot change while ops are recorded."""
    owner = x.origin[0] if x.origin is not None else x
    for t, what in ((x, "a leaf"), (owner, "a view of a leaf")):
        if t.requires_grad and t.node is None:
            raise RuntimeError(
                f"{name}: {what} Variable that requires grad is being used in an in-place "
                "operation: its history would be lost; do it under no_grad(), or on a clone()"
            )


def before_change(x: Tensor, others: Sequence[Any] = ()) -> Tensor:
    """x as an op's argument that outlives x's change: the same node, a copy of the values."""
    return Tensor(x.array.copy(), x.requires_grad, x.node) if will_record(x, others) else x
