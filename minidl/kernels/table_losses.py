"""Cross-entropy over all rows of a large table, with the product inside: no logits (N, V) are kept.

Some rows of x at a time meet the whole table, which goes by in blocks of CLASSES. Logits are made
turned, a row a class, so that maxima and sums run down columns, a vector of rows of x at a time,
and the products read the table as it lies. The maximum and sum are gathered by the online
recurrence (Milakov & Gimelshein 2018, arXiv:1805.02867). For gradients the logits of those few rows
are kept until their softmax is known, so that they are computed once; 2 D rows at most, so they
take at most twice the table's memory.

Pieces are ranges of classes: each owns its rows of dweight, and the parts of dx are added in order.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._math import exp, exp_below, log
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds
from minidl.kernels._tile import (
    PANEL_BYTES,
    _pack_transposed,
    clear_rows,
    pack_columns,
    panel_affine,
    panel_product,
)
from minidl.kernels.softmax import cross_entropy_backward_ref, cross_entropy_forward_ref

CLASSES = 128  # of a block: its logits and rows of the table stay in the core's own cache
_ROWS = 256  # of x at a time; 64 took a quarter longer, for the table goes by more often
_PIECES = 16
_SUMS = ("contract", "reassoc")  # reassoc: the sum over a row becomes SIMD
_SERIAL_BELOW = 16_384
_NOTHING_IGNORED = -1


def _logits_ref(x, weight, bias):
    logits = x @ weight.T
    if bias.size:
        logits += bias
    logits[np.isposinf(logits).any(axis=1)] = np.nan  # as PyTorch: inf - inf in its softmax
    return logits


@QUIET
def linear_cross_entropy_forward_ref(x, weight, bias, target, shares, label_smoothing, loss):
    logits = _logits_ref(x, weight, bias)
    settings = shares, label_smoothing, _NOTHING_IGNORED
    cross_entropy_forward_ref(logits, target, *settings, loss, np.empty_like(loss))


@QUIET
def linear_cross_entropy_gradients_ref(
    dloss, x, weight, bias, target, shares, label_smoothing, loss, dx, dweight, dbias
):
    logits, lse = _logits_ref(x, weight, bias), np.empty_like(loss)
    dlogits = np.empty_like(logits)
    settings = shares, label_smoothing, _NOTHING_IGNORED
    cross_entropy_forward_ref(logits, target, *settings, loss, lse)
    cross_entropy_backward_ref(dloss, logits, target, *settings, lse, dlogits)
    if len(dx):
        dx[:] = dlogits @ weight
    if len(dweight):
        dweight[:] = dlogits.T @ x
    if len(dbias):
        dbias[:] = dlogits.sum(axis=0, dtype=np.float64)


@helper
def _rows_at_once(rows, most):
    """Rows of x that meet the table together: a multiple of 32."""
    return (min(rows, most) + 31) // 32 * 32


@helper
def _classes_a_piece(classes):
    return count_pieces(count_pieces(classes, CLASSES), _PIECES) * CLASSES


@piece
def _pack_rows(x, turned, packed):
    """x (R, D) in panels of its rows, turned (panels, D, width), and of its columns, packed."""
    for p in range(turned.shape[0]):
        _pack_transposed(x, p * turned.shape[2], turned[p])
    for p in range(packed.shape[0]):
        pack_columns(x, p * packed.shape[2], packed[p])


@piece
def _sums_piece(
    weight, bias, shares, smoothing, turned, target, first, s, top, total, spread, picked
):
    """What the classes from `first` on give to the losses of R rows of x.

    weight (M, D), bias (M,) or (0,), shares (M,); s (M, W) becomes the logits, or with fewer rows
    only the last block's. top (W,): their maximum, total (W,): the sum of exp(logit - top), spread
    (W,): the sum of shares * logit under label smoothing; picked (R,): the logits of targets here.
    """
    classes, wide = weight.shape[0], top.size
    one_block = s.shape[0] < classes
    zero, low = s.dtype.type(0.0), s.dtype.type(-np.inf)
    before, part = np.empty(wide, s.dtype), np.empty(wide, s.dtype)
    for k in range(wide):
        top[k] = low
        total[k] = 0.0
        spread[k] = 0.0
    for b in range(0, classes, CLASSES):
        m = min(CLASSES, classes - b)
        block = s[:m] if one_block else s[b : b + m]
        panel_product(weight[b : b + m], turned, False, block)
        for c in range(m if bias.size else 0):
            row, more = block[c], bias[b + c]
            for k in range(row.size):
                row[k] += more
        for k in range(wide):
            before[k] = top[k]
        for c in range(m):
            row = block[c]
            for k in range(row.size):  # NaN reaches the total by its exponential
                top[k] = row[k] if row[k] > top[k] else top[k]
        for k in range(wide):
            top[k] = zero if top[k] == low else top[k]  # -inf - -inf would be NaN
            part[k] = zero
        for c in range(m):
            row = block[c]
            for k in range(row.size):
                part[k] += exp_below(row[k] - top[k])
        for k in range(wide):
            total[k] = total[k] * exp_below(before[k] - top[k]) + part[k]
            top[k] = low if total[k] == 0.0 else top[k]
        if smoothing:
            for k in range(wide):
                part[k] = zero
            for c in range(m):
                row, share = block[c], shares[b + c]
                for k in range(row.size):
                    part[k] += share * row[k]
            for k in range(wide):
                spread[k] += part[k]
        for n in range(target.size):
            c = target[n] - first - b
            if 0 <= c < m:
                picked[n] = block[c, n]


@piece
def _losses_of_rows(
    target, shares, shares_sum, label_smoothing, top, total, spread, picked, loss, lse
):
    """Put the pieces' (pieces, W) sums together: fills loss (R,) and lse (W,)."""
    even = label_smoothing / shares.size
    for k in range(lse.size):
        most = top[0, k]
        for p in range(1, top.shape[0]):
            most = max(most, top[p, k])
        whole, inner = 0.0, 0.0
        for p in range(top.shape[0]):
            if total[p, k] != 0.0:  # else all are -inf, and -inf - -inf would be NaN
                whole += total[p, k] * exp(np.float64(top[p, k]) - np.float64(most))
            inner += spread[p, k]
        log_sum = np.float64(most) + log(whole)
        lse[k] = log_sum
        if k < loss.size:
            own = (1.0 - label_smoothing) * shares[target[k]] * (log_sum - picked[k])
            if label_smoothing > 0.0:
                own += even * (shares_sum * log_sum - inner)
            loss[k] = own


@piece(fastmath=_SUMS)
def _row_sums(x, columns, out):
    for c in range(x.shape[0]):
        row, total = x[c, :columns], 0.0
        for k in range(row.size):
            total += row[k]
        out[c] += total


@piece
def _gradients_piece(
    weight, shares, smoothing, packed, target, first, s, lse, mass, pull, even, add, dx, dweight,
    dbias,
):  # fmt: skip
    """The part that classes from `first` on have in dx (R, D), and rows of dweight (M, D), dbias.

    s (M, W): logits, which become their gradients mass e^(s - lse) - even shares, less pull (R,)
    for the row's own class. add: onto what dweight and dbias hold.
    """
    classes, rows = weight.shape[0], target.size
    width, inner = packed.shape[2], weight.shape[1]
    none, panels = s.dtype.type(-np.inf), count_pieces(inner, width)
    zeros = np.zeros(panels * width, s.dtype)
    table = np.empty((panels if dx.shape[0] else 0, CLASSES, width), s.dtype)
    for b in range(0, classes, CLASSES):
        m = min(CLASSES, classes - b)
        block, own = s[b : b + m], weight[b : b + m]
        for c in range(m):
            row = block[c]
            for k in range(row.size):
                row[k] = exp_below(row[k] - lse[k]) * mass[k]
            if smoothing:
                share = shares[b + c]
                for k in range(row.size):
                    row[k] -= even[k] * share
        for n in range(rows):
            c = target[n] - first - b
            if 0 <= c < m:
                block[c, n] -= pull[n]
        if dbias.size:
            if not add:
                for c in range(b, b + m):
                    dbias[c] = 0
            _row_sums(block, rows, dbias[b : b + m])
        if dweight.shape[0]:
            panel_affine(block[:, :rows], packed, add, zeros, none, dweight[b : b + m])
        if dx.shape[0]:
            for p in range(panels):
                pack_columns(own, p * width, table[p, :m])
            panel_affine(block[:, :rows].T, table[:, :m], b > 0, zeros, none, dx)


@kernel(
    reference=linear_cross_entropy_forward_ref, parallel=True, serial_below=_SERIAL_BELOW,
    size_of="weight",
)  # fmt: skip
def linear_cross_entropy_forward(x, weight, bias, target, shares, label_smoothing, loss):
    """x (N, D), weight (V, D), bias (V,) or (0,), target (N,), shares (V,); loss (N,).

    The loss of `cross_entropy_forward` with logits x @ weight^T + bias and class weights `shares`.
    """
    count, classes, width = x.shape[0], weight.shape[0], PANEL_BYTES // x.itemsize
    at_once, each = _rows_at_once(count, _ROWS), _classes_a_piece(classes)
    pieces = count_pieces(classes, each)
    turned = np.empty((at_once // width, x.shape[1], width), x.dtype)
    none = np.empty((0, 1, width), x.dtype)
    s = np.empty((pieces, min(CLASSES, classes), at_once), x.dtype)
    top, sums = np.empty((pieces, at_once), x.dtype), np.empty((2, pieces, at_once))
    picked, lse = np.empty(at_once, x.dtype), np.empty(at_once, x.dtype)
    shares_sum = 0.0
    for c in range(classes):
        shares_sum += shares[c]
    for i in range(count_pieces(count, max(1, at_once))):
        r, e = piece_bounds(i, at_once, count)
        own = target[r:e]
        _pack_rows(x[r:e], turned, none)
        for p in prange(pieces):
            u, v = piece_bounds(p, each, classes)
            _sums_piece(
                weight[u:v], bias[u:v], shares[u:v], label_smoothing > 0.0, turned, own, u, s[p],
                top[p], sums[0, p], sums[1, p], picked,
            )  # fmt: skip
        _losses_of_rows(
            own, shares, shares_sum, label_smoothing, top, sums[0], sums[1], picked, loss[r:e], lse
        )


@kernel(
    reference=linear_cross_entropy_gradients_ref, parallel=True, serial_below=_SERIAL_BELOW,
    size_of="weight",
)  # fmt: skip
def linear_cross_entropy_gradients(
    dloss, x, weight, bias, target, shares, label_smoothing, loss, dx, dweight, dbias
):
    """As the forward kernel; dloss (N,), dx (N, D), dweight (V, D), dbias (V,).

    Fills loss, and the gradients of sum(dloss * loss); one that has no rows is not computed.
    """
    count, classes, inner = x.shape[0], weight.shape[0], x.shape[1]
    width = PANEL_BYTES // x.itemsize
    each, most = _classes_a_piece(classes), max(32, min(2 * inner, _ROWS))
    at_once = _rows_at_once(count, most)
    pieces = count_pieces(classes, each)
    turned = np.empty((at_once // width, inner, width), x.dtype)
    packed = np.empty((count_pieces(inner, width), at_once, width), x.dtype)
    s = np.empty((classes, at_once), x.dtype)
    top, sums = np.empty((pieces, at_once), x.dtype), np.empty((2, pieces, at_once))
    picked, lse = np.empty(at_once, x.dtype), np.empty(at_once, x.dtype)
    mass, pull = np.zeros(at_once, x.dtype), np.empty(at_once, x.dtype)
    even = np.zeros(at_once, x.dtype)
    parts = np.empty((pieces, at_once if dx.shape[0] else 0, inner), x.dtype)
    shares_sum = 0.0
    for c in range(classes):
        shares_sum += shares[c]
    if not count:
        clear_rows(dweight)
        clear_rows(dbias.reshape(1, dbias.size))
    for i in range(count_pieces(count, max(1, at_once))):
        r, e = piece_bounds(i, at_once, count)
        own, rows = target[r:e], e - r
        _pack_rows(x[r:e], turned, packed[:, :rows])
        for p in prange(pieces):
            u, v = piece_bounds(p, each, classes)
            _sums_piece(
                weight[u:v], bias[u:v], shares[u:v], label_smoothing > 0.0, turned, own, u, s[u:v],
                top[p], sums[0, p], sums[1, p], picked,
            )  # fmt: skip
        _losses_of_rows(
            own, shares, shares_sum, label_smoothing, top, sums[0], sums[1], picked, loss[r:e], lse
        )
        for n in range(rows):
            d, hit = dloss[r + n], (1.0 - label_smoothing) * shares[own[n]]
            pull[n] = d * hit
            even[n] = d * (label_smoothing / classes)
            mass[n] = d * (hit + label_smoothing / classes * shares_sum)
        for p in prange(pieces):
            u, v = piece_bounds(p, each, classes)
            _gradients_piece(
                weight[u:v], shares[u:v], label_smoothing > 0.0, packed[:, :rows], own, u, s[u:v],
                lse, mass, pull, even, i > 0, parts[p, :rows], dweight[u:v], dbias[u:v],
            )  # fmt: skip
        if dx.shape[0]:
            for n in range(rows):
                to = dx[r + n]
                for k in range(inner):
                    to[k] = parts[0, n, k]
                for p in range(1, pieces):
                    part = parts[p, n]
                    for k in range(to.size):
                        to[k] += part[k]
