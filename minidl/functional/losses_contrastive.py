"""Losses that draw representations of the same thing together, and others apart."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.functional._losses import reduced
from minidl.functional.joining import cat
from minidl.functional.losses_classification import cross_entropy
from minidl.functional.losses_ranking import pairwise_distance
from minidl.functional.normalization import normalize

__all__ = [
    "contrastive_loss",
    "info_nce_loss",
    "nt_xent_loss",
    "triplet_margin_with_distance_loss",
]


def contrastive_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """(t d^2 + (1 - t) max(0, margin - d)^2) / 2, d the Euclidean distance of two rows.

    target (N,): 1 for a pair of one kind, 0 for others. Hadsell, Chopra & LeCun 2006,
    "Dimensionality reduction by learning an invariant mapping", eq. 4, where t is 1 - Y.
    """
    if input1.shape != input2.shape or target.shape != input1.shape[:-1]:
        raise ValueError(
            "contrastive_loss: rows (N, D), (N, D) need a target (N,), got "
            f"{input1.shape}, {input2.shape} and {target.shape}"
        )
    d = pairwise_distance(input1, input2, 2.0, 0.0)
    far = (margin - d).clamp_min(0)
    t = target.to(d.dtype)
    return reduced((t * d * d + (1 - t) * far * far) / 2, reduction)


def info_nce_loss(
    query: Tensor,
    positive: Tensor,
    negatives: Tensor | None = None,
    temperature: float = 0.1,
    symmetric: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """-log(e^{q p / temperature} / sum of that over p and the negatives), of vectors of length 1.

    query, positive (N, D). negatives: (M, D) for all queries, (N, M, D) for each its own, or None:
    each query's are the other rows of `positive`; then symmetric takes the mean with the loss of
    positive as query (as CLIP does). van den Oord et al. 2018, arXiv:1807.03748, eq. 4.
    """
    if query.ndim != 2 or query.shape != positive.shape:
        raise ValueError(
            f"info_nce_loss: query and positive must be (N, D), got {query.shape} and "
            f"{positive.shape}"
        )
    _check_temperature("info_nce_loss", temperature)
    q, p = normalize(query, dim=1), normalize(positive, dim=1)
    if negatives is None:
        logits = q @ p.swapaxes(0, 1) / temperature  # (N, N)
        own = Tensor(np.arange(len(query)))
        loss = cross_entropy(logits, own, reduction=reduction)
        if symmetric:
            back = cross_entropy(logits.swapaxes(0, 1), own, reduction=reduction)
            loss = (loss + back) / 2
        return loss
    if symmetric:
        raise ValueError("info_nce_loss: symmetric needs negatives=None, the rows of the batch")
    if negatives.ndim not in (2, 3) or negatives.shape[-1] != query.shape[1]:
        raise ValueError(
            f"info_nce_loss: negatives must be (M, {query.shape[1]}) or (N, M, {query.shape[1]}), "
            f"got {negatives.shape}"
        )
    n = normalize(negatives, dim=-1)
    right = (q * p).sum(1, keepdim=True)  # (N, 1)
    wrong = q @ n.swapaxes(0, 1) if n.ndim == 2 else (n @ q.unsqueeze(2)).squeeze(2)  # (N, M)
    logits = cat([right, wrong], 1) / temperature
    return cross_entropy(logits, Tensor(np.zeros(len(query), np.int64)), reduction=reduction)


def nt_xent_loss(
    input1: Tensor, input2: Tensor, temperature: float = 0.5, reduction: str = "mean"
) -> Tensor:
    """Two views (N, D) of N things: each of the 2N rows must find its other view among 2N - 1.

    The normalised temperature-scaled cross-entropy of SimCLR, Chen et al. 2020, arXiv:2002.05709,
    eq. 1. reduction "none" gives (2N,): first those of input1.
    """
    if input1.ndim != 2 or input1.shape != input2.shape:
        raise ValueError(
            f"nt_xent_loss: two views (N, D) are needed, got {input1.shape} and {input2.shape}"
        )
    _check_temperature("nt_xent_loss", temperature)
    count = len(input1)
    rows = normalize(cat([input1, input2], 0), dim=1)  # (2N, D)
    logits = rows @ rows.swapaxes(0, 1) / temperature
    self_pairs = np.zeros((2 * count, 2 * count), logits.dtype)
    np.fill_diagonal(self_pairs, -np.inf)
    other = Tensor(np.roll(np.arange(2 * count), count))
    return cross_entropy(logits + Tensor(self_pairs), other, reduction=reduction)


def _check_temperature(name: str, temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"{name}: temperature must be above 0, got {temperature}")


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin) for any distance d (default: Euclidean).

    swap: d(p, n) where that is smaller than d(a, n) (Balntas et al. 2016).
    """
    if margin <= 0:
        raise ValueError(
            f"triplet_margin_with_distance_loss: margin must be above 0, got {margin}"
        )
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ValueError(
            "triplet_margin_with_distance_loss: anchor, positive and negative must have as many "
            f"axes, got {anchor.shape}, {positive.shape} and {negative.shape}"
        )
    distance: Any = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((near - far + margin).clamp_min(0), reduction)
