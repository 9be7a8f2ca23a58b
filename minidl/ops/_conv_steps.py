"""Convolutions over sequences: with channels last in memory, windows are rows that overlap.

So products read them as they lie. Embedded words, and what recurrent and attention layers return,
reach a convolution like that after `transpose(1, 2)`; others are turned, which takes a tenth of the
time of a product at most.
"""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._blocks import POSITIONS, blocks_of
from minidl.ops._op import empty
from minidl.typing import Array

FEW = 8
"""Where no more than one of so many numbers of dout is not 0, it is taken one by one: at one of ten
that takes half the time of products, at one of 48 a sixth."""


def suits(shape, weight, dtype, geometry, groups: int, last: bool) -> bool:
    """Whether a convolution of images (B, C, 1, T) is for these kernels. last: channels, in memory.

    shape, weight (O, C / groups, KH, KW): shapes. What they are not for goes the general way:
    groups, dilation, windows narrower than a panel, and few channels that would have to be turned.
    """
    _, _, ph, pw, _, dw = geometry
    flat = shape[2] == 1 and weight[2] == 1 and ph == 0 and pw >= 0
    width = kernels.panels_shape(1, 1, dtype)[2]
    if not last and weight[1] < width // 2:
        return False
    return flat and groups == 1 and dw == 1 and weight[1] * weight[3] >= width


def as_rows(x: Array) -> Array:
    """x (B, C, T) as (B, T, C), contiguous: a view if it lies like that, or turned."""
    rows = x.swapaxes(1, 2)
    return rows if rows.flags.c_contiguous else turned(x)


def turned(x: Array) -> Array:
    """A new array (B, M, N) of x (B, N, M)."""
    out = empty((x.shape[0], x.shape[2], x.shape[1]), x.dtype)
    _math.suited(kernels.turn_planes, x)(np.ascontiguousarray(x), out)
    return out


def outputs(x: Array, weight: Array, bias: Array, rows: int, padding: int) -> Array:
    """out (B, O, rows) of x (B, C, T) and weight (O, C, K)."""
    images, channels = x.shape[:2]
    out = empty((images, len(weight), rows), x.dtype)
    # a block's sequences, turned, and its panel should not leave the second cache
    most = max(128, min(POSITIONS, 128 * POSITIONS // channels))
    run = _math.suited(kernels.steps_forward, out)
    arrays = as_rows(x), np.ascontiguousarray(weight), np.ascontiguousarray(bias)
    run(*arrays, padding, blocks_of(images, rows, 1, most, 2), out)
    return out


def input_gradient(g: Array, weight: Array, time: int, step: int, padding: int) -> Array:
    """dx (B, C, T), with channels last in memory; g (B, O, R); weight (O, C, K)."""
    reached = _reached(g, weight.shape, time, step, padding)
    dx = empty((len(g), reached, weight.shape[1]), g.dtype)
    packed = empty(_panels(weight), g.dtype)
    run = _math.suited(kernels.steps_input, g)
    run(np.ascontiguousarray(g), np.ascontiguousarray(weight), step, packed, dx)
    return _cut(dx, time, padding)


def weight_gradient(x: Array, g: Array, taps: int, step: int, padding: int) -> Array:
    """dweight (O, C, K) of x (B, C, T) and g (B, O, R)."""
    dweight = empty((g.shape[1], x.shape[1], taps), x.dtype)
    rows = _padded(x, _reached(g, dweight.shape, x.shape[2], step, padding), padding)
    sums = empty(_panels(dweight), x.dtype)
    run = _math.suited(kernels.steps_weight, x)
    run(rows, np.ascontiguousarray(g), step, sums, dweight)
    return dweight


def few_gradients(x: Array, weight: Array, g: Array, needs, step: int, padding: int):
    """(dx, dweight, dbias), None for what `needs` does not ask for; shapes as above, dx as x lies.

    None where more than one in FEW numbers of g is not 0. A zero adds nothing, even where what it
    would be multiplied by is inf or NaN.
    """
    images, outputs, rows = g.shape
    most = outputs * rows // FEW
    if not most or not _math.large(g):
        return None
    starts = np.empty((images, outputs + 1), np.int64)
    found = starts, np.empty((images, most), np.int64), empty((images, most), g.dtype)
    kernels.few_found(np.ascontiguousarray(g), *found)
    if starts.min() < 0:
        return None
    time, shape = x.shape[2], weight.shape
    reached = _reached(g, shape, time, step, padding)
    sums = empty((outputs, shape[1] * shape[2]), g.dtype)
    dx = dweight = dbias = None
    if needs[0]:
        dx = empty((images, reached, shape[1]), g.dtype)
        kernels.few_input(*found, np.ascontiguousarray(weight), step, sums, dx)
        dx = _cut(dx, time, padding)
        dx = dx if x.swapaxes(1, 2).flags.c_contiguous else turned(dx.swapaxes(1, 2))
    if needs[1] or needs[2]:
        dweight, dbias = empty(shape, g.dtype), empty(outputs, g.dtype)
        kernels.few_weight(_padded(x, reached, padding), *found, step, dbias, sums, dweight)
    return dx, dweight if needs[1] else None, dbias if needs[2] else None


def _reached(g: Array, weight, time: int, step: int, padding: int) -> int:
    """Steps of time from the first of the padding to the last that a window sees, or that is."""
    return max(padding + time, (g.shape[2] - 1) * step + weight[2])


def _padded(x: Array, reached: int, padding: int) -> Array:
    """x (B, C, T) as (B, reached, C), with zeros around."""
    rows = as_rows(x)
    if reached == rows.shape[1]:
        return rows
    padded = np.zeros((len(rows), reached, rows.shape[2]), x.dtype)
    padded[:, padding : padding + rows.shape[1]] = rows
    return padded


def _cut(dx: Array, time: int, padding: int) -> Array:
    """The part of dx (B, reached, C) that is no padding, as (B, C, T)."""
    if dx.shape[1] > time:
        dx = np.ascontiguousarray(dx[:, padding : padding + time])
    return dx.swapaxes(1, 2)


def _panels(weight: Array) -> tuple[int, int, int]:
    outputs, channels, taps = weight.shape
    return kernels.panels_shape(outputs, channels * taps, weight.dtype)
