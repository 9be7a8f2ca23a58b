"""Products of int8 weights with activations that are rounded to int8 on the way."""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds, rows_a_piece

_PIECE = 65_536  # weights


@QUIET
def int8_linear_ref(x, weight, scale, bias, y):
    largest = np.abs(x).max(axis=1, initial=0)
    factor = np.where(largest > 0, x.dtype.type(127) / largest, 0).astype(x.dtype)
    whole = np.rint(x * factor[:, None]).astype(np.int64)
    products = whole @ weight.T.astype(np.int64)  # (N, O)
    y[:] = products * (largest / x.dtype.type(127))[:, None] * scale + bias


@piece
def _int8_rows(whole, step, weight, scale, bias, y):
    """y (N, o), the outputs of these weights (o, D)."""
    for o in range(weight.shape[0]):
        for n in range(whole.shape[0]):
            total = np.int32(0)
            for d in range(weight.shape[1]):
                total = np.int32(total + np.int32(whole[n, d]) * np.int32(weight[o, d]))
            y[n, o] = total * step[n] * scale[o] + bias[o]


@kernel(reference=int8_linear_ref, parallel=True, serial_below=262_144, size_of="weight")
def int8_linear(x, weight, scale, bias, y):
    """x (N, D); weight (O, D) int8; scale, bias (O,); y (N, O).  y = x_q weight^T scale + bias.

    Each row of x is rounded to int8 by its own step, max|x| / 127; products are summed in int32,
    which holds 2^31 / 127^2 = 133,000 of them.
    """
    rows, width = x.shape
    whole, step = np.empty((rows, width), np.int16), np.empty(rows, x.dtype)
    for n in range(rows):
        largest = x.dtype.type(0)
        for d in range(width):
            largest = max(largest, abs(x[n, d]))
        factor = x.dtype.type(127) / largest if largest > 0 else x.dtype.type(0)
        for d in range(width):
            whole[n, d] = np.int16(np.rint(x[n, d] * factor))
        step[n] = largest / x.dtype.type(127)
    size = rows_a_piece(width, _PIECE)
    for p in prange(count_pieces(weight.shape[0], size)):
        s, e = piece_bounds(p, size, weight.shape[0])
        _int8_rows(whole, step, weight[s:e], scale[s:e], bias[s:e], y[:, s:e])
