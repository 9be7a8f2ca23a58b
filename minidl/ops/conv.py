"""Convolution, its transpose, and windows as columns; 1-d and 2-d.

The gradients of a convolution are convolutions: `Conv`, `ConvTranspose` and `ConvWeight` are each
other's derivatives, to any order. Settings hold a number for each axis of the image.

Letters: B images; C input, O output channels in G groups; S the input's axes, R the output's, K
the kernel's. Position r of the output meets tap k at input r * stride + k * dilation - padding.
"""

import math

import numpy as np

from minidl import kernels
from minidl.ops import _conv, _conv_steps, _math
from minidl.ops._op import Op, empty
from minidl.ops._sums import sum_rows


def lifted(x):
    """A sequence (B, C, T) as an image of height 1; an image as it is."""
    return x.reshape(*x.shape[:2], 1, x.shape[2]) if x.ndim == 3 else x


def geometry(stride, padding, dilation):
    """(sh, sw, ph, pw, dh, dw); of a sequence, with a height of 1."""
    if len(stride) == 1:
        return 1, stride[0], 0, padding[0], 1, dilation[0]
    return (*stride, *padding, *dilation)


def two(size):
    """The sizes of an image."""
    return (1, *size) if len(size) == 1 else tuple(size)


def channel_sums(dout):
    """dbias: dout (B, O, *R) summed over all but the channels."""
    if not isinstance(dout, np.ndarray):
        return dout.sum(axis=(0, *range(2, dout.ndim)))
    if not dout.size:
        return np.zeros(dout.shape[1], dout.dtype)
    if _math.large(dout) and dout.flags.c_contiguous:
        dbias = empty(dout.shape[1], dout.dtype)
        kernels.channel_totals(dout.reshape(*dout.shape[:2], -1), dbias)
        return dbias
    last = np.moveaxis(dout, 1, -1)
    if _math.large(dout) and last.flags.c_contiguous:  # channels last in memory
        return sum_rows(last.reshape(-1, dout.shape[1]))
    planes = dout.reshape(*dout.shape[:2], -1).sum(axis=2)  # (B, O)
    return planes.sum(axis=0, dtype=np.float64).astype(dout.dtype)


def _products(x, weight):
    """Multiplications and additions of every weight with every position that sees it."""
    return 2 * math.prod(weight) * x[0] * math.prod(x[2:])


def _of_few(x, weight, dout, needs, rest, groups):
    """A sequence's gradients where dout is mostly 0, as behind a maximum over time; None if not."""
    image, kernel = lifted(x), lifted(weight).shape
    last = _conv.is_last(image)
    if not _conv_steps.suits(image.shape, kernel, dout.dtype, rest, groups, last):
        return None
    return _conv_steps.few_gradients(x, weight, dout, needs, rest[1], rest[3])


class Conv(Op):
    """Convolution, in the field's sense: a cross-correlation (LeCun et al. 1989, "Backpropagation
    applied to handwritten zip code recognition"; LeCun et al. 1998, section II; the arithmetic of
    sizes: Dumoulin & Visin 2016, arXiv:1603.07285).

        out[b, o, r] = bias[o] + sum_{c, k} weight[o, c, k] * x[b, c, r * stride + k * dilation - padding]

    where c runs over the C/G channels of o's group and x is 0 outside the image. Each weight is
    used at every position, and each input by every tap that meets it, so with s = r * stride +
    k * dilation - padding:

        dx[b, c, s]        = sum_{o, k} weight[o, c, k] * dout[b, o, r]   (over the r with that s)
        dweight[o, c, k]   = sum_{b, r} dout[b, o, r] * x[b, c, s]
        dbias[o]           = sum_{b, r} dout[b, o, r]

    dx is the transposed convolution of dout, dweight the correlation of x with dout. Computed as
    matrix products over windows (im2col: Chellapilla, Puri & Simard 2006) that are laid out piece
    by piece in cache (Cho & Brand 2017, arXiv:1706.06873); in float32, with a step of 1 or 2 and
    enough channels, by Winograd's minimal filtering (Lavin & Gray 2016, arXiv:1509.09308), 2 to 3.7
    times as quick with errors 2 to 5 times as large, still of the order of float32's rounding:
    `ops/_winograd.py` chooses by the sizes.

    Shapes: x (B, C, *S), weight (O, C/G, *K), bias (O,) or None, out (B, O, *size);
    size = (S + padding before and after - dilation * (K - 1) - 1) // stride + 1.
    """  # noqa: E501

    saves = ("x", "weight")

    @staticmethod
    def forward(x, weight, bias, *, size, stride, padding, dilation, groups):
        out = _conv.correlate(
            lifted(x), lifted(weight), bias, two(size), geometry(stride, padding, dilation), groups
        )
        return out.reshape(*out.shape[:2], *size), (x, weight)

    @staticmethod
    def backward(dout, saved, needs, *, size, stride, padding, dilation, groups):
        x, weight = saved
        rest = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        if isinstance(dout, np.ndarray) and dout.ndim == 3:
            found = _of_few(x, weight, dout, needs, geometry(stride, padding, dilation), groups)
            if found is not None:
                return found
        dbias = channel_sums(dout) if needs[2] else None
        dx = dweight = None
        if needs[0] and isinstance(dout, np.ndarray):  # in memory as x lies
            image = lifted(x)
            parts = geometry(stride, padding, dilation), groups, _conv.is_last(image)
            dx = _conv.spread(lifted(dout), lifted(weight), None, image.shape[2:], *parts)
            dx = dx.reshape(x.shape)
        elif needs[0]:
            dx = _math.applied(ConvTranspose, dout, weight, None, size=x.shape[2:], **rest)
        if needs[1]:
            dweight = _math.applied(ConvWeight, x, dout, kernel=weight.shape[2:], **rest)
        return dx, dweight, dbias

    @classmethod
    def flops(cls, *shapes, **settings):
        """Every weight at every position of out, or of x if `size` is not given."""
        x, weight = shapes[:2]
        return _products((x[0], x[1], *settings.get("size", x[2:])), weight)


class ConvTranspose(Op):
    """Transposed convolution: what a convolution's gradient does, as a layer (Zeiler et al. 2010,
    "Deconvolutional networks"; Dumoulin & Visin 2016, arXiv:1603.07285, section 4).

        out[b, c, s] = bias[c] + sum_{o, k} weight[o, c, k] * x[b, o, r]
                       over all r, k with r * stride + k * dilation - padding = s

    Each input throws the whole kernel, times its value, onto the output. The derivative is the
    convolution of which this is the transpose:

        dx[b, o, r]      = sum_{c, k} weight[o, c, k] * dout[b, c, s]
        dweight[o, c, k] = sum_{b, r} x[b, o, r] * dout[b, c, s]
        dbias[c]         = sum_{b, s} dout[b, c, s]

    Shapes: x (B, O, *R), weight (O, C/G, *K), bias (C,) or None, out (B, C, *size); of the sizes
    that a convolution brings to R, `size` is the one wanted.
    """

    saves = ("x", "weight")

    @staticmethod
    def forward(x, weight, bias, *, size, stride, padding, dilation, groups):
        out = _conv.spread(
            lifted(x), lifted(weight), bias, two(size), geometry(stride, padding, dilation), groups
        )
        return out.reshape(*out.shape[:2], *size), (x, weight)

    @staticmethod
    def backward(dout, saved, needs, *, size, stride, padding, dilation, groups):
        x, weight = saved
        rest = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        dbias = channel_sums(dout) if needs[2] else None
        dx = dweight = None
        if needs[0]:
            dx = _math.applied(Conv, dout, weight, None, size=x.shape[2:], **rest)
        if needs[1]:
            dweight = _math.applied(ConvWeight, dout, x, kernel=weight.shape[2:], **rest)
        return dx, dweight, dbias

    @classmethod
    def flops(cls, *shapes, **settings):
        """Every weight at every position of x."""
        return _products(shapes[0], shapes[1])


class ConvWeight(Op):
    """A convolution's gradient in its weight, as an op of its own for second derivatives.

        out[o, c, k] = sum_{b, r} y[b, o, r] * x[b, c, r * stride + k * dilation - padding]
        dx = the transposed convolution of y with dout,   dy = the convolution of x with dout

    Shapes: x (B, C, *S), y (B, O, *R), out (O, C/G, *kernel).
    """

    saves = ("x", "y")

    @staticmethod
    def forward(x, y, *, kernel, stride, padding, dilation, groups):
        out = _conv.weight_product(
            lifted(x), lifted(y), two(kernel), geometry(stride, padding, dilation), groups
        )
        return out.reshape(*out.shape[:2], *kernel), (x, y)

    @staticmethod
    def backward(dout, saved, needs, *, kernel, stride, padding, dilation, groups):
        x, y = saved
        rest = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        dx = dy = None
        if needs[0]:
            dx = _math.applied(ConvTranspose, y, dout, None, size=x.shape[2:], **rest)
        if needs[1]:
            dy = _math.applied(Conv, x, dout, None, size=y.shape[2:], **rest)
        return dx, dy

    @classmethod
    def flops(cls, *shapes, **settings):
        """Each pair of channels of a group, at each position and tap (one, if not given)."""
        x, y = shapes
        taps = math.prod(settings.get("kernel", ()))
        return 2 * math.prod(y) * (x[1] // settings.get("groups", 1)) * taps


class Im2Col(Op):
    """Sliding windows of images as columns (Chellapilla, Puri & Simard 2006).

        out[b, (c, k), r] = x[b, c, r * stride + k * dilation - padding],   0 outside the image
        dx = dout's columns added back into images (Col2Im)

    Shapes: x (B, C, H, W), out (B, C * KH * KW, OH * OW), with `size` (OH, OW) as in Conv.
    """

    saves = ("shape",)

    @staticmethod
    def forward(x, *, size, kernel, stride, padding, dilation):
        images, channels = x.shape[:2]
        one = np.ascontiguousarray(x).reshape(1, images * channels, *x.shape[2:])
        cols = empty((images * channels, *kernel, 1, *size), x.dtype)
        _conv.fill_columns(one, 0, geometry(stride, padding, dilation), cols)
        depth = channels * kernel[0] * kernel[1]
        return cols.reshape(images, depth, size[0] * size[1]), (x.shape[2:],)

    @staticmethod
    def backward(dout, saved, needs, *, size, **rest):
        return (_math.applied(Col2Im, dout, size=saved[0], positions=size, **rest),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """None: elements are only copied."""
        return 0


class Col2Im(Op):
    """Columns of windows added into images: the transpose of Im2Col, not its inverse.

        out[b, c, s] = sum of x[b, (c, k), r] over all r, k with r * stride + k * dilation - padding = s
        dx = the windows of dout (Im2Col)

    Shapes: x (B, C * KH * KW, OH * OW), out (B, C, *size); positions (OH, OW).
    """  # noqa: E501

    @staticmethod
    def forward(x, *, size, positions, kernel, stride, padding, dilation):
        images, depth = x.shape[:2]
        channels = depth // (kernel[0] * kernel[1])
        cols = np.ascontiguousarray(x).reshape(images * channels, *kernel, 1, *positions)
        out = empty((1, images * channels, *size), x.dtype)
        bias = np.zeros(images * channels, x.dtype)
        _conv.add_back(cols, bias, True, geometry(stride, padding, dilation), out)
        return out.reshape(images, channels, *size), ()

    @staticmethod
    def backward(dout, saved, needs, *, size, positions, **rest):
        return (_math.applied(Im2Col, dout, size=positions, **rest),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """One addition an element of the columns."""
        return math.prod(shapes[0])
