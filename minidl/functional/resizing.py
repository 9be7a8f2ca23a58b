"""Images in another resolution: interpolation, and channels as pixels."""

import math
from typing import Any

import numpy as np

from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.functional._common import permuted
from minidl.functional.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d
from minidl.ops.resample import Resample

__all__ = [
    "channel_shuffle", "interpolate", "pixel_shuffle", "pixel_unshuffle", "upsample",
]  # fmt: skip

_MODES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3),
    "linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,),
}  # fmt: skip
"""Modes, and how many axes they resize."""


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """(B, C, T), (B, C, H, W) or (B, C, D, H, W) with the last axes of another size.

    Give the `size`, or the scale_factor by which it is multiplied. mode: nearest (as PyTorch and
    OpenCV number it), nearest-exact, linear, bilinear, bicubic, trilinear, area (means). align_corners: the
    centres of the corner pixels stay, instead of the corners. recompute_scale_factor: steps are
    in / out, not 1 / scale_factor. antialias: bilinear and bicubic look at all that lies between.
    """  # noqa: E501
    dims = input.ndim - 2
    if mode not in _MODES or dims not in _MODES[mode]:
        raise ValueError(
            f"interpolate: mode {mode!r} does not fit input {input.shape}; linear takes (B, C, T), "
            "bilinear and bicubic (B, C, H, W), trilinear (B, C, D, H, W), nearest, nearest-exact "
            "and area any of them"
        )
    if input.dtype.kind != "f" and not mode.startswith("nearest"):
        raise TypeError(f"interpolate: floating point is needed, got {input.dtype}; use .float()")
    smooth = mode in ("linear", "bilinear", "bicubic", "trilinear")
    if align_corners is not None and not smooth:
        raise ValueError(f"interpolate: align_corners has no meaning for mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for bilinear and bicubic, not {mode!r}")
    sizes, factors = _sizes(input, dims, size, scale_factor, recompute_scale_factor)
    if mode == "area" and dims < 3:
        return adaptive_avg_pool1d(input, sizes) if dims == 1 else adaptive_avg_pool2d(input, sizes)
    kind = "cubic" if mode == "bicubic" else "linear" if smooth else mode
    kind += "-aa" if antialias else ""
    align = bool(align_corners)
    for place, (count, factor) in enumerate(zip(sizes, factors)):
        axis, n = place + 2, input.shape[place + 2]
        if count == n and factor in (None, 1.0):
            continue
        if align:
            step = (n - 1) / (count - 1) if count > 1 else 0.0
        else:
            step = n / count if factor is None else 1.0 / factor
        rule = (kind, n, count, step, align)
        input = apply(Resample, input, axis=axis, rule=rule, transposed=False)
    return input


def _sizes(x: Tensor, dims: int, size: Any, scale_factor: Any, recompute: bool | None) -> Any:
    """(sizes, factors) of the axes; a factor is None where the step is in / out."""
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    given = size if scale_factor is None else scale_factor
    numbers = tuple(given) if isinstance(given, (tuple, list)) else (given,) * dims
    if len(numbers) != dims:
        what = "size" if scale_factor is None else "scale_factor"
        raise ValueError(
            f"interpolate: {what} must be one number, or one for each of the {dims} axes of input "
            f"{x.shape}, got {given}"
        )
    factors: tuple[float | None, ...] = (None,) * dims
    if scale_factor is None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor needs a scale_factor")
        sizes = tuple(int(n) for n in numbers)
    else:
        sizes = tuple(math.floor(n * float(f)) for n, f in zip(x.shape[2:], numbers))
        if not recompute:
            factors = tuple(float(f) for f in numbers)
    if min(sizes) < 1 or 0 in x.shape[1:]:
        raise ValueError(
            f"interpolate: sizes must be 1 or more, got {x.shape[2:]} in and {sizes} out"
        )
    return sizes, factors


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate`, under its older name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) -> (..., C, H r, W r): channels as pixels (Shi et al. 2016,
    arXiv:1609.05158), with r the upscale_factor.

    out[c, h r + i, w r + j] = input[c r^2 + i r + j, h, w]
    """
    r = _factor("pixel_shuffle", "upscale_factor", upscale_factor)
    if input.ndim < 3 or input.shape[-3] % (r * r):
        raise ValueError(
            f"pixel_shuffle: input must be (..., C * {r * r}, H, W), got {input.shape}"
        )
    *before, deep, height, width = input.shape
    parts = input.reshape(*before, deep // (r * r), r, r, height, width)
    n = len(before)
    parts = permuted(parts, [*range(n), n, n + 3, n + 1, n + 4, n + 2])
    return parts.reshape(*before, deep // (r * r), height * r, width * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) -> (..., C r^2, H, W): the inverse of `pixel_shuffle`."""
    r = _factor("pixel_unshuffle", "downscale_factor", downscale_factor)
    if input.ndim < 3 or input.shape[-2] % r or input.shape[-1] % r:
        raise ValueError(
            f"pixel_unshuffle: input must be (..., C, H * {r}, W * {r}), got {input.shape}"
        )
    *before, channels, height, width = input.shape
    parts = input.reshape(*before, channels, height // r, r, width // r, r)
    n = len(before)
    parts = permuted(parts, [*range(n), n, n + 2, n + 4, n + 1, n + 3])
    return parts.reshape(*before, channels * r * r, height // r, width // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of `groups` groups taken in turn (Zhang et al. 2018, arXiv:1707.01083)."""
    count = _factor("channel_shuffle", "groups", groups)
    if input.ndim < 3 or input.shape[1] % count:
        raise ValueError(
            f"channel_shuffle: input must be (B, a multiple of {count}, ...), got {input.shape}"
        )
    images, channels, *rest = input.shape
    parts = input.reshape(images, count, channels // count, *rest)
    return parts.swapaxes(1, 2).reshape(input.shape)


def _factor(name: str, what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}: {what} must be a whole number, 1 or more, got {value!r}")
    return int(value)
