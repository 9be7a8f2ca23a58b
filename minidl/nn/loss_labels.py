"""Losses of labels as layers: sequences without a segmentation, several labels, easy examples."""

from typing import Any

from minidl._tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.loss import _Loss, _WeightedLoss

__all__ = ["CTCLoss", "FocalLoss", "MultiLabelMarginLoss", "SigmoidFocalLoss"]


class CTCLoss(_Loss):
    """-log p(targets | log_probs) over all alignments (Graves et al. 2006).

    forward(log_probs (T, N, C), targets, input_lengths, target_lengths): see
    `nn.functional.ctc_loss`.
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        options = (self.blank, self.reduction, self.zero_infinity)
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, *options)


class MultiLabelMarginLoss(_Loss):
    """sum over labels j and other classes k of max(0, 1 - (x_j - x_k)) / K.

    target: labels before the first -1 of a row.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class FocalLoss(_WeightedLoss):
    """-weight_t (1 - p_t)^gamma log p_t, p = softmax(x) (Lin et al. 2017)."""

    def __init__(
        self,
        weight: Tensor | None = None,
        gamma: float = 2.0,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        super().__init__(weight, reduction=reduction)
        self.gamma, self.ignore_index = gamma, ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.focal_loss(
            input, target, self.weight, self.gamma, self.ignore_index, self.reduction
        )


class SigmoidFocalLoss(_Loss):
    """alpha_t (1 - p_t)^gamma times the binary cross-entropy of a logit (Lin et al. 2017)."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.alpha, self.gamma = alpha, gamma

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.sigmoid_focal_loss(input, target, self.alpha, self.gamma, self.reduction)
