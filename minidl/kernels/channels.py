"""Sums and affine maps by channel: what batch, group and instance normalisation are made of.

All take arrays (N, C, L): N samples, C channels, L places. Each goes once over its arrays. They are
cut into rows: planes (n, c), or where L is 1 samples, so that the loop runs along channels. Sums
are first those of a plane, or of a piece's samples, in an array (·, C), and then added in order.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
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


@helper
def _rows(x):
    """(rows, their length, rows of a piece) that x (N, C, L) is cut into."""
    batch, channels, length = x.shape
    if length == 1:
        return batch, channels, rows_a_piece(channels, _PIECE)
    return batch * channels, length, rows_a_piece(length, _PIECE)


@helper
def _lines(x, pieces):
    """How many sums a channel has at first."""
    return pieces if x.shape[2] == 1 else x.shape[0]


@piece
def _add_lines(part, sums):
    """sums (n, C) = part (n, ·, C), added in order."""
    for k in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            sums[k, c] = 0.0
        for n in range(part.shape[1]):
            for c in range(sums.shape[1]):
                sums[k, c] += part[k, n, c]


@piece(fastmath=_SUMS)
def _moments_of_samples(x, pivot, sums, squares):
    for c in range(sums.size):
        sums[c] = 0.0
        squares[c] = 0.0
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
    if x.size > 0:
        for c in range(channels):
            if np.isfinite(x[0, c, 0]):
                pivot[c] = x[0, c, 0]
    rows, size, step = _rows(x)
    flat, pieces = x.reshape(rows, size), count_pieces(rows, step)
    part = np.empty((2, _lines(x, pieces), channels), np.float64)
    each = part.reshape(2, part.size // 2)
    for p in prange(pieces):
        s, e = piece_bounds(p, step, rows)
        if length == 1:
            _moments_of_samples(flat[s:e], pivot, part[0, p], part[1, p])
        else:
            _moments_of_planes(flat[s:e], s, channels, pivot, each[0, s:e], each[1, s:e])
    sums = np.empty((2, channels), np.float64)
    _add_lines(part, sums)
    count = max(1, batch * length)
    for c in range(channels):
        moved = sums[0, c] / count
        spread = sums[1, c] / count - moved * moved
        mean[c] = pivot[c] + moved
        var[c] = 0.0 if spread < 0.0 else spread


def channel_affine_ref(x, centre, scale, shift, y):
    y[:] = (x - _by_channel(centre)) * _by_channel(scale) + _by_channel(shift)


@piece
def _affine_piece(x, s, e, centre, scale, shift, y):
    rows, length, _ = _rows(x)
    source, target = x.reshape(rows, length)[s:e], y.reshape(rows, length)[s:e]
    by_plane, channels = x.shape[2] != 1, x.shape[1]
    for i in range(source.shape[0]):
        row, out = source[i], target[i]
        if by_plane:
            c = (s + i) % channels
            middle, factor, add = centre[c], scale[c], shift[c]
            for k in range(row.size):
                out[k] = (row[k] - middle) * factor + add
        else:
            for c in range(row.size):
                out[c] = (row[c] - centre[c]) * scale[c] + shift[c]


@kernel(reference=channel_affine_ref, parallel=True, serial_below=131_072)
def channel_affine(x, centre, scale, shift, y):
    """x, y (N, C, L); centre, scale, shift (C,).  y = (x - centre) scale + shift, by channel."""
    rows, _, step = _rows(x)
    for p in prange(count_pieces(rows, step)):
        s, e = piece_bounds(p, step, rows)
        _affine_piece(x, s, e, centre, scale, shift, y)


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
    sums = np.empty((1, channels), np.float64)
    _add_lines(each.reshape(1, batch, channels), sums)
    for c in range(channels):
        total[c] = sums[0, c]


@QUIET
def channel_sums_ref(dy, x, centre, sum_dy, sum_dyx):
    sum_dy[:] = dy.sum(axis=(0, 2), dtype=np.float64)
    sum_dyx[:] = (dy * (x - _by_channel(centre))).sum(axis=(0, 2), dtype=np.float64)


@piece(fastmath=_SUMS)
def _sums_of_samples(dy, x, centre, sums, products):
    for c in range(sums.size):
        sums[c] = 0.0
        products[c] = 0.0
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
    rows, size, step = _rows(x)
    flat, over = x.reshape(rows, size), dy.reshape(rows, size)
    pieces, channels = count_pieces(rows, step), x.shape[1]
    part = np.empty((2, _lines(x, pieces), channels), np.float64)
    each = part.reshape(2, part.size // 2)
    for p in prange(pieces):
        s, e = piece_bounds(p, step, rows)
        if x.shape[2] == 1:
            _sums_of_samples(over[s:e], flat[s:e], centre, part[0, p], part[1, p])
        else:
            _sums_of_planes(
                over[s:e], flat[s:e], s, channels, centre, each[0, s:e], each[1, s:e]
            )
    sums = np.empty((2, channels), np.float64)
    _add_lines(part, sums)
    for c in range(channels):
        sum_dy[c] = sums[0, c]
        sum_dyx[c] = sums[1, c]


def channel_combine_ref(dy, x, centre, of_dy, of_x, shift, dx):
    dx[:] = dy * _by_channel(of_dy)
    dx[:] += (x - _by_channel(centre)) * _by_channel(of_x) + _by_channel(shift)


@piece
def _combine_piece(dy, x, s, e, centre, of_dy, of_x, shift, dx):
    rows, length, _ = _rows(x)
    source, above = x.reshape(rows, length)[s:e], dy.reshape(rows, length)[s:e]
    target = dx.reshape(rows, length)[s:e]
    by_plane, channels = x.shape[2] != 1, x.shape[1]
    for i in range(source.shape[0]):
        row, over, out = source[i], above[i], target[i]
        if by_plane:
            c = (s + i) % channels
            middle, factor, own, add = centre[c], of_dy[c], of_x[c], shift[c]
            for k in range(row.size):
                out[k] = over[k] * factor + ((row[k] - middle) * own + add)
        else:
            for c in range(row.size):
                out[c] = over[c] * of_dy[c] + ((row[c] - centre[c]) * of_x[c] + shift[c])


@kernel(reference=channel_combine_ref, parallel=True, serial_below=131_072)
def channel_combine(dy, x, centre, of_dy, of_x, shift, dx):
    """dy, x, dx (N, C, L), the rest (C,).  dx = of_dy dy + of_x (x - centre) + shift."""
    rows, _, step = _rows(x)
    for p in prange(count_pieces(rows, step)):
        s, e = piece_bounds(p, step, rows)
        _combine_piece(dy, x, s, e, centre, of_dy, of_x, shift, dx)
