"""Gradients of convolutions over sequences that lie in memory with their channels last.

That is how embedded words, and what recurrent and attention layers return, reach a convolution
after `transpose(1, 2)`: their windows are rows that overlap, which products read as they lie.
"""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import empty
from minidl.typing import Array


def suits(shape, weight, dtype, geometry, groups: int) -> bool:
    """Whether a convolution of images (B, C, 1, T), channels last in memory, is for these kernels.

    shape, weight (O, C / groups, KH, KW): shapes. What they are not for goes the general way:
    groups, dilation, windows narrower than a panel, and a single sequence, which one core has.
    """
    _, _, ph, pw, _, dw = geometry
    flat = shape[0] > 1 and shape[2] == 1 and weight[2] == 1 and ph == 0 and pw >= 0
    width = kernels.panels_shape(1, 1, dtype)[2]
    return flat and groups == 1 and dw == 1 and weight[1] * weight[3] >= width


def input_gradient(g: Array, weight: Array, time: int, step: int, padding: int) -> Array:
    """dx (B, C, T), with channels last in memory; g (B, O, R); weight (O, C, K)."""
    images, _, rows = g.shape
    _, channels, taps = weight.shape
    reached = max(padding + time, (rows - 1) * step + taps)
    dx = empty((images, reached, channels), g.dtype)
    packed = empty(_panels(weight), g.dtype)
    run = _math.suited(kernels.steps_input, g)
    run(np.ascontiguousarray(g), np.ascontiguousarray(weight), step, packed, dx)
    if reached > time:
        dx = np.ascontiguousarray(dx[:, padding : padding + time])
    return dx.swapaxes(1, 2)


def weight_gradient(x: Array, g: Array, taps: int, step: int, padding: int) -> Array:
    """dweight (O, C, K) of x (B, C, T), with channels last in memory, and g (B, O, R)."""
    rows = x.swapaxes(1, 2)
    images, time, channels = rows.shape
    reached = max(padding + time, (g.shape[2] - 1) * step + taps)
    if reached > time:
        padded = np.zeros((images, reached, channels), x.dtype)
        padded[:, padding : padding + time] = rows
        rows = padded
    dweight = empty((g.shape[1], channels, taps), x.dtype)
    sums = empty(_panels(dweight), x.dtype)
    run = _math.suited(kernels.steps_weight, x)
    run(rows, np.ascontiguousarray(g), step, sums, dweight)
    return dweight


def _panels(weight: Array) -> tuple[int, int, int]:
    outputs, channels, taps = weight.shape
    return kernels.panels_shape(outputs, channels * taps, weight.dtype)
