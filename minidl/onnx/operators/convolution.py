"""Convolution and its transpose, over any number of spatial axes.

One and two axes with equal padding on both sides are `nn.functional`'s; the rest is a product of
windows with the weights.
"""

import math

import numpy as np

import minidl.functional as F
from minidl._tensor import Tensor
from minidl.onnx.node import constant, numbers, operator
from minidl.onnx.operators.shape import padded
from minidl.onnx.operators.windows import Windows, same_padding, spread, windows_of


@operator("Conv")
def conv(node, x, weight, bias=None):
    rule = windows_of(node, x.shape[2:], weight.shape[2:])
    groups = node.get("group", 1)
    quick = getattr(F, f"conv{x.ndim - 2}d", None)
    if quick:
        if not rule.plain:
            for i, (before, after) in enumerate(zip(rule.before, rule.after)):
                x = padded(x, 2 + i, before, after, "constant")
        padding = rule.before if rule.plain else 0
        return quick(x, weight, bias, rule.stride, padding, rule.dilation, groups)
    return _correlated(x, weight, bias, rule, groups)


def _correlated(x, weight, bias, rule, groups):
    """The sum of each window with the weights: x (B, C, *S), weight (O, C/groups, *K)."""
    axes = x.ndim - 2
    windows = spread(x, rule, 0)  # (B, C, *out, *K)
    batch, channels = windows.shape[:2]
    out = windows.shape[2 : 2 + axes]
    taps = math.prod(weight.shape[2:])
    windows = windows.reshape(batch, groups, channels // groups, math.prod(out), taps)
    rows = windows.permute(0, 1, 3, 2, 4)  # (B, groups, out, C/groups, K)
    rows = rows.reshape(batch, groups, math.prod(out), channels // groups * taps)
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1).swapaxes(1, 2)
    y = F.matmul(rows, matrix).swapaxes(2, 3)  # (B, groups, O/groups, out)
    y = y.reshape(batch, weight.shape[0], *out)
    return y if bias is None else y + bias.reshape(-1, *(1,) * axes)


@operator("ConvTranspose")
def conv_transpose(node, x, weight, bias=None):
    axes = x.ndim - 2
    groups = node.get("group", 1)
    kernel = weight.shape[2:]
    stride = node.get("strides") or [1] * axes
    dilation = node.get("dilations") or [1] * axes
    more = node.get("output_padding") or [0] * axes
    before, after = _cut(node, x.shape[2:], kernel, stride, dilation, more)
    quick = getattr(F, f"conv_transpose{axes}d", None)
    if quick and before == after and all(m < max(s, d) for m, s, d in zip(more, stride, dilation)):
        return quick(x, weight, bias, stride, before, more, groups, dilation)
    for i in range(axes):
        x = _stuffed(x, 2 + i, stride[i])
        reach = (kernel[i] - 1) * dilation[i]
        x = padded(x, 2 + i, reach - before[i], reach - after[i] + more[i], "constant")
    # the same as a convolution with the weights turned round, from outputs to inputs
    weight = F.flip(weight, tuple(range(2, 2 + axes)))
    inputs, outputs = weight.shape[:2]
    weight = weight.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    weight = weight.reshape(groups * outputs, inputs // groups, *kernel)
    none = [0] * axes
    rule = Windows(list(kernel), [1] * axes, list(dilation), none, none, none)
    return _correlated(x, weight, bias, rule, groups)


@operator("Col2Im")
def col2im(node, x, image, block):
    """The inverse of windows as columns: each back to its place, added up."""
    size, kernel = numbers(image), numbers(block)
    axes = len(size)
    pads = node.get("pads") or [0] * (2 * axes)
    if axes != 2 or pads[:axes] != pads[axes:]:
        raise ValueError("only images with equal padding on both sides are supported")
    dilation, stride = node.get("dilations") or 1, node.get("strides") or 1
    return F.fold(x, size, kernel, dilation, pads[:axes], stride)


def _cut(node, sizes, kernel, stride, dilation, more):
    """How much of the full output is cut off before and after, along each axis."""
    axes = len(sizes)
    pads = node.get("pads") or [0] * (2 * axes)
    before, after = list(pads[:axes]), list(pads[axes:])
    rule, shape = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if rule == "VALID":
        return [0] * axes, [0] * axes
    if shape is None and rule == "NOTSET":
        return before, after
    wanted = shape[-axes:] if shape else [n * s for n, s in zip(sizes, stride)]
    for i in range(axes):
        full = stride[i] * (sizes[i] - 1) + more[i] + (kernel[i] - 1) * dilation[i] + 1
        total = full - wanted[i]
        if total < 0:  # the output is longer than what the kernel reaches
            before[i], after[i] = 0, total
        else:
            before[i], after[i] = same_padding(total, rule)
    return before, after


def _stuffed(x: Tensor, axis: int, stride: int) -> Tensor:
    """Zeros between the elements along an axis: stride - 1 after each but the last."""
    if stride == 1:
        return x
    size = x.shape[axis]
    wide = x.reshape(*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])
    gap = list(wide.shape)
    gap[axis + 1] = stride - 1
    wide = F.cat([wide, constant(np.zeros(gap), x.dtype)], axis + 1)
    wide = wide.reshape(*x.shape[:axis], size * stride, *x.shape[axis + 1 :])
    return F.narrow(wide, axis, 0, (size - 1) * stride + 1)
