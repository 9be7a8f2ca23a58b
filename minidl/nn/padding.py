"""Layers that put a border around sequences (B, C, T) and images (B, C, H, W)."""

from collections.abc import Sequence
from typing import Any

from minidl._tensor import Tensor
from minidl.functional.padding import pad
from minidl.nn.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "ConstantPad1d", "ConstantPad2d", "ReflectionPad1d",
    "ReflectionPad2d", "ReplicationPad1d", "ReplicationPad2d", "ZeroPad1d", "ZeroPad2d",
]  # fmt: skip


class _Pad(Module):
    """padding: a number for all sides, or (left, right), or (left, right, top, bottom)."""

    dims = 0
    mode = "constant"

    def __init__(self, padding: Any):
        super().__init__()
        sides = tuple(padding) if isinstance(padding, Sequence) else (padding,) * (2 * self.dims)
        if len(sides) != 2 * self.dims or not all(isinstance(n, int) for n in sides):
            raise ValueError(
                f"{type(self).__name__}: padding must be a whole number, or {2 * self.dims} of "
                f"them, got {padding!r}"
            )
        self.padding = sides

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _Constant(_Pad):
    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_Constant):
    """A border of `value` before and after: padding (left, right), or one number for both."""

    dims = 1


class ConstantPad2d(_Constant):
    """A border of `value`: padding (left, right, top, bottom), or one number for all."""

    dims = 2


class ZeroPad1d(_Pad):
    """A border of zeros before and after: padding (left, right), or one number for both."""

    dims = 1


class ZeroPad2d(_Pad):
    """A border of zeros: padding (left, right, top, bottom), or one number for all."""

    dims = 2


class ReflectionPad1d(_Pad):
    """A border that mirrors the sequence, without the edge itself: smaller than the sequence."""

    dims, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """A border that mirrors the image, without the edge itself: smaller than the image."""

    dims, mode = 2, "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the edges."""

    dims, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the edges."""

    dims, mode = 2, "replicate"


class CircularPad1d(_Pad):
    """A border with what stands at the other end: at most the sequence."""

    dims, mode = 1, "circular"


class CircularPad2d(_Pad):
    """A border with what stands at the other side: at most the image."""

    dims, mode = 2, "circular"
