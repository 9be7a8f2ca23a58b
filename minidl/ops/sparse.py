"""Products with a constant sparse matrix."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty


class CsrMatMul(Op):
    """A constant sparse matrix A times a dense one.

        out = A @ x;   dx = A^T @ dout

    A comes with its transpose, each as (indptr, indices, data), so that both directions read rows
    and no two threads write into one. Shapes: A (N, V), x (V, D), out (N, D).
    """

    saves = ("indptr", "indices", "data", "t_indptr", "t_indices", "t_data")
    constants = ("data", "t_data")

    @staticmethod
    def forward(x, indptr, indices, data, t_indptr, t_indices, t_data):
        constants = (indptr, indices, data, t_indptr, t_indices, t_data)
        return csr_product(indptr, indices, data, x), constants

    @staticmethod
    def backward(dout, saved, needs):
        arrays = [_math.values(part) for part in saved]
        if type(dout) is np.ndarray:
            dx = csr_product(arrays[3], arrays[4], arrays[5], dout)
        else:
            dx = dout.csr_product(*arrays[3:], *arrays[:3])
        return (dx, *[None] * 6)

    @classmethod
    def flops(cls, *shapes, **settings):
        """A multiplication and an addition for each stored value and column of x."""
        return 2 * shapes[3][0] * shapes[0][1]


def csr_product(indptr, indices, data, x):
    """A @ x on arrays; x (V, D)."""
    if x.dtype == np.float16:  # a way to store: sums are float32's
        return csr_product(indptr, indices, data, x.astype(np.float32)).astype(np.float16)
    out = empty((len(indptr) - 1, x.shape[1]), x.dtype)
    values = data.astype(x.dtype, copy=False)
    kernels.csr_matmul(indptr, indices, values, np.ascontiguousarray(x), out)
    return out

