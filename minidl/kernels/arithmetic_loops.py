"""Sums, differences, products and quotients of large arrays: NumPy's run on one core."""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds, rows_a_piece
from minidl.kernels._ways import ADD, DIV, MUL, SUB, SUB_FROM

_PIECE = 16_384  # elements


@QUIET
def arithmetic_ref(x, y, what, out):
    z = np.resize(y, x.shape)
    pairs = [(x, z), (x, z), (x, z), (x, z), (z, x), (z, x)]
    operators = [np.add, np.subtract, np.multiply, np.divide, np.subtract, np.divide]
    operators[what](*pairs[what], out=out)


@piece
def _arithmetic(x, y, what, out):
    if what == ADD:
        for i in range(out.size):
            out[i] = x[i] + y[i]
    elif what == SUB:
        for i in range(out.size):
            out[i] = x[i] - y[i]
    elif what == MUL:
        for i in range(out.size):
            out[i] = x[i] * y[i]
    elif what == DIV:
        for i in range(out.size):
            out[i] = x[i] / y[i]
    elif what == SUB_FROM:
        for i in range(out.size):
            out[i] = y[i] - x[i]
    else:
        for i in range(out.size):
            out[i] = y[i] / x[i]


@kernel(reference=arithmetic_ref, parallel=True)
def arithmetic(x, y, what, out):
    """out = x what y, by the names in `_ways`.  x, out (N,); y (M,), taken again and again where
    M < N, as a row beside a matrix.  An overflow or a division by 0 gives no warning.
    """
    for p in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, x.size)
        while s < e:
            first = s % y.size
            stop = min(e, s + y.size - first)
            _arithmetic(x[s:stop], y[first : first + stop - s], what, out[s:stop])
            s = stop


def arithmetic_columns_ref(x, y, what, out):
    arithmetic_ref(x, np.broadcast_to(y[:, None], x.shape), what, out)


@piece
def _arithmetic_rows(x, y, what, out):
    row = np.empty(x.shape[1], x.dtype)
    for n in range(x.shape[0]):
        for d in range(row.size):
            row[d] = y[n]
        _arithmetic(x[n], row, what, out[n])


@kernel(reference=arithmetic_columns_ref, parallel=True)
def arithmetic_columns(x, y, what, out):
    """out = x what y, by the names in `_ways`.  x, out (N, D); y (N,), a number for each row."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _arithmetic_rows(x[s:e], y[s:e], what, out[s:e])
