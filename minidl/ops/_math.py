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

PLAIN = (np.ndarray, np.generic)  # arithmetic of 0-d arrays gives NumPy scalars

KERNEL_FROM = 1024
"""Elements from which a kernel is called instead of NumPy: it wins there by 1.7 times and more,
and saves enough (5 µs) to be worth loading Numba (0.3 s) in a program that trains."""

_BITS = {2: np.dtype("int16"), 4: np.dtype("int32"), 8: np.dtype("int64")}


def large(x: Any) -> bool:
    """Whether x is an array worth a kernel call."""
    return type(x) is np.ndarray and x.size >= KERNEL_FROM and x.dtype.itemsize >= 4


def run(kernel: Any, *arrays: Any) -> Array:
    """A kernel over flat arrays that fills one like the first; below KERNEL_FROM its reference."""
    first = np.asarray(arrays[0])
    out = empty(first.size, first.dtype)
    function = kernel if large(first) else getattr(kernel, "reference", kernel)
    function(*[np.ascontiguousarray(x).reshape(-1) for x in arrays], out)
    return out.reshape(first.shape)


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
    if x.size < KERNEL_FROM or keep.shape != x.shape:
        return np.where(keep, x, x.dtype.type(0))
    # np.where guesses each branch, 7 ns an element where masks are random; bits need no guess: 0.2
    bits = keep.astype(_BITS[x.dtype.itemsize])
    np.negative(bits, out=bits)
    np.bitwise_and(bits, x.view(bits.dtype), out=bits)
    return bits.view(x.dtype)


def chosen(keep: Array, x: Any, y: Any) -> Array:
    """x where `keep`, y elsewhere, for arrays and numbers: np.where, without its guesses."""
    if not (large(x) and large(y) and x.dtype == y.dtype and x.dtype.kind == "f"):
        return np.where(keep, x, y)
    a, b = x.view(_BITS[x.dtype.itemsize]), y.view(_BITS[x.dtype.itemsize])
    return (((a ^ b) & -keep.astype(a.dtype)) ^ b).view(x.dtype)


def values(x: Any) -> Array:
    """The array of an array or a Tensor: for masks, which have no derivative. A number stays."""
    return x if isinstance(x, (*PLAIN, int, float)) else x.array


def untaken(dout: Any, dx: Any) -> Any:
    """dx, but 0 where dout is 0: a branch that was not taken sends no NaN back from a pole."""
    array = values(dx)
    if np.isfinite(array).all():
        return dx
    return masked(values(dout) != 0, dx)


def take_flat(x: Any, places: Array) -> Any:
    """Elements by flat index."""
    return x.reshape(-1)[places] if isinstance(x, PLAIN) else x.take_flat(places)


def add_flat(x: Any, places: Array, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with the elements of x added at their flat places."""
    if not isinstance(x, PLAIN):
        return x.add_flat(places, shape)
    size = int(np.prod(shape, dtype=np.int64))
    flat = np.bincount(places.reshape(-1), x.reshape(-1), minlength=size)  # sums in float64
    return flat.astype(x.dtype).reshape(shape)


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
