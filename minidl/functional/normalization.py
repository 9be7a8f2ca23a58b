"""Normalisation: over last axes, over a batch, over groups of channels, over neighbouring channels.

float16 is computed in float32 and rounded once, at the end.
"""

import math
from typing import Any

import numpy as np

from minidl._apply import apply, cast
from minidl._tensor import Tensor
from minidl.dtypes import float16, float32
from minidl.functional._common import in_float32
from minidl.functional.joining import cat
from minidl.ops import channel_norm as channel_ops
from minidl.ops import norm as ops

__all__ = [
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "normalize",
    "rms_norm",
]  # fmt: skip


def _checked(name: str, input: Tensor, sizes: Any, **parameters: Tensor | None) -> bool:
    """Raise unless x is floating point and parameters fit; whether all are to become float32."""
    dtype = input.array.dtype
    if dtype.kind != "f":
        raise TypeError(f"{name}: floating point is needed, got {dtype}; use .float()")
    for what, t in parameters.items():
        if t is not None and t.shape != sizes:
            raise ValueError(f"{name}: {what} must be {sizes}, got {t.shape}")
        if t is not None and t.dtype != dtype and (dtype, t.dtype) != (float16, float32):
            raise TypeError(
                f"{name}: input {dtype} and {what} {t.dtype} differ; bring both to one "
                "dtype, for example with .float() or model.double()"
            )
    return dtype == float16


def _single(*tensors: Tensor | None) -> list[Any]:
    return [None if t is None else cast(t, float32) for t in tensors]


def _ones(t: Tensor | None, sizes: Any, dtype: np.dtype) -> Tensor:
    return Tensor(np.ones(sizes, dtype)) if t is None else t


def _zeros(t: Tensor | None, sizes: Any, dtype: np.dtype) -> Tensor:
    return Tensor(np.zeros(sizes, dtype)) if t is None else t


# over the last axes


def _last_axes(name: str, input: Tensor, normalized_shape: Any) -> tuple[int, ...]:
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not sizes or input.shape[-len(sizes) :] != sizes:
        raise ValueError(f"{name}: x must end with normalized_shape {sizes}, got {input.shape}")
    return sizes


def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Zero mean and unit variance over the last axes, `normalized_shape`, then weight and bias."""
    sizes = _last_axes("layer_norm", input, normalized_shape)
    if _checked("layer_norm", input, sizes, weight=weight, bias=bias):
        x, weight, bias = _single(input, weight, bias)
        return cast(layer_norm(x, sizes, weight, bias, eps), float16)
    weight, bias = _ones(weight, sizes, input.dtype), _zeros(bias, sizes, input.dtype)
    if len(sizes) == 1:
        return apply(ops.LayerNorm, input, weight, bias, eps=eps)
    width = math.prod(sizes)
    rows = input.reshape(*input.shape[: -len(sizes)], width)
    out = apply(ops.LayerNorm, rows, weight.reshape(width), bias.reshape(width), eps=eps)
    return out.reshape(input.shape)


def rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last axes (Zhang & Sennrich 2019, arXiv:1910.07467).

    eps None: the smallest step from 1 of x's dtype, of float32 for float16.
    """
    sizes = _last_axes("rms_norm", input, normalized_shape)
    if _checked("rms_norm", input, sizes, weight=weight):
        single = _single(input, weight)
        return cast(rms_norm(single[0], sizes, single[1], eps), float16)
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    weight = _ones(weight, sizes, input.dtype)
    if len(sizes) == 1:
        return apply(ops.RMSNorm, input, weight, eps=eps)
    width = math.prod(sizes)
    rows = input.reshape(*input.shape[: -len(sizes)], width)
    return apply(ops.RMSNorm, rows, weight.reshape(width), eps=eps).reshape(input.shape)


@in_float32
def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """x / max(||x||_p, eps) along `dim`."""
    if p == 2 and dim in (-1, input.ndim - 1) and input.shape[-1] and input.dtype.kind == "f":
        return apply(ops.UnitRows, input, eps=eps)  # 1,024 x 64 both ways: 60 µs, not 300
    return input / input.norm(p, dim, keepdim=True).clamp_min(eps)


# by channel


def _channels(name: str, input: Tensor) -> int:
    if input.ndim < 2:
        raise ValueError(f"{name}: x must be (N, C, ...), got {input.shape}")
    return input.shape[1]


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Zero mean and unit variance of each channel of x (N, C, ...), then weight and bias (C,).

    training: the statistics are the batch's, and running statistics move towards them in place,
    r <- (1 - momentum) r + momentum s, the variance as its unbiased estimate. Otherwise the running
    statistics are used (Ioffe & Szegedy 2015, arXiv:1502.03167).
    """
    if not input.array.size and input.ndim < 2:
        return input.clone()  # as PyTorch does: nothing in, nothing out
    channels = _channels("batch_norm", input)
    running = {"running_mean": running_mean, "running_var": running_var}
    for what, t in running.items():
        if t is not None and t.shape != (channels,):
            raise ValueError(f"batch_norm: {what} must be ({channels},), got {t.shape}")
        if t is None and not training:
            raise ValueError(f"batch_norm: {what} is needed unless training=True")
    if _checked("batch_norm", input, (channels,), weight=weight, bias=bias):
        x, weight, bias = _single(input, weight, bias)
        out = batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        return cast(out, float16)
    weight, bias = _ones(weight, channels, input.dtype), _zeros(bias, channels, input.dtype)
    if not training:
        assert running_mean is not None
        assert running_var is not None
        centre = running_mean.array.astype(input.dtype, copy=False)
        scale = weight * (cast(running_var, input.dtype) + eps).rsqrt()
        return apply(channel_ops.ChannelAffine, input, centre, scale, bias)
    count = input.shape[0] * math.prod(input.shape[2:])
    if count == 1:
        raise ValueError(
            f"batch_norm: x {input.shape} has one value a channel, which has no variance: training "
            "needs more than 1; use a larger batch, or eval()"
        )
    out, mean, var = apply(channel_ops.BatchNorm, input, weight, bias, eps=eps)
    if count:
        _move(running_mean, mean.array, momentum)
        _move(running_var, var.array * (count / (count - 1)), momentum)
    return out


def _move(running: Tensor | None, now: Any, momentum: float) -> None:
    """running <- (1 - momentum) running + momentum now, in place."""
    if running is None:
        return
    running.array[...] = (1 - momentum) * running.array + momentum * now
    running.version[0] += 1


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Zero mean and unit variance of each sample's groups of channels, then weight and bias (C,).

    Wu & He 2018, arXiv:1803.08494.
    """
    channels = _channels("group_norm", input)
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm: the {channels} channels of x {input.shape} cannot be split into "
            f"num_groups={num_groups} of equal size"
        )
    if _checked("group_norm", input, (channels,), weight=weight, bias=bias):
        x, weight, bias = _single(input, weight, bias)
        return cast(group_norm(x, num_groups, weight, bias, eps), float16)
    if input.array.size == num_groups and input.shape[0] == 1:
        raise ValueError(
            f"group_norm: x {input.shape} has one value a group, which has no variance: more than "
            "1 is needed"
        )
    weight, bias = _ones(weight, channels, input.dtype), _zeros(bias, channels, input.dtype)
    return apply(channel_ops.GroupNorm, input, weight, bias, groups=num_groups, eps=eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Zero mean and unit variance of each channel of each sample, then weight and bias (C,).

    use_input_stats=False: with the running statistics, as batch_norm. Otherwise running statistics
    move towards the mean over the samples (Ulyanov et al. 2016, arXiv:1607.08022).
    """
    channels = _channels("instance_norm", input)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    length = math.prod(input.shape[2:])
    if length == 1:
        raise ValueError(
            f"instance_norm: x {input.shape} has one value a channel, which has no variance: more "
            "than 1 spatial element is needed"
        )
    if running_mean is not None or running_var is not None:
        planes = input.array.reshape(*input.shape[:2], length).astype(np.float64)
        if planes.size:
            _move(running_mean, planes.mean(axis=2).mean(axis=0), momentum)
            _move(running_var, planes.var(axis=2, ddof=1).mean(axis=0), momentum)
    if _checked("instance_norm", input, (channels,), weight=weight, bias=bias):
        x, weight, bias = _single(input, weight, bias)
        return cast(instance_norm(x, None, None, weight, bias, True, momentum, eps), float16)
    weight, bias = _ones(weight, channels, input.dtype), _zeros(bias, channels, input.dtype)
    return apply(channel_ops.GroupNorm, input, weight, bias, groups=channels, eps=eps)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha mean(x^2 of the `size` channels around))^beta.

    Channels outside count as 0; of an even size one more lies before. Krizhevsky, Sutskever &
    Hinton 2012, section 3.3, where the sum stands in place of the mean.
    """
    if input.ndim < 3:
        raise ValueError(f"local_response_norm: x must be (N, C, L, ...), got {input.shape}")
    if size < 1:
        raise ValueError(f"local_response_norm: size must be 1 or more, got {size}")
    if _checked("local_response_norm", input, ()):
        return cast(local_response_norm(cast(input, float32), size, alpha, beta, k), float16)
    if not input.array.size:
        return input.clone()
    before, after = size // 2, (size - 1) // 2
    channels = input.shape[1]
    square = input * input
    total = square
    for step in range(1, min(max(before, after), channels - 1) + 1):
        edge = Tensor(np.zeros((input.shape[0], step, *input.shape[2:]), input.dtype))
        if step <= before:
            total = total + cat([edge, square[:, : channels - step]], 1)
        if step <= after:
            total = total + cat([square[:, step:], edge], 1)
    return input / (total * (alpha / size) + k) ** beta
