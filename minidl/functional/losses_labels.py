"""Losses of labels: several for each row, and classes of which most examples are easy."""

import numpy as np

from minidl._apply import apply2
from minidl._tensor import Tensor
from minidl.functional._common import common_dtype
from minidl.functional._losses import reduced, reduction_of
from minidl.functional.losses_classification import _class_weights, _rows_and_classes
from minidl.ops import losses as ops

__all__ = ["focal_loss", "multilabel_margin_loss", "sigmoid_focal_loss"]


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over labels j and other classes k of max(0, 1 - (x_j - x_k)) / K: input (N, K) or (K,).

    target: integers of input's shape; a row's labels stand before its first -1.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if input.shape != target.shape or input.ndim > 2:
        raise ValueError(
            "multilabel_margin_loss: input and target must both be (N, K) or (K,), got "
            f"{input.shape} and {target.shape}"
        )
    if target.dtype.kind not in "iu":
        raise TypeError(f"multilabel_margin_loss: labels must be integers, got {target.dtype}")
    size = input.shape[-1] if input.ndim else 1
    rows, labels = input.reshape(-1, size), target.array.reshape(-1, size)
    count = len(labels)
    if labels.size and (labels.max() >= size or labels.min() < -1):
        raise IndexError(
            f"multilabel_margin_loss: labels must be 0 to {size - 1}, or -1 behind the last, got "
            f"{labels.min()} to {labels.max()}"
        )
    given = np.logical_and.accumulate(labels >= 0, axis=1)  # before the first -1
    given = given[:, : int(given.sum(1).max(initial=0))]  # (N, J)
    labels = np.where(given, labels[:, : given.shape[1]], 0)
    row = np.arange(count)[:, None]
    own = np.zeros((count, size), bool)
    own[np.broadcast_to(row, labels.shape)[given], labels[given]] = True
    scores = rows.take_flat(row * size + labels)  # (N, J)
    gap = 1 - scores.unsqueeze(2) + rows.unsqueeze(1)  # (N, J, K)
    counts = given[:, :, None] & ~own[:, None, :]
    loss = gap.masked(counts).clamp_min(0).sum((1, 2)) / float(size)
    return reduced(loss if input.ndim == 2 else loss.squeeze(0), reduction)


def focal_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-weight_t (1 - p_t)^gamma log p_t, p = softmax(input): input (N, K, ...), target (N, ...).

    Lin et al. 2017, arXiv:1708.02002, eq. 4: examples that are right already count little. The mean
    is over the rows that are not ignored. gamma = 0 is cross-entropy.
    """
    if gamma < 0:
        raise ValueError(f"focal_loss: gamma must be 0 or more, got {gamma}")
    rows, classes, shape = _rows_and_classes("focal_loss", input, target, ignore_index)
    weights = _class_weights("focal_loss", weight, rows.shape[1], rows.dtype)
    kept = classes != ignore_index
    safe = np.where(kept, classes, 0)
    log_p = rows.log_softmax(1).take_flat(np.arange(len(safe)) * rows.shape[1] + safe)
    loss = -log_p * Tensor(weights.array[safe] * kept)
    if gamma:
        loss = loss * (-log_p.expm1()).pow(gamma)
    loss = loss.reshape(shape)
    return reduced(loss, reduction, float(kept.sum()) if reduction == "mean" else None)


def sigmoid_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
) -> Tensor:
    """Focal loss of binary labels: alpha_t (1 - p_t)^gamma times the cross-entropy of a logit.

    p_t = p where t = 1, else 1 - p; alpha_t likewise (no such weights if alpha < 0). Name and
    defaults are torchvision's. Lin et al. 2017, arXiv:1708.02002, eq. 5.
    """
    if inputs.shape != targets.shape:
        raise ValueError(
            f"sigmoid_focal_loss: targets must have inputs' shape {inputs.shape}, "
            f"got {targets.shape}"
        )
    x, t = common_dtype(inputs, targets)
    p = x.sigmoid()
    wrong = p + t - 2 * p * t  # 1 - p_t
    loss = apply2(ops.BCEWithLogits, x, t) * wrong.pow(gamma)
    if alpha >= 0:
        loss = loss * (alpha * t + (1 - alpha) * (1 - t))
    return reduced(loss, reduction)
