"""Layers that change the shape only."""

from collections.abc import Sequence
from typing import Any

from minidl._tensor import Tensor
from minidl.nn.module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """The axes from start_dim to end_dim as one: (B, C, H, W) -> (B, C H W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis as several: unflattened_size are their sizes, of which one may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]):
        super().__init__()
        if not isinstance(dim, int) or isinstance(unflattened_size, (int, str)):
            raise TypeError(
                "Unflatten: dim must be an axis and unflattened_size a sequence of sizes, got "
                f"{dim!r} and {unflattened_size!r}"
            )
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> Any:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
