"""Sums and affine maps by channel: what batch, group and instance normalisation are made of.

All take arrays (N, C, L): N samples, C channels, L places. Each goes once over its arrays. A piece
holds whole planes (n, c); where L is 1 it holds whole samples, and the loop runs along channels.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds, rows_a_piece

_PIECE = 16_384  # elements
_SUMS = ("contract", "reassoc")  # reassoc: sums over a plane become SIMD; they are float64


def _by_channel(coefficients):
    return coefficients[:, None]  # (C, 1), beside (N, C, L)


@QUIET
def channel_moments_ref(x, mean, var):
    count = max(1, x.shape[0] * x.shape[2])
    middle = x.sum(axis=(0, 2), dtype=np.float64) / count
    mean[:] = middle
    var[:] = np.square(x - _by_channel(middle)).sum(axis=(0, 2)) / count


@piece(fastmath=_SUMS)
def _moments_of_samples(x, pivot, sums, squares):
    sums[:] = 0.0
    squares[:] = 0.0
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            moved = x[n, c] - pivot[c]
            sums[c] += moved
            squares[c] += moved * moved


@piece(fastmath=_SUMS)
def _moments_of_planes(x, first, channels, pivot, sums, squares):
    for i in range(x.shape[0]):
        shift = pivot[(first + i) % channels]
        total, square = 0.0, 0.0
        for k in range(x.shape[1]):
            moved = x[i, k] - shift
            total += moved
            square += moved * moved
        sums[i] = total
        squares[i] = square


@kernel(reference=channel_moments_ref, parallel=True, serial_below=65_536)
def channel_moments(x, mean, var):
    """x (N, C, L); mean, var (C,).  Mean and biased variance of each channel; 0 of no elements.

    One pass, of differences from a pivot, the channel's first element: with d = x - pivot,
    var = mean(d^2) - mean(d)^2. As mean(d)^2 <= M var for any element of M, rounding is enlarged
    M times at most, and equal elements have variance 0 exactly (Chan, Golub & LeVeque 1983).
    """
    batch, channels, length = x.shape
    pivot = np.zeros(channels, np.float64)
    if batch * length > 0:
        for c in range(channels):
            if np.isfinite(x[0, c, 0]):
                pivot[c] = x[0, c, 0]
    sums = np.zeros((2, channels), np.float64)
    if length == 1:
        rows = x.reshape(batch, channels)
        step = rows_a_piece(channels, _PIECE)
        pieces = count_pieces(batch, step)
        part = np.empty((pieces, 2, channels), np.float64)
        for p in prange(pieces):
            s, e = piece_bounds(p, step, batch)
            _moments_of_samples(rows[s:e], pivot, part[p, 0], part[p, 1])
        for p in range(pieces):
            for c in range(channels):
                sums[0, c] += part[p, 0, c]
                sums[1, c] += part[p, 1, c]
    else:
        planes = x.reshape(batch * channels, length)
        step = rows_a_piece(length, _PIECE)
        each = np.empty((2, batch * channels), np.float64)
        for p in prange(count_pieces(batch * channels, step)):
            s, e = piece_bounds(p, step, batch * channels)
            _moments_of_planes(planes[s:e], s, channels, pivot, each[0, s:e], each[1, s:e])
        for i in range(batch * channels):
            sums[0, i % channels] += each[0, i]
            sums[1, i % channels] += each[1, i]
    count = max(1, batch * length)
    for c in range(channels):
        moved = sums[0, c] / count
        spread = sums[1, c] / count - moved * moved
        mean[c] = pivot[c] + moved
        var[c] = 0.0 if spread < 0.0 else spread


def channel_affine_ref(x, centre, scale, shift, y):
    y[:] = (x - _by_channel(centre)) * _by_channel(scale) + _by_channel(shift)


@piece
def _affine_of_samples(x, centre, scale, shift, y):
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[n, c] = (x[n, c] - centre[c]) * scale[c] + shift[c]


@piece
def _affine_of_planes(x, first, channels, centre, scale, shift, y):
    for i in range(x.shape[0]):
        c = (first + i) % channels
        middle, factor, add = centre[c], scale[c], shift[c]
        for k in range(x.shape[1]):
            y[i, k] = (x[i, k] - middle) * factor + add


@kernel(reference=channel_affine_ref, parallel=True, serial_below=131_072)
def channel_affine(x, centre, scale, shift, y):
    """x, y (N, C, L); centre, scale, shift (C,).  y = (x - centre) scale + shift, by channel."""
    batch, channels, length = x.shape
    if length == 1:
        rows, out = x.reshape(batch, channels), y.reshape(batch, channels)
        step = rows_a_piece(channels, _PIECE)
        for p in prange(count_pieces(batch, step)):
            s, e = piece_bounds(p, step, batch)
            _affine_of_samples(rows[s:e], centre, scale, shift, out[s:e])
    else:
        planes, filled = x.reshape(batch * channels, length), y.reshape(batch * channels, length)
        step = rows_a_piece(length, _PIECE)
        for p in prange(count_pieces(batch * channels, step)):
            s, e = piece_bounds(p, step, batch * channels)
            _affine_of_planes(planes[s:e], s, channels, centre, scale, shift, filled[s:e])


@QUIET
def channel_totals_ref(x, total):
    total[:] = x.sum(axis=(0, 2), dtype=np.float64)


@piece(fastmath=_SUMS)
def _totals_of_planes(x, totals):
    for i in range(x.shape[0]):
        plane, total = x[i], 0.0
        for k in range(plane.size):
            total += plane[k]
        totals[i] = total


@kernel(reference=channel_totals_ref, parallel=True, serial_below=65_536)
def channel_totals(x, total):
    """x (N, C, L); total (C,).  The sum of each channel: a convolution's dbias; L is not small."""
    batch, channels, length = x.shape
    planes = x.reshape(batch * channels, length)
    each = np.empty(batch * channels, np.float64)
    step = rows_a_piece(length, _PIECE)
    for p in prange(count_pieces(batch * channels, step)):
        s, e = piece_bounds(p, step, batch * channels)
        _totals_of_planes(planes[s:e], each[s:e])
    sums = np.zeros(channels, np.float64)
    for n in range(batch):
        for c in range(channels):
            sums[c] += each[n * channels + c]
    for c in range(channels):
        total[c] = sums[c]


@QUIET
def channel_sums_ref(dy, x, centre, sum_dy, sum_dyx):
    sum_dy[:] = dy.sum(axis=(0, 2), dtype=np.float64)
    sum_dyx[:] = (dy * (x - _by_channel(centre))).sum(axis=(0, 2), dtype=np.float64)


@piece(fastmath=_SUMS)
def _sums_of_samples(dy, x, centre, sums, products):
    sums[:] = 0.0
    products[:] = 0.0
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            sums[c] += dy[n, c]
            products[c] += dy[n, c] * (x[n, c] - centre[c])


@piece(fastmath=_SUMS)
def _sums_of_planes(dy, x, first, channels, centre, sums, products):
    for i in range(x.shape[0]):
        middle = centre[(first + i) % channels]
        total, product = 0.0, 0.0
        for k in range(x.shape[1]):
            total += dy[i, k]
            product += dy[i, k] * (x[i, k] - middle)
        sums[i] = total
        products[i] = product


@kernel(reference=channel_sums_ref, parallel=True, serial_below=65_536)
def channel_sums(dy, x, centre, sum_dy, sum_dyx):
    """dy, x (N, C, L); centre, sum_dy, sum_dyx (C,).  Sums of dy and of dy (x - centre)."""
    batch, channels, length = x.shape
    sums = np.zeros((2, channels), np.float64)
    if length == 1:
        rows, above = x.reshape(batch, channels), dy.reshape(batch, channels)
        step = rows_a_piece(channels, _PIECE)
        pieces = count_pieces(batch, step)
        part = np.empty((pieces, 2, channels), np.float64)
        for p in prange(pieces):
            s, e = piece_bounds(p, step, batch)
            _sums_of_samples(above[s:e], rows[s:e], centre, part[p, 0], part[p, 1])
        for p in range(pieces):
            for c in range(channels):
                sums[0, c] += part[p, 0, c]
                sums[1, c] += part[p, 1, c]
    else:
        planes, over = x.reshape(batch * channels, length), dy.reshape(batch * channels, length)
        step = rows_a_piece(length, _PIECE)
        each = np.empty((2, batch * channels), np.float64)
        for p in prange(count_pieces(batch * channels, step)):
            s, e = piece_bounds(p, step, batch * channels)
            _sums_of_planes(
                over[s:e], planes[s:e], s, channels, centre, each[0, s:e], each[1, s:e]
            )
        for i in range(batch * channels):
            sums[0, i % channels] += each[0, i]
            sums[1, i % channels] += each[1, i]
    for c in range(channels):
        sum_dy[c] = sums[0, c]
        sum_dyx[c] = sums[1, c]


def channel_combine_ref(dy, x, centre, of_dy, of_x, shift, dx):
    dx[:] = dy * _by_channel(of_dy)
    dx[:] += (x - _by_channel(centre)) * _by_channel(of_x) + _by_channel(shift)


@piece
def _combine_samples(dy, x, centre, of_dy, of_x, shift, dx):
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            dx[n, c] = dy[n, c] * of_dy[c] + ((x[n, c] - centre[c]) * of_x[c] + shift[c])


@piece
def _combine_planes(dy, x, first, channels, centre, of_dy, of_x, shift, dx):
    for i in range(x.shape[0]):
        c = (first + i) % channels
        middle, above, own, add = centre[c], of_dy[c], of_x[c], shift[c]
        for k in range(x.shape[1]):
            dx[i, k] = dy[i, k] * above + ((x[i, k] - middle) * own + add)


@kernel(reference=channel_combine_ref, parallel=True, serial_below=131_072)
def channel_combine(dy, x, centre, of_dy, of_x, shift, dx):
    """dy, x, dx (N, C, L), the rest (C,).  dx = of_dy dy + of_x (x - centre) + shift."""
    batch, channels, length = x.shape
    if length == 1:
        rows, above = x.reshape(batch, channels), dy.reshape(batch, channels)
        out = dx.reshape(batch, channels)
        step = rows_a_piece(channels, _PIECE)
        for p in prange(count_pieces(batch, step)):
            s, e = piece_bounds(p, step, batch)
            _combine_samples(above[s:e], rows[s:e], centre, of_dy, of_x, shift, out[s:e])
    else:
        planes, over = x.reshape(batch * channels, length), dy.reshape(batch * channels, length)
        filled = dx.reshape(batch * channels, length)
        step = rows_a_piece(length, _PIECE)
        for p in prange(count_pieces(batch * channels, step)):
            s, e = piece_bounds(p, step, batch * channels)
            _combine_planes(
                over[s:e], planes[s:e], s, channels, centre, of_dy, of_x, shift, filled[s:e]
            )
