"""Changes in place, on the tape.

`x.add_(y)` and `x[i] = v` write into x's storage. For the tape they are ordinary ops whose result
takes x's place: x gets the new node, and the version of its storage goes up, so that a backward
which saved the old values notices. If x is a view, its owner gets a new node too, `WriteView`, and
every other view of that owner finds its own anew when it is next used (`_tensor.refresh`).
"""

from typing import Any

import numpy as np

from minidl._tensor import Tensor, _mode, apply, cast
from minidl.ops.index import WriteView
from minidl.typing import Array


def overwrite(x: Tensor, new: Tensor, name: str) -> Tensor:
    """Write `new` into x's storage and give x its place on the tape; returns x."""
    recorded = _mode.grad and (new.requires_grad or x.requires_grad)
    if recorded:
        check_may_change(x, name)
    if new.shape != x.shape:
        raise ValueError(
            f"{name}: the result has shape {new.shape}, which does not fit in place into {x.shape}"
        )
    if not np.can_cast(new.dtype, x.dtype, "same_kind"):
        raise TypeError(
            f"{name}: a result of dtype {new.dtype} cannot be stored in a tensor of dtype {x.dtype}"
        )
    if not x.array.flags.writeable:
        raise ValueError(
            f"{name}: this tensor's memory is read-only (an expanded tensor or a read-only array); "
            "change a clone() instead"
        )
    x.array[...] = new.array
    x.version[0] += 1
    if not recorded:
        if x.origin is None:
            x.stamp = x.version[0]
        return x
    new = cast(new, x.dtype)
    if x.origin is not None:
        owner, path = x.origin
        old = Tensor(owner.array, owner.requires_grad, owner.node)
        written = apply(WriteView, old, new, places_of_view(owner, path))
        owner.node, owner.requires_grad = written.node, written.requires_grad
    x.node, x.requires_grad = new.node, new.requires_grad
    x.stamp = x.version[0]
    return x


def check_may_change(x: Tensor, name: str) -> None:
    """A leaf that requires a gradient, or a view of one, cannot change while ops are recorded."""
    owner = x.origin[0] if x.origin is not None else x
    for t, what in ((x, "a leaf"), (owner, "a view of a leaf")):
        if t.requires_grad and t.node is None:
            raise RuntimeError(
                f"{name}: {what} Variable that requires grad is being used in an in-place "
                "operation: its history would be lost; do it under no_grad(), or on a clone()"
            )


def places_of_view(owner: Tensor, path: tuple[Any, ...]) -> Array:
    """The flat index in the owner of each element of a view."""
    places = np.arange(owner.array.size).reshape(owner.shape)
    for op, settings in path:
        places, _ = op.forward(places, **settings)
    return places


def before_change(x: Tensor) -> Tensor:
    """x as an op's argument that may outlive x's change: the same node, a copy of the values."""
    if not (_mode.grad and x.requires_grad):
        return x
    return Tensor(x.array.copy(), x.requires_grad, x.node)
