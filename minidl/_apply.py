"""`apply`: run an op on tensors and put it on the tape.

The op's forward gets the arrays; if a gradient may be asked for, the result gets a Node with what
was saved and with the nodes of the arguments. `apply1` and `apply2` are the same for one and two
arrays without settings, the hot path of small models.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl._tensor import Node, Pick, Tensor, _mode, observers, recorders
from minidl.dtypes import float32, float64, get_default_dtype, result_dtype
from minidl.ops import elementwise as ew
from minidl.ops._op import Op
from minidl.ops.shape import Cast
from minidl.typing import Array

_ndarray = np.ndarray

_ONE = (True,)


def _watch(node: Node, tensors: Sequence[Any], out: Tensor) -> None:
    """Note the versions of the storages whose values the node saved."""
    op = node.op
    cells = [tensors[i].version for i in op.saved_inputs if isinstance(tensors[i], Tensor)]
    if op.saves_output:
        cells.append(out.version)
    node.cells = cells
    node.version = sum([cell[0] for cell in cells])


def apply1(op: type[Op], x: Tensor) -> Tensor:
    """`apply` for one array and no settings: the hot path of small models."""
    if op.to_float and x.array.dtype.kind != "f":
        x = cast(x, get_default_dtype())
    if x.origin is not None:
        refresh(x)
    array, saved = op.forward(x.array)
    out = Tensor(array if type(array) is _ndarray else np.asarray(array))
    if recorders:
        record(op, (x,), {}, (out,))
    if x.requires_grad and _mode.grad and op.differentiable:
        out.node = node = Node(op, None, saved, _ONE, (x.node or x,))
        out.requires_grad = True
        if op.watches:
            if op.saves_output and not op.saved_inputs:
                node.cells = (out.version,)
            else:
                _watch(node, (x,), out)
        if observers:
            _tell(node)
    return out


def apply2(op: type[Op], x: Any, y: Any) -> Tensor:
    """`apply` for two arrays, either of which may be a Python scalar, with PyTorch's promotion."""
    xt, yt = isinstance(x, Tensor), isinstance(y, Tensor)
    if xt and x.origin is not None:
        refresh(x)
    if yt and y.origin is not None:
        refresh(y)
    a, b = x.array if xt else x, y.array if yt else y
    dtype = a.dtype if xt else None
    if not (
        (dtype is float32 or dtype is float64)
        and (dtype is b.dtype if yt else type(b) is float or type(b) is int)
    ):
        x, y = promoted(op, x, y)
        xt, yt = isinstance(x, Tensor), isinstance(y, Tensor)
        a, b = x.array if xt else x, y.array if yt else y
    try:
        array, saved = op.forward(a, b)
    except ValueError as error:
        raise explained(op, (x, y), error) from None
    out = Tensor(array if type(array) is _ndarray else np.asarray(array))
    if recorders:
        record(op, (x, y), {}, (out,))
    x_needs, y_needs = xt and x.requires_grad, yt and y.requires_grad
    if (x_needs or y_needs) and _mode.grad and op.differentiable:
        parents = ((x.node or x) if x_needs else None, (y.node or y) if y_needs else None)
        out.node = node = Node(op, None, saved, (x_needs, y_needs), parents)
        out.requires_grad = True
        if op.watches:
            if not op.crossed or (x_needs and y_needs):
                _watch(node, (x, y), out)
            elif x_needs:  # only y's value will be used: of x the shape is enough
                node.saved = (saved[0].shape, saved[1])
                if yt:
                    node.cells, node.version = (y.version,), y.version[0]
            else:
                node.saved = (saved[0], saved[1].shape)
                if xt:
                    node.cells, node.version = (x.version,), x.version[0]
        if observers:
            _tell(node)
    return out


def apply(op: type[Op], *tensors: Any, **settings: Any) -> Any:
    """Run an op on tensors (or arrays, or Python scalars), and record it if a gradient may follow.

    Returns a Tensor, or a tuple of Tensors for an op with several outputs. Dtypes are the caller's
    affair: see `promoted`.
    """
    for t in tensors:
        if isinstance(t, Tensor) and t.origin is not None:
            refresh(t)
    needs = tuple([isinstance(t, Tensor) and t.requires_grad for t in tensors])
    recording = _mode.grad and op.differentiable and any(needs)
    arrays = [t.array if isinstance(t, Tensor) else t for t in tensors]
    try:
        if op.takes_keep:
            array, saved = op.forward(*arrays, keep=recording, **settings)
        else:
            array, saved = op.forward(*arrays, **settings)
    except ValueError as error:
        raise explained(op, tensors, error) from None
    if type(array) is tuple:
        outs = tuple([Tensor(np.asarray(a)) for a in array])
        if recorders:
            record(op, tensors, settings, outs)
        if recording:
            _record_several(op, settings, saved, needs, tensors, outs)
        return outs
    out = Tensor(array if type(array) is _ndarray else np.asarray(array))
    if recorders:
        record(op, tensors, settings, (out,))
    first = tensors[0]
    if op.view and isinstance(first, Tensor) and shares_storage(out.array, first.array):
        become_view(out, first, op, settings)
    if recording:
        out.node = node = Node(op, settings, saved, needs, _parents(tensors, needs))
        out.requires_grad = True
        if op.watches:
            _watch(node, tensors, out)
        if observers:
            _tell(node)
    return out


def _parents(tensors: Sequence[Any], needs: Sequence[bool]) -> tuple[Any, ...]:
    return tuple([(t.node or t) if need else None for t, need in zip(tensors, needs)])


def _record_several(op, settings, saved, needs, tensors, outs) -> None:
    node = Node(op, settings, saved, needs, _parents(tensors, needs))
    _watch(node, tensors, outs[0])
    for index, out in enumerate(outs):
        if op.saves_output and op.outputs[index] in op.saves and index:
            node.cells = [*node.cells, out.version]
        if out.array.dtype.kind == "f":
            out.node = Node(Pick, {"index": index}, (), _ONE, (node,))
            out.requires_grad = True
    if observers:
        _tell(node)


def record(op: Any, inputs: Sequence[Any], settings: dict[str, Any], outs: Sequence[Any]) -> None:
    """Tell the recorders of an op that ran."""
    for recorder in recorders:
        recorder(op, inputs, settings, outs)


def _tell(node: Node) -> None:
    for observer in observers:
        observer(node)


def explained(op: type[Op], tensors: Sequence[Any], error: Exception) -> ValueError:
    """An op's ValueError with the op's name, and the shapes and names of its arguments."""
    named = ", ".join(
        f"{name} {np.shape(t.array if isinstance(t, Tensor) else t)}"
        for name, t in zip(op.arrays, tensors)
    )
    text = str(error)
    if "broadcast" in text:
        text = "shapes do not broadcast: sizes must be equal, or 1, from the last axis on"
    elif "core dimension" in text:
        text = "the last size of x must be the second-last of y (the last, if y has one axis)"
    return ValueError(f"{op.__name__.lower()}: {text}; got {named}")


# dtypes


def cast(x: Tensor, dtype: np.dtype) -> Tensor:
    """x in another dtype; x itself if it has it."""
    return x if x.array.dtype == dtype else apply(Cast, x, dtype=dtype)


def promoted(op: type[Op], x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands in the dtype of their result; a Python scalar stays one where it fits."""
    operands = [t.array if isinstance(t, Tensor) else t for t in (x, y)]
    dtype = result_dtype(operands)
    if op.to_float and dtype.kind != "f":
        dtype = get_default_dtype()
    return _in_dtype(x, dtype), _in_dtype(y, dtype)


def _in_dtype(x: Any, dtype: np.dtype) -> Any:
    if isinstance(x, Tensor):
        return cast(x, dtype)
    if isinstance(x, (_ndarray, np.generic)):
        return np.asarray(x, dtype=dtype)
    if type(x) is int and dtype.kind in "iu":  # a number too large wraps around, as in PyTorch
        return np.asarray(x).astype(dtype)
    return dtype.type(x) if dtype.kind == "b" else x


# views: the storage of a view has one owner, and whoever changes it changes what all others show


def shares_storage(out: Array, array: Array) -> bool:
    """Whether a view op's output lies in its input's memory (a reshape may have had to copy)."""
    base = out.base
    if out is array or base is array:
        return True
    return base is not None and (base is array.base or np.may_share_memory(out, array))


def become_view(out: Tensor, source: Tensor, op: type[Op], settings: dict[str, Any]) -> None:
    """Note that `out` is `op` of `source`, on the same storage."""
    owner, path = source.origin or (source, ())
    out.version = source.version
    out.stamp = source.version[0]
    out.origin = (owner, (*path, (op, settings)))


def refresh(view: Tensor) -> None:
    """Bring the node of a view up to date, after its storage was changed through another tensor."""
    if view.stamp == view.version[0] or view.origin is None:
        return
    owner, path = view.origin
    view.stamp = view.version[0]
    if owner.requires_grad and owner.node is not None:
        fresh, before, _mode.grad = owner, _mode.grad, True
        try:
            for op, settings in path:
                fresh = apply(op, fresh, **settings)
        finally:
            _mode.grad = before
        view.node, view.requires_grad = fresh.node, True


# operators: the rest of the methods are the functions marked @method


def _operators() -> None:
    table: dict[str, Callable[..., Tensor]] = {
        "__add__": lambda x, y: apply2(ew.Add, x, y),
        "__radd__": lambda x, y: apply2(ew.Add, y, x),
        "__sub__": lambda x, y: apply2(ew.Sub, x, y),
        "__rsub__": lambda x, y: apply2(ew.Sub, y, x),
        "__mul__": lambda x, y: apply2(ew.Mul, x, y),
        "__rmul__": lambda x, y: apply2(ew.Mul, y, x),
        "__truediv__": lambda x, y: apply2(ew.Div, x, y),
        "__rtruediv__": lambda x, y: apply2(ew.Div, y, x),
        "__neg__": lambda x: apply1(ew.Neg, x),
    }
    for name, function in table.items():
        function.__name__ = name
        function.__qualname__ = f"Tensor.{name}"
        setattr(Tensor, name, function)


_operators()
