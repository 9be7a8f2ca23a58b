"""Reading and writing elements by arrays of indices; choosing the largest."""

import numpy as np

from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.onnx.node import axis_of, constant, is_float, numbers, operator
from minidl.ops import index as ops
from minidl.typing import Array


def _counted(ids: Array, size: int) -> Array:
    """Indices from 0 on; those from the end are counted on, others are an error."""
    ids = ids.astype(np.int64)
    if ids.size and not (ids.min() >= -size and ids.max() < size):
        raise IndexError(f"indices {ids.min()} to {ids.max()} do not fit an axis of {size}")
    return np.where(ids < 0, ids + size, ids)


@operator("Gather")
def gather(node, x, ids):
    axis = axis_of(node.get("axis", 0), x.ndim, node)
    return apply(ops.TakeRows, x, _counted(ids.array, x.shape[axis]), axis=axis)


def _places(shape: tuple[int, ...], axis: int, ids: Array) -> Array:
    """Flat places in an array of `shape` of the elements that ids name along one axis."""
    grid: list[Array] = list(np.indices(ids.shape, sparse=True))
    grid[axis] = _counted(ids, shape[axis])
    places: Array = np.zeros(ids.shape, np.int64)
    for g, size in zip(grid, shape):
        places = places * size + g
    return places


@operator("GatherElements")
def gather_elements(node, x, ids):
    axis = axis_of(node.get("axis", 0), x.ndim, node)
    return apply(ops.TakeFlat, x, _places(x.shape, axis, ids.array))


def _points(shape: tuple[int, ...], ids: Array, batch: int = 0) -> Array:
    """Flat places of the parts of `shape` that the last axis of ids names: (..., *rest)."""
    depth = ids.shape[-1]
    key = [_counted(ids[..., i], shape[batch + i]) for i in range(depth)]
    first: list[Array] = list(np.indices(ids.shape[:batch], sparse=True))
    lead = [g.reshape(*g.shape, *(1,) * (ids.ndim - 1 - batch)) for g in first]
    numbers_ = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return numbers_[(*lead, *key)]


@operator("GatherND")
def gather_nd(node, x, ids):
    return apply(ops.TakeFlat, x, _points(x.shape, ids.array, node.get("batch_dims", 0)))


def _written(x: Tensor, values: Tensor, places: Array, how: str) -> Tensor:
    """x with values written, or combined with what is there, at flat places."""
    if how == "none":
        return apply(ops.PutFlat, x, values, places)
    if how == "add" and is_float(x):
        return x + apply(ops.AddFlat, values, places, shape=x.shape)
    if is_float(x) and (x.requires_grad or values.requires_grad):
        raise ValueError(f"reduction {how!r} has no gradient here; use none or add")
    out = np.array(x.array, order="C")
    function = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[how]
    function.at(out.reshape(-1), places.reshape(-1), values.array.reshape(-1))
    return Tensor(out)


@operator("ScatterElements", "Scatter")
def scatter_elements(node, x, ids, values):
    axis = axis_of(node.get("axis", 0), x.ndim, node)
    return _written(x, values, _places(x.shape, axis, ids.array), node.get("reduction", "none"))


@operator("ScatterND")
def scatter_nd(node, x, ids, values):
    return _written(x, values, _points(x.shape, ids.array), node.get("reduction", "none"))


@operator("OneHot")
def one_hot(node, ids, depth, values):
    """`values[1]` at each class, `values[0]` elsewhere; classes out of range have none."""
    count = int(depth.array.reshape(()))
    axis = axis_of(node.get("axis", -1), ids.ndim + 1, node)
    classes = ids.array.astype(np.int64)
    classes = np.where(classes < 0, classes + count, classes)
    hit = np.moveaxis(classes[..., None] == np.arange(count), -1, axis)
    off, on = values.array
    return constant(np.where(hit, on, off), values.dtype)


@operator("TopK")
def topk(node, x, k=None):
    """The k largest (smallest) along an axis and their places; of equals the first comes first."""
    count = node.get("k") if k is None else numbers(k)[0]
    axis = axis_of(node.get("axis", -1), x.ndim, node)
    a = x.array
    if node.get("largest", 1):
        turned = np.flip(a, axis)  # a stable order, read backwards, must keep equals in order
        order = a.shape[axis] - 1 - np.argsort(turned, axis, kind="stable")
        order = np.flip(order, axis)
    else:
        order = np.argsort(a, axis, kind="stable")
    ids = order.take(np.arange(count), axis).astype(np.int64)
    return apply(ops.TakeFlat, x, _places(x.shape, axis, ids)), Tensor(ids)


@operator("NonZero")
def nonzero(node, x):
    return constant(np.array(np.nonzero(np.atleast_1d(x.array))), np.int64)


@operator("Compress")
def compress(node, x, keep):
    """The slices along an axis (elements, without one) where `keep` is true."""
    ids = np.flatnonzero(keep.array)
    if "axis" not in node.attributes:
        return apply(ops.TakeFlat, x, ids)
    return apply(ops.TakeRows, x, ids, axis=axis_of(node.get("axis"), x.ndim, node))


@operator("ReverseSequence")
def reverse_sequence(node, x, lengths):
    """Each sequence of a batch backwards, up to its own length."""
    time, batch = node.get("time_axis", 0), node.get("batch_axis", 1)
    steps = np.arange(x.shape[time])[:, None]
    size = lengths.array[None, :]
    ids = np.where(steps < size, size - 1 - steps, steps)  # (T, B)
    ids = ids if time < batch else ids.T
    ids = ids.reshape(*ids.shape, *(1,) * (x.ndim - 2))
    return apply(ops.TakeFlat, x, _places(x.shape, time, np.broadcast_to(ids, x.shape)))
