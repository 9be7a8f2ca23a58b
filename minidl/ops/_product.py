"""Matrix products on all cores, whose bits do not depend on the number of threads.

A large product is cut into pieces by its shape alone, each of which is one product of BLAS on one
thread (`kernels/products.py`). A small one, and one with a vector, is a single call of NumPy.
"""

from typing import Any

import numpy as np

from minidl import kernels
from minidl.ops._memory import empty
from minidl.typing import Array

_ALONE = 262_144  # multiplications below which one thread is as quick
_ROWS, _TIMES = 512, 4  # rows, and rows for each inner element, from which packing once pays
_VECTOR = 9_216  # and below which BLAS never starts another

_HALF, _SINGLE, _DOUBLE = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")


def product(x: Array, y: Array, out: Array | None = None) -> Array:
    """x @ y, for x (..., N, D) and y (..., D, M), or a vector (D,) for either."""
    if x.dtype is _HALF:  # BLAS knows no float16, and 11 bits are too few to sum in
        single = product(x.astype(_SINGLE), y.astype(_SINGLE))
        with np.errstate(over="ignore", invalid="ignore"):
            half = np.asarray(single.astype(_HALF))
        if out is None:
            return half
        out[...] = half
        return out
    rows = x.shape[-2] if x.ndim > 1 else 1
    columns = y.shape[-1] if y.ndim > 1 else 1
    size = x.size * columns
    if size <= _VECTOR:
        return np.matmul(x, y, out=out)
    kernels.hold_blas()
    if rows == 1 or columns == 1:
        return np.matmul(x, y, out=out)
    if x.ndim == 2 and y.ndim == 2:
        if x.shape[1] == 1:  # an outer product: BLAS took 220 µs for 64 x 3,136, this takes 12
            return np.multiply(x, y, out=out)
        if size <= _ALONE:
            return np.matmul(x, y, out=out)
        return _by_kernel(_by_panels if _is_tall(x) else kernels.product, x, y, out)
    return _batched(x, y, out, size)


def _by_kernel(kernel: Any, x: Array, y: Array, out: Array | None) -> Array:
    """A product of matrices, or of equally many, by the kernel, if BLAS can take the arrays."""
    dtype = x.dtype
    if dtype is not y.dtype or (dtype is not _SINGLE and dtype is not _DOUBLE):
        return np.matmul(x, y, out=out)
    x, y = _readable(x), _readable(y)
    shape = (*x.shape[:-1], y.shape[-1])
    target = out
    if target is None or target.strides[-1] != target.itemsize:
        target = empty(shape, dtype)
    kernel(x, y, target)
    if out is not None and out is not target:
        out[...] = target
        return out
    return target


def _is_tall(x: Array) -> bool:
    return len(x) >= max(_ROWS, _TIMES * x.shape[1])


def _by_panels(x: Array, y: Array, out: Array, bias: Array | None = None) -> None:
    packed = empty(kernels.panels_shape(*y.shape, y.dtype), y.dtype)
    kernels.product_panels(x, y, empty(0, y.dtype) if bias is None else bias, packed, out)


def _suits(x: Array, *others: Array) -> bool:
    """Whether x (N, D) has rows enough for panels, and all are of one dtype that they know."""
    known = x.dtype is _SINGLE or x.dtype is _DOUBLE
    return known and _is_tall(x) and all(other.dtype is x.dtype for other in others)


def affine(x: Array, weight: Array, bias: Array | None) -> Array:
    """x @ weight^T + bias, for x (N, D), weight (M, D) and bias (M,)."""
    if bias is None or x.size * len(weight) <= _ALONE or not _suits(x, weight, bias):
        out = product(x, weight.T)
        if bias is not None:
            out += bias
        return out
    out = empty((len(x), len(weight)), x.dtype)
    _by_panels(_readable(x), _readable(weight.T), out, bias)
    return out


def _batched(x: Array, y: Array, out: Array | None, size: int) -> Array:
    """x @ y with leading axes, which broadcast."""
    if y.ndim == 2 and x.flags.c_contiguous and (out is None or out.flags.c_contiguous):
        shape = (*x.shape[:-1], y.shape[-1])
        flat = None if out is None else out.reshape(-1, shape[-1])
        return product(x.reshape(-1, x.shape[-1]), y, flat).reshape(shape)
    if x.ndim == y.ndim == 3 and len(x) == len(y):
        if size <= _ALONE:
            return np.matmul(x, y, out=out)
        return _by_kernel(kernels.product_batched, x, y, out)
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x_all = np.broadcast_to(x, (*lead, *x.shape[-2:]))
    y_all = np.broadcast_to(y, (*lead, *y.shape[-2:]))
    if size // max(1, x.size) * x_all.size <= _ALONE:
        return np.matmul(x, y, out=out)
    flat_x = x_all.reshape(-1, *x.shape[-2:])  # copies what broadcasting repeats
    flat_y = y_all.reshape(-1, *y.shape[-2:])
    result = product(flat_x, flat_y).reshape(*lead, x.shape[-2], y.shape[-1])
    if out is None:
        return result
    out[...] = result
    return out


def _readable(x: Array) -> Array:
    """x, or a copy if neither of its last two axes runs along memory as BLAS wants it."""
    if x.flags.c_contiguous or x.T.flags.c_contiguous:
        return x
    size = x.itemsize
    *_, across, along = x.strides
    rows, columns = x.shape[-2:]
    if (along == size and across >= columns * size and across % size == 0) or (
        across == size and along >= rows * size and along % size == 0
    ):
        return x
    return np.ascontiguousarray(x)


def matmul(x: Any, y: Any) -> Any:
    """`product` of arrays, or @ of Tensors: for the backward of elementary ops."""
    return product(x, y) if type(x) is np.ndarray and type(y) is np.ndarray else x @ y
