"""Losses of numbers: squared and absolute errors, and likelihoods of counts and measurements.

`reduction` is "mean", "sum" or "none" in all of them.
"""

from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.functional._common import in_float32
from minidl.functional._losses import paired, reduced, reduction_of, weighted

__all__ = [
    "gaussian_nll_loss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


@in_float32
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2. With weights, the mean is over their sum."""
    reduction = reduction_of(reduction, size_average, reduce)
    x, t = paired("mse_loss", input, target)
    difference = x - t
    loss = difference * difference
    return weighted(loss, weight, reduction)


@in_float32
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|; the derivative at 0 is 0. With weights, the mean is over their sum."""
    reduction = reduction_of(reduction, size_average, reduce)
    x, t = paired("l1_loss", input, target)
    return weighted((x - t).abs(), weight, reduction)


@in_float32
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2 (Girshick 2015, Fast R-CNN, eq. 3)."""
    reduction = reduction_of(reduction, size_average, reduce)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    x, t = paired("smooth_l1_loss", input, target)
    return reduced(_huber(x - t, beta) / beta, reduction)


@in_float32
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2) (Huber 1964).

    weight: a factor for each element. As in PyTorch the mean is then over the number of elements,
    not over the sum of weights as in `mse_loss`.
    """
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    x, t = paired("huber_loss", input, target)
    return reduced(weighted(_huber(x - t, delta), weight, "none"), reduction)


def _huber(difference: Tensor, delta: float) -> Tensor:
    """Both pieces in one: c (|d| - c / 2) with c = min(|d|, delta)."""
    size = difference.abs()
    clipped = size.clamp_max(delta)
    return clipped * (size - clipped * 0.5)


@in_float32
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """e^x - t x (x the log-rate), or x - t log(x + eps); full adds Stirling's term for t > 1."""
    reduction = reduction_of(reduction, size_average, reduce)
    input, target = paired("poisson_nll_loss", input, target)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        above = target.masked(target.array > 1) + Tensor((target.array <= 1).astype(target.dtype))
        stirling = above * above.log() - above + 0.5 * (2 * np.pi * above).log()
        loss = loss + stirling.masked(target.array > 1)
    return reduced(loss, reduction)


@in_float32
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log v + (x - t)^2 / v) / 2 with v = max(var, eps); full adds log(2 pi) / 2.

    The cut of var is not part of the derivative, as in PyTorch.
    """
    if not isinstance(var, Tensor):
        var = Tensor(np.full(input.shape, var, input.dtype))
    if (var.array < 0).any():
        raise ValueError("gaussian_nll_loss: var must not be negative")
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = var.reshape(*var.shape, 1)
        elif var.ndim != input.ndim or [v for n, v in zip(input.shape, var.shape) if n != v] != [1]:
            raise ValueError(
                f"gaussian_nll_loss: var must be {input.shape}, or with 1 as one of its sizes or "
                f"without the last, got {var.shape}"
            )
    lift = np.maximum(eps - var.array, 0).astype(var.dtype)  # a constant: brings var up to eps
    v = var + Tensor(lift)
    x, t = paired("gaussian_nll_loss", input, target)
    difference = x - t
    loss = 0.5 * (v.log() + difference * difference / v)
    if full:
        loss = loss + 0.5 * float(np.log(2 * np.pi))
    return reduced(loss, reduction)
