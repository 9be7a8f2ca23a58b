"""Sums of a matrix: over its rows, as the gradient of a bias is one, and of each row."""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds, rows_a_piece

_PARTS = 8  # ranges of rows
_PIECE = 16_384  # elements
_BLOCK = 256  # rows that are added up in the array's own dtype, before float64 takes over


def column_sums_ref(x, out):
    out[:] = x.sum(axis=0, dtype=np.float64)


@piece
def _column_sums(x, part):
    block = np.empty(x.shape[1], x.dtype)
    for k in range(part.size):
        part[k] = 0.0
    for s in range(0, x.shape[0], _BLOCK):
        rows = x[s : s + _BLOCK]
        for k in range(block.size):
            block[k] = rows[0, k]
        for n in range(1, rows.shape[0]):
            row = rows[n]
            for k in range(block.size):
                block[k] += row[k]
        for k in range(block.size):
            part[k] += block[k]


@kernel(reference=column_sums_ref, parallel=True, serial_below=0)
def column_sums(x, out):
    """x (N, D), out (D,): out = sum of the rows, in the order of fixed ranges of rows."""
    parts = np.empty((_PARTS, out.size))
    size = (x.shape[0] + _PARTS - 1) // _PARTS
    for p in prange(_PARTS):
        _column_sums(x[p * size : p * size + size], parts[p])
    for k in range(out.size):
        total = 0.0
        for p in range(_PARTS):
            total += parts[p, k]
        out[k] = total


def row_sums_ref(x, out):
    out[:] = x.sum(axis=1, dtype=np.float64)


@piece(fastmath=("contract", "reassoc"))  # reassoc: the sum of a row becomes SIMD
def _row_sums(x, out):
    for n in range(x.shape[0]):
        row, total = x[n], 0.0
        for s in range(0, row.size, _BLOCK):
            part, block = x.dtype.type(0.0), row[s : s + _BLOCK]
            for k in range(block.size):
                part += block[k]
            total += part
        out[n] = total


@kernel(reference=row_sums_ref, parallel=True)
def row_sums(x, out):
    """x (N, D), out (N,): out[n] = the sum of row n."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _row_sums(x[s:e], out[s:e])
