"""The same elements in other shapes and orders; borders; tensors made from shapes."""

import math

import numpy as np

import minidl.functional as F
from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.onnx.node import (
    axes_of,
    axis_of,
    constant,
    dtype_of,
    is_float,
    numbers,
    operator,
    same,
)
from minidl.ops import index as index_ops
from minidl.ops import shape as ops


@operator("Reshape")
def reshape(node, x, shape):
    """A 0 keeps the size in its place (unless allowzero), a -1 is what is left."""
    sizes = numbers(shape)
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    if -1 in sizes:
        rest = math.prod([n for n in sizes if n != -1])
        sizes[sizes.index(-1)] = x.array.size // rest if rest else 0
    return x.reshape(sizes)


@operator("Transpose")
def transpose(node, x):
    axes = node.get("perm") or range(x.ndim)[::-1]
    return x.permute(*axes) if x.ndim else same(x)


@operator("Concat")
def concat(node, *inputs):
    axis = axis_of(node.get("axis"), inputs[0].ndim, node)
    return apply(ops.Concat, *inputs, axis=axis) if len(inputs) > 1 else same(inputs[0])


@operator("Split")
def split(node, x, sizes=None):
    axis = axis_of(node.get("axis", 0), x.ndim, node)
    parts = node.get("split") if sizes is None else numbers(sizes)
    if not parts:
        count = node.get("num_outputs", len(node.outputs))
        size = -(-x.shape[axis] // count)
        parts = [min(size, max(0, x.shape[axis] - i * size)) for i in range(count)]
    return tuple(F.split(x, parts, axis))


@operator("Slice")
def slice_(node, x, starts=None, ends=None, axes=None, steps=None):
    if starts is None:
        first, last = node.get("starts"), node.get("ends")
        where = node.get("axes") or range(len(first))
    else:
        first, last = numbers(starts), numbers(ends)
        where = range(len(first)) if axes is None else numbers(axes)
    stride = [1] * len(first) if steps is None else numbers(steps)
    key = [slice(None)] * x.ndim
    for axis, start, stop, step in zip(where, first, last, stride):
        axis = axis_of(axis, x.ndim, node)
        low, high, step = _limits(start, stop, step, x.shape[axis])
        if step > 0:
            key[axis] = slice(low, high, step)
        else:  # as many elements counted from the other end of the axis turned round
            x = F.flip(x, axis)
            size = x.shape[axis]
            key[axis] = slice(size - 1 - low, size - 1 - high, -step)
    return x[tuple(key)] if x.ndim else same(x)


def _limits(start: int, stop: int, step: int, size: int) -> tuple[int, int, int]:
    """Start and stop within the axis, as NumPy clips them."""
    low, high, step = slice(start, stop, step).indices(size)
    return low, max(high, low) if step > 0 else min(high, low), step


@operator("Squeeze")
def squeeze(node, x, axes=None):
    given = node.get("axes") if axes is None else numbers(axes)
    where = axes_of(given, x.ndim, node) if given else [i for i, n in enumerate(x.shape) if n == 1]
    if any(x.shape[a] != 1 for a in where):
        raise ValueError(f"only axes of size 1 can go, got axes {tuple(where)} of {x.shape}")
    return x.reshape([n for i, n in enumerate(x.shape) if i not in where])


@operator("Unsqueeze")
def unsqueeze(node, x, axes=None):
    given = node.get("axes") if axes is None else numbers(axes)
    where = axes_of(given, x.ndim + len(given), node)
    sizes = list(x.shape)
    for axis in where:
        sizes.insert(axis, 1)
    return x.reshape(sizes)


@operator("Flatten")
def flatten(node, x):
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Expand")
def expand(node, x, shape):
    return apply(ops.Expand, x, shape=np.broadcast_shapes(x.shape, tuple(numbers(shape))))


@operator("Tile")
def tile(node, x, repeats):
    times = numbers(repeats)
    for axis, count in enumerate(times):
        if count != 1:
            ids = np.tile(np.arange(x.shape[axis]), count)
            x = apply(index_ops.TakeRows, x, ids, axis=axis)
    return x


@operator("Shape")
def shape_(node, x):
    return constant(x.shape[slice(node.get("start", 0), node.get("end"))], np.int64)


@operator("Size")
def size(node, x):
    return constant(x.array.size, np.int64)


@operator("Pad")
def pad(node, x, pads=None, value=None, axes=None):
    """A border; negative widths cut off."""
    widths = node.get("pads") if pads is None else numbers(pads)
    where = range(x.ndim) if axes is None else [axis_of(a, x.ndim, node) for a in numbers(axes)]
    fill = node.get("value", 0.0) if value is None else value.array.reshape(()).item()
    half = len(widths) // 2
    for i, axis in enumerate(where):
        x = padded(x, axis, widths[i], widths[i + half], node.get("mode", "constant"), fill)
    return x


def padded(x: Tensor, axis: int, before: int, after: int, mode: str, value: float = 0) -> Tensor:
    """A border along one axis."""
    size = x.shape[axis]
    if before == 0 and after == 0:
        return x
    if mode == "constant":
        low, high = max(0, -before), size - max(0, -after)
        parts = [F.narrow(x, axis, low, max(0, high - low))]
        for width, place in ((before, 0), (after, 1)):
            if width > 0:
                border = (*x.shape[:axis], width, *x.shape[axis + 1 :])
                parts.insert(place * len(parts), constant(np.full(border, value), x.dtype))
        return apply(ops.Concat, *parts, axis=axis) if len(parts) > 1 else parts[0]
    places = np.arange(-before, size + after)
    if mode == "edge":
        ids = places.clip(0, size - 1)
    elif mode == "wrap":
        ids = places % size
    else:
        period = max(1, 2 * (size - 1))
        ids = places % period
        ids = np.minimum(ids, period - ids) if size > 1 else places * 0
    return apply(index_ops.TakeRows, x, ids, axis=axis)


@operator("SpaceToDepth")
def space_to_depth(node, x):
    b, c, h, w = x.shape
    n = node.get("blocksize")
    order = (0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    x = x.reshape(b, c, h // n, n, w // n, n).permute(*order)
    return x.reshape(b, c * n * n, h // n, w // n)


@operator("DepthToSpace")
def depth_to_space(node, x):
    b, c, h, w = x.shape
    n = node.get("blocksize")
    if node.get("mode", "DCR") == "DCR":
        x = x.reshape(b, n, n, c // (n * n), h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(b, c // (n * n), n, n, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(b, c // (n * n), h * n, w * n)


@operator("Trilu")
def trilu(node, x, k=None):
    offset = 0 if k is None else int(k.array.reshape(()))
    rows, columns = x.shape[-2:]
    keep = np.tri(rows, columns, offset - 1 if node.get("upper", 1) else offset, dtype=bool)
    keep = ~keep if node.get("upper", 1) else keep
    if is_float(x):
        return F.masked_fill(x, Tensor(~keep), 0.0)
    return constant(np.where(keep, x.array, 0), x.dtype)


@operator("EyeLike")
def eye_like(node, x):
    dtype = dtype_of(node.get("dtype")) if "dtype" in node.attributes else x.dtype
    rows, columns = x.shape
    return constant(np.eye(rows, columns, k=node.get("k", 0)), dtype)


@operator("Constant")
def constant_(node):
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32),
                        ("value_int", np.int64), ("value_ints", np.int64)):  # fmt: skip
        if name in node.attributes:
            return constant(node.get(name), dtype)
    if "value" not in node.attributes:
        raise ValueError("only dense numbers are supported as constants")
    return constant(node.get("value"))


@operator("ConstantOfShape")
def constant_of_shape(node, shape):
    value = node.get("value", np.zeros(1, np.float32))
    return constant(np.full(numbers(shape), value.reshape(-1)[0], value.dtype))


@operator("Range")
def range_(node, start, limit, delta):
    values = [t.array.reshape(()).item() for t in (start, limit, delta)]
    count = max(0, math.ceil((values[1] - values[0]) / values[2]))
    return constant(values[0] + np.arange(count) * values[2], start.dtype)
