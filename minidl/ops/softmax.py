"""Softmax and its logarithm, along the last axis."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty


def rows_of(x):
    """x as a C-contiguous matrix (N, K) of its last axis."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


class Softmax(Op):
    """Softmax along the last axis; the largest input is subtracted first, so nothing overflows.

        out_k = e^x_k / sum_j e^x_j
        dx = out * (dout - sum(dout * out))

    Shapes: x and out (..., K), K >= 1.
    """

    saves = ("out",)

    @staticmethod
    def forward(x):
        out = _math.softmax(x)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        if type(dout) is np.ndarray:
            rows = rows_of(dout)
            dx = empty(rows.shape, rows.dtype)
            _math.suited(kernels.softmax_backward, rows)(rows, rows_of(out), dx)
            return (dx.reshape(dout.shape),)
        return (out * (dout - (dout * out).sum(axis=-1, keepdims=True)),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """Maximum, difference, exponential, sum and quotient of each element."""
        return 5 * int(np.prod(shapes[0], dtype=np.int64))


class LogSoftmax(Op):
    """Logarithm of softmax along the last axis, without leaving the logarithmic scale.

        out_k = x_k - log sum_j e^x_j
        dx = dout - e^out * sum(dout)

    Shapes: x and out (..., K), K >= 1.
    """

    saves = ("out",)

    @staticmethod
    def forward(x):
        rows = rows_of(x)  # (N, K)
        out = empty(rows.shape, x.dtype)
        _math.suited(kernels.log_softmax_forward, rows)(rows, out)
        out = out.reshape(x.shape)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        if type(dout) is np.ndarray:
            rows = rows_of(dout)
            dx = empty(rows.shape, rows.dtype)
            _math.suited(kernels.log_softmax_backward, rows)(rows, rows_of(out), dx)
            return (dx.reshape(dout.shape),)
        return (dout - _math.exp(out) * dout.sum(axis=-1, keepdims=True),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """Maximum, two differences, exponential and sum of each element."""
        return 5 * int(np.prod(shapes[0], dtype=np.int64))
