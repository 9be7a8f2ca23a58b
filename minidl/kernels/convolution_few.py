"""Gradients of a convolution over sequences where few of the numbers that come back are not zero.

A maximum over time gives each filter one place of a sequence where it has a gradient: one of 48 in
a text classifier. With windows as in `convolution_steps`, rows of K * C numbers that lie together,
each such number adds a window to a row of dweight, and a row of the weight to a window of dx:

    dweight[o] += dout[b, o, r] * windows[b, r]
    windows[b, r] of dx += dout[b, o, r] * weight[o]
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._tile import clear_rows

_OUTPUTS = 16  # of dweight that a piece has at most: they stay in the second cache
_CHUNK = 16  # numbers that are looked at at once


def few_found_ref(dout, starts, rows, values):
    starts[:] = 0
    for b in range(len(dout)):
        outputs, found = np.nonzero(dout[b])
        starts[b, 1:] = np.cumsum(np.bincount(outputs, minlength=dout.shape[1]))
        if len(found) > rows.shape[1]:
            starts[b] = -1
        n = slice(rows.shape[1])
        rows[b, : len(found)] = found[n]
        values[b, : len(found)] = dout[b, outputs[n], found[n]]


@piece
def _find(dout, starts, rows, values):
    """dout (O, R) of one sequence; starts (O + 1,)"""
    n, most = 0, rows.size
    starts[0] = 0
    for o in range(dout.shape[0]):
        for first in range(0, dout.shape[1], _CHUNK):
            part = dout[o, first : first + _CHUNK]
            count = 0
            for i in range(part.size):
                count += part[i] != 0
            if count == 0:
                continue
            for i in range(part.size):
                if part[i] != 0:
                    if n == most:
                        for k in range(starts.size):
                            starts[k] = -1
                        return
                    rows[n], values[n] = first + i, part[i]
                    n += 1
        starts[o + 1] = n


@kernel(reference=few_found_ref, parallel=True, serial_below=20_000)
def few_found(dout, starts, rows, values):
    """The numbers of dout (B, O, R) that are not 0: of b and o they are n = starts[b, o] up to
    starts[b, o + 1], with rows[b, n] (their r) and values[b, n]. All starts[b] are -1 where rows
    (B, most) has no room for them.
    """
    for b in prange(dout.shape[0]):
        _find(dout[b], starts[b], rows[b], values[b])


def few_input_ref(starts, rows, values, weight, stride, packed, dx):
    outputs, channels, taps = weight.shape
    packed[:] = weight.swapaxes(1, 2).reshape(outputs, -1)
    dx[:] = 0
    for b in range(len(dx)):
        for o in range(outputs):
            for n in range(starts[b, o], starts[b, o + 1]):
                first = rows[b, n] * stride
                dx[b, first : first + taps] += values[b, n] * packed[o].reshape(taps, channels)


@piece
def _turn_weight(weight, packed):
    """weight (C, K) -> packed (K * C,)"""
    channels, taps = weight.shape
    for k in range(taps):
        for c in range(channels):
            packed[k * channels + c] = weight[c, k]


@piece
def _add_scaled(row, factor, target):
    for i in range(row.size):
        target[i] += factor * row[i]


@piece
def _few_input(starts, rows, values, packed, stride, dx):
    """dx (T, C) of one sequence."""
    clear_rows(dx)
    flat, length = dx.reshape(dx.size), packed.shape[1]
    for o in range(packed.shape[0]):
        for n in range(starts[o], starts[o + 1]):
            first = rows[n] * stride * dx.shape[1]
            _add_scaled(packed[o], values[n], flat[first : first + length])


@kernel(reference=few_input_ref, parallel=True, serial_below=0)
def few_input(starts, rows, values, weight, stride, packed, dx):
    """starts, rows, values: of `few_found`. weight (O, C, K); packed (O, K * C), to work in.

    dx (B, T, C), as `steps_input` gives it.
    """
    for o in prange(packed.shape[0]):
        _turn_weight(weight[o], packed[o])
    for b in prange(dx.shape[0]):
        _few_input(starts[b], rows[b], values[b], packed, stride, dx[b])


def few_weight_ref(x, starts, rows, values, stride, dbias, sums, dweight):
    outputs, channels, taps = dweight.shape
    dbias[:], sums[:] = 0, 0
    for b in range(len(x)):
        for o in range(outputs):
            for n in range(starts[b, o], starts[b, o + 1]):
                first = rows[b, n] * stride
                sums[o] += values[b, n] * x[b, first : first + taps].reshape(-1)
                dbias[o] += values[b, n]
    dweight[:] = sums.reshape(outputs, taps, channels).swapaxes(1, 2)


@piece
def _few_weight(x, starts, rows, values, stride, first, last, dbias, sums, dweight):
    """Outputs first to last."""
    clear_rows(sums[first:last])
    for o in range(first, last):
        dbias[o] = 0
    channels, taps = dweight.shape[1], dweight.shape[2]
    length = taps * channels
    for b in range(x.shape[0]):
        flat = x[b].reshape(x.shape[1] * channels)
        for o in range(first, last):
            for n in range(starts[b, o], starts[b, o + 1]):
                begin = rows[b, n] * stride * channels
                _add_scaled(flat[begin : begin + length], values[b, n], sums[o])
                dbias[o] += values[b, n]
    for o in range(first, last):
        for c in range(channels):
            for k in range(taps):
                dweight[o, c, k] = sums[o, k * channels + c]


@kernel(reference=few_weight_ref, parallel=True, serial_below=0)
def few_weight(x, starts, rows, values, stride, dbias, sums, dweight):
    """x (B, T, C); starts, rows, values: of `few_found`; sums (O, K * C), to work in.

    dweight (O, C, K), as `steps_weight` gives it, and dbias (O,), the sum over b and r of dout.
    """
    outputs = dweight.shape[0]
    pieces = (outputs + 2 * _OUTPUTS - 1) // (2 * _OUTPUTS) * 2
    for p in prange(pieces):
        first, last = p * outputs // pieces, (p + 1) * outputs // pieces
        _few_weight(x, starts, rows, values, stride, first, last, dbias, sums, dweight)
