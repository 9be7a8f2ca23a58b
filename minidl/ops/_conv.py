"""The three products of a convolution, on arrays: for `conv`.

All of them are `kernels.convolve` or `kernels.convolve_weight`, products over windows that are laid
out piece by piece in cache, or, where it is quicker, products at Winograd's points (`_winograd`).
What is computed otherwise: a kernel as large as the image is one plain product; one input channel
an output (depthwise) is too thin for products; a transposed convolution with long steps, of which
few taps meet, is a product whose columns are added into images.
A geometry is (sh, sw, ph, pw, dh, dw): stride, padding before, dilation, of both axes.
"""

import math
from functools import lru_cache

import numpy as np

from minidl import kernels
from minidl.ops import _conv_steps, _math, _winograd
from minidl.ops._blocks import POSITIONS, blocks, blocks_of, scratch
from minidl.ops._op import empty
from minidl.ops._product import product
from minidl.typing import Array

Geometry = tuple[int, int, int, int, int, int]

PARTS = 8
"""Sums of a weight's gradient that are formed at once, at most."""

PHASES = 9
"""Up to so many steps (stride * stride) a transposed convolution is taken apart into convolutions,
one for each remainder of the output's position: their taps lie side by side in g."""

THIN = 32
"""Up to so many weights an output are multiplied with windows of some rows, all laid out at
once, for half as many outputs or more: 1 -> 32 channels, 3 x 3 at 28 x 28, .32 ms, not .43."""

FEW, SOME = 64, 160
"""Up to so many weights an input of a transposed convolution, columns are made by one product and
added into images: 32 -> 1 channels, 4 x 4 with step 2, .11 ms instead of .60 at 14 x 14. Above FEW
where tiles are not quicker."""


def is_last(x: Array) -> bool:
    """Whether x (B, C, H, W) lies in memory with its channels last, as windows of rows do."""
    return not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous


def correlate(
    x: Array, weight: Array, bias: Array | None, size, geometry, groups, last: bool = False
) -> Array:
    """out[b, o] = bias[o] + sum over c, i, j of weight[o, c, i, j] * x[b, c, at tap i, j].

    x (B, C, H, W); weight (O, C/groups, KH, KW); out (B, O, *size), with channels last in memory if
    `last`.
    """
    weight = np.ascontiguousarray(weight)
    images, (outputs, thin) = len(x), weight.shape[:2]
    if _is_special(x.shape, weight.shape, size, geometry, groups):
        x = np.ascontiguousarray(x)
        out = empty((images, outputs, *size), x.dtype)
        if not out.size:
            return out
        if thin == 1 and groups > 1:
            start = np.zeros(outputs, x.dtype) if bias is None else np.ascontiguousarray(bias)
            run = _math.suited(kernels.depthwise_forward, out)
            run(x, weight.reshape(outputs, *weight.shape[2:]), start, *geometry, out)
            return out
        rows = out.reshape(images, outputs)
        product(x.reshape(images, -1), weight.reshape(outputs, -1).T, out=rows)
        return out if bias is None else _plus(out, bias)
    steps = not last and geometry[1] == 1 and x.size and outputs
    if steps and _conv_steps.suits(x.shape, weight.shape, x.dtype, geometry, groups, is_last(x)):
        start = np.zeros(outputs, x.dtype) if bias is None else bias
        flat = _conv_steps.outputs(x[:, :, 0], weight[:, :, 0], start, size[1], geometry[3])
        return flat[:, :, None]
    out = _images(images, outputs, size, last, x.dtype)
    how = None
    if _suits(x) and not last:
        how = _winograd.plan(x.shape, weight.shape, size, geometry, groups)
    plain = x.flags.c_contiguous and not last and groups == 1
    if how:
        _winograd.convolve(x, weight, bias, how, out)
    elif plain and out.size and math.prod(weight.shape[1:]) <= THIN <= 2 * outputs:
        rows = np.zeros((outputs, math.prod(weight.shape[1:]) + 1), x.dtype)
        rows[:, :-1] = weight.reshape(outputs, -1)
        if bias is not None:
            rows[:, -1] = bias
        _math.suited(kernels.thin_convolve, out)(x, rows, weight.shape[2:], geometry, out)
    elif out.size:
        parts = weight.reshape(groups, outputs // groups, *weight.shape[1:])
        _convolve(x, [(parts, 0, 0, 0, 0)], bias, geometry, parts.shape[3:], (1, 1), size, out)
    return out


def _convolve(x, parts, bias, geometry, kernel, step, size, out) -> None:
    """`kernels.convolve` of arrays (B, C, H, W) that lie in memory as they like.

    parts: weight (G, O/G, C/G, kh, kw), its first row and column in `kernel`, its place in out.
    """
    last, out_last = is_last(x), is_last(out)
    x = x.transpose(0, 2, 3, 1) if last else np.ascontiguousarray(x)
    if out_last:
        out = out.transpose(0, 2, 3, 1)
    groups, outputs = parts[0][0].shape[:2]
    start = bias if bias is not None else np.zeros(groups * outputs, x.dtype)
    flat = out.shape[1 if out_last else 2] == 1
    if flat and _is_lying(x.shape, last, kernel, geometry, size):
        x, out = _stood_up(x, last), _stood_up(out, out_last)
        parts = [(w.swapaxes(3, 4), left, up, b, a) for w, up, left, a, b in parts]
        geometry, kernel, step, size = _swapped(geometry), kernel[::-1], step[::-1], size[::-1]
    phases = _phases(tuple((up, left, *w.shape[3:], a, b) for w, up, left, a, b in parts))
    weights = [w.reshape(groups, -1) for w, *_ in parts]
    weight = weights[0] if len(parts) == 1 else np.concatenate(weights, 1)
    # the sums of all phases are kept until the last channel: they should not leave the second cache
    most = min(POSITIONS, max(128, POSITIONS * 128 // (len(parts) * outputs)))
    blocks = blocks_of(len(x), *size, POSITIONS if len(parts) == 1 else most)
    run = _math.suited(kernels.convolve, out)
    weight, start = np.ascontiguousarray(weight), np.ascontiguousarray(start)
    run(x, last, weight, start, blocks, geometry, kernel, phases, step, size, out_last, out)


@lru_cache(maxsize=256)
def _phases(found) -> Array:
    made = np.array(found, np.int64)
    made.flags.writeable = False
    return made


def spread(
    g: Array, weight: Array, bias: Array | None, size, geometry, groups, last: bool = False
) -> Array:
    """The transpose of `correlate`: out[b, c, at tap i, j] += weight[o, c, i, j] * g[b, o].

    g (B, O, OH, OW); weight (O, C/groups, KH, KW); bias (C,); out (B, C, *size), with channels last
    in memory if `last`.
    """
    weight = np.ascontiguousarray(weight)
    images, outputs = g.shape[:2]
    thin, kernel = weight.shape[1], weight.shape[2:]
    channels = thin * groups
    shape = (images, channels, *size)
    if _is_special(shape, weight.shape, g.shape[2:], geometry, groups):
        return _spread_special(g, weight, bias, shape, geometry, groups)
    steps = bias is None and g.size and math.prod(shape) and images > 1
    if steps and _conv_steps.suits(shape, weight.shape, g.dtype, geometry, groups, last):
        of_time = size[1], geometry[1], geometry[3]
        dx = _conv_steps.input_gradient(g[:, :, 0], weight[:, :, 0], *of_time)
        dx = dx if last else _conv_steps.turned(dx.swapaxes(1, 2))
        return dx[:, :, None]
    if geometry[0] * geometry[1] > PHASES:
        return _spread_columns(np.ascontiguousarray(g), weight, bias, shape, geometry, groups)
    out = _images(images, channels, size, last, g.dtype)
    if not out.size:
        return out
    sh, sw, ph, pw, dh, dw = geometry
    taps = math.prod(weight.shape[1:])
    plain = g.flags.c_contiguous and not last and groups == 1
    if plain and taps <= FEW and g.size:
        return _spread_thin(g, weight, bias, geometry, out)
    how = None if last else _spread_plan(g, weight.shape, size, geometry, groups)
    if how:  # a convolution of g with the turned kernel
        turned = weight.swapaxes(0, 1)[:, :, ::-1, ::-1]
        _winograd.convolve(g, turned, bias, how, out)
        return out
    if plain and taps <= SOME and g.size:
        return _spread_thin(g, weight, bias, geometry, out)
    turned = weight.reshape(groups, outputs // groups, thin, *kernel).swapaxes(1, 2)
    lines = [(a, *_phase(a, sh, ph, dh, kernel[0])) for a in range(min(sh, size[0]))]
    across = [(b, *_phase(b, sw, pw, dw, kernel[1])) for b in range(min(sw, size[1]))]
    found = []
    for a, up, padding_h, dilation_h in lines:
        for b, left, padding_w, dilation_w in across:
            part = turned[:, :, :, up, left]
            if not part.size or not g.size:
                out[:, :, a::sh, b::sw] = 0 if bias is None else bias[:, None, None]
                continue
            # from the last tap to the first: a window of g in its own order
            part = part[:, :, :, ::-1, ::-1]
            found.append((part, padding_h, padding_w, dilation_h, dilation_w, a, b))
    # all phases at once, from one window of g; with gaps in it one by one
    whole = all(one[3:5] == (1, 1) for one in found)
    count = (-(-size[0] // sh), -(-size[1] // sw))
    for some in [found] if whole and found else [[one] for one in found]:
        top, left = max(one[1] for one in some), max(one[2] for one in some)
        parts = [(one[0], top - one[1], left - one[2], *one[5:]) for one in some]
        high = max(one[1] + one[0].shape[3] for one in parts)
        broad = max(one[2] + one[0].shape[4] for one in parts)
        rest = (1, 1, top, left, *some[0][3:5])
        _convolve(g, parts, bias, rest, (high, broad), (sh, sw), count, out)
    return out


def _spread_thin(g, weight, bias, geometry, out) -> Array:
    """`spread` to few channels: a product of g as it lies, whose columns are added into images."""
    start = np.zeros(out.shape[1], g.dtype) if bias is None else np.ascontiguousarray(bias)
    matrix = np.ascontiguousarray(weight.reshape(len(weight), -1).T)
    _math.suited(kernels.thin_spread, out)(g, matrix, start, weight.shape[2:], geometry, out)
    return out


def _phase(a: int, stride: int, padding: int, dilation: int, kernel: int):
    """(taps, padding, dilation) of the convolution that gives outputs a, a + stride, ...

    Position a + stride * r gets tap i of g[o] where a + stride * r = o * stride + i * dilation -
    padding. Such taps are a common step apart, and with each of them o changes alike.
    """
    step = stride // math.gcd(stride, dilation)
    first = next((i for i in range(step) if (a + padding - i * dilation) % stride == 0), kernel)
    taps = slice(first, kernel, step)
    count, apart = len(range(first, kernel, step)), step * dilation // stride
    begin = (a + padding - first * dilation) // stride  # where tap `first` of position a looks
    return taps, (count - 1) * apart - begin, apart


def _spread_special(g, weight, bias, shape, geometry, groups) -> Array:
    """`spread` with a kernel as large as the image, and the depthwise one."""
    g = np.ascontiguousarray(g)
    images, outputs = g.shape[:2]
    out = empty(shape, g.dtype)
    if weight.shape[1] == 1 and groups > 1:
        start = np.zeros(shape[1], g.dtype) if bias is None else np.ascontiguousarray(bias)
        if not g.size:
            out[...] = start[:, None, None]
        elif out.size:
            run = _math.suited(kernels.depthwise_input, g)
            run(g, weight.reshape(outputs, *weight.shape[2:]), start, *geometry, out)
        return out
    rows = out.reshape(images, math.prod(shape[1:]))
    product(g.reshape(images, outputs), weight.reshape(outputs, -1), out=rows)
    return out if bias is None else _plus(out, bias)


def _spread_columns(g, weight, bias, shape, geometry, groups) -> Array:
    """`spread` as one product a block of images, whose columns are added into images."""
    outputs, kernel, channels = g.shape[1], weight.shape[2:], shape[1]
    out = empty(shape, g.dtype)
    start = np.zeros(channels, g.dtype) if bias is None else np.ascontiguousarray(bias)
    if not g.size or not out.size:
        out[...] = start[:, None, None]
        return out
    depth = channels * kernel[0] * kernel[1]
    matrix = weight.reshape(groups, outputs // groups, -1).swapaxes(1, 2)
    sh, sw, ph, pw, dh, dw = geometry
    for s, e, top, bottom in blocks(len(g), g.shape[2:], depth):
        rows = _gather(g[s:e], top, bottom)  # (O, n L)
        cols = multiply(matrix, rows.reshape(groups, outputs // groups, -1))
        cols = cols.reshape(channels, *kernel, e - s, bottom - top, g.shape[3])
        add_back(cols, start, top == 0, (sh, sw, ph - top * sh, pw, dh, dw), out[s:e])
    return out


def weight_product(x: Array, g: Array, kernel, geometry, groups) -> Array:
    """dweight[o, c, i, j] = sum over images and positions of g[b, o] * x[b, c, at tap i, j].

    x (B, C, H, W); g (B, O, OH, OW); dweight (O, C/groups, *kernel).
    """
    g = np.ascontiguousarray(g)
    images, channels = x.shape[:2]
    outputs, size = g.shape[1], g.shape[2:]
    thin = channels // groups
    out = empty((outputs, thin, *kernel), x.dtype)
    if not g.size or not x.size or not out.size:
        out[...] = 0
        return out
    if _is_special(x.shape, out.shape, size, geometry, groups):
        x = np.ascontiguousarray(x)
        if thin == 1 and groups > 1:
            run = _math.suited(kernels.depthwise_weight, g)
            run(x, g, *geometry, out.reshape(outputs, *kernel))
        else:
            flat = out.reshape(outputs, -1)
            product(g.reshape(images, outputs).T, x.reshape(images, -1), out=flat)
        return out
    how = None
    if _suits(x):
        how = _winograd.plan(x.shape, out.shape, size, geometry, groups, "weight")
    if how:
        _winograd.gradient(x, g, how, out)
        return out
    last = is_last(x)
    if _conv_steps.suits(x.shape, out.shape, g.dtype, geometry, groups, last):
        of_time = kernel[1], geometry[1], geometry[3]
        return _conv_steps.weight_gradient(x[:, :, 0], g[:, :, 0], *of_time)[:, :, None]
    x = x.transpose(0, 2, 3, 1) if last else np.ascontiguousarray(x)
    lying = _is_lying(x.shape, last, kernel, geometry, size)
    if lying:
        x, g = _stood_up(x, last), _stood_up(g, False)
        geometry, kernel = _swapped(geometry), kernel[::-1]
    ids = blocks_of(images, *g.shape[2:], POSITIONS)
    panels, _, width = kernels.panels_shape(0, outputs // groups, x.dtype)
    shape = (groups, kernel[0], thin * kernel[1], panels, width)
    runs = max(1, min(len(ids), PARTS // groups, (PARTS << 18) // math.prod(shape)))
    runs = max(runs, min(len(ids), 2)) if groups == 1 else runs
    parts = scratch((runs, *shape), x.dtype, "parts")
    run = _math.suited(kernels.convolve_weight, g)
    run(x, g, last, ids, groups, tuple(kernel), geometry, parts)
    total = parts[0]
    for n in range(1, runs):
        total += parts[n]
    total = total.reshape(groups, kernel[0], thin, kernel[1], panels * width)
    total = total[..., : outputs // groups]
    total = total.transpose(0, 4, 2, 3, 1) if lying else total.transpose(0, 4, 2, 1, 3)
    out.reshape(total.shape)[...] = total
    return out


def _suits(x: Array) -> bool:
    """Whether x lies as the kernels of `_winograd` want it and has single precision."""
    return x.dtype == np.float32 and x.flags.c_contiguous


def _spread_plan(g: Array, weight, size, geometry: Geometry, groups: int):
    """Of `_winograd`, for `spread`; with step 1 it is the convolution with the turned kernel."""
    if not _suits(g):
        return None
    sh, sw, ph, pw, dh, dw = geometry
    if (sh, sw) == (1, 1):
        around = (1, 1, weight[2] - 1 - ph, weight[3] - 1 - pw, dh, dw)
        shape = (weight[1], weight[0], *weight[2:])
        return _winograd.plan(g.shape, shape, size, around, groups, "turned")
    return _winograd.plan_spread(g.shape, weight, size, geometry, groups)


def _images(images: int, channels: int, size, last: bool, dtype) -> Array:
    """A new array (B, C, H, W), with its channels last in memory if `last`."""
    if last:
        return empty((images, *size, channels), dtype).transpose(0, 3, 1, 2)
    return empty((images, channels, *size), dtype)


def _is_lying(shape, last, kernel, geometry: Geometry, size) -> bool:
    """Whether all is one row high: it is computed as one column, which needs no spreading out."""
    height = shape[1] if last else shape[2]
    return height == 1 and kernel[0] == 1 and size[0] == 1 and geometry[2] == 0


def _stood_up(x: Array, last: bool) -> Array:
    shape = (len(x), x.shape[2], 1, x.shape[3]) if last else (*x.shape[:2], x.shape[3], 1)
    return x.reshape(shape)


def _swapped(geometry: Geometry) -> Geometry:
    sh, sw, ph, pw, dh, dw = geometry
    return sw, sh, pw, ph, dw, dh


def _is_special(image, weight, size, geometry, groups) -> bool:
    """Whether one of the cases that `kernels.convolve` is not for."""
    whole = tuple(size) == (1, 1) and groups == 1 and _covers(image, weight, geometry)
    return whole or (weight[1] == 1 and groups > 1)


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


def _plus(out: Array, bias: Array) -> Array:
    out += bias[:, None, None]
    return out
