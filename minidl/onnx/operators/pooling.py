"""Pooling: the largest, the mean, or the p-norm of windows, or of all places."""

import functools
from typing import Any

import numpy as np

import minidl.functional as F
from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.onnx.node import constant, is_float, operator
from minidl.onnx.operators.windows import counts, spread, windows_of
from minidl.ops import index as index_ops
from minidl.ops import reduce as ops


def _lowest(dtype: np.dtype) -> float:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


@operator("MaxPool")
def max_pool(node, x):
    kernel = node.get("kernel_shape")
    rule = windows_of(node, x.shape[2:], kernel)
    places = node.wants(1)
    quick = getattr(F, f"max_pool{len(kernel)}d", None)
    if quick and rule.plain and is_float(x) and not places and _half(rule):
        return quick(x, rule.kernel, rule.stride, rule.before, rule.dilation)
    taps = tuple(range(-len(kernel), 0))
    windows = spread(x, rule, _lowest(x.dtype))
    if not places:
        return apply(ops.Amax, windows, dim=tuple(t % windows.ndim for t in taps), keepdim=False)
    order = "C" if node.get("storage_order", 0) == 0 else "F"
    return _with_places(x, windows, rule, order)


def _half(rule) -> bool:
    """PyTorch's limit of padding: half the kernel."""
    return all(2 * p <= k for p, k in zip(rule.before, rule.kernel))


def _with_places(x, windows, rule, order):
    """The largest and its flat place in x, counted over all of (B, C, *S)."""
    spatial = x.shape[2:]
    inside = np.arange(int(np.prod(spatial))).reshape(spatial, order=order)
    row_major = np.arange(int(np.prod(spatial))).reshape(spatial)
    found = []
    for numbers in (inside, row_major):
        grid = Tensor(numbers.reshape(1, 1, *spatial))
        around = spread(grid, rule, -1).array  # (1, 1, *O, *K)
        rows = np.broadcast_to(around, windows.shape).reshape(*windows.shape[: x.ndim], -1)
        best = windows.array.reshape(rows.shape).argmax(-1)[..., None]
        found.append(np.take_along_axis(rows, best, -1)[..., 0])
    outer = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(spatial))
    asked, flat = [outer * inside.size + ids for ids in found]
    return apply(index_ops.TakeFlat, x, flat), constant(asked, np.int64)


@operator("AveragePool")
def average_pool(node, x):
    kernel = node.get("kernel_shape")
    rule = windows_of(node, x.shape[2:], kernel)
    with_padding = bool(node.get("count_include_pad", 0))
    quick = getattr(F, f"avg_pool{len(kernel)}d", None)
    if quick and rule.plain and set(rule.dilation) == {1} and _half(rule):
        return quick(x, rule.kernel, rule.stride, rule.before, False, with_padding)
    windows = spread(x, rule, 0)
    outer: Any = np.multiply.outer
    number = functools.reduce(outer, counts(rule, x.shape[2:], with_padding))
    return windows.sum(tuple(range(-len(kernel), 0))) / constant(number, x.dtype)


@operator("LpPool")
def lp_pool(node, x):
    kernel = node.get("kernel_shape")
    windows = spread(x, windows_of(node, x.shape[2:], kernel), 0)
    return _norm(windows, node.get("p", 2), tuple(range(-len(kernel), 0)), False)


def _norm(x, p, axes, keep):
    return F.pow(F.pow(F.abs(x), float(p)).sum(axes, keepdim=keep), 1.0 / p)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node, x):
    axes = tuple(range(2, x.ndim))
    if node.op == "GlobalAveragePool":
        return x.mean(axes, keepdim=True)
    if node.op == "GlobalMaxPool":
        return F.amax(x, axes, keepdim=True)
    return _norm(x, node.get("p", 2), axes, True)


@operator("LpNormalization")
def lp_normalization(node, x):
    norm = _norm(x, node.get("p", 2), (node.get("axis", -1),), True)
    return x / F.where(Tensor(norm.array == 0), constant(1, x.dtype), norm)
