"""Resize: each axis apart, by picking the nearest place or as a product with weights of places."""

import math

import numpy as np

import minidl.functional as F
from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.onnx.node import NodeView, axis_of, constant, is_float, numbers, operator, to_dtype
from minidl.ops import index as index_ops
from minidl.typing import Array


@operator("Resize", "Upsample")
def resize(node, x, roi=None, scales=None, sizes=None):
    if node.version < 11 and scales is None:  # Resize-10 and Upsample: (x, scales)
        roi, scales = None, roi
    where = [axis_of(a, x.ndim, node) for a in node.get("axes", range(x.ndim))]
    given = _targets(node, x, where, scales, sizes)
    corners = np.zeros(0) if roi is None else roi.array.astype(np.float64)
    dtype, mode = x.dtype, node.get("mode", "nearest")
    work = x if mode == "nearest" or is_float(x) else to_dtype(x, np.float32)
    outside = []
    for i, axis in enumerate(where):
        size, scale = given[i]
        region = (corners[i], corners[i + len(where)]) if len(corners) else (0.0, 1.0)
        crop = node.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        if size == x.shape[axis] and scale == 1 and not crop:
            continue
        places = _places(node, x.shape[axis], size, scale, region)
        if crop:
            outside.append((axis, (places < 0) | (places > x.shape[axis] - 1)))
        if mode == "nearest":
            ids = _nearest(node, places).clip(0, x.shape[axis] - 1)
            work = apply(index_ops.TakeRows, work, ids, axis=axis)
        else:
            matrix = _weights(node, places, x.shape[axis], scale)
            work = (work.swapaxes(axis, -1) @ constant(matrix.T, work.dtype)).swapaxes(axis, -1)
    for axis, beyond in outside:
        mask = beyond.reshape(-1, *(1,) * (x.ndim - 1 - axis))
        work = F.where(Tensor(~mask), work, constant(node.get("extrapolation_value", 0.0), dtype))
    if work.dtype != dtype:
        limits = np.iinfo(dtype)
        return constant(np.clip(np.round(work.array), limits.min, limits.max), dtype)
    return work


def _targets(node: NodeView, x: Tensor, where, scales, sizes) -> list[tuple[int, float]]:
    """The output's size and the scale along each axis."""
    old = [x.shape[a] for a in where]
    if sizes is None or not sizes.array.size:
        factors = node.get("scales") if scales is None else scales.array.astype(np.float64)
        return [(math.floor(n * float(s)), float(s)) for n, s in zip(old, factors)]
    new = numbers(sizes)
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return [(m, m / n) for m, n in zip(new, old)]
    ratios = [m / n for m, n in zip(new, old)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [(math.floor(scale * n + 0.5), scale) for n in old]


def _places(node: NodeView, old: int, new: int, scale: float, region) -> Array:
    """Where each output place lies in the input (by the coordinate transformation mode)."""
    out = np.arange(new, dtype=np.float64)
    mode = node.get("coordinate_transformation_mode", "half_pixel")
    if node.version < 11:
        mode = "asymmetric"
    if mode == "asymmetric":
        return out / scale
    if mode == "align_corners":
        length = scale * old  # not rounded, as the standard has it
        return out * (old - 1) / (length - 1) if length > 1 else out * 0
    if mode == "tf_crop_and_resize":
        start, end = region
        if new > 1:
            return start * (old - 1) + out * (end - start) * (old - 1) / (new - 1)
        return 0.5 * (start + end) * (old - 1) + out
    if mode == "pytorch_half_pixel" and new == 1:
        return out * 0
    if mode == "half_pixel_symmetric":
        adjustment = new / (scale * old)
        centre = old / 2
        return centre * (1 - adjustment) + (out + 0.5) / scale - 0.5
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (out + 0.5) / scale - 0.5
    raise ValueError(f"coordinate_transformation_mode {mode!r} is not supported")


def _nearest(node: NodeView, places: Array) -> Array:
    rule = node.get("nearest_mode", "round_prefer_floor")
    if node.version < 11:
        rule = "floor"
    if rule == "round_prefer_floor":
        out = np.ceil(places - 0.5)
    elif rule == "round_prefer_ceil":
        out = np.floor(places + 0.5)
    else:
        out = np.floor(places) if rule == "floor" else np.ceil(places)
    return out.astype(np.int64)


def _weights(node: NodeView, places: Array, old: int, scale: float) -> Array:
    """How much each input place counts in each output place: (new, old), rows of sum 1.

    With antialias and a scale below 1 the filter is stretched, so that it covers what it skips.
    """
    cubic = node.get("mode") == "cubic"
    stretch = min(1.0, scale) if node.get("antialias", 0) else 1.0
    reach = math.ceil((2 if cubic else 1) / stretch) + 1
    taps = np.floor(places).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)  # (new, taps)
    distance = (taps - places[:, None]) * stretch
    weight = _cubic(distance, node.get("cubic_coeff_a", -0.75)) if cubic else (
        np.maximum(0, 1 - np.abs(distance))
    )  # fmt: skip
    if node.get("exclude_outside", 0):
        weight = np.where((taps < 0) | (taps >= old), 0, weight)
    weight = weight / weight.sum(1, keepdims=True)
    out = np.zeros((len(places), old))
    rows = np.broadcast_to(np.arange(len(places))[:, None], taps.shape)
    np.add.at(out, (rows, taps.clip(0, old - 1)), weight)
    return out


def _cubic(x: Array, a: float) -> Array:
    """Keys' cubic convolution (1981, IEEE Trans. ASSP 29)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
