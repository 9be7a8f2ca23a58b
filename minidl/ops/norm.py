"""Normalisation over the last axis."""

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
    def flops(cls, *shapes, **settings):
        """Mean, difference, square, sum, and three for the scaling, of each element."""
        return 8 * int(np.prod(shapes[0], dtype=np.int64))


class RMSNorm(Op):
    """Root mean square normalisation (Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4).

        out = xhat * weight,   xhat = x * rstd,   rstd = 1 / sqrt(mean(x^2) + eps)

    The mean is over the last axis. With g = dout * weight:

        dx = rstd * (g - xhat * mean(g * xhat)),   dweight = sum(dout * xhat), over all rows

    Shapes: x and out (..., D); weight (D,).
    """

    saves = ("x", "weight", "rstd")

    @staticmethod
    def forward(x, weight, *, eps):
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])  # (N, D)
        out, rstd = empty(rows.shape, x.dtype), empty(len(rows), x.dtype)
        _math.suited(kernels.rms_norm_forward, rows)(rows, weight, eps, out, rstd)
        return out.reshape(x.shape), (x, weight, rstd)

    @staticmethod
    def backward(dout, saved, needs, *, eps):
        x, weight, rstd = saved
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        dx, dweight = empty(rows.shape, x.dtype), empty(weight.shape, x.dtype)
        dout = np.ascontiguousarray(dout).reshape(rows.shape)
        run = _math.suited(kernels.rms_norm_backward, rows)
        run(dout, rows, rstd, weight, dx, dweight)
        return dx.reshape(x.shape) if needs[0] else None, dweight if needs[1] else None

    @staticmethod
    def composite(F, x, weight, *, eps):
        mean = (x * x).sum(axis=-1, keepdims=True) / x.shape[-1]
        return x / (mean + eps).sqrt() * weight

    @classmethod
    def flops(cls, *shapes, **settings):
        """Square, sum, and two products, of each element."""
        return 4 * int(np.prod(shapes[0], dtype=np.int64))


class UnitRows(Op):
    """Each row at length 1, or shorter where it is shorter than eps.

        out = x / size,   size = max(|x|, eps),   |x| over the last axis
        dx = (dout - out * sum(dout * out)) / size,   dout / eps where |x| < eps

    Shapes: x and out (..., D).
    """

    saves = ("x", "length")

    @staticmethod
    def forward(x, *, eps):
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])  # (N, D)
        out, length = empty(rows.shape, x.dtype), empty(len(rows), x.dtype)
        _math.suited(kernels.unit_rows_forward, rows)(rows, eps, out, length)
        return out.reshape(x.shape), (x, length)

    @staticmethod
    def backward(dout, saved, needs, *, eps):
        x, length = saved
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        dx = empty(rows.shape, x.dtype)
        dout = np.ascontiguousarray(dout).reshape(rows.shape)
        _math.suited(kernels.unit_rows_backward, rows)(dout, rows, length, eps, dx)
        return (dx.reshape(x.shape),)

    @staticmethod
    def composite(F, x, *, eps):
        return x / x.norm(2, -1, keepdim=True).clamp_min(eps)

    @classmethod
    def flops(cls, *shapes, **settings):
        """Square, sum and quotient of each element."""
        return 3 * int(np.prod(shapes[0], dtype=np.int64))
