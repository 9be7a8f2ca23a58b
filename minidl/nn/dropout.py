"""Dropout."""

from minidl._tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training each element is 0 with probability p, else divided by 1 - p; x in eval().

    Srivastava et al. 2014. The masks come from minidl's default generator.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be from 0 to 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
