"""A batch norm in eval() folded into the layer before it: one pass less at inference."""

from copy import deepcopy
from typing import Any

import numpy as np

from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.typing import Array

__all__ = [
    "fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights",
]  # fmt: skip


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A convolution that computes bn(conv(x)), both in eval(); they stay as they are.

        weight' = weight gamma / sqrt(var + eps)            for each output channel
        bias'   = (bias - mean) gamma / sqrt(var + eps) + beta

    transpose: conv is a transposed convolution, whose output channels are axis 1.
    """
    return _fused("fuse_conv_bn_eval", conv, bn, transpose)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A Linear that computes bn(linear(x)); see `fuse_conv_bn_eval`."""
    features = linear.weight.shape[0]
    if bn.num_features not in (features, 1):
        raise ValueError(
            f"fuse_linear_bn_eval: bn has {bn.num_features} features, the layer {features} outputs"
        )
    return _fused("fuse_linear_bn_eval", linear, bn, False)


def _fused(name: str, layer: Module, bn: Any, transpose: bool) -> Any:
    if layer.training or bn.training:
        raise RuntimeError(
            f"{name}: call eval() on both first: in training bn uses the batch's own statistics"
        )
    if bn.running_mean is None or bn.running_var is None:
        raise RuntimeError(f"{name}: bn keeps no running statistics (track_running_stats=False)")
    fused: Any = deepcopy(layer)
    weight, bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias,
        transpose,
    )  # fmt: skip
    fused.weight, fused.bias = weight, bias
    return fused


def fuse_conv_bn_weights(
    conv_w: Any,
    conv_b: Any,
    bn_rm: Any,
    bn_rv: Any,
    bn_eps: float,
    bn_w: Any,
    bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """(weight', bias') of `fuse_conv_bn_eval`, new parameters; conv_b, bn_w, bn_b may be None."""
    weight: Array = conv_w.array
    mean, variance = bn_rm.array, bn_rv.array
    gamma = np.ones_like(mean) if bn_w is None else bn_w.array
    beta = np.zeros_like(mean) if bn_b is None else bn_b.array
    bias = np.zeros_like(mean) if conv_b is None else conv_b.array
    scale = gamma / np.sqrt(variance + variance.dtype.type(bn_eps))  # (channels,)
    shape = [1] * weight.ndim
    shape[1 if transpose else 0] = -1
    new_weight = (weight * scale.reshape(shape)).astype(weight.dtype)
    new_bias = ((bias - mean) * scale + beta).astype(weight.dtype)
    needs = conv_w.requires_grad
    return Parameter(new_weight, needs), Parameter(new_bias, needs)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """`fuse_conv_bn_weights` for a Linear."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
