"""Losses of pairs and triplets, for ranking and for embeddings, and the distances they use.

`reduction` is "mean", "sum" or "none" in all of them.
"""

import numpy as np

from minidl._apply import apply2
from minidl._tensor import Tensor
from minidl.functional._common import in_float32
from minidl.functional._losses import paired, reduced, reduction_of
from minidl.ops import losses as ops

__all__ = [
    "bpr_loss",
    "cosine_embedding_loss",
    "cosine_similarity",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "pairwise_distance",
    "triplet_margin_loss",
]


@in_float32
def bpr_loss(positive: Tensor, negative: Tensor, reduction: str = "mean") -> Tensor:
    """-log sigmoid(positive - negative): a liked item should score above a sampled one.

    Rendle et al. 2009, BPR: Bayesian personalized ranking from implicit feedback. The two
    broadcast, so one positive (B, 1) may stand against several negatives (B, n).
    """
    positive, negative = paired("bpr_loss", positive, negative)
    shape = np.broadcast_shapes(positive.shape, negative.shape)
    positive, negative = (t if t.shape == shape else t.expand(shape) for t in (positive, negative))
    return reduced(apply2(ops.BPR, positive, negative), reduction)


@in_float32
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -t (x1 - x2) + margin): t = 1 wants x1 above x2, t = -1 below."""
    reduction = reduction_of(reduction, size_average, reduce)
    input1, input2 = paired("margin_ranking_loss", input1, input2)
    _, target = paired("margin_ranking_loss", input1 - input2, target)
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


@in_float32
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where t = 1, max(0, margin - x) where t = -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    paired("hinge_embedding_loss", input, target)
    shape = np.broadcast_shapes(input.shape, target.shape)
    near = input.expand(shape).masked(np.broadcast_to(target.array != -1, shape))
    far = (margin - input).clamp_min(0).expand(shape)
    far = far.masked(np.broadcast_to(target.array != 1, shape))
    return reduced(near + far, reduction)


@in_float32
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(||x1||, eps) max(||x2||, eps)) along `dim` of the shape both broadcast to."""
    x1, x2 = paired("cosine_similarity", x1, x2)
    if x1.shape != x2.shape:
        shape = np.broadcast_shapes(x1.shape, x2.shape)
        x1, x2 = x1.expand(shape), x2.expand(shape)
    first, second = x1.norm(2, dim, keepdim=True), x2.norm(2, dim, keepdim=True)
    return ((x1 / first.clamp_min(eps)) * (x2 / second.clamp_min(eps))).sum(dim)


@in_float32
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where t = 1, max(0, cos - margin) where t = -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    input1, input2 = paired("cosine_embedding_loss", input1, input2)
    rows = np.broadcast_shapes(input1.shape, input2.shape)[:-1]
    if target.shape != rows:
        raise ValueError(
            f"cosine_embedding_loss: {input1.shape} and {input2.shape} need a target {rows}, "
            f"got {target.shape}"
        )
    small = 1e-12  # as in PyTorch: under the root, so that the derivative at 0 exists
    product = (input1 * input2).sum(-1)
    squares = ((input1 * input1).sum(-1) + small) * ((input2 * input2).sum(-1) + small)
    cosine = product / squares.sqrt()
    near = (1 - cosine).masked(np.broadcast_to(target.array == 1, cosine.shape))
    far = (cosine - margin).clamp_min(0).masked(np.broadcast_to(target.array == -1, cosine.shape))
    return reduced(near + far, reduction)


@in_float32
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """||x1 - x2 + eps||_p along the last axis."""
    x1, x2 = paired("pairwise_distance", x1, x2)
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@in_float32
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin); swap: d(p, n) where that is smaller than d(a, n)."""
    reduction = reduction_of(reduction, size_average, reduce)
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ValueError(
            "triplet_margin_loss: anchor, positive and negative must have as many axes, got "
            f"{anchor.shape}, {positive.shape} and {negative.shape}"
        )
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return reduced((near - far + margin).clamp_min(0), reduction)
