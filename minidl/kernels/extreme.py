"""The largest element of each row of a matrix, and the gradient shared by those equal to it."""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._math import from_order_key, order_key
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds, rows_a_piece

_PIECE = 16_384  # elements


def max_rows_ref(x, best):
    x.max(axis=1, out=best)


@piece
def _max_rows(x, best):
    """Whole numbers in the order of the floats: their maximum becomes SIMD, that of floats cannot
    (6,400 rows of 48: 30 µs, NumPy 400). A NaN's sign would put it first or last: it is counted."""
    for n in range(x.shape[0]):
        row = x[n]
        top, unknown = order_key(row[0]), np.int32(0)
        for k in range(row.size):
            top = max(top, order_key(row[k]))
            unknown += np.int32(row[k] != row[k])
        best[n] = x.dtype.type(np.nan) if unknown else from_order_key(top)


@kernel(reference=max_rows_ref, parallel=True)
def max_rows(x, best):
    """x (N, K), K >= 1; best (N,).  best = the maximum of each row, NaN where one is in it."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _max_rows(x[s:e], best[s:e])


@QUIET
def share_rows_ref(x, best, dbest, dx):
    equal = (x == best[:, None]) | ((x != x) & (best != best)[:, None])  # NaN is its own kind
    share = equal.astype(x.dtype) / equal.sum(axis=1, keepdims=True).astype(x.dtype)
    np.multiply(dbest[:, None], share, out=dx)


@piece
def _share_rows(x, best, dbest, dx):
    for n in range(x.shape[0]):
        row, out, top, dtop = x[n], dx[n], best[n], dbest[n]
        unknown = top != top
        count = np.int32(0)
        for k in range(row.size):
            count += np.int32((row[k] == top) | (unknown & (row[k] != row[k])))
        own = dtop * (x.dtype.type(1.0) / x.dtype.type(count))
        none = dtop * x.dtype.type(0.0)
        for k in range(row.size):
            out[k] = own if (row[k] == top) | (unknown & (row[k] != row[k])) else none


@kernel(reference=share_rows_ref, parallel=True)
def share_rows(x, best, dbest, dx):
    """x, dx (N, K), best, dbest (N,).  dx = dbest / (how many are equal to best) where x is best,
    0 elsewhere; best is the maximum or minimum of each row."""
    step = rows_a_piece(x.shape[1], _PIECE)
    for p in prange(count_pieces(x.shape[0], step)):
        s, e = piece_bounds(p, step, x.shape[0])
        _share_rows(x[s:e], best[s:e], dbest[s:e], dx[s:e])
