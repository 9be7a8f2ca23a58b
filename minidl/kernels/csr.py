"""A constant sparse matrix, in rows (CSR), times a dense one.

Row n of the matrix has the values data[j] in the columns indices[j], j in indptr[n] : indptr[n+1].
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds

_ROWS = 64  # a piece: rows differ in length, so pieces are small enough to even that out


def csr_matmul_ref(indptr, indices, data, dense, out):
    for n in range(len(indptr) - 1):
        j = slice(indptr[n], indptr[n + 1])
        out[n] = data[j].astype(np.float64) @ dense[indices[j]]


@piece
def _rows(indptr, indices, data, dense, out):
    total = np.empty(dense.shape[1], np.float64)
    for n in range(out.shape[0]):
        total[:] = 0.0
        for j in range(indptr[n], indptr[n + 1]):
            value, row = data[j], dense[indices[j]]
            for d in range(total.size):
                total[d] += value * row[d]
        for d in range(total.size):
            out[n, d] = total[d]


@kernel(reference=csr_matmul_ref, parallel=True, serial_below=200_000, size_of="data")
def csr_matmul(indptr, indices, data, dense, out):
    """indptr (N+1,), indices (J,), data (J,); dense (V, D); out (N, D).  out = matrix @ dense."""
    rows = out.shape[0]
    for p in prange(count_pieces(rows, _ROWS)):
        s, e = piece_bounds(p, _ROWS, rows)
        _rows(indptr[s : e + 1], indices, data, dense, out[s:e])
