"""Convolutions, their transposes, and windows as columns."""

import math
from typing import Any

from minidl._tensor import Tensor
from minidl.functional import convolution as F
from minidl.functional.padding import pad
from minidl.nn import init
from minidl.nn.linear import check_sizes, new_parameter
from minidl.nn.module import Module

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "Fold", "Unfold"]

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What the four share: parameters, their first values, and how they are shown."""

    dims = 0
    transposed = False

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation,
        groups, bias, padding_mode, device, dtype,
    ):  # fmt: skip
        super().__init__()
        name, dims = type(self).__name__, self.dims
        check_sizes(name, in_channels=in_channels, out_channels=out_channels)
        if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise ValueError(f"{name}: groups must be a whole number, 1 or more, got {groups!r}")
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: in_channels {in_channels} and out_channels {out_channels} must be "
                f"multiples of groups {groups}"
            )
        if padding_mode not in (("zeros",) if self.transposed else _MODES):
            allowed = '"zeros"' if self.transposed else f"one of {_MODES}"
            raise ValueError(f"{name}: padding_mode must be {allowed}, got {padding_mode!r}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = F.several(name, "kernel_size", kernel_size, dims, least=1)
        self.stride = F.several(name, "stride", stride, dims, least=1)
        self.dilation = F.several(name, "dilation", dilation, dims, least=1)
        self.output_padding = F.several(name, "output_padding", output_padding, dims)
        self.groups, self.padding_mode = groups, padding_mode
        if not isinstance(padding, str):
            self.padding: Any = F.several(name, "padding", padding, dims)
        else:
            self._check_words(padding)
            self.padding = padding
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = new_parameter(shape, device, dtype)
        self.register_parameter("bias", None)
        if bias:
            self.bias = new_parameter(out_channels, device, dtype)
        self.reset_parameters()

    def _check_words(self, padding: str) -> None:
        name = type(self).__name__
        if padding not in ("same", "valid") or self.transposed:
            words = "numbers" if self.transposed else 'numbers, "same" or "valid"'
            raise ValueError(f"{name}: padding must be {words}, got {padding!r}")
        if padding == "same" and max(self.stride) > 1:
            raise ValueError(f'{name}: padding="same" needs stride 1, got {self.stride}')

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        if not self.weight.array.size:
            return
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def _border(self) -> list[int]:
        """(before, after) of the last axis, then of the one before, for `pad`."""
        if self.padding == "valid":
            return [0, 0] * self.dims
        around: list[int] = []
        for axis in reversed(range(self.dims)):
            if self.padding == "same":
                total = self.dilation[axis] * (self.kernel_size[axis] - 1)
                around += [total // 2, total - total // 2]
            else:
                around += [self.padding[axis]] * 2
        return around

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = pad(input, self._border(), self.padding_mode), 0
        run = F.conv1d if self.dims == 1 else F.conv2d
        return run(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * self.dims:
            text += f", padding={self.padding}"
        if max(self.dilation) > 1:
            text += f", dilation={self.dilation}"
        if max(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Plain(_Conv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, 0, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip


class Conv1d(_Plain):
    """Convolution of (B, in_channels, T) or (in_channels, T).

    weight (out_channels, in_channels/groups, K), bias (out_channels,), both first uniform on
    (-1, 1) / sqrt(in_channels/groups K). padding: a number, "same" or "valid"; padding_mode: zeros,
    reflect, replicate or circular. Equation, derivative and sources: `minidl.ops.conv.Conv`.
    """

    dims = 1


class Conv2d(_Plain):
    """Convolution of (B, in_channels, H, W) or (in_channels, H, W).

    weight (out_channels, in_channels/groups, KH, KW), bias (out_channels,), both first uniform on
    (-1, 1) / sqrt(in_channels/groups KH KW); groups = in_channels is a depthwise convolution.
    padding: numbers, "same" or "valid"; padding_mode: zeros, reflect, replicate or circular.
    Equation, derivative and sources: `minidl.ops.conv.Conv`.
    """

    dims = 2


class _Transposed(_Conv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation,
            groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        run = F.conv_transpose1d if self.dims == 1 else F.conv_transpose2d
        return run(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip

    def _extra(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output_padding that leads to output_size."""
        wanted = tuple(int(n) for n in output_size)[-self.dims :]
        sizes = input.shape[-self.dims :]
        settings = zip(sizes, self.kernel_size, self.stride, self.padding, self.dilation)
        least = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in settings)
        most = tuple(n + s - 1 for n, s in zip(least, self.stride))
        if len(wanted) != self.dims or any(
            not low <= n <= high for n, low, high in zip(wanted, least, most)
        ):
            raise ValueError(
                f"{type(self).__name__}: output_size must lie between {least} and {most} for input "
                f"{input.shape}, got {tuple(output_size)}"
            )
        return tuple(n - low for n, low in zip(wanted, least))


class ConvTranspose1d(_Transposed):
    """The transpose of a convolution, (B, in_channels, R) -> (B, out_channels, T).

    weight (in_channels, out_channels/groups, K), bias (out_channels,). Of the lengths that a
    convolution brings to R, output_padding, or output_size given to forward, chooses one.
    Equation, derivative and sources: `minidl.ops.conv.ConvTranspose`.
    """

    dims = 1


class ConvTranspose2d(_Transposed):
    """The transpose of a convolution, (B, in_channels, *R) -> (B, out_channels, H, W).

    weight (in_channels, out_channels/groups, KH, KW), bias (out_channels,). Of the sizes that a
    convolution brings to R, output_padding, or output_size given to forward, chooses one.
    Equation, derivative and sources: `minidl.ops.conv.ConvTranspose`.
    """

    dims = 2


class Unfold(Module):
    """Sliding windows as columns: (B, C, H, W) -> (B, C KH KW, windows)."""

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1):
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Fold(Module):
    """Columns of windows added into images: (B, C KH KW, windows) -> (B, C, *output_size)."""

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ):
        super().__init__()
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
