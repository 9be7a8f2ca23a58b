"""Losses of classes: cross-entropies, divergences, margins.

`reduction` is "mean", "sum" or "none" in all of them.
"""

import math
from typing import Any

import numpy as np

from minidl._apply import apply, apply2
from minidl._tensor import Tensor
from minidl.functional._common import common_dtype, in_float32
from minidl.functional._losses import paired, reduced, reduction_of
from minidl.functional.activation import logsigmoid
from minidl.functional.layers import linear
from minidl.ops import losses as ops
from minidl.typing import Array

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "linear_cross_entropy",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "soft_margin_loss",
]


@in_float32
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target]: input (N, K, ...) logits, or (K,).

    target: classes (N, ...), or probabilities of input's shape. weight (K,): the mean is then the
    weighted mean. Rows of class ignore_index count for nothing.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be 0 to 1, got {label_smoothing}")
    if target.dtype.kind == "f":
        return _cross_entropy_of_shares(input, target, weight, reduction, label_smoothing)
    rows, classes, shape = _rows_and_classes("cross_entropy", input, target, ignore_index)
    weights = _class_weights("cross_entropy", weight, rows.shape[1], rows.dtype)
    loss = apply(
        ops.CrossEntropy, rows, classes, weights,
        label_smoothing=float(label_smoothing), ignore_index=ignore_index,
    )  # fmt: skip
    return _class_reduced(loss, classes, weight, shape, reduction, ignore_index)


@in_float32
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """cross_entropy(linear(input, linear_weight, linear_bias), target, ...), without the logits.

    input (N, D) or (D,); linear_weight (K, D), or (K, d1, ..., D) with targets (N, d1, ...);
    linear_bias (K, d1, ...). Where there are more classes than features, no more than a few rows'
    logits are held at a time; PyTorch's `options`, which ask for that, are not needed.
    """
    name, wide = "linear_cross_entropy", linear_weight.shape
    if input.ndim not in (1, 2) or linear_weight.ndim < 2 or input.shape[-1] != wide[-1]:
        raise ValueError(
            f"{name}: input must be (N, D) or (D,) and linear_weight (K, ..., D), got "
            f"{input.shape} and {wide}"
        )
    if linear_bias is not None and linear_bias.shape != wide[:-1]:
        raise ValueError(f"{name}: linear_bias must be {wide[:-1]}, got {linear_bias.shape}")
    if linear_weight.ndim > 2 and input.ndim == 1:
        raise ValueError(f"{name}: linear_weight {wide} needs input (N, {wide[-1]}), not (D,)")
    shape = (*input.shape[:-1], *wide[:-1])  # of the logits
    if target.shape == shape and target.dtype.kind == "f" and ignore_index is not None:
        raise ValueError(f"{name}: ignore_index has no meaning where targets are probabilities")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must be 0 to 1, got {label_smoothing}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction={reduction!r} is not known: give 'mean', 'sum' or 'none'")
    ignore = -100 if ignore_index is None else ignore_index
    same = input.dtype == linear_weight.dtype
    if linear_bias is not None:
        same = same and linear_bias.dtype == input.dtype
    if target.dtype.kind == "f" or len(wide) > 2 or wide[0] <= wide[1] or not same:
        table = linear_weight.reshape(-1, wide[-1])
        bias = None if linear_bias is None else linear_bias.reshape(-1)
        logits = linear(input, table, bias).reshape(shape)
        return cross_entropy(
            logits, target, weight, ignore_index=ignore, reduction=reduction,
            label_smoothing=label_smoothing,
        )  # fmt: skip
    rows = input if input.ndim == 2 else input.reshape(1, -1)
    if target.shape != input.shape[:-1]:
        raise ValueError(
            f"{name}: input {input.shape} needs target classes {input.shape[:-1]}, "
            f"got {target.shape}"
        )
    classes = _classes_inside(name, target, wide[0], ignore)
    loss = apply(
        ops.LinearCrossEntropy, rows, linear_weight, linear_bias, classes,
        _class_weights(name, weight, wide[0], input.dtype),
        label_smoothing=float(label_smoothing), ignore_index=ignore, reduction=reduction,
        ahead=input.requires_grad and linear_weight.requires_grad,
    )  # fmt: skip
    return loss.reshape(()) if reduction == "none" and input.ndim == 1 else loss


def _rows_and_classes(
    name: str, input: Tensor, target: Tensor, ignore_index: int | None
) -> tuple[Tensor, Array, tuple[int, ...]]:
    """Logits as (N, K) rows, classes as (N,), and the shape of the losses."""
    if not input.ndim:
        raise ValueError(f"{name}: input must be (N, K, ...) or (K,), got ()")
    axis = 0 if input.ndim == 1 else 1
    rest = input.shape[:axis] + input.shape[axis + 1 :]
    if target.shape != rest:
        raise ValueError(
            f"{name}: input {input.shape} needs target classes {rest}, got {target.shape}"
        )
    count = input.shape[axis]
    classes = _classes_inside(name, target, count, ignore_index)
    if input.ndim == 2:
        return input, classes, rest
    rows = input
    if input.ndim > 2:
        rows = input.reshape(*input.shape[:2], math.prod(input.shape[2:])).swapaxes(1, 2)
    return rows.reshape(len(classes), count), classes, rest


def _classes_inside(name: str, target: Tensor, count: int, ignore_index: int | None) -> Array:
    """Targets as int64 in one axis, all of them classes or ignore_index."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: classes must be integers, got {target.dtype}; use .long()")
    classes = np.ascontiguousarray(target.array, dtype=np.int64).reshape(-1)
    inside = not classes.size or (classes.min() >= 0 and classes.max() < count)
    if (
        not inside
        and (wrong := ((classes < 0) | (classes >= count)) & (classes != ignore_index)).any()
    ):
        place = int(np.argmax(wrong))
        raise IndexError(
            f"{name}: target {classes[place]} at place {place} is outside 0 to {count - 1}; "
            f"input has {count} classes"
        )
    return classes


def _class_weights(name: str, weight: Tensor | None, count: int, dtype: Any) -> Tensor:
    if weight is None:
        return Tensor(np.ones(count, dtype))
    if weight.requires_grad:
        raise ValueError(f"{name}: weight has no derivative; give weight.detach()")
    if weight.shape != (count,):
        raise ValueError(f"{name}: weight must be ({count},), got {weight.shape}")
    return Tensor(np.ascontiguousarray(weight.array, dtype=dtype))


def _class_reduced(
    loss: Tensor, classes: Array, weight: Tensor | None, shape: Any, reduction: str, ignore: int
) -> Tensor:
    if reduction == "none":
        return loss.reshape(shape)
    if reduction != "mean":
        return reduced(loss, reduction)
    kept = classes != ignore
    if weight is not None:
        weights = weight.array[np.where(kept, classes, 0)] * kept
        return loss.sum() / _number(weights.sum(dtype=np.float64), loss)
    return loss.mean() if kept.all() else loss.sum() / _number(kept.sum(), loss)


def _number(x: Any, like: Tensor) -> Tensor:
    """A number of NumPy's as a tensor: a captured step sees that it depends on the data."""
    return Tensor(np.asarray(x, like.dtype))


def _cross_entropy_of_shares(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    if input.shape != target.shape:
        raise ValueError(
            f"cross_entropy: floating point targets are probabilities and must have input's shape "
            f"{input.shape}, got {target.shape}; for classes give integers"
        )
    axis = 0 if input.ndim == 1 else 1
    if smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[axis]
    parts = input.log_softmax(axis) * target
    if weight is not None:
        parts = parts * weight.reshape(-1, *[1] * (input.ndim - axis - 1))
    return reduced(-parts.sum(axis), reduction)


@in_float32
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight[target] input[target]: input (N, K, ...) log-probabilities, or (K,)."""
    reduction = reduction_of(reduction, size_average, reduce)
    rows, classes, shape = _rows_and_classes("nll_loss", input, target, ignore_index)
    weights = _class_weights("nll_loss", weight, rows.shape[1], rows.dtype)
    kept = classes != ignore_index
    safe = np.where(kept, classes, 0)
    picked = rows.take_flat(np.arange(len(classes)) * rows.shape[1] + safe)
    loss = -(picked.masked(kept)) * Tensor(weights.array[safe] * kept)
    return _class_reduced(loss, classes, weight, shape, reduction, ignore_index)


@in_float32
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-t log(p) - (1 - t) log(1 - p) of probabilities p; logarithms are cut at -100."""
    reduction = reduction_of(reduction, size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(
            f"binary_cross_entropy: target must have input's shape {input.shape}, "
            f"got {target.shape}"
        )
    if input.array.size and not (input.array.min() >= 0 and input.array.max() <= 1):
        raise ValueError(
            "binary_cross_entropy: input must be probabilities from 0 to 1; "
            "for logits use binary_cross_entropy_with_logits"
        )
    log_p, log_q = input.log().clamp_min(-100.0), (1 - input).log().clamp_min(-100.0)
    loss = -(target * log_p + (1 - target) * log_q)
    return reduced(loss if weight is None else loss * weight, reduction)


@in_float32
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of logits, without overflow; pos_weight multiplies the t part."""
    reduction = reduction_of(reduction, size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(
            "binary_cross_entropy_with_logits: target must have input's shape "
            f"{input.shape}, got {target.shape}"
        )
    if pos_weight is None:
        loss = apply2(ops.BCEWithLogits, *common_dtype(input, target))
    else:
        # (1 - t) x + (1 + (w - 1) t) log(1 + e^-x)
        loss = (1 - target) * input + ((pos_weight - 1) * target + 1) * -logsigmoid(input)
    return reduced(loss if weight is None else loss * weight, reduction)


@in_float32
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """t (log t - input): input are log-probabilities, target probabilities (or their logarithms).

    "batchmean" divides the sum by the first axis.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    input, target = paired("kl_div", input, target)
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = target.xlogy(target) - target * input
    if reduction == "batchmean":
        return loss.sum() / float(input.shape[0] if input.ndim else 1)
    return reduced(loss, reduction)


@in_float32
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^(-t x)), t in {-1, 1}."""
    reduction = reduction_of(reduction, size_average, reduce)
    input, target = paired("soft_margin_loss", input, target)
    return reduced(-logsigmoid(target * input), reduction)


@in_float32
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum_{k != t} weight_t max(0, margin - x_t + x_k)^p / K: input (N, K) or (K,), p 1 or 2."""
    reduction = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, got {p}")
    input = input if input.ndim else input.reshape(1)
    if input.ndim not in (1, 2):
        raise ValueError(f"multi_margin_loss: input must be (N, K) or (K,), got {input.shape}")
    if input.ndim == 1 and target.shape == (1,):
        target = target.reshape(())
    rows, classes, shape = _rows_and_classes("multi_margin_loss", input, target, None)
    weights = _class_weights("multi_margin_loss", weight, rows.shape[1], rows.dtype)
    count, size = rows.shape
    right = rows.take_flat(np.arange(count) * size + classes).reshape(count, 1)
    others = np.arange(size) != classes[:, None]  # (N, K)
    gap = (rows - right + margin).masked(others).clamp_min(0)
    loss = (gap if p == 1 else gap * gap).sum(1) * Tensor(weights.array[classes] / size)
    return reduced(loss.reshape(shape), reduction)


@in_float32
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over the K labels of -t log s(x) - (1 - t) log(1 - s(x)), s the sigmoid; (..., K)."""
    reduction = reduction_of(reduction, size_average, reduce)
    if input.shape != target.shape or not input.ndim:
        raise ValueError(
            "multilabel_soft_margin_loss: input and target must have one shape (..., K), got "
            f"{input.shape} and {target.shape}"
        )
    loss = apply2(ops.BCEWithLogits, *common_dtype(input, target))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(-1) / float(input.shape[-1]), reduction)
