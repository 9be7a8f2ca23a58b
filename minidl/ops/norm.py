"""Normalisation."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty


class LayerNorm(Op):
    """Layer normalisation (Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 4).

        out = xhat * weight + bias,   xhat = (x - mean) * rstd,   rstd = 1 / sqrt(var + eps)

    mean and var are over the last axis; var is the biased estimate, as in the paper. With
    g = dout * weight and means over the last axis:

        dx = rstd * (g - mean(g) - xhat * mean(g * xhat))
        dweight = sum(dout * xhat),   dbias = sum(dout), over all rows

    Shapes: x and out (..., D); weight and bias (D,).
    """

    saves = ("x", "weight", "bias", "mean", "rstd")

    @staticmethod
    def forward(x, weight, bias, *, eps):
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])  # (N, D)
        out = empty(rows.shape, x.dtype)
        mean, rstd = empty(len(rows), x.dtype), empty(len(rows), x.dtype)
        run = _math.suited(kernels.layer_norm_forward, rows)
        run(rows, weight, bias, eps, out, mean, rstd)
        return out.reshape(x.shape), (x, weight, bias, mean, rstd)

    @staticmethod
    def backward(dout, saved, needs, *, eps):
        x, weight, _, mean, rstd = saved
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        dx = empty(rows.shape, x.dtype)
        dweight, dbias = empty(weight.shape, x.dtype), empty(weight.shape, x.dtype)
        dout = np.ascontiguousarray(dout).reshape(rows.shape)
        run = _math.suited(kernels.layer_norm_backward, rows)
        run(dout, rows, mean, rstd, weight, dx, dweight, dbias)
        return (
            dx.reshape(x.shape) if needs[0] else None,
            dweight if needs[1] else None,
            dbias if needs[2] else None,
        )

    @staticmethod
    def composite(F, x, weight, bias, *, eps):
        width = x.shape[-1]
        centred = x - x.sum(axis=-1, keepdims=True) / width
        variance = (centred * centred).sum(axis=-1, keepdims=True) / width
        return centred / (variance + eps).sqrt() * weight + bias

    @classmethod
    def flops(cls, *shapes):
        """Mean, difference, square, sum, and three for the scaling, of each element."""
        return 8 * int(np.prod(shapes[0], dtype=np.int64))
