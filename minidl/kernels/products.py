"""Matrix products in pieces: by BLAS on one thread, or for many rows by panels packed once.

BLAS packs the right operand for each piece anew. Where a product has many more rows than that
operand, all pieces share one packed form (`_tile`): 195 to 220 GFLOP/s on two cores (Zen 4) against
180 to 195 by BLAS in pieces, and against 160 to 170 where the right operand is transposed.
"""

import numpy as np

from minidl.kernels._gemm import gemm
from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import count_pieces
from minidl.kernels._tile import _pack_transposed, pack_columns, panel_product

_PIECE = 250_000  # multiplications below which a piece is not worth a core: 3 µs
_SIDE = 128  # rows or columns a piece should have: BLAS packs the other operand for each piece
_MOST = 32  # pieces
_INNER = 256  # inner elements at a time: of a panel 32 KB, which stay near while rows go by
_LINE = 16  # elements of a cache line, and rows of BLAS's register tile


@helper
def _piece_size(n, others):
    """Rows (or columns) a piece, for n of them with `others` multiplications each."""
    pieces = max(1, min(_MOST, n * others // _PIECE, n // _SIDE))
    if pieces == 1 and n * others >= 2 * _PIECE:
        pieces = 2
    return (n + pieces * _LINE - 1) // (pieces * _LINE) * _LINE


@piece
def _product_piece(a, b, c):
    gemm(a, b, c.dtype.type(0), c)


def product_ref(a, b, c):
    np.matmul(a, b, out=c)


@kernel(reference=product_ref, parallel=True, serial_below=0, any_strides=True)
def product(a, b, c):
    """c = a @ b.  a (N, D), b (D, M), c (N, M); each with unit stride along one axis, c's last."""
    n, m, d = c.shape[0], c.shape[1], a.shape[1]
    if n >= m:
        size = _piece_size(n, m * d)
        for p in prange(count_pieces(n, size)):
            s, e = p * size, min(p * size + size, n)
            _product_piece(a[s:e], b, c[s:e])
    else:
        size = _piece_size(m, n * d)
        for p in prange(count_pieces(m, size)):
            s, e = p * size, min(p * size + size, m)
            _product_piece(a, b[:, s:e], c[:, s:e])


def product_panels_ref(a, b, bias, packed, c):
    np.matmul(a, b, out=c)
    if bias.size:
        c += bias
    rows = np.zeros((b.shape[0], packed.shape[0] * packed.shape[2]), b.dtype)
    rows[:, : b.shape[1]] = b
    packed[:] = rows.reshape(b.shape[0], packed.shape[0], packed.shape[2]).swapaxes(0, 1)


@piece
def _pack_piece(b, p, panel):
    if b.strides[1] == b.itemsize:
        pack_columns(b, p * panel.shape[1], panel)
    else:
        _pack_transposed(b.T, p * panel.shape[1], panel)


@piece
def _panel_piece(a, packed, bias, c):
    for n in range(c.shape[0] if bias.size else 0):
        row = c[n]
        for k in range(bias.size):
            row[k] = bias[k]
    for k in range(0, max(1, packed.shape[1]), _INNER):
        e = min(k + _INNER, packed.shape[1])
        panel_product(a[:, k:e], packed[:, k:e], k > 0 or bias.size > 0, c)


@kernel(reference=product_panels_ref, parallel=True, serial_below=0, any_strides=True)
def product_panels(a, b, bias, packed, c):
    """c = a @ b + bias.  a (N, D), b (D, M), bias (M,) or (0,), packed: b's panels, c (N, M)."""
    n = c.shape[0]
    size = _piece_size(n, c.shape[1] * a.shape[1])
    for p in prange(packed.shape[0]):
        _pack_piece(b, p, packed[p])
    for p in prange(count_pieces(n, size)):
        s, e = p * size, min(p * size + size, n)
        _panel_piece(a[s:e], packed, bias, c[s:e])


def product_batched_ref(a, b, c):
    np.matmul(a, b, out=c)


@kernel(reference=product_batched_ref, parallel=True, serial_below=0, any_strides=True)
def product_batched(a, b, c):
    """c = a @ b for each of B.  a (B, N, D), b (B, D, M), c (B, N, M); strides as in `product`."""
    count = c.shape[0]
    work = max(1, c.shape[1] * c.shape[2] * a.shape[2])
    size = max(1, min((count + 1) // 2, _PIECE // work))
    for p in prange(count_pieces(count, size)):
        for i in range(p * size, min(p * size + size, count)):
            _product_piece(a[i], b[i], c[i])
