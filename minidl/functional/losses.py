"""Losses: what a model's output costs, given what it should have been.

`reduction` is "mean", "sum" or "none" in all of them.
"""

from typing import Any

import numpy as np

from minidl._tensor import Tensor, apply, apply2
from minidl.functional._common import common_dtype
from minidl.ops import losses as ops
from minidl.typing import Array

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "bpr_loss",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "nll_loss",
    "pairwise_distance",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
]


def _reduced(loss: Tensor, reduction: str, count: Any = None) -> Tensor:
    """The loss's mean (over `count` if given), sum, or itself."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        if count is not None:
            return loss.sum() / count
        return loss.sum() / float(loss.array.size) if loss.array.size else loss.sum() / 0.0
    raise ValueError(f"reduction={reduction!r} is not known: give 'mean', 'sum' or 'none'")


def _pair(name: str, input: Tensor, target: Tensor) -> list[Tensor]:
    if input.shape != target.shape:
        try:
            np.broadcast_shapes(input.shape, target.shape)
        except ValueError:
            raise ValueError(
                f"{name}: input {input.shape} and target {target.shape} do not broadcast; "
                "give both one shape"
            ) from None
    return common_dtype(input, target)


def mse_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """(input - target)^2."""
    x, t = _pair("mse_loss", input, target)
    difference = x - t
    loss = difference * difference
    return _weighted(loss, weight, reduction)


def l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """|input - target|; the derivative at 0 is 0."""
    x, t = _pair("l1_loss", input, target)
    return _weighted((x - t).abs(), weight, reduction)


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return _reduced(loss, reduction)
    return _reduced(loss * weight, reduction, weight.sum() if reduction == "mean" else None)


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2 (Girshick 2015, Fast R-CNN, eq. 3)."""
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    x, t = _pair("smooth_l1_loss", input, target)
    return _reduced(_huber(x - t, beta) / beta, reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2) (Huber 1964)."""
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    x, t = _pair("huber_loss", input, target)
    return _weighted(_huber(x - t, delta), weight, reduction)


def _huber(difference: Tensor, delta: float) -> Tensor:
    """Both pieces in one: c (|d| - c / 2) with c = min(|d|, delta)."""
    size = difference.abs()
    clipped = size.clamp_max(delta)
    return clipped * (size - clipped * 0.5)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target]: input (N, K, ...) logits, or (K,).

    target: classes (N, ...), or probabilities of input's shape. weight (K,): the mean is then the
    weighted mean. Rows of class ignore_index count for nothing.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be 0 to 1, got {label_smoothing}")
    if target.dtype.kind == "f":
        return _cross_entropy_of_shares(input, target, weight, reduction, label_smoothing)
    rows, classes, shape = _rows_and_classes("cross_entropy", input, target, ignore_index)
    weights = _class_weights("cross_entropy", weight, rows)
    loss = apply(
        ops.CrossEntropy, rows, classes, weights,
        label_smoothing=float(label_smoothing), ignore_index=ignore_index,
    )  # fmt: skip
    return _class_reduced(loss, classes, weights, shape, reduction, ignore_index)


def _rows_and_classes(
    name: str, input: Tensor, target: Tensor, ignore_index: int
) -> tuple[Tensor, Array, tuple[int, ...]]:
    """Logits as (N, K) rows, classes as (N,), and the shape of the losses."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: classes must be integers, got {target.dtype}; use .long()")
    if not input.ndim:
        raise ValueError(f"{name}: input must be (N, K, ...) or (K,), got ()")
    axis = 0 if input.ndim == 1 else 1
    rest = input.shape[:axis] + input.shape[axis + 1 :]
    if target.shape != rest:
        raise ValueError(
            f"{name}: input {input.shape} needs target classes {rest}, got {target.shape}"
        )
    count = input.shape[axis]
    classes = np.ascontiguousarray(target.array, dtype=np.int64).reshape(-1)
    wrong = ((classes < 0) | (classes >= count)) & (classes != ignore_index)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise IndexError(
            f"{name}: target {classes[place]} at place {place} is outside 0 to {count - 1}; "
            f"input has {count} classes"
        )
    rows = input
    if input.ndim > 2:
        rows = input.reshape(*input.shape[:2], -1).swapaxes(1, 2)
    return rows.reshape(len(classes), count), classes, rest


def _class_weights(name: str, weight: Tensor | None, rows: Tensor) -> Tensor:
    if weight is None:
        return Tensor(np.ones(rows.shape[1], rows.dtype))
    if weight.shape != (rows.shape[1],):
        raise ValueError(f"{name}: weight must be ({rows.shape[1]},), got {weight.shape}")
    return Tensor(np.ascontiguousarray(weight.array, dtype=rows.dtype))


def _class_reduced(
    loss: Tensor, classes: Array, weights: Tensor, shape: Any, reduction: str, ignore_index: int
) -> Tensor:
    if reduction == "none":
        return loss.reshape(shape)
    if reduction != "mean":
        return _reduced(loss, reduction)
    kept = classes[classes != ignore_index]
    return loss.sum() / float(weights.array[kept].sum(dtype=np.float64))


def _cross_entropy_of_shares(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    if input.shape != target.shape:
        raise ValueError(
            f"cross_entropy: target probabilities must have input's shape {input.shape}, "
            f"got {target.shape}"
        )
    axis = 0 if input.ndim == 1 else 1
    if smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[axis]
    parts = input.log_softmax(axis) * target
    if weight is not None:
        parts = parts * weight.reshape(-1, *[1] * (input.ndim - axis - 1))
    rows = input.array.size / input.shape[axis]
    return _reduced(-parts.sum(axis), reduction, float(rows) if reduction == "mean" else None)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight[target] input[target]: input (N, K, ...) log-probabilities, or (K,)."""
    rows, classes, shape = _rows_and_classes("nll_loss", input, target, ignore_index)
    weights = _class_weights("nll_loss", weight, rows)
    kept = classes != ignore_index
    safe = np.where(kept, classes, 0)
    picked = rows.take_flat(np.arange(len(classes)) * rows.shape[1] + safe)
    loss = -(picked.masked(kept)) * Tensor(weights.array[safe] * kept)
    return _class_reduced(loss, classes, weights, shape, reduction, ignore_index)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """-t log(p) - (1 - t) log(1 - p) of probabilities p; logarithms are cut at -100."""
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
    return _reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of logits, without overflow; pos_weight multiplies the t part."""
    if input.shape != target.shape:
        raise ValueError(
            "binary_cross_entropy_with_logits: target must have input's shape "
            f"{input.shape}, got {target.shape}"
        )
    if pos_weight is None:
        loss = apply2(ops.BCEWithLogits, *common_dtype(input, target))
    else:
        # (1 - t) x + (1 + (w - 1) t) log(1 + e^-x)
        loss = (1 - target) * input + ((pos_weight - 1) * target + 1) * (-input).softplus()
    return _reduced(loss if weight is None else loss * weight, reduction)


def bpr_loss(positive: Tensor, negative: Tensor, reduction: str = "mean") -> Tensor:
    """-log sigmoid(positive - negative): a liked item should score above a sampled one.

    Rendle et al. 2009, BPR: Bayesian personalized ranking from implicit feedback. The two
    broadcast, so one positive (B, 1) may stand against several negatives (B, n).
    """
    positive, negative = _pair("bpr_loss", positive, negative)
    shape = np.broadcast_shapes(positive.shape, negative.shape)
    return _reduced(apply2(ops.BPR, positive.expand(shape), negative.expand(shape)), reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """t (log t - input): input are log-probabilities, target probabilities (or their logarithms).

    "batchmean" divides the sum by the first axis.
    """
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = target.xlogy(target) - target * input
    if reduction == "batchmean":
        return loss.sum() / float(input.shape[0] if input.ndim else 1)
    return _reduced(loss, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^(-t x)), t in {-1, 1}."""
    return _reduced((-target * input).softplus(), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where t = 1, max(0, margin - x) where t = -1."""
    near = input.masked(np.broadcast_to(target.array != -1, input.shape))
    far = (margin - input).clamp_min(0).masked(np.broadcast_to(target.array != 1, input.shape))
    return _reduced(near + far, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -t (x1 - x2) + margin): t = 1 wants x1 above x2, t = -1 below."""
    return _reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(||x1||, eps) max(||x2||, eps)) along `dim`."""
    x1, x2 = common_dtype(x1, x2)
    first, second = x1.norm(2, dim, keepdim=True), x2.norm(2, dim, keepdim=True)
    return ((x1 / first.clamp_min(eps)) * (x2 / second.clamp_min(eps))).sum(dim)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where t = 1, max(0, cos - margin) where t = -1."""
    small = 1e-12  # as in PyTorch: under the root, so that the derivative at 0 exists
    product = (input1 * input2).sum(-1)
    squares = ((input1 * input1).sum(-1) + small) * ((input2 * input2).sum(-1) + small)
    cosine = product / squares.sqrt()
    near = (1 - cosine).masked(np.broadcast_to(target.array == 1, cosine.shape))
    far = (cosine - margin).clamp_min(0).masked(np.broadcast_to(target.array == -1, cosine.shape))
    return _reduced(near + far, reduction)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """||x1 - x2 + eps||_p along the last axis."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin); swap: d(p, n) where that is smaller than d(a, n)."""
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _reduced((near - far + margin).clamp_min(0), reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: None = None,
    eps: float = 1e-8,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """e^x - t x (x the log-rate), or x - t log(x + eps); full adds Stirling's term for t > 1."""
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        above = target.masked(target.array > 1) + Tensor((target.array <= 1).astype(target.dtype))
        stirling = above * above.log() - above + 0.5 * (2 * np.pi * above).log()
        loss = loss + stirling.masked(target.array > 1)
    return _reduced(loss, reduction)


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
    if var.shape == input.shape[:-1]:
        var = var.reshape(*var.shape, 1)
    lift = np.maximum(eps - var.array, 0).astype(var.dtype)  # a constant: brings var up to eps
    v = var + Tensor(lift)
    difference = input - target
    loss = 0.5 * (v.log() + difference * difference / v)
    if full:
        loss = loss + 0.5 * float(np.log(2 * np.pi))
    return _reduced(loss, reduction)


