"""Normalisation: batch, layer, instance, group, root mean square, local response."""

import numpy as np

import minidl.functional as F
from minidl._tensor import Tensor
from minidl.onnx.node import axis_of, operator, to_dtype
from minidl.onnx.operators.shape import padded


def _channels(x: Tensor, ndim: int) -> Tensor:
    """A vector (C,) that broadcasts over (B, C, *S)."""
    return x.reshape(-1, *(1,) * (ndim - 2))


@operator("BatchNormalization")
def batch_normalization(node, x, scale, bias, mean, var):
    eps = node.get("epsilon", 1e-5)
    training = node.get("training_mode", 0)
    if training:
        axes = (0, *range(2, x.ndim))
        now = x.mean(axes)
        spread = ((x - _channels(now, x.ndim)) ** 2).mean(axes)
        keep = node.get("momentum", 0.9)
        running = tuple(
            [old * keep + new * (1 - keep) for old, new in ((mean, now), (var, spread))]
        )
        mean, var = now, spread
    elif {t.dtype for t in (scale, bias, mean, var)} == {x.dtype}:
        return F.batch_norm(x, mean, var, scale, bias, False, 0.0, eps)
    factor = to_dtype(scale, x.dtype) / F.sqrt(to_dtype(var, x.dtype) + eps)
    centred = x - _channels(to_dtype(mean, x.dtype), x.ndim)
    out = centred * _channels(factor, x.ndim) + _channels(to_dtype(bias, x.dtype), x.ndim)
    return (out, *running) if training else out


def _standard(x: Tensor, axes, eps: float):
    """x with mean 0 and variance 1 over axes, the mean and 1 / the standard deviation."""
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    rstd = 1.0 / F.sqrt((centred * centred).mean(axes, keepdim=True) + eps)
    return centred * rstd, mean, rstd


@operator("LayerNormalization")
def layer_normalization(node, x, scale, bias=None):
    axis = axis_of(node.get("axis", -1), x.ndim, node)
    eps = node.get("epsilon", 1e-5)
    shape = x.shape[axis:]
    plain = scale.shape == shape and (bias is None or bias.shape == shape)
    if plain and x.dtype == scale.dtype and not (node.wants(1) or node.wants(2)):
        return F.layer_norm(x, shape, scale, bias, eps)
    wide = to_dtype(x, np.float32) if x.dtype == np.float16 else x
    out, mean, rstd = _standard(wide, tuple(range(axis, x.ndim)), eps)
    out = to_dtype(out, x.dtype) * scale
    return (out if bias is None else out + bias), mean, rstd


@operator("RMSNormalization")
def rms_normalization(node, x, scale):
    axis = axis_of(node.get("axis", -1), x.ndim, node)
    wide = to_dtype(x, np.float32) if x.dtype == np.float16 else x
    axes = tuple(range(axis, x.ndim))
    root = F.sqrt((wide * wide).mean(axes, keepdim=True) + node.get("epsilon", 1e-5))
    return to_dtype(wide / root, x.dtype) * scale


@operator("InstanceNormalization")
def instance_normalization(node, x, scale, bias):
    out, _, _ = _standard(x, tuple(range(2, x.ndim)), node.get("epsilon", 1e-5))
    return out * _channels(scale, x.ndim) + _channels(bias, x.ndim)


@operator("GroupNormalization")
def group_normalization(node, x, scale, bias):
    """Scale and bias are one a channel; before opset 21 one a group."""
    groups = node.get("num_groups")
    parts = x.reshape(x.shape[0], groups, -1)
    out, _, _ = _standard(parts, (2,), node.get("epsilon", 1e-5))
    if scale.shape[0] == groups != x.shape[1]:
        return (out * scale.reshape(-1, 1) + bias.reshape(-1, 1)).reshape(x.shape)
    return out.reshape(x.shape) * _channels(scale, x.ndim) + _channels(bias, x.ndim)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node, x):
    axes = tuple(node.get("axes", [0, 2, 3]))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (F.sqrt((centred * centred).mean(axes, keepdim=True)) + 1e-9)


@operator("LRN")
def lrn(node, x):
    """x / (bias + alpha / size * sum of the squares of `size` channels around)^beta."""
    size = node.get("size")
    squares = padded(x * x, 1, (size - 1) // 2, size - 1 - (size - 1) // 2, "constant")
    total = squares.unfold(1, size, 1).sum(-1)
    scale = total * (node.get("alpha", 1e-4) / size) + node.get("bias", 1.0)
    return x / F.pow(scale, node.get("beta", 0.75))
