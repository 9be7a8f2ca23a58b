"""Normalisation by channel: over a batch, or over groups of one sample's channels.

Both are two passes, of the kernels in `kernels/channels.py`: sums by channel, then a map that is
affine in each channel, y = (x - centre) scale + shift; and in backward once more sums, then
dx = of_dout dout + of_x (x - centre) + shift.
"""

import math

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty


def planes(x):
    """x (N, C, ...) as contiguous (N, C, L)."""
    return np.ascontiguousarray(x).reshape(*x.shape[:2], math.prod(x.shape[2:]))


def moments(x):
    """Mean and biased variance (C,) of each channel of x (N, C, L)."""
    mean, var = empty(x.shape[1], x.dtype), empty(x.shape[1], x.dtype)
    _math.suited(kernels.channel_moments, x)(x, mean, var)
    return mean, var


def affine(x, centre, scale, shift):
    """(x - centre) scale + shift by channel, for x (N, C, L)."""
    out = empty(x.shape, x.dtype)
    _math.suited(kernels.channel_affine, x)(x, centre, scale, shift, out)
    return out


def sums(dout, x, centre):
    """The sums of dout and of dout (x - centre), by channel."""
    total, product = empty(x.shape[1], x.dtype), empty(x.shape[1], x.dtype)
    _math.suited(kernels.channel_sums, x)(dout, x, centre, total, product)
    return total, product


def combined(dout, x, centre, of_dout, of_x, shift):
    """of_dout dout + of_x (x - centre) + shift, by channel."""
    dx = empty(x.shape, x.dtype)
    _math.suited(kernels.channel_combine, x)(dout, x, centre, of_dout, of_x, shift, dx)
    return dx


def _beside(t, ndim):
    """(C,) as (C, 1, ...), to stand beside (N, C, ...)."""
    return t.reshape((*t.shape, *(1,) * (ndim - 2)))


class ChannelAffine(Op):
    """An affine map of each channel: what batch normalisation is where statistics are given.

        out = (x - centre) * scale + shift

        dx = dout * scale,   dscale = sum(dout * (x - centre)),   dshift = sum(dout)

    Sums over all axes but that of channels; centre is a constant.
    Shapes: x and out (N, C, ...); centre, scale and shift (C,).
    """

    saves = ("x", "centre", "scale")
    constants = ("centre",)

    @staticmethod
    def forward(x, centre, scale, shift):
        out = affine(planes(x), centre, scale, shift)
        return out.reshape(x.shape), (x, centre, scale)

    @staticmethod
    def backward(dout, saved, needs):
        x, centre, scale = saved
        if type(dout) is np.ndarray:
            dout, shape = planes(dout), x.shape
            dx = dscale = dshift = None
            if needs[0]:
                nothing = np.zeros_like(scale)
                dx = affine(dout, nothing, scale, nothing).reshape(shape)
            if needs[2] or needs[3]:
                dshift, dscale = sums(dout, planes(x), centre)
            return dx, None, dscale, dshift
        axes = (0, *range(2, x.ndim))
        moved = x - _beside(_math.values(centre), x.ndim)
        return (
            dout * _beside(scale, x.ndim) if needs[0] else None,
            None,
            (dout * moved).sum(axis=axes) if needs[2] else None,
            dout.sum(axis=axes) if needs[3] else None,
        )

    @classmethod
    def flops(cls, *shapes, **settings):
        """Difference, product and sum, of each element."""
        return 3 * math.prod(shapes[0])


class BatchNorm(Op):
    """Batch normalisation in training (Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1).

        out = xhat * weight + bias,   xhat = (x - mean) * rstd,   rstd = 1 / sqrt(var + eps)

    mean and var are each channel's, over all axes but that of channels, M elements; var is the
    biased estimate. Both are outputs too, for running statistics. With g = dout * weight and sums
    and means over the M elements:

        dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) + dmean / M + dvar * 2 (x - mean) / M
        dweight = sum(dout * xhat),   dbias = sum(dout)

    Shapes: x and out (N, C, ...); weight, bias, mean and var (C,).
    """

    saves = ("x", "weight", "bias", "centre", "rstd")
    outputs = ("out", "mean", "var")

    @staticmethod
    def forward(x, weight, bias, *, eps):
        flat = planes(x)  # (N, C, L)
        mean, var = moments(flat)
        rstd = 1 / np.sqrt(var + x.dtype.type(eps))
        out = affine(flat, mean, rstd * weight, bias)
        return (out.reshape(x.shape), mean, var), (x, weight, bias, mean, rstd)

    @staticmethod
    def backward(dout, saved, needs, *, eps):
        dout, dmean, dvar = dout
        x, weight, _, centre, rstd = saved
        flat = planes(x)
        count = max(1, flat.shape[0] * flat.shape[2])
        if dout is None:
            dout = np.zeros(x.shape, x.dtype)
        dout = planes(dout)
        total, product = sums(dout, flat, centre)
        dx = None
        if needs[0]:
            scale = weight * rstd
            shift = -scale * total / count
            of_x = -scale * rstd * rstd * product / count
            if dmean is not None:
                shift = shift + dmean / count
            if dvar is not None:
                of_x = of_x + 2 * dvar / count
            dx = combined(dout, flat, centre, scale, of_x, shift).reshape(x.shape)
        return dx, product * rstd if needs[1] else None, total if needs[2] else None

    @staticmethod
    def composite(F, x, weight, bias, *, eps):
        axes = (0, *range(2, x.ndim))
        count = max(1, math.prod(x.shape[a] for a in axes))
        mean = x.sum(axis=axes, keepdims=True) / count
        centred = x - mean
        var = (centred * centred).sum(axis=axes, keepdims=True) / count
        out = centred / (var + eps).sqrt() * _beside(weight, x.ndim) + _beside(bias, x.ndim)
        return out, mean.reshape(weight.shape), var.reshape(weight.shape)

    @classmethod
    def flops(cls, *shapes, **settings):
        """Difference, square and two sums; difference, product and sum, of each element."""
        return 7 * math.prod(shapes[0])


class GroupNorm(Op):
    """Group normalisation (Wu & He 2018, arXiv:1803.08494, eq. 1 to 5).

        out = xhat * weight + bias,   xhat = (x - mean) * rstd,   rstd = 1 / sqrt(var + eps)

    Channels are split into `groups` of neighbours; mean and var are over one sample's group: its
    channels and all axes after. One group is layer normalisation over these axes, as many groups
    as channels instance normalisation (Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022). With
    g = dout * weight and means over a group:

        dx = rstd * (g - mean(g) - xhat * mean(g * xhat))
        dweight = sum(dout * xhat),   dbias = sum(dout), over samples and the axes after channels

    Shapes: x and out (N, C, ...), C a multiple of groups; weight and bias (C,).
    """

    saves = ("x", "weight", "bias", "centre", "rstd")

    @staticmethod
    def forward(x, weight, bias, *, groups, eps):
        batch, channels = x.shape[:2]
        flat = planes(x)
        length = flat.shape[2]
        mean, var = moments(flat.reshape(1, batch * groups, channels // groups * length))
        rstd = 1 / np.sqrt(var + x.dtype.type(eps))  # (N G,)
        scale = np.multiply.outer(rstd, np.ones(channels // groups, x.dtype))  # (N G, C / G)
        scale = scale.reshape(batch, channels) * weight
        rows = flat.reshape(1, batch * channels, length)
        centre = mean.repeat(channels // groups)
        out = affine(rows, centre, scale.reshape(-1), np.tile(bias, batch))
        return out.reshape(x.shape), (x, weight, bias, mean, rstd)

    @staticmethod
    def backward(dout, saved, needs, *, groups, eps):
        x, weight, _, mean, rstd = saved
        batch, channels = x.shape[:2]
        size = channels // groups
        length = math.prod(x.shape[2:])
        rows = np.ascontiguousarray(x).reshape(1, batch * channels, length)
        dout = np.ascontiguousarray(dout).reshape(rows.shape)
        centre = mean.repeat(size)  # (N C,)
        scale = rstd.repeat(size).reshape(batch, channels)
        total, product = (s.reshape(batch, channels) for s in sums(dout, rows, centre))
        dx = None
        if needs[0]:
            count = max(1, size * length)
            of_group = (batch * groups, size)
            mean_g = (total * weight).reshape(of_group).sum(axis=1) / count
            mean_gx = (product * weight).reshape(of_group).sum(axis=1) * rstd / count
            of_x = (-mean_gx * rstd * rstd).repeat(size)
            shift = (-mean_g * rstd).repeat(size)
            of_dout = (scale * weight).reshape(-1)
            dx = combined(dout, rows, centre, of_dout, of_x, shift).reshape(x.shape)
        return (
            dx,
            (product * scale).sum(axis=0) if needs[1] else None,
            total.sum(axis=0) if needs[2] else None,
        )

    @staticmethod
    def composite(F, x, weight, bias, *, groups, eps):
        size = math.prod(x.shape[1:]) // groups
        grouped = x.reshape(len(x), groups, size)
        centred = grouped - grouped.sum(axis=-1, keepdims=True) / max(1, size)
        var = (centred * centred).sum(axis=-1, keepdims=True) / max(1, size)
        xhat = (centred / (var + eps).sqrt()).reshape(x.shape)
        return xhat * _beside(weight, x.ndim) + _beside(bias, x.ndim)

    @classmethod
    def flops(cls, *shapes, **settings):
        """Difference, square and two sums; difference, product and sum, of each element."""
        return 7 * math.prod(shapes[0])
