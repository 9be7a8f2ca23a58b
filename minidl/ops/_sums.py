"""Sums of arrays whose rounding error does not grow with the number of addends."""

import math

import numpy as np

from minidl import kernels
from minidl.ops._memory import empty
from minidl.ops._product import product

_BLOCK = 1024
_LARGE, _WIDE = 65_536, 32  # elements and columns from which a kernel is quicker


def sum_rows(x):
    """Sum of the rows of a matrix (N, D) -> (D,), in blocks.

    NumPy adds rows one after the other, so that the rounding error of float32 grows with N; a
    product of each block with ones is quicker as well, and the blocks' sums are added in float64.
    """
    n = len(x)
    if x.dtype.itemsize == 2:
        return total(x, (0,), False)
    if x.size >= _LARGE and x.shape[1] >= _WIDE and x.flags.c_contiguous:
        out = empty(x.shape[1], x.dtype)
        kernels.column_sums(x, out)
        return out
    if n <= _BLOCK:
        return product(np.ones(n, x.dtype), x) if n > 16 else x.sum(axis=0)
    whole = n - n % _BLOCK
    ones = np.ones(_BLOCK, x.dtype)
    blocks = product(ones, x[:whole].reshape(-1, _BLOCK, x.shape[1]))  # (N / 1024, D)
    out = blocks.sum(axis=0, dtype=np.float64) + x[whole:].sum(axis=0)
    return out.astype(x.dtype)


def total(x, axes, keepdim):
    """Sum over axes whose error does not grow with the number of addends (see `sum_rows`)."""
    kind = x.dtype.kind
    if kind != "f":
        return np.add.reduce(x, axis=axes, keepdims=keepdim, dtype=np.int64)
    if x.dtype.itemsize == 2:  # float16 has 11 bits, and ends at 65504
        with np.errstate(over="ignore"):
            out = np.add.reduce(x, axis=axes, keepdims=keepdim, dtype=np.float32)
            return np.asarray(out).astype(x.dtype)
    if x.size > 4096 and axes and len(axes) < x.ndim:
        leading = axes[-1] == len(axes) - 1
        if leading and x.dtype.itemsize > 2 and x.flags.c_contiguous:
            rest = x.shape[len(axes) :]
            out = sum_rows(x.reshape(-1, math.prod(rest))).reshape(rest)
            return out.reshape((1,) * len(axes) + rest) if keepdim else out
        many = x.size >= _LARGE and x.shape[-1] >= _WIDE
        if axes == (x.ndim - 1,) and many and x.flags.c_contiguous:
            out = empty(x.shape[:-1], x.dtype)
            kernels.row_sums(x.reshape(-1, x.shape[-1]), out.reshape(-1))
            return out[..., None] if keepdim else out
        if x.dtype.itemsize < 8 and math.prod([x.shape[a] for a in axes]) > _BLOCK:
            out = x.sum(axis=axes, keepdims=keepdim, dtype=np.float64)
            return out.astype(x.dtype)
    return np.add.reduce(x, axis=axes, keepdims=keepdim)
