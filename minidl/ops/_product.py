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
        return _by_kernel(_of_matrices, x, y, out)
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


def _of_matrices(x: Array, y: Array, out: Array) -> None:
    kernels.product(x, y, empty(0, x.dtype), -np.inf, out)


def _suits(x: Array, y: Array, size: int) -> bool:
    """Whether a product of `size` multiplications is one for the kernels."""
    dtype = x.dtype
    return size > _ALONE and y.dtype is dtype and (dtype is _SINGLE or dtype is _DOUBLE)


def affine(x: Array, weight: Array, bias: Array | None, relu: bool = False) -> Array:
    """x @ weight^T + bias, for x (N, D), weight (M, D) and bias (M,), and max(·, 0) with relu."""
    outputs = len(weight)
    if outputs > 1 and _suits(x, weight, x.size * outputs):
        kernels.hold_blas()
        out = empty((len(x), outputs), x.dtype)
        bias = empty(0, x.dtype) if bias is None else bias
        floor = 0.0 if relu else -np.inf
        kernels.product(_readable(x), _readable(weight.T), bias, floor, out)
        return out
    out = product(x, weight.T)
    if bias is not None:
        out += bias
    return np.maximum(out, 0, out=out) if relu else out


def affine_gradients(dout: Array, x: Array, sums: bool) -> tuple[Array, Array | None]:
    """dout^T @ x, and the sum of dout's rows if `sums` and it comes for little, else None."""
    outputs, inputs = dout.shape[1], x.shape[1]
    if min(outputs, inputs) < 2 or not _suits(dout, x, x.size * outputs):
        return product(dout.swapaxes(0, 1), x), None
    kernels.hold_blas()
    dweight = empty((outputs, inputs), x.dtype)
    dbias = empty(outputs if sums else 0, x.dtype)
    kernels.weight_gradient(_rows(dout), _rows(x), dbias, dweight)
    return dweight, dbias if sums else None


def _rows(x: Array) -> Array:
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)


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
    flags = x.flags
    if flags.c_contiguous or (flags.f_contiguous and x.ndim == 2):
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
