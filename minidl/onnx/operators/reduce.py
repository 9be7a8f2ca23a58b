"""Reductions over axes, running sums, largest and smallest places."""

import math

import numpy as np

import minidl.functional as F
from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.onnx.node import (
    NodeView,
    axes_of,
    axis_of,
    constant,
    is_float,
    numbers,
    operator,
)
from minidl.ops import reduce as ops


def _axes(node: NodeView, x: Tensor, axes: Tensor | None) -> tuple[int, ...]:
    """The axes to reduce: an input in newer opsets, an attribute in older ones; all if none."""
    given = node.get("axes") if axes is None else numbers(axes)
    if not given:
        noop = node.get("noop_with_empty_axes", 0)
        return () if noop else tuple(range(x.ndim))
    return axes_of(given, x.ndim, node)


def _sum(x, axes, keep):
    return apply(ops.Sum, x, dim=axes, keepdim=keep) if axes else x


def _mean(x, axes, keep):
    return apply(ops.Mean, x, dim=axes, keepdim=keep) if axes else x


def _extreme(op, empty):
    def function(x, axes, keep):
        if not axes:
            return x
        if math.prod([x.shape[a] for a in axes]) == 0:
            kept = [1 if a in axes else n for a, n in enumerate(x.shape) if keep or a not in axes]
            return Tensor(np.full(kept, empty, x.dtype))
        return apply(op, x, dim=axes, keepdim=keep)

    return function


def _prod(x, axes, keep):
    for axis in reversed(axes):
        x = F.prod(x, axis, keepdim=keep)
    return x


def _logsumexp(x, axes, keep):
    if not axes:
        return x
    if math.prod([x.shape[a] for a in axes]) == 0:
        return _extreme(None, -np.inf)(x, axes, keep)
    return F.logsumexp(x, axes, keepdim=keep)


_SMOOTH = {
    "ReduceL1": lambda x, axes, keep: _sum(F.abs(x), axes, keep),
    "ReduceL2": lambda x, axes, keep: F.sqrt(_sum(x * x, axes, keep)),
    "ReduceLogSum": lambda x, axes, keep: F.log(_sum(x, axes, keep)),
    "ReduceLogSumExp": _logsumexp,
    "ReduceMax": _extreme(ops.Amax, -np.inf),
    "ReduceMean": _mean,
    "ReduceMin": _extreme(ops.Amin, np.inf),
    "ReduceProd": _prod,
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x * x, axes, keep),
}
_WHOLE = {
    "ReduceL1": lambda a, axis, keep: np.abs(a).sum(axis=axis, keepdims=keep),
    "ReduceL2": lambda a, axis, keep: np.sqrt((a * a).sum(axis=axis, keepdims=keep)),
    "ReduceLogSum": lambda a, axis, keep: np.log(a.sum(axis=axis, keepdims=keep)),
    "ReduceLogSumExp": lambda a, axis, keep: np.log(np.exp(a).sum(axis=axis, keepdims=keep)),
    "ReduceMax": lambda a, axis, keep: a.max(axis=axis, keepdims=keep),
    "ReduceMean": lambda a, axis, keep: a.mean(axis=axis, keepdims=keep),
    "ReduceMin": lambda a, axis, keep: a.min(axis=axis, keepdims=keep),
    "ReduceProd": lambda a, axis, keep: a.prod(axis=axis, keepdims=keep),
    "ReduceSum": lambda a, axis, keep: a.sum(axis=axis, keepdims=keep),
    "ReduceSumSquare": lambda a, axis, keep: (a * a).sum(axis=axis, keepdims=keep),
}


@operator(*_SMOOTH)
def reduce(node, x, axes=None):
    where, keep = _axes(node, x, axes), bool(node.get("keepdims", 1))
    if is_float(x):
        return _SMOOTH[node.op](x, where, keep)
    if x.dtype.kind == "b":
        combine = np.any if node.op == "ReduceMax" else np.all
        return constant(combine(x.array, axis=where, keepdims=keep))
    return constant(_WHOLE[node.op](x.array, where, keep), x.dtype)


@operator("ArgMax", "ArgMin")
def arg(node, x):
    axis = axis_of(node.get("axis", 0), x.ndim, node)
    a = x.array
    find = np.argmax if node.op == "ArgMax" else np.argmin
    if node.get("select_last_index", 0):
        out = a.shape[axis] - 1 - find(np.flip(a, axis), axis)
    else:
        out = find(a, axis)
    return constant(np.expand_dims(out, axis) if node.get("keepdims", 1) else out, np.int64)


@operator("CumSum", "CumProd")
def running(node, x, axis):
    """Sums (products) of the elements up to each; exclusive: without its own."""
    place = axis_of(int(axis.array.reshape(())), x.ndim, node)
    sums = node.op == "CumSum"
    if node.get("reverse", 0):
        x = F.flip(x, place)
    if node.get("exclusive", 0):
        before = [*x.shape]
        before[place] = min(1, x.shape[place])
        first = constant(np.full(before, 0 if sums else 1), x.dtype)
        rest = F.narrow(x, place, 0, max(0, x.shape[place] - 1))
        x = F.cat([first, rest], place)
    if is_float(x):
        out = F.cumsum(x, place) if sums else F.cumprod(x, place)
    else:
        out = constant((np.cumsum if sums else np.cumprod)(x.array, place, dtype=x.dtype))
    return F.flip(out, place) if node.get("reverse", 0) else out
