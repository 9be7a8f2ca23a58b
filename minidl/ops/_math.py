"""Functions that arrays and Tensors share, for the backward of elementary ops.

An array goes to NumPy; anything else has the method of the same name. Together with operators,
`reshape`, `swapaxes` and `sum(axis=, keepdims=)` this is all that such a backward may use, so that
the gradient of a gradient needs no second set of formulas.
"""

from typing import Any

import numpy as np

from minidl import kernels
from minidl.ops._op import empty
from minidl.typing import Array

PLAIN: Any = (np.ndarray, np.generic)  # arithmetic of 0-d arrays gives NumPy scalars

KERNEL_FROM = 1024
"""Elements from which a kernel is called instead of NumPy: it wins there by 1.7 times and more,
and saves enough (5 µs) to be worth loading Numba (0.3 s) in a program that trains."""

_BITS: dict[int, np.dtype[Any]] = {
    1: np.dtype("int8"), 2: np.dtype("int16"), 4: np.dtype("int32"), 8: np.dtype("int64"),
}  # fmt: skip


def large(x: Any) -> bool:
    """Whether x is an array worth a kernel call."""
    if type(x) is not np.ndarray or x.size < KERNEL_FROM:
        return False
    return x.dtype.kind == "f" and x.dtype.itemsize >= 4


def suited(kernel: Any, x: Any) -> Any:
    """The kernel for a large x, its reference for a small one."""
    return kernel if large(x) else getattr(kernel, "reference", kernel)


def run(kernel: Any, *arrays: Any, numbers: tuple[float, ...] = ()) -> Array:
    """A kernel over flat arrays that fills one like the first; below KERNEL_FROM its reference."""
    first = np.asarray(arrays[0])
    if first.dtype == np.float16:
        single = [np.asarray(x).astype(np.float32) for x in arrays]
        with np.errstate(over="ignore"):
            return run(kernel, *single, numbers=numbers).astype(np.float16)
    out = empty(first.size, first.dtype)
    flat = [np.ascontiguousarray(x).reshape(-1) for x in arrays]
    suited(kernel, first)(*flat, *numbers, out)
    return out.reshape(first.shape)


def applied(op: Any, *x: Any, **settings: Any) -> Any:
    """Another op of these arrays, or Tensors: for gradients that are ops themselves."""
    on_tape = next((a for a in x if a is not None and not isinstance(a, PLAIN)), None)
    if on_tape is None:
        return op.forward(*x, **settings)[0]
    return on_tape.applied(op, x, settings)


def exp(x: Any) -> Any:
    """e^x."""
    return np.exp(x) if isinstance(x, PLAIN) else x.exp()


def log(x: Any) -> Any:
    """Natural logarithm."""
    return np.log(x) if isinstance(x, PLAIN) else x.log()


def cos(x: Any) -> Any:
    """Cosine, x in radians."""
    return np.cos(x) if isinstance(x, PLAIN) else x.cos()


def sin(x: Any) -> Any:
    """Sine, x in radians."""
    return np.sin(x) if isinstance(x, PLAIN) else x.sin()


def sqrt(x: Any) -> Any:
    """Square root."""
    return np.sqrt(x) if isinstance(x, PLAIN) else x.sqrt()


def sinh(x: Any) -> Any:
    """Hyperbolic sine."""
    return np.sinh(x) if isinstance(x, PLAIN) else x.sinh()


def masked(keep: Array, x: Any) -> Any:
    """x where `keep`, 0 elsewhere: not a product, for 0 * inf is NaN."""
    if not isinstance(x, PLAIN):
        return x.masked(keep)
    if x.size < KERNEL_FROM or (keep.shape != x.shape and x.dtype.kind != "f"):
        return np.where(keep, x, x.dtype.type(0))
    # np.where guesses each branch, 7 ns an element where masks are random; bits need no guess: 0.2
    bits = keep.astype(_BITS[x.dtype.itemsize])
    if keep.shape != x.shape:
        return (x.view(bits.dtype) & -bits).view(x.dtype)
    np.negative(bits, out=bits)
    np.bitwise_and(bits, x.view(bits.dtype), out=bits)
    return bits.view(x.dtype)


def chosen(keep: Array, x: Any, y: Any) -> Array:
    """x where `keep`, y elsewhere, for arrays and numbers: np.where, without its guesses."""
    if not (large(x) and large(y) and x.dtype == y.dtype and x.dtype.kind == "f"):
        return np.where(keep, x, y)
    a, b = x.view(_BITS[x.dtype.itemsize]), y.view(_BITS[x.dtype.itemsize])
    return (((a ^ b) & -keep.astype(a.dtype)) ^ b).view(x.dtype)


def power(x: Any, exponent: Any) -> Any:
    """x**exponent; small whole powers as products, for np.power takes 60 ns an element."""
    plain = isinstance(x, PLAIN)
    if plain and type(exponent) in (int, float):
        if exponent == 3:
            return x * x * x
        if exponent == 4:
            square = x * x
            return square * square
    return x**exponent


def values(x: Any) -> Any:
    """The array of an array or a Tensor: for masks, which have no derivative. A number stays."""
    return x if isinstance(x, (*PLAIN, int, float)) else x.array


def untaken(dout: Any, dx: Any) -> Any:
    """dx, but 0 where dout is 0: a branch that was not taken sends no NaN back from a pole."""
    array = values(dx)
    if np.isfinite(array).all():
        return dx
    return masked(values(dout) != 0, dx)


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Zeros in an array from `empty`."""
    out = empty(shape, dtype)
    out[...] = 0
    return out


def take_flat(x: Any, places: Array) -> Any:
    """Elements by flat index."""
    return x.reshape(-1)[places] if isinstance(x, PLAIN) else x.take_flat(places)


def add_flat(x: Any, places: Array, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with the elements of x added at their flat places."""
    if not isinstance(x, PLAIN):
        return x.add_flat(places, shape)
    size = int(np.prod(shape, dtype=np.int64))
    if x.dtype.kind != "f":
        return _sum_by_id(x.reshape(-1), places.reshape(-1), size).reshape(shape)
    flat = np.bincount(places.reshape(-1), x.reshape(-1), minlength=size)  # sums in float64
    return flat.astype(x.dtype).reshape(shape)


def take_rows(x: Any, ids: Array, axis: int) -> Any:
    """Slices along an axis by their number."""
    return x.take(ids, axis) if isinstance(x, PLAIN) else x.take_rows(ids, axis)


def add_rows(x: Any, ids: Array, axis: int, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape`, with slices added along an axis by their number.

    x has the axes of ids in the place of that axis. Never np.add.at, which is slow and knows no
    rows: elements are counted, rows added by a kernel, and the few of a small tensor, for which
    loading the kernels would not pay, summed in sorted groups.
    """
    if not isinstance(x, PLAIN):
        return x.add_rows(ids, axis, shape)
    count = shape[axis]
    before, after = shape[:axis], shape[axis + 1 :]
    ids = ids.reshape(-1)
    if ids.size and int(ids.min()) < 0:
        ids = np.where(ids < 0, ids + count, ids)
    x = x.reshape((*before, ids.size, *after))
    rows = np.moveaxis(x, axis, 0) if axis else x
    width = int(np.prod((*before, *after), dtype=np.int64))
    rows = np.ascontiguousarray(rows).reshape(ids.size, width)  # (N, D)
    if not rows.size:
        return np.zeros(shape, x.dtype)
    if width == 1 and x.dtype.kind == "f":
        out = np.bincount(ids, rows[:, 0], minlength=count).astype(x.dtype)
    elif rows.size < _SMALL or x.dtype not in (np.float32, np.float64):
        out = _sum_by_id(rows, ids, count)
    else:
        out = zeros((count, width), x.dtype)
        kernels.scatter_add_rows(rows, np.ascontiguousarray(ids, np.int64), out)
    out = out.reshape((count, *before, *after))
    return np.moveaxis(out, 0, axis) if axis else out


_SMALL = 2_048  # elements


def _sum_by_id(values: Array, ids: Array, count: int) -> Array:
    """values (N, ...) summed in groups of equal ids: out (count, ...)."""
    out = np.zeros((count, *values.shape[1:]), values.dtype)
    if not ids.size:
        return out
    order = ids.argsort(kind="stable")
    ids = ids[order]
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    out[ids[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out


def part_of(x: Any, path: tuple[Any, ...]) -> Any:
    """The part of x at the end of a path of view ops (see `ops.view`)."""
    if not isinstance(x, PLAIN):
        return x.part_of(path)
    for op, settings in path:
        x, _ = op.forward(x, **dict(settings))
    return x


def put_view(x: Any, path: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with x as the part at the end of `path`."""
    if not isinstance(x, PLAIN):
        return x.put_view(path, shape)
    out = zeros(shape, x.dtype)
    write_part(out, path, x)
    return out


def zero_view(x: Any, path: tuple[Any, ...]) -> Any:
    """x with zeros in the part at the end of `path`."""
    if not isinstance(x, PLAIN):
        return x.zero_view(path)
    out = empty(x.shape, x.dtype)
    out[...] = x
    write_part(out, path, 0)
    return out


def write_part(out: Array, path: tuple[Any, ...], value: Any) -> None:
    """part(out) = value, for a contiguous array `out` that we own."""
    part = part_of(out, path)
    if np.may_share_memory(part, out):
        part[...] = value
    else:  # a reshape that is a view in the tensor's own layout, but a copy in this one
        places = part_of(np.arange(out.size).reshape(out.shape), path)
        out.reshape(-1)[places] = value


def concat(parts: list[Any], axis: int) -> Any:
    """Arrays, or Tensors, one after another along an axis."""
    if all(isinstance(x, PLAIN) for x in parts):
        return np.concatenate(parts, axis)
    on_tape = next(x for x in parts if not isinstance(x, PLAIN))
    return on_tape.concat_parts(parts, axis)


def permute(x: Any, axes: tuple[int, ...]) -> Any:
    """Axes in another order."""
    return np.transpose(x, axes) if isinstance(x, PLAIN) else x.permute(axes)


def flip(x: Any, axes: tuple[int, ...]) -> Any:
    """Reversed along axes."""
    return np.flip(x, axes) if isinstance(x, PLAIN) else x.flip(axes)


def expand(x: Any, shape: tuple[int, ...]) -> Any:
    """Broadcast to a shape."""
    return np.broadcast_to(x, shape) if isinstance(x, PLAIN) else x.expand(shape)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x), without overflow."""
    if not isinstance(x, PLAIN):
        return x.sigmoid()
    return run(kernels.sigmoid_forward, x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return np.tanh(x) if isinstance(x, PLAIN) else x.tanh()


def erf(x: Any) -> Any:
    """Error function."""
    return run(kernels.erf_forward, x) if isinstance(x, PLAIN) else x.erf()


def softmax(x: Any) -> Any:
    """e^x / sum(e^x) along the last axis."""
    if not isinstance(x, PLAIN):
        return x.softmax(-1)
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    out = empty(rows.shape, x.dtype)
    if out.size:
        suited(kernels.softmax_forward, rows)(rows, out)
    return out.reshape(x.shape)


def solve(a: Any, b: Any) -> Any:
    """The x of a x = b, for matrices in the last two axes."""
    return np.linalg.solve(a, b) if isinstance(a, PLAIN) else a.solve_system(b)


def inverse(a: Any) -> Any:
    """Inverses of the matrices in the last two axes."""
    return np.linalg.inv(a) if isinstance(a, PLAIN) else a.inverse()
