"""Softmax, its relatives, and attention weights."""

from typing import Any

import numpy as np

from minidl._apply import apply1, cast
from minidl._tensor import Tensor, method
from minidl.dtypes import as_dtype
from minidl.functional._common import in_float32, one_axis
from minidl.ops import softmax as ops

__all__ = ["gumbel_softmax", "log_softmax", "softmax", "softmin"]


@method
@in_float32
def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """e^x / sum(e^x) along `dim` (Bridle 1990)."""
    return _along(ops.Softmax, input, dim, dtype, "softmax")


@method
@in_float32
def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """x - log(sum(e^x)) along `dim`."""
    return _along(ops.LogSoftmax, input, dim, dtype, "log_softmax")


@in_float32
def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """Softmax of -x along `dim`."""
    return softmax(-input, dim, dtype)


@in_float32
def gumbel_softmax(
    logits: Tensor,
    tau: float = 1.0,
    hard: bool = False,
    dim: int = -1,
    *,
    generator: "np.random.Generator | None" = None,
) -> Tensor:
    """Nearly one-hot draws from a softmax, with a gradient: softmax((logits + g) / tau).

    g = -log(e), e from the standard exponential distribution: Gumbel noise, so the largest entry
    falls on k with probability softmax(logits)_k. hard: exactly one-hot, with the gradient of the
    soft draw (straight through). Jang, Gu & Poole 2017; Maddison, Mnih & Teh 2017.
    """
    if not tau > 0:
        raise ValueError(f"gumbel_softmax: tau must be greater than 0, got {tau}")
    from minidl.random import generator_or_default  # loads numpy.random: not with the package

    rng = generator_or_default("gumbel_softmax", generator)
    noise = rng.standard_exponential(logits.shape, np.float32).astype(logits.dtype)
    tiny = np.finfo(noise.dtype).tiny  # e may be drawn as 0
    soft = softmax((logits - Tensor(np.log(np.maximum(noise, tiny)))) / tau, dim)
    if not hard:
        return soft
    axis = one_axis(dim, logits.ndim, "gumbel_softmax")
    draw = np.zeros_like(soft.array)
    np.put_along_axis(draw, np.expand_dims(soft.array.argmax(axis), axis), 1, axis)
    return Tensor(draw) - soft.detach() + soft


def _along(op: Any, input: Tensor, dim: int | None, dtype: Any, name: str) -> Tensor:
    if dtype is not None:
        input = cast(input, as_dtype(dtype))
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: floating point is needed, got {input.dtype}; use .float()")
    if dim is None:  # PyTorch's old rule, kept by its functions
        dim = 0 if input.ndim in (0, 1, 3) else 1
    axis = one_axis(dim, input.ndim, name)
    if not input.ndim:
        return apply1(op, input.reshape(1)).reshape(())
    if not input.array.size:
        return input * 1
    if axis == input.ndim - 1:
        return apply1(op, input)
    return apply1(op, input.swapaxes(axis, -1)).swapaxes(axis, -1)
