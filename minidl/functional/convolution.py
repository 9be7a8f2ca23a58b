"""Convolutions and their transposes, and windows as columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.functional._common import in_float32
from minidl.ops import conv as ops

__all__ = [
    "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "fold", "unfold",
]  # fmt: skip


@in_float32
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate (B, C, T) or (C, T) with weight (O, C/groups, K); padding: a number, same, valid.

    out is (B, O, R) with R = (T + 2 padding - dilation (K - 1) - 1) // stride + 1.
    """
    return _convolved("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@in_float32
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate (B, C, H, W) or (C, H, W) with weight (O, C/groups, KH, KW).

    stride, padding and dilation: one number, or one for each axis; padding may be "same" (the
    output is as large as the input, at stride 1) or "valid" (none). Sizes as in `conv1d`.
    """
    return _convolved("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@in_float32
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv1d`, (B, C, R) -> (B, O, T), with weight (C, O/groups, K).

    T = (R - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.
    """
    return _transposed(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


@in_float32
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv2d`, with weight (C, O/groups, KH, KW); sizes as `conv_transpose1d`."""
    return _transposed(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Sliding windows as columns: (B, C, H, W) or (C, H, W) -> (B, C KH KW, windows)."""
    kernel = several("unfold", "kernel_size", kernel_size, 2, least=1)
    rest = _geometry("unfold", 2, stride, padding, dilation)
    x, single = with_batch("unfold", input, 2)
    size = sizes_after("unfold", x, kernel, rest)
    out = apply(ops.Im2Col, x, size=size, kernel=kernel, **rest)
    return out[0] if single else out


@in_float32
def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Columns of windows added into images: (B, C KH KW, windows) -> (B, C, *output_size).

    The transpose of `unfold`: where windows overlap their elements are summed.
    """
    kernel = several("fold", "kernel_size", kernel_size, 2, least=1)
    rest = _geometry("fold", 2, stride, padding, dilation)
    size = several("fold", "output_size", output_size, 2, least=1)
    if input.ndim not in (2, 3):
        raise ValueError(
            f"fold: input must be (B, C KH KW, windows) or (C KH KW, windows), got {input.shape}"
        )
    single = input.ndim == 2
    x = input[None] if single else input
    positions = tuple(
        window_count(n, k, s, p, d)
        for n, k, s, p, d in zip(size, kernel, rest["stride"], rest["padding"], rest["dilation"])
    )
    if x.shape[1] % (kernel[0] * kernel[1]) or x.shape[2] != positions[0] * positions[1]:
        raise ValueError(
            f"fold: output_size {size} and kernel_size {kernel} need input (B, C * "
            f"{kernel[0] * kernel[1]}, {positions[0] * positions[1]}), got {input.shape}"
        )
    out = apply(ops.Col2Im, x, size=size, positions=positions, kernel=kernel, **rest)
    return out[0] if single else out


def several(name: str, what: str, value: Any, dims: int, least: int = 0) -> tuple[int, ...]:
    """One number for each axis, from one for all or a sequence of them."""
    numbers = tuple(value) if isinstance(value, (Sequence, np.ndarray)) else (value,)
    if len(numbers) == 1:
        numbers *= dims
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in numbers)
    if len(numbers) != dims or not whole or min(numbers) < least:
        axes = "a whole number" if dims == 1 else f"a whole number, or {dims} of them"
        raise ValueError(f"{name}: {what} must be {axes}, {least} or more, got {value!r}")
    return tuple(int(n) for n in numbers)


def with_batch(name: str, x: Tensor, dims: int) -> tuple[Tensor, bool]:
    """(x with an axis of images in front, whether it was added)."""
    if x.ndim not in (dims + 1, dims + 2):
        axes = "C, T" if dims == 1 else "C, H, W"
        raise ValueError(f"{name}: input must be (B, {axes}) or ({axes}), got {x.shape}")
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: floating point is needed, got {x.dtype}; use .float()")
    return (x[None], True) if x.ndim == dims + 1 else (x, False)


def window_count(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Positions of a dilated kernel along an axis, padded on both sides."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def sizes_after(name: str, x: Tensor, kernel: Any, rest: dict[str, Any]) -> tuple[int, ...]:
    """The output's axes; an error where the kernel does not fit into the padded input."""
    settings = zip(kernel, rest["stride"], rest["padding"], rest["dilation"])
    size = tuple(window_count(n, *four) for n, four in zip(x.shape[2:], settings))
    if min(size) < 1:
        padded = tuple(n + 2 * p for n, p in zip(x.shape[2:], rest["padding"]))
        reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, rest["dilation"]))
        raise ValueError(
            f"{name}: the kernel {kernel} (with dilation {reach}) is larger than the padded input "
            f"{padded}; give more padding, or a smaller kernel"
        )
    return size


def _geometry(name: str, dims: int, stride: Any, padding: Any, dilation: Any) -> dict[str, Any]:
    return {
        "stride": several(name, "stride", stride, dims, least=1),
        "padding": several(name, "padding", padding, dims),
        "dilation": several(name, "dilation", dilation, dims, least=1),
    }


def _convolved(name, dims, input, weight, bias, stride, padding, dilation, groups) -> Tensor:
    x, single = with_batch(name, input, dims)
    same = padding == "same"
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f'{name}: padding must be numbers, "same" or "valid", got {padding!r}')
        padding = 0
    rest = _geometry(name, dims, stride, padding, dilation)
    channels, axes = x.shape[1], "K" if dims == 1 else "KH, KW"
    _check_weight(name, dims, x, weight, groups, bias, weight.shape[0] if weight.ndim else 0)
    if channels != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(
            f"{name}: input with {channels} channels in {groups} groups needs weight (a multiple "
            f"of {groups}, {channels}/{groups}, {axes}), got {weight.shape}"
        )
    kernel = weight.shape[2:]
    if same:
        if max(rest["stride"]) > 1:
            raise ValueError(f'{name}: padding="same" needs stride 1, got {stride}')
        # the odd one of an uneven padding comes after, as in PyTorch
        around = [d * (k - 1) for k, d in zip(kernel, rest["dilation"])]
        rest["padding"] = tuple(n // 2 for n in around)
        size = x.shape[2:]
    else:
        size = sizes_after(name, x, kernel, rest)
    out = apply(ops.Conv, x, weight, bias, size=size, groups=groups, **rest)
    return out[0] if single else out


def _transposed(
    name, dims, input, weight, bias, stride, padding, output_padding, groups, dilation
) -> Tensor:
    x, single = with_batch(name, input, dims)
    rest = _geometry(name, dims, stride, padding, dilation)
    extra = several(name, "output_padding", output_padding, dims)
    for more, s, d in zip(extra, rest["stride"], rest["dilation"]):
        if more >= max(s, d):
            raise ValueError(
                f"{name}: output_padding {extra} must be smaller than stride {rest['stride']} or "
                f"dilation {rest['dilation']}"
            )
    outputs = weight.shape[1] * groups if weight.ndim > 1 else 0
    _check_weight(name, dims, x, weight, groups, bias, outputs)
    if x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        axes = "K" if dims == 1 else "KH, KW"
        raise ValueError(
            f"{name}: input with {x.shape[1]} channels in {groups} groups needs weight "
            f"({x.shape[1]}, O/{groups}, {axes}), with channels a multiple of groups, got "
            f"{weight.shape}"
        )
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + more + 1
        for n, k, s, p, d, more in zip(
            x.shape[2:], weight.shape[2:], rest["stride"], rest["padding"], rest["dilation"], extra
        )
    )
    if min(size) < 1:
        raise ValueError(
            f"{name}: the output would have the size {size}; padding {rest['padding']} takes away "
            "more than there is"
        )
    out = apply(ops.ConvTranspose, x, weight, bias, size=size, groups=groups, **rest)
    return out[0] if single else out


def _check_weight(name, dims, x, weight, groups, bias, outputs) -> None:
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"{name}: groups must be a whole number, 1 or more, got {groups!r}")
    if weight.ndim != dims + 2:
        raise ValueError(
            f"{name}: weight must have {dims + 2} axes, channels twice and then the kernel's, got "
            f"{weight.shape}"
        )
    if not weight.array.size:
        raise ValueError(f"{name}: weight must not be empty, got {weight.shape}")
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(f"{name}: bias must be ({outputs},), got {bias.shape}")
    for what, other in (("weight", weight), ("bias", bias)):
        if other is not None and other.dtype != x.dtype:
            raise TypeError(
                f"{name}: input {x.dtype} and {what} {other.dtype} differ; bring both to one "
                "dtype, for example with .float() or model.double()"
            )
