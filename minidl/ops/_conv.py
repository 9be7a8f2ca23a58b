"""The three products of a convolution, on arrays: for `conv`.

Images (B, C, H, W) are turned into columns by blocks that stay in cache, each block takes one
matrix product, and its result goes back into images. Three cases need no columns: a kernel of one
point, a kernel as large as the image, and one input channel for each output (depthwise).
A geometry is (sh, sw, ph, pw, dh, dw): stride, padding before, dilation, of both axes.
"""

import math
import threading
from collections.abc import Iterator

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import empty
from minidl.ops._product import product
from minidl.typing import Array

Geometry = tuple[int, int, int, int, int, int]

BLOCK = 1 << 21
"""Elements of a block's columns: what the columns, the product and its result may take of the
third-level cache. Smaller ones start more parallel regions and products than they save."""

POINTWISE_FROM = 64
"""Positions of an image from which a product for each image is worth its call."""


def correlate(x: Array, weight: Array, bias: Array | None, size, geometry, groups) -> Array:
    """out[b, o] = bias[o] + sum over c, i, j of weight[o, c, i, j] * x[b, c, at tap i, j].

    x (B, C, H, W); weight (O, C/groups, KH, KW); out (B, O, *size).
    """
    x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    images, channels = x.shape[:2]
    outputs, thin = weight.shape[:2]
    out = empty((images, outputs, *size), x.dtype)
    if not out.size:
        return out
    if size == (1, 1) and groups == 1 and _covers(x.shape, weight.shape, geometry):
        rows = out.reshape(images, outputs)
        product(x.reshape(images, -1), weight.reshape(outputs, -1).T, out=rows)
        return out if bias is None else _plus(out, bias)
    if _is_point(weight.shape, geometry) and size[0] * size[1] >= POINTWISE_FROM:
        matrix = weight.reshape(groups, outputs // groups, thin)
        planes = x.reshape(images, groups, thin, -1)
        if groups == 1:
            matrix, planes = matrix[0], planes[:, 0]
        product(matrix, planes, out=out.reshape(*planes.shape[:-2], outputs // groups, -1))
        return out if bias is None else _plus(out, bias)
    start = np.zeros(outputs, x.dtype) if bias is None else np.ascontiguousarray(bias)
    if thin == 1 and groups > 1:
        run = _math.suited(kernels.depthwise_forward, out)
        run(x, weight.reshape(outputs, *weight.shape[2:]), start, *geometry, out)
        return out
    kernel = weight.shape[2:]
    depth = channels * kernel[0] * kernel[1]
    matrix = weight.reshape(groups, outputs // groups, -1)
    for s, e, top, bottom in blocks(images, size, depth):
        cols = columns(x[s:e], kernel, top, bottom, size[1], geometry)
        result = multiply(matrix, cols.reshape(groups, depth // groups, -1))
        result = result.reshape(outputs, 1, 1, e - s, bottom - top, size[1])
        add_back(result, start, top == 0, (1, 1, -top, 0, 1, 1), out[s:e])
    return out


def spread(g: Array, weight: Array, bias: Array | None, size, geometry, groups) -> Array:
    """The transpose of `correlate`: out[b, c, at tap i, j] += weight[o, c, i, j] * g[b, o].

    g (B, O, OH, OW); weight (O, C/groups, KH, KW); bias (C,); out (B, C, *size).
    """
    g, weight = np.ascontiguousarray(g), np.ascontiguousarray(weight)
    images, outputs = g.shape[:2]
    thin, kernel = weight.shape[1], weight.shape[2:]
    channels = thin * groups
    out = empty((images, channels, *size), g.dtype)
    if not out.size:
        return out
    if g.shape[2:] == (1, 1) and groups == 1 and _covers(out.shape, weight.shape, geometry):
        rows = out.reshape(images, -1)
        product(g.reshape(images, outputs), weight.reshape(outputs, -1), out=rows)
        return out if bias is None else _plus(out, bias)
    if _is_point(weight.shape, geometry) and size == g.shape[2:]:
        return correlate(g, _swapped(weight, groups), bias, size, geometry, groups)
    start = np.zeros(channels, g.dtype) if bias is None else np.ascontiguousarray(bias)
    if thin == 1 and groups > 1:
        run = _math.suited(kernels.depthwise_input, g)
        run(g, weight.reshape(outputs, *kernel), start, *geometry, out)
        return out
    if not g.size:
        out[...] = start[:, None, None]
        return out
    depth = channels * kernel[0] * kernel[1]
    matrix = weight.reshape(groups, outputs // groups, -1).swapaxes(1, 2)
    sh, sw, ph, pw, dh, dw = geometry
    for s, e, top, bottom in blocks(images, g.shape[2:], depth):
        rows = _gather(g[s:e], top, bottom)  # (O, n L)
        cols = multiply(matrix, rows.reshape(groups, outputs // groups, -1))
        cols = cols.reshape(channels, *kernel, e - s, bottom - top, g.shape[3])
        add_back(cols, start, top == 0, (sh, sw, ph - top * sh, pw, dh, dw), out[s:e])
    return out


def weight_product(x: Array, g: Array, kernel, geometry, groups) -> Array:
    """dweight[o, c, i, j] = sum over images and positions of g[b, o] * x[b, c, at tap i, j].

    x (B, C, H, W); g (B, O, OH, OW); dweight (O, C/groups, *kernel).
    """
    x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    images, channels = x.shape[:2]
    outputs, size = g.shape[1], g.shape[2:]
    thin = channels // groups
    out = empty((outputs, thin, *kernel), x.dtype)
    if not g.size or not x.size or not out.size:
        out[...] = 0
        return out
    if size == (1, 1) and groups == 1 and _covers(x.shape, out.shape, geometry):
        product(g.reshape(images, outputs).T, x.reshape(images, -1), out=out.reshape(outputs, -1))
        return out
    if thin == 1 and groups > 1:
        run = _math.suited(kernels.depthwise_weight, g)
        run(x, g, *geometry, out.reshape(outputs, *kernel))
        return out
    depth = channels * kernel[0] * kernel[1]
    total = out.reshape((groups, outputs // groups, depth // groups))
    for number, (s, e, top, bottom) in enumerate(blocks(images, size, depth)):
        cols = columns(x[s:e], kernel, top, bottom, size[1], geometry)
        rows = _gather(g[s:e], top, bottom).reshape(groups, outputs // groups, -1)
        _accumulate(rows, cols.reshape(groups, depth // groups, -1), number, total)
    return out


def gradients(x: Array, weight: Array, dout: Array, geometry, groups) -> tuple[Array, Array] | None:
    """(dx, dweight) of `correlate` in one go, sharing dout's rows; None for the special cases."""
    if _is_special(x.shape, weight.shape, dout.shape[2:], geometry, groups) or not dout.size:
        return None
    x, weight, dout = (np.ascontiguousarray(a) for a in (x, weight, dout))
    kernel, (outputs, channels) = weight.shape[2:], (len(weight), x.shape[1])
    depth, size = channels * kernel[0] * kernel[1], dout.shape[2:]
    matrix = weight.reshape(groups, outputs // groups, -1).swapaxes(1, 2)
    dx, dweight = empty(x.shape, x.dtype), empty(weight.shape, x.dtype)
    total = dweight.reshape((groups, outputs // groups, depth // groups))
    zeros = np.zeros(channels, x.dtype)
    sh, sw, ph, pw, dh, dw = geometry
    for number, (s, e, top, bottom) in enumerate(blocks(len(x), size, depth)):
        rows = _gather(dout[s:e], top, bottom).reshape(groups, outputs // groups, -1)
        cols = columns(x[s:e], kernel, top, bottom, size[1], geometry)
        _accumulate(rows, cols.reshape(groups, depth // groups, -1), number, total)
        # the columns of x are no longer needed: those of dx take their place
        multiply(matrix, rows, cols.reshape(groups, depth // groups, -1))
        add_back(cols, zeros, top == 0, (sh, sw, ph - top * sh, pw, dh, dw), dx[s:e])
    return dx, dweight


def spread_gradients(
    g: Array, weight: Array, dout: Array, geometry, groups
) -> tuple[Array, Array] | None:
    """(dg, dweight) of `spread` in one go, sharing dout's columns; None for the special cases."""
    if _is_special(dout.shape, weight.shape, g.shape[2:], geometry, groups) or not g.size:
        return None
    g, weight, dout = (np.ascontiguousarray(a) for a in (g, weight, dout))
    kernel, (outputs, channels) = weight.shape[2:], (len(weight), dout.shape[1])
    depth, size = channels * kernel[0] * kernel[1], g.shape[2:]
    matrix = weight.reshape(groups, outputs // groups, -1)
    dg, dweight = empty(g.shape, g.dtype), empty(weight.shape, g.dtype)
    total = dweight.reshape((groups, outputs // groups, depth // groups))
    zeros = np.zeros(outputs, g.dtype)
    for number, (s, e, top, bottom) in enumerate(blocks(len(g), size, depth)):
        cols = columns(dout[s:e], kernel, top, bottom, size[1], geometry)
        cols = cols.reshape(groups, depth // groups, -1)
        rows = _gather(g[s:e], top, bottom).reshape(groups, outputs // groups, -1)
        _accumulate(rows, cols, number, total)
        result = multiply(matrix, cols).reshape(outputs, 1, 1, e - s, bottom - top, size[1])
        add_back(result, zeros, top == 0, (1, 1, -top, 0, 1, 1), dg[s:e])
    return dg, dweight


def _is_special(image, weight, size, geometry, groups) -> bool:
    """Whether `correlate` and its gradients do without columns."""
    whole = tuple(size) == (1, 1) and groups == 1 and _covers(image, weight, geometry)
    thin = weight[1] == 1 and groups > 1
    return whole or thin or _is_point(weight, geometry)


def _accumulate(rows: Array, cols: Array, number: int, total: Array) -> None:
    """total (G, O/G, K) += rows @ cols^T, or = in the first block."""
    if number:
        total += multiply(rows, cols.swapaxes(1, 2))
    else:
        multiply(rows, cols.swapaxes(1, 2), total)


class _Scratch(threading.local):
    """Arrays that live for one block; kept, because the system clears new memory page by page."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Array] = {}


_scratch = _Scratch()


def scratch(shape, dtype, name: str) -> Array:
    """An array whose memory is used again when the next one of this name is asked for."""
    size = math.prod(shape)
    known = _scratch.kept.get((name, dtype.char))
    if known is None or known.size < size:
        _scratch.kept[name, dtype.char] = known = np.empty(size, dtype)
    return known[:size].reshape(shape)


def blocks(images: int, size: tuple[int, int], depth: int) -> Iterator[tuple[int, int, int, int]]:
    """(first image, last, first row of outputs, last) of each block of columns, alike in size."""
    rows, across = size
    image = depth * rows * across
    if image <= BLOCK:
        count = -(-images // max(1, BLOCK // max(1, image)))
        for k in range(count):
            yield k * images // count, (k + 1) * images // count, 0, rows
    else:
        count = -(-rows // max(1, BLOCK // (depth * across)))
        for b in range(images):
            for k in range(count):
                yield b, b + 1, k * rows // count, (k + 1) * rows // count


def columns(x: Array, kernel, top: int, bottom: int, across: int, geometry: Geometry) -> Array:
    """The windows of x (B, C, H, W) for output rows top … bottom-1: (C, KH, KW, B, rows, OW)."""
    shape = (x.shape[1], *kernel, len(x), bottom - top, across)
    return fill_columns(x, top, geometry, scratch(shape, x.dtype, "columns"))


def fill_columns(x: Array, top: int, geometry: Geometry, cols: Array) -> Array:
    """cols (C, KH, KW, B, rows, OW), filled with the windows of x for output rows from `top` on."""
    sh, sw, ph, pw, dh, dw = geometry
    _math.suited(kernels.im2col, cols)(x, sh, sw, ph - top * sh, pw, dh, dw, cols)
    return cols


def multiply(a: Array, b: Array, out: Array | None = None) -> Array:
    """Matrix products (G, N, K) @ (G, K, M); one plain product if G is 1."""
    if out is None:
        out = scratch((a.shape[0], a.shape[1], b.shape[2]), a.dtype, "product")
    if len(a) == 1:
        product(a[0], b[0], out=out[0])
    else:
        product(a, b, out=out)
    return out


def _gather(g: Array, top: int, bottom: int) -> Array:
    """g (B, O, OH, OW) as rows of a matrix, (O, B * rows * OW), for output rows top … bottom-1."""
    shape = (g.shape[1], 1, 1, len(g), bottom - top, g.shape[3])
    return fill_columns(g, top, (1, 1, 0, 0, 1, 1), scratch(shape, g.dtype, "rows"))


def add_back(cols: Array, bias: Array, begin: bool, geometry: Geometry, out: Array) -> None:
    """Columns (C, KH, KW, B, OH, OW) added into out (B, C, H, W); begin: which is bias so far."""
    _math.suited(kernels.col2im, cols)(cols, bias, int(begin), *geometry, out)


def _covers(image, weight, geometry: Geometry) -> bool:
    """Whether the kernel is as large as the image and lies on it once."""
    return image[2:] == weight[2:] and geometry[2:] == (0, 0, 1, 1)


def _is_point(weight, geometry: Geometry) -> bool:
    return weight[2:] == (1, 1) and geometry[:4] == (1, 1, 0, 0)


def _swapped(weight: Array, groups: int) -> Array:
    """(O, C/G, 1, 1) -> (C, O/G, 1, 1), each group transposed."""
    outputs, thin = weight.shape[:2]
    turned = weight.reshape(groups, outputs // groups, thin).swapaxes(1, 2)
    return turned.reshape(groups * thin, outputs // groups, 1, 1)


def _plus(out: Array, bias: Array) -> Array:
    out += bias[:, None, None]
    return out
