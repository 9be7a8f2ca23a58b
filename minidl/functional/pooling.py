"""Pooling: maxima, means and norms of windows, in steps or sharing an axis evenly."""

import math
from typing import Any

import numpy as np

from minidl._apply import apply, record
from minidl._tensor import Tensor, recorders
from minidl.functional.convolution import several, with_batch
from minidl.ops import pool as ops
from minidl.ops.index import PutFlat
from minidl.typing import Array

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "avg_pool1d", "avg_pool2d", "lp_pool1d", "lp_pool2d", "max_pool1d", "max_pool2d",
    "max_unpool1d", "max_unpool2d",
]  # fmt: skip


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest of each window of (B, C, T) or (C, T); stride: kernel_size if None.

    ceil_mode: the last, incomplete window counts too. return_indices: also where each maximum stood
    in the flat input (int64), for `max_unpool1d`.
    """
    return _max_pooled(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest of each window of (B, C, H, W) or (C, H, W); see `max_pool1d`."""
    return _max_pooled(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (B, C, T) or (C, T); stride: kernel_size if None.

    count_include_pad: the zeros of the padding count in the mean.
    """
    return _mean_pooled(
        "avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (B, C, H, W) or (C, H, W), or its sum / divisor_override."""
    if divisor_override == 0:
        raise ValueError("avg_pool2d: divisor_override must not be 0")
    return _mean_pooled(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The means of output_size windows that share T evenly: (B, C, T) -> (B, C, output_size)."""
    return _adaptive_mean("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that share H and W evenly; None in output_size keeps an axis."""
    return _adaptive_mean("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of output_size windows that share T evenly: (B, C, T) -> (B, C, output_size)."""
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of windows that share H and W evenly; None in output_size keeps an axis."""
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros, with each maximum put back where `indices` of `max_pool1d` says it stood."""
    return _unpooled(
        "max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size
    )


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros, with each maximum put back where `indices` of `max_pool2d` says it stood."""
    return _unpooled(
        "max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size
    )


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x^norm_type)^(1 / norm_type) of each window of (B, C, T); negative sums give 0."""
    mean = avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _root(mean, several("lp_pool1d", "kernel_size", kernel_size, 1, least=1), norm_type)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x^norm_type)^(1 / norm_type) of each window of (B, C, H, W)."""
    mean = avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _root(mean, several("lp_pool2d", "kernel_size", kernel_size, 2, least=1), norm_type)


def _root(mean: Tensor, kernel: tuple[int, ...], norm_type: float) -> Tensor:
    total = mean * float(math.prod(kernel))
    return (total.sign() * total.abs().relu()).pow(1.0 / norm_type)


def _geometry(name, dims, x, kernel_size, stride, padding, dilation, ceil_mode):
    """(size, kernel, stride, padding, dilation) of a pooling, checked."""
    kernel = several(name, "kernel_size", kernel_size, dims, least=1)
    given = stride is not None and stride != () and stride != []
    step = several(name, "stride", stride, dims, least=1) if given else kernel
    pad = several(name, "padding", padding, dims)
    dilated = several(name, "dilation", dilation, dims, least=1)
    if any(2 * p > d * (k - 1) + 1 for p, k, d in zip(pad, kernel, dilated)):
        raise ValueError(
            f"{name}: padding {pad} must be at most half of kernel_size {kernel}, or windows would "
            "lie in the padding alone"
        )
    size = tuple(
        _count(n, k, s, p, d, ceil_mode)
        for n, k, s, p, d in zip(x.shape[2:], kernel, step, pad, dilated)
    )
    if min(size) < 1:
        raise ValueError(
            f"{name}: kernel_size {kernel} is larger than the padded input "
            f"{tuple(n + 2 * p for n, p in zip(x.shape[2:], pad))}"
        )
    for n, count, s, p, d in zip(x.shape[2:], size, step, pad, dilated):
        if d > n and any((o * s - p) % d >= n for o in range(min(count, -(-p // s)))):
            raise ValueError(
                f"{name}: with dilation {dilated} and padding {pad} some windows have no tap in "
                f"the input {x.shape}; use a smaller dilation"
            )
    return size, kernel, step, pad, dilated


def _count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """Windows along an axis; with `ceil` one more for a rest, if it begins inside the input."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _max_pooled(
    name, dims, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
) -> Any:
    x, single = with_batch(name, input, dims)
    size, kernel, step, pad, dilated = _geometry(
        name, dims, x, kernel_size, stride, padding, dilation, ceil_mode
    )
    settings = {
        "size": size, "kernel": kernel, "stride": step, "padding": pad, "dilation": dilated,
    }  # fmt: skip
    if not return_indices:
        out = apply(ops.MaxPool, x, **settings)
        return out[0] if single else out
    return _with_places(x, ops.max_of_windows(x.array, **settings)[1], single)


def _with_places(x: Tensor, argmax: Array, single: bool) -> tuple[Tensor, Tensor]:
    """(the elements at flat places of each plane, the places)."""
    out = x.take_flat(ops.flat_places(argmax, x.shape))
    indices = Tensor(argmax.astype(np.int64))
    return (out[0], indices[0]) if single else (out, indices)


def _mean_pooled(
    name, dims, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor
) -> Tensor:
    x, single = with_batch(name, input, dims)
    size, kernel, step, pad, _ = _geometry(
        name, dims, x, kernel_size, stride, padding, 1, ceil_mode
    )
    whole = bool(count_include_pad)
    rules = tuple(
        ("regular", n, k, s, p, whole) for n, k, s, p in zip(size, kernel, step, pad)
    )
    out = apply(ops.AvgPool, x, rules=rules, divisor=divisor)
    return out[0] if single else out


def _adaptive_size(name: str, dims: int, x: Tensor, output_size: Any) -> tuple[int, ...]:
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * dims
    if len(given) == 1:
        given = tuple(given) * dims
    if len(given) == dims:
        given = tuple(n if wanted is None else wanted for n, wanted in zip(x.shape[2:], given))
    size = several(name, "output_size", given, dims)
    if 0 in x.shape[2:]:
        raise ValueError(f"{name}: the axes to pool must not be empty, got input {x.shape}")
    return size


def _adaptive_mean(name: str, dims: int, input: Tensor, output_size: Any) -> Tensor:
    x, single = with_batch(name, input, dims)
    size = _adaptive_size(name, dims, x, output_size)
    out = apply(ops.AvgPool, x, rules=tuple(("adaptive", n) for n in size), divisor=None)
    return out[0] if single else out


def _adaptive_max(name, dims, input, output_size, return_indices) -> Any:
    x, single = with_batch(name, input, dims)
    size = _adaptive_size(name, dims, x, output_size)
    if all(n and t % n == 0 for n, t in zip(size, x.shape[2:])):
        kernel = tuple(t // n for n, t in zip(size, x.shape[2:]))
        out = _max_pooled(name, dims, x, kernel, None, 0, 1, False, return_indices)
        if return_indices:
            return (out[0][0], out[1][0]) if single else out
        return out[0] if single else out
    out, indices = _with_places(x, _adaptive_places(x.array, size), single)
    if recorders and not single:
        record("adaptive_max_pool", (x,), {"size": size}, (out,))
    return (out, indices) if return_indices else out


def _adaptive_places(x: Array, size: tuple[int, ...]) -> Array:
    """Where the maximum of each window stands in its flat plane: windows of unequal sizes."""
    places = np.zeros((1, 1), np.int64)  # (windows so far, elements of a window)
    for n, count in zip(x.shape[2:], size):
        starts, stops, _ = ops.windows(n, ("adaptive", count))
        longest = int((stops - starts).max(initial=1))
        taps = np.minimum(starts[:, None] + np.arange(longest), stops[:, None] - 1)
        wide = places[:, None, :, None] * n + taps[None, :, None, :]
        places = wide.reshape(len(places) * count, places.shape[1] * longest)
    planes = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    values = planes[..., places]  # (B, C, windows, elements)
    best = values.argmax(axis=-1)
    wrong = np.isnan(values)
    if wrong.any():  # PyTorch takes the last NaN
        last = wrong.shape[-1] - 1 - wrong[..., ::-1].argmax(axis=-1)
        best = np.where(wrong.any(axis=-1), last, best)
    found = np.take_along_axis(places[None, None], best[..., None], axis=-1)[..., 0]
    return found.reshape(*x.shape[:2], *size)


def _unpooled(name, dims, input, indices, kernel_size, stride, padding, output_size) -> Tensor:
    x, single = with_batch(name, input, dims)
    places = indices.array[None] if single else indices.array
    if places.shape != x.shape or places.dtype != np.int64:
        raise ValueError(
            f"{name}: indices must be int64 of input's shape {input.shape}, got {indices.dtype} "
            f"{indices.shape}; max_pool with return_indices=True makes them"
        )
    kernel = several(name, "kernel_size", kernel_size, dims, least=1)
    step = kernel if stride is None else several(name, "stride", stride, dims, least=1)
    pad = several(name, "padding", padding, dims)
    if output_size is None:
        size = tuple(
            (n - 1) * s - 2 * p + k for n, k, s, p in zip(x.shape[2:], kernel, step, pad)
        )
    else:
        size = tuple(int(n) for n in output_size)[-dims:]
    area = math.prod(size)
    if places.size and not (places.min() >= 0 and places.max() < area):
        raise ValueError(
            f"{name}: indices {places.min()} to {places.max()} do not fit an output of {size}"
        )
    shape = (*x.shape[:2], *size)
    zeros = Tensor(np.zeros(shape, x.dtype))
    out = apply(PutFlat, zeros, x, ops.flat_places(places, shape))
    return out[0] if single else out
