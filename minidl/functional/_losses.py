"""What the losses share: reading `reduction`, and operands of one shape."""

from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.functional._common import common_dtype


def reduction_of(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """`reduction`, or what PyTorch's older arguments say in its place."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def reduced(loss: Tensor, reduction: str, count: Any = None) -> Tensor:
    """The loss's mean (over `count` if given), sum, or itself."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean() if count is None else loss.sum() / count
    raise ValueError(f"reduction={reduction!r} is not known: give 'mean', 'sum' or 'none'")


def paired(name: str, input: Tensor, target: Tensor) -> list[Tensor]:
    """Two operands that broadcast, in one dtype."""
    if input.array.shape != target.array.shape:
        try:
            np.broadcast_shapes(input.shape, target.shape)
        except ValueError:
            raise ValueError(
                f"{name}: input {input.shape} and target {target.shape} do not broadcast; "
                "give both one shape"
            ) from None
    if input.array.dtype is target.array.dtype:
        return [input, target]
    return common_dtype(input, target)


def weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The loss of weighted elements; its mean is over the sum of weights."""
    if weight is None:
        return reduced(loss, reduction)
    if weight.shape != loss.shape:
        try:
            weight = weight.expand(loss.shape)
        except RuntimeError:
            raise ValueError(
                f"loss: weight {weight.shape} does not broadcast to the loss's shape {loss.shape}"
            ) from None
    return reduced(loss * weight, reduction, weight.sum() if reduction == "mean" else None)
