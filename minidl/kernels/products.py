"""Matrix products in pieces, each by sums in registers over packed panels (`_tile`).

BLAS packs its right operand for each piece anew, and slowly where it is transposed, as in a linear
layer, or where the inner axis is long, as in the gradient of a weight. On two cores (Zen 4) these
products reach 200 to 220 GFLOP/s; BLAS in pieces reached 160 to 200, and 145 to 185 for gradients
of weights (1,024 or 6,400 rows, 64 to 256 columns).
"""

import numpy as np

from minidl.kernels._gemm import gemm
from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import count_pieces
from minidl.kernels._tile import (
    PANEL_BYTES,
    _pack_transposed,
    pack_columns,
    panel_affine,
    tile,
    tile_copying,
)

_PIECE = 250_000  # multiplications below which a piece is not worth a core: 3 µs
_FEW = 512  # rows that are cut in two
_INNER = 256  # inner elements at a time: of a panel 32 KB, which stay near while rows go by
_TILE = 8  # rows of a tile


@piece
def _pack_piece(b, p, panel):
    if b.strides[1] == b.itemsize:
        pack_columns(b, p * panel.shape[1], panel)
    else:
        _pack_transposed(b.T, p * panel.shape[1], panel)


def product_ref(a, b, bias, floor, c):
    np.matmul(a, b, out=c)
    if bias.size:
        c += bias
    np.maximum(c, c.dtype.type(floor), out=c)


@helper
def _count_ranges(rows, panels):
    """Ranges of c's rows: each packs for itself, but there should be evenly many pieces, alike."""
    if rows < 4 * _TILE or (rows < _FEW and panels >= 8 and panels % 2 == 0):
        return 1
    return 2 if rows < _FEW else 4


@piece
def _add_columns(a, ones, block, part):
    """part (N,) float64 += the sum of a's columns, for a (N, D) whose columns are contiguous.

    A product with ones (1, D), in registers: a loop that added row after row of a^T to `block`
    (1, N) took five times as long.
    """
    width, m = PANEL_BYTES // a.itemsize, a.shape[0]
    rows = a.T
    for s in range(0, m if m >= width else 0, width):
        s = min(s, m - width)  # the last ones may be computed twice
        tile(ones, rows[:, s : s + width], 1, False, block[:, s : s + width])
    if m < width:
        for k in range(m):
            block[0, k] = 0
        for n in range(rows.shape[0]):
            for k in range(m):
                block[0, k] += rows[n, k]
    for k in range(part.size):
        part[k] += block[0, k]


@piece
def _columns_piece(a, b, bias, floor, panel, p, panels, part, c):
    """Those of c's columns that panel p of b has; the rest as in `product`, `weight_gradient`."""
    width, inner = panel.shape[2], b.shape[0]
    s = p * width
    e = min(s + width, b.shape[1])
    start, ones = np.zeros(width, c.dtype), np.ones((1, _INNER), c.dtype)
    for k in range(s, min(e, bias.size)):
        start[k - s] = bias[k]
    block = np.empty((1, part.size), c.dtype)
    none = c.dtype.type(-np.inf)
    for k in range(part.size):
        part[k] = 0.0
    on_the_way = e - s == width and c.shape[0] >= _TILE and b.strides[1] == b.itemsize
    on_the_way = on_the_way and not bias.size and floor == none
    for k in range(0, max(inner, 1), _INNER):  # without inner elements c is the bias
        m = min(_INNER, inner - k)
        own, first = a[:, k : k + m], 0
        if part.size and k // _INNER % panels == p:
            _add_columns(own, ones[:, :m], block, part)
        if on_the_way and m:  # the first tile copies the panel: 5 to 8 % quicker than on its own
            first = _TILE
            tile_copying(own[:first], b[k : k + m, s:e], first, k > 0, c[:first, s:e], panel[0])
        else:
            _pack_piece(b[k : k + m], p, panel[0, :m])
        low = floor if k + m == inner else none
        panel_affine(own[first:], panel[:, :m], k > 0, start, low, c[first:, s:e])


@kernel(reference=product_ref, parallel=True, serial_below=0, any_strides=True)
def product(a, b, bias, floor, c):
    """c = max(a @ b + bias, floor).  a (N, D), b (D, M), bias (M,) or (0,), c (N, M).

    a and b with unit stride along one axis, c along its last. floor: 0 for a ReLU, or -inf.
    Pieces are a panel of c's columns and a range of its rows. Of b a block of 256 rows is packed at
    a time, also where it lies as the tile wants it: its rows lie far apart and share cache sets.
    """
    width, n = PANEL_BYTES // c.itemsize, c.shape[0]
    panels = count_pieces(c.shape[1], width)
    ranges = _count_ranges(n, panels)
    size = count_pieces(n, ranges * _TILE) * _TILE
    packed, part = np.empty((panels * ranges, 1, _INNER, width), c.dtype), np.empty(0)
    low = c.dtype.type(floor)
    for q in prange(panels * ranges):
        p, s = q % panels, q // panels * size
        e = min(s + size, n)
        _columns_piece(a[s:e], b, bias, low, packed[q], p, panels, part, c[s:e])


def weight_gradient_ref(dout, x, dbias, dweight):
    np.matmul(dout.T, x, out=dweight)
    if dbias.size:
        dbias[:] = dout.sum(axis=0, dtype=np.float64)


@kernel(reference=weight_gradient_ref, parallel=True, serial_below=0, any_strides=True)
def weight_gradient(dout, x, dbias, dweight):
    """dweight = dout^T @ x, dbias = the sum of dout's rows.

    dout (R, M), x (R, N), dweight (M, N), dbias (M,) or (0,). As `product`; while a block of 256
    rows is near, one of the pieces adds it up.
    """
    width, m = PANEL_BYTES // dweight.itemsize, dweight.shape[0]
    panels = count_pieces(dweight.shape[1], width)
    ranges = _count_ranges(m, panels)
    size = count_pieces(m, ranges * _TILE) * _TILE
    packed = np.empty((panels * ranges, 1, _INNER, width), dweight.dtype)
    parts, bias = np.empty((panels, dbias.size)), np.empty(0, x.dtype)
    none = x.dtype.type(-np.inf)
    for q in prange(panels * ranges):
        p, s = q % panels, q // panels * size
        e = min(s + size, m)
        part = parts[p, min(s, dbias.size) : min(e, dbias.size)]
        to = dweight[s:e]
        _columns_piece(dout[:, s:e].T, x, bias, none, packed[q], p, panels, part, to)
    for k in range(dbias.size):
        total = 0.0
        for p in range(panels):
            total += parts[p, k]
        dbias[k] = total


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
            gemm(a[i], b[i], c.dtype.type(0), c[i])
