"""Dropout."""

from minidl._tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import Module

__all__ = [
    "AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout",
]  # fmt: skip


class Dropout(Module):
    """In training each element is 0 with probability p, else divided by 1 - p; x in eval().

    Srivastava et al. 2014. The masks come from minidl's default generator.
    """

    _function = "dropout"

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p must be from 0 to 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        function = getattr(F, self._function)  # now, not before: a program may replace it
        return function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """In training each channel of x (N, C, L) or (C, L) is 0 with probability p, else scaled."""

    _function = "dropout1d"


class Dropout2d(Dropout):
    """In training each channel of x (N, C, H, W) or (C, H, W) is 0 with probability p."""

    _function = "dropout2d"


class Dropout3d(Dropout):
    """In training each channel of x (N, C, D, H, W) or (C, D, H, W) is 0 with probability p."""

    _function = "dropout3d"


class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1, for SELU (Klambauer et al. 2017)."""

    _function = "alpha_dropout"


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels of x (N, C, ...)."""

    _function = "feature_alpha_dropout"
