"""Losses of representations as layers; the equations stand with the functions."""

from collections.abc import Callable

from minidl._tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.loss import _Loss, _MarginLoss

__all__ = ["ContrastiveLoss", "InfoNCELoss", "NTXentLoss", "TripletMarginWithDistanceLoss"]


class ContrastiveLoss(_MarginLoss):
    """(t d^2 + (1 - t) max(0, margin - d)^2) / 2 (Hadsell, Chopra & LeCun 2006)."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean"):
        super().__init__(margin, reduction=reduction)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.contrastive_loss(input1, input2, target, self.margin, self.reduction)


class InfoNCELoss(_Loss):
    """Cross-entropy of finding a query's positive among negatives (van den Oord et al. 2018)."""

    def __init__(
        self, temperature: float = 0.1, symmetric: bool = False, reduction: str = "mean"
    ):
        super().__init__(reduction=reduction)
        self.temperature, self.symmetric = temperature, symmetric

    def forward(self, query: Tensor, positive: Tensor, negatives: Tensor | None = None) -> Tensor:
        options = (self.temperature, self.symmetric, self.reduction)
        return F.info_nce_loss(query, positive, negatives, *options)


class NTXentLoss(_Loss):
    """Each of two views of N things finds the other among 2N - 1 (SimCLR, Chen et al. 2020)."""

    def __init__(self, temperature: float = 0.5, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.temperature = temperature

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.nt_xent_loss(input1, input2, self.temperature, self.reduction)


class TripletMarginWithDistanceLoss(_Loss):
    """max(0, d(a, p) - d(a, n) + margin), for a distance function d of two tensors."""

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ):
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: margin must be above 0, got {margin}"
            )
        default = distance_function is None
        self.distance_function = F.pairwise_distance if default else distance_function
        self.margin, self.swap = margin, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
