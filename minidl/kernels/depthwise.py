"""Convolutions whose every output sees one input channel: too thin for a matrix product.

Output channel o = c * M + m sees input channel c, with weight[o] (KH, KW). Geometry as in `conv`.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels.conv import end_inside, first_inside, span_ref

# reassoc lets the sum over a row become SIMD; it is kept in float64.
_SUMS = ("contract", "reassoc")


def _taps(size, count, weight, sh, sw, ph, pw, dh, dw):
    """(i, j, outputs, inputs) for every tap: index pairs of the last two axes."""
    for i in range(weight.shape[1]):
        rows, sources = span_ref(i, sh, ph, dh, size[0], count[0])
        for j in range(weight.shape[2]):
            across, taken = span_ref(j, sw, pw, dw, size[1], count[1])
            yield i, j, (..., rows, across), (..., sources, taken)


def depthwise_forward_ref(x, weight, bias, sh, sw, ph, pw, dh, dw, out):
    out[:] = bias[:, None, None]
    wide = np.repeat(x, out.shape[1] // x.shape[1], axis=1)  # (B, O, H, W)
    taps = _taps(x.shape[2:], out.shape[2:], weight, sh, sw, ph, pw, dh, dw)
    for i, j, here, there in taps:
        out[here] += weight[:, i, j, None, None] * wide[there]


@piece
def _correlate(x, weight, sh, sw, ph, pw, dh, dw, out):
    """x (H, W), weight (KH, KW); out (OH, OW) += their correlation."""
    for i in range(weight.shape[0]):
        shift_h = i * dh - ph
        first = first_inside(shift_h, sh)
        end = end_inside(shift_h, sh, x.shape[0], out.shape[0])
        for j in range(weight.shape[1]):
            shift = j * dw - pw
            left = first_inside(shift, sw)
            right = end_inside(shift, sw, x.shape[1], out.shape[1])
            if right <= left:
                continue
            factor = weight[i, j]
            for o in range(first, end):
                source, target = x[o * sh + shift_h, left * sw + shift :], out[o, left:right]
                if sw == 1:
                    for t in range(target.size):
                        target[t] += factor * source[t]
                else:
                    for t in range(target.size):
                        target[t] += factor * source[t * sw]


@kernel(reference=depthwise_forward_ref, parallel=True, serial_below=20_000, size_of="out")
def depthwise_forward(x, weight, bias, sh, sw, ph, pw, dh, dw, out):
    """x (B, C, H, W); weight (O, KH, KW); bias (O,); out (B, O, OH, OW)."""
    outputs = out.shape[1]
    many = outputs // x.shape[1]
    for p in prange(out.shape[0] * outputs):
        b, o = p // outputs, p % outputs
        plane = out[b, o].reshape(out.shape[2] * out.shape[3])
        start = bias[o]
        for t in range(plane.size):
            plane[t] = start
        _correlate(x[b, o // many], weight[o], sh, sw, ph, pw, dh, dw, out[b, o])


def depthwise_input_ref(dout, weight, bias, sh, sw, ph, pw, dh, dw, dx):
    many = dout.shape[1] // dx.shape[1]
    wide = np.zeros((len(dx), dout.shape[1], *dx.shape[2:]), dx.dtype)  # (B, O, H, W)
    taps = _taps(dx.shape[2:], dout.shape[2:], weight, sh, sw, ph, pw, dh, dw)
    for i, j, here, there in taps:
        wide[there] += weight[:, i, j, None, None] * dout[here]
    dx[:] = wide.reshape(len(dx), dx.shape[1], many, *dx.shape[2:]).sum(2) + bias[:, None, None]


@piece
def _spread(dout, weight, sh, sw, ph, pw, dh, dw, dx):
    """The transpose of `_correlate`: dx (H, W) += weight[i, j] * dout at each tap's place."""
    for i in range(weight.shape[0]):
        shift_h = i * dh - ph
        first = first_inside(shift_h, sh)
        end = end_inside(shift_h, sh, dx.shape[0], dout.shape[0])
        for j in range(weight.shape[1]):
            shift = j * dw - pw
            left = first_inside(shift, sw)
            right = end_inside(shift, sw, dx.shape[1], dout.shape[1])
            if right <= left:
                continue
            factor = weight[i, j]
            for o in range(first, end):
                source, target = dout[o, left:right], dx[o * sh + shift_h, left * sw + shift :]
                if sw == 1:
                    for t in range(source.size):
                        target[t] += factor * source[t]
                else:
                    for t in range(source.size):
                        target[t * sw] += factor * source[t]


@kernel(reference=depthwise_input_ref, parallel=True, serial_below=20_000)
def depthwise_input(dout, weight, bias, sh, sw, ph, pw, dh, dw, dx):
    """dout (B, O, OH, OW); weight (O, KH, KW); bias (C,); dx (B, C, H, W)."""
    channels = dx.shape[1]
    many = dout.shape[1] // channels
    for p in prange(dx.shape[0] * channels):
        b, c = p // channels, p % channels
        plane = dx[b, c].reshape(dx.shape[2] * dx.shape[3])
        start = bias[c]
        for t in range(plane.size):
            plane[t] = start
        for m in range(many):
            o = c * many + m
            _spread(dout[b, o], weight[o], sh, sw, ph, pw, dh, dw, dx[b, c])


def depthwise_weight_ref(x, dout, sh, sw, ph, pw, dh, dw, dweight):
    wide = np.repeat(x, dout.shape[1] // x.shape[1], axis=1)
    taps = _taps(x.shape[2:], dout.shape[2:], dweight, sh, sw, ph, pw, dh, dw)
    for i, j, here, there in taps:
        dweight[:, i, j] = (wide[there] * dout[here]).sum(axis=(0, 2, 3), dtype=np.float64)


@piece(fastmath=_SUMS)
def _row_product(source, step, target):
    total = 0.0
    if step == 1:
        for t in range(target.size):
            total += source[t] * target[t]
    else:
        for t in range(target.size):
            total += source[t * step] * target[t]
    return total


@piece
def _product_sums(x, dout, c, o, sh, sw, ph, pw, dh, dw, dweight):
    """x (B, C, H, W), dout (B, O, OH, OW); dweight (KH, KW) of channels c and o."""
    for i in range(dweight.shape[0]):
        shift_h = i * dh - ph
        first = first_inside(shift_h, sh)
        end = end_inside(shift_h, sh, x.shape[2], dout.shape[2])
        for j in range(dweight.shape[1]):
            shift = j * dw - pw
            left = first_inside(shift, sw)
            right = end_inside(shift, sw, x.shape[3], dout.shape[3])
            total = 0.0
            if right > left:
                for b in range(x.shape[0]):
                    for r in range(first, end):
                        source = x[b, c, r * sh + shift_h, left * sw + shift :]
                        total += _row_product(source, sw, dout[b, o, r, left:right])
            dweight[i, j] = total


@kernel(reference=depthwise_weight_ref, parallel=True, serial_below=20_000)
def depthwise_weight(x, dout, sh, sw, ph, pw, dh, dw, dweight):
    """x (B, C, H, W); dout (B, O, OH, OW); dweight (O, KH, KW)."""
    many = dout.shape[1] // x.shape[1]
    for o in prange(dout.shape[1]):
        _product_sums(x, dout, o // many, o, sh, sw, ph, pw, dh, dw, dweight[o])
