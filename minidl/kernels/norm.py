"""Layer and RMS normalisation, and unit length, of the rows of a matrix, forward and backward."""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds, rows_a_piece

_PIECE = 16_384  # elements: a piece of x, dy and dx together stays in the second-level cache

# reassoc lets the sums over a row become SIMD: _BLOCK elements are summed in their own dtype, eight
# or more partial sums side by side, and the blocks in float64. Converting each element to float64
# took twice the time.
_SUMS = ("contract", "reassoc")
_BLOCK = 512
_ROWS = 32  # rows whose gradients of the weights are summed before float64
_SUMMED = 64  # pieces at most that sum such gradients: 1,387 of them (29,127 rows of 768) wrote
# 17 MB of partial sums, and adding these up took 4 of 9 ms


@helper
def _rows_to_sum(n, width):
    """Rows a piece where each has sums of its own."""
    return max(rows_a_piece(width, _PIECE), (n + _SUMMED - 1) // _SUMMED)


@piece
def _add_parts(part, out):
    """part (P, D) float64, out (D,): the sum of its rows, in order, without striding over them."""
    total = np.zeros(out.size, np.float64)
    for p in range(part.shape[0]):
        for d in range(out.size):
            total[d] += part[p, d]
    for d in range(out.size):
        out[d] = total[d]


def layer_norm_forward_ref(x, weight, bias, eps, y, mean, rstd):
    mean[:] = x.mean(axis=1, dtype=np.float64)
    centred = x - mean[:, None]  # (N, D)
    rstd[:] = 1.0 / np.sqrt(np.square(centred).mean(axis=1, dtype=np.float64) + eps)
    y[:] = centred * rstd[:, None] * weight + bias


@piece(fastmath=_SUMS)
def _forward_rows(x, weight, bias, eps, y, mean, rstd):
    width = x.shape[1]
    for n in range(x.shape[0]):
        total = 0.0
        for b in range(0, width, _BLOCK):
            part = x.dtype.type(0.0)
            block = x[n, b : b + _BLOCK]
            for d in range(block.size):
                part += block[d]
            total += part
        middle = x.dtype.type(total / width)
        squares = 0.0
        for b in range(0, width, _BLOCK):
            part = x.dtype.type(0.0)
            block = x[n, b : b + _BLOCK]
            for d in range(block.size):
                centred = block[d] - middle
                part += centred * centred
            squares += part
        scale = x.dtype.type(1.0 / np.sqrt(squares / width + eps))
        for d in range(width):
            y[n, d] = (x[n, d] - middle) * scale * weight[d] + bias[d]
        mean[n] = middle
        rstd[n] = scale


@kernel(reference=layer_norm_forward_ref, parallel=True, serial_below=65_536)
def layer_norm_forward(x, weight, bias, eps, y, mean, rstd):
    """x, y (N, D); weight, bias (D,); eps number; mean, rstd (N,).  Fills y, mean, rstd."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _forward_rows(x[s:e], weight, bias, eps, y[s:e], mean[s:e], rstd[s:e])


def layer_norm_backward_ref(dy, x, mean, rstd, weight, dx, dweight, dbias):
    xhat = (x - mean[:, None]) * rstd[:, None]  # (N, D)
    g = dy * weight
    mean_g = g.mean(axis=1, dtype=np.float64).astype(x.dtype)[:, None]
    mean_gx = (g * xhat).mean(axis=1, dtype=np.float64).astype(x.dtype)[:, None]
    dx[:] = rstd[:, None] * (g - mean_g - xhat * mean_gx)
    dweight[:] = (dy * xhat).sum(axis=0, dtype=np.float64)
    dbias[:] = dy.sum(axis=0, dtype=np.float64)


@piece(fastmath=_SUMS)
def _backward_rows(dy, x, mean, rstd, weight, dx, dweight, dbias):
    width = x.shape[1]
    zero = x.dtype.type(0.0)
    some_weight, some_bias = np.zeros(width, x.dtype), np.zeros(width, x.dtype)
    dweight[:] = 0.0
    dbias[:] = 0.0
    for n in range(x.shape[0]):
        middle, scale = mean[n], rstd[n]
        sum_g, sum_gx = 0.0, 0.0
        for b in range(0, width, _BLOCK):
            part_g, part_gx = zero, zero
            row, drow, factor = x[n, b : b + _BLOCK], dy[n, b : b + _BLOCK], weight[b : b + _BLOCK]
            for d in range(row.size):
                g = drow[d] * factor[d]
                part_g += g
                part_gx += g * ((row[d] - middle) * scale)
            sum_g += part_g
            sum_gx += part_gx
        mean_g = x.dtype.type(sum_g / width)
        mean_gx = x.dtype.type(sum_gx / width)
        for d in range(width):
            xhat = (x[n, d] - middle) * scale
            some_weight[d] += dy[n, d] * xhat
            some_bias[d] += dy[n, d]
        for d in range(width):
            xhat = (x[n, d] - middle) * scale
            dx[n, d] = scale * (dy[n, d] * weight[d] - mean_g - xhat * mean_gx)
        if n % _ROWS == _ROWS - 1 or n == x.shape[0] - 1:
            for d in range(width):
                dweight[d] += some_weight[d]
                dbias[d] += some_bias[d]
                some_weight[d] = zero
                some_bias[d] = zero


@kernel(reference=layer_norm_backward_ref, parallel=True, serial_below=65_536)
def layer_norm_backward(dy, x, mean, rstd, weight, dx, dweight, dbias):
    """dy, x, dx (N, D); mean, rstd (N,); weight, dweight, dbias (D,).  Fills dx, dweight, dbias.

    Each piece of rows sums its own dweight and dbias; these are added in the order of the pieces.
    """
    step = _rows_to_sum(x.shape[0], x.shape[1])
    pieces = count_pieces(x.shape[0], step)
    part = np.empty((pieces, 2, x.shape[1]), np.float64)
    for p in prange(pieces):
        s, e = piece_bounds(p, step, x.shape[0])
        _backward_rows(
            dy[s:e], x[s:e], mean[s:e], rstd[s:e], weight, dx[s:e], part[p, 0], part[p, 1]
        )
    _add_parts(part[:, 0], dweight)
    _add_parts(part[:, 1], dbias)


def rms_norm_forward_ref(x, weight, eps, y, rstd):
    rstd[:] = 1.0 / np.sqrt(np.square(x, dtype=np.float64).mean(axis=1) + eps)
    y[:] = x * rstd[:, None] * weight


@piece(fastmath=_SUMS)
def _rms_forward_rows(x, weight, eps, y, rstd):
    width = x.shape[1]
    for n in range(x.shape[0]):
        squares = 0.0
        for d in range(width):
            squares += np.float64(x[n, d]) * x[n, d]
        scale = x.dtype.type(1.0 / np.sqrt(squares / width + eps))
        for d in range(width):
            y[n, d] = x[n, d] * scale * weight[d]
        rstd[n] = scale


@kernel(reference=rms_norm_forward_ref, parallel=True, serial_below=65_536)
def rms_norm_forward(x, weight, eps, y, rstd):
    """x, y (N, D); weight (D,); eps number; rstd (N,).  Fills y, rstd = 1/sqrt(mean x^2 + eps)."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _rms_forward_rows(x[s:e], weight, eps, y[s:e], rstd[s:e])


def rms_norm_backward_ref(dy, x, rstd, weight, dx, dweight):
    xhat = x * rstd[:, None]  # (N, D)
    g = dy * weight
    mean_gx = (g * xhat).mean(axis=1, dtype=np.float64).astype(x.dtype)[:, None]
    dx[:] = rstd[:, None] * (g - xhat * mean_gx)
    dweight[:] = (dy * xhat).sum(axis=0, dtype=np.float64)


@piece(fastmath=_SUMS)
def _rms_backward_rows(dy, x, rstd, weight, dx, dweight):
    width = x.shape[1]
    dweight[:] = 0.0
    for n in range(x.shape[0]):
        scale = rstd[n]
        total = 0.0
        for d in range(width):
            product = dy[n, d] * (x[n, d] * scale)
            total += product * weight[d]
            dweight[d] += product
        mean_gx = x.dtype.type(total / width)
        for d in range(width):
            dx[n, d] = scale * (dy[n, d] * weight[d] - x[n, d] * scale * mean_gx)


@kernel(reference=rms_norm_backward_ref, parallel=True, serial_below=65_536)
def rms_norm_backward(dy, x, rstd, weight, dx, dweight):
    """dy, x, dx (N, D); rstd (N,); weight, dweight (D,).  Fills dx, dweight.

    Each piece of rows sums its own dweight; these are added in the order of the pieces.
    """
    step = _rows_to_sum(x.shape[0], x.shape[1])
    pieces = count_pieces(x.shape[0], step)
    part = np.empty((pieces, x.shape[1]), np.float64)
    for p in prange(pieces):
        s, e = piece_bounds(p, step, x.shape[0])
        _rms_backward_rows(dy[s:e], x[s:e], rstd[s:e], weight, dx[s:e], part[p])
    _add_parts(part, dweight)


@QUIET
def unit_rows_forward_ref(x, eps, y, length):
    length[:] = np.sqrt(np.square(x, dtype=np.float64).sum(axis=1))
    y[:] = x / np.maximum(length, x.dtype.type(eps))[:, None]


@piece(fastmath=_SUMS)
def _unit_forward_rows(x, eps, y, length):
    for n in range(x.shape[0]):
        row, out, squares = x[n], y[n], 0.0
        for d in range(row.size):
            squares += np.float64(row[d]) * np.float64(row[d])
        size = x.dtype.type(np.sqrt(squares))
        length[n] = size
        divisor = eps if size < eps else size  # NaN stays
        for d in range(row.size):
            out[d] = row[d] / divisor


@kernel(reference=unit_rows_forward_ref, parallel=True, serial_below=65_536)
def unit_rows_forward(x, eps, y, length):
    """x, y (N, D); length (N,).  Fills length = |x| and y = x / max(|x|, eps), of each row."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _unit_forward_rows(x[s:e], x.dtype.type(eps), y[s:e], length[s:e])


@QUIET
def unit_rows_backward_ref(dy, x, length, eps, dx):
    long = ~(length < x.dtype.type(eps))[:, None]  # (N, 1); NaN is not short
    divisor = np.where(long, length[:, None], eps)
    inner = np.multiply(dy, x, dtype=np.float64).sum(axis=1, keepdims=True)
    pull = np.where(long, inner / np.square(divisor, dtype=np.float64), 0.0)
    dx[:] = (dy - x * pull.astype(x.dtype)) / divisor


@piece(fastmath=_SUMS)
def _unit_backward_rows(dy, x, length, eps, dx):
    for n in range(x.shape[0]):
        row, drow, out, size, inner = x[n], dy[n], dx[n], length[n], 0.0
        if size < eps:
            for d in range(row.size):
                out[d] = drow[d] / eps
            continue
        for d in range(row.size):
            inner += np.float64(drow[d]) * np.float64(row[d])
        pull = x.dtype.type(inner / (np.float64(size) * np.float64(size)))
        for d in range(row.size):
            out[d] = (drow[d] - row[d] * pull) / size


@kernel(reference=unit_rows_backward_ref, parallel=True, serial_below=65_536)
def unit_rows_backward(dy, x, length, eps, dx):
    """dy, x, dx (N, D); length (N,), the forward's.  Of each row, with size = max(length, eps):

        dx = (dy - x sum(dy x) / size^2) / size;   dy / eps where length < eps
    """
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _unit_backward_rows(dy[s:e], x[s:e], length[s:e], x.dtype.type(eps), dx[s:e])
