"""Whole sequences of a recurrent layer in one kernel: what all share, and the plain RNN.

A batch of sequences lies one time step after the other (see `ops._steps`): `starts` and `sizes`
(T,) tell each step's first row and how many it has, the longest sequences first. A piece of a
kernel takes a range of sequences through all steps, so threads never wait for each other, and a
step is two products with packed weights (`_tile`) and the layer's function while the rows are in
cache. `packed` False: w_ih and w_hh are (1, M, K) as they lie, for a few rows only, which do not
repay the packing.

States h and c hold a row for each sequence: first states come in, last states go out; backward's dh
and dc likewise the other way. An array that is not wanted has no rows.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._math import tanh
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds
from minidl.kernels._tile import PANEL_BYTES, clear_rows, pack_columns, panel_product, unpacked

SERIAL_BELOW = 8_192  # elements of a state over all steps: 50 µs of work and more
_COLUMNS = 64  # of gates a piece of `gate_weights`
_ROWS = 512  # that it adds up at once: 128 KB of gates stay in the second cache


def matrix(w, packed, columns):
    """(K, M) of weights as a kernel gets them: for references."""
    return unpacked(w, columns) if packed else w[0].T


def spans(starts, sizes, backwards):
    """(start, stop) of each step's rows, in the order of computation: for references."""
    found = [(int(s), int(s + n)) for s, n in zip(starts, sizes)]
    return found[::-1] if backwards else found


def sigmoid_ref(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0).astype(x.dtype) / (1 + e)


@helper
def sequences_a_piece(batch):
    """Two pieces if it can be, four of 16 rows and more, eight at 257 sequences and so on."""
    pieces = 1 if batch < 8 else 2 if batch < 64 else 4 * ((batch + 255) // 256)
    return max(1, (batch + pieces - 1) // pieces)


@piece(fastmath=("contract", "reassoc"))  # reassoc: a sum in SIMD lanes
def dots(a, w, add, c):
    """c (R, M) = a (R, K) @ w^T, or c += it if add; w (M, K)."""
    for n in range(a.shape[0]):
        row, out = a[n], c[n]
        for m in range(w.shape[0]):
            weights = w[m]
            total = c.dtype.type(0.0)
            for k in range(weights.size):
                total += row[k] * weights[k]
            out[m] = out[m] + total if add else total


@piece
def copy_rows(x, y):
    """y = x, both (R, H); as loops, for Numba compiles y[:] = x for two seconds."""
    for n in range(x.shape[0]):
        row, to = x[n], y[n]
        for k in range(row.size):
            to[k] = row[k]


@piece
def step_of(i, steps, backwards):
    """The i-th step of a walk forwards or backwards."""
    return steps - 1 - i if backwards else i


@helper
def steps_ahead(count, sizes):
    """Steps whose input products are one: 8 rows' cost hardly more than one's."""
    return 8 // count if 0 < count == sizes[0] and count < 8 else 1


@piece
def block_rows(i, ahead, starts, sizes, reverse, first, n):
    """(low, high) rows of the steps from the i-th on; of the own n of one step if that is all."""
    t = step_of(i, sizes.size, reverse)
    if ahead == 1:
        return starts[t] + first, starts[t] + first + n
    last = step_of(min(i + ahead, sizes.size) - 1, sizes.size, reverse)
    return min(starts[t], starts[last]), max(starts[t] + sizes[t], starts[last] + sizes[last])


@QUIET
def rnn_forward_ref(x, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu, h, out):
    size = h.shape[1]
    for s, e in spans(starts, sizes, reverse):
        n = e - s
        total = x[s:e] @ matrix(w_ih, packed, size) + h[:n] @ matrix(w_hh, packed, size) + bias
        out[s:e] = h[:n] = np.maximum(total, 0) if relu else np.tanh(total)


@piece
def _rnn_state(bias, relu, y):
    zero = y.dtype.type(0.0)
    if relu:
        for k in range(y.size):
            total = y[k] + bias[k]
            y[k] = zero if total < zero else total  # a NaN stays
    else:
        for k in range(y.size):
            y[k] = tanh(y[k] + bias[k])


@piece
def _rnn_forward(x, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu, first, h, out):
    ahead = steps_ahead(h.shape[0], sizes)
    for i in range(sizes.size):
        t = step_of(i, sizes.size, reverse)
        n = min(h.shape[0], sizes[t] - first)  # of these sequences go on so long
        if n > 0:
            s = starts[t] + first
            if i % ahead == 0:
                low, high = block_rows(i, ahead, starts, sizes, reverse, first, n)
                if packed:
                    panel_product(x[low:high], w_ih, False, out[low:high])
                else:
                    dots(x[low:high], w_ih[0], False, out[low:high])
            own = out[s : s + n]
            if packed:
                panel_product(h[:n], w_hh, True, own)
            else:
                dots(h[:n], w_hh[0], True, own)
            for row in range(n):
                _rnn_state(bias, relu, own[row])
            copy_rows(own, h[:n])


@kernel(reference=rnn_forward_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="out")
def rnn_forward(x, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu, h, out):
    """x (N, D), out (N, H), bias (H,), h (B, H): h = act(x W_ih^T + h W_hh^T + bias).

    act is tanh or ReLU; weights are packed from W_ih^T (D, H) and W_hh^T (H, H).
    """
    rows = sequences_a_piece(h.shape[0])
    for p in prange(count_pieces(h.shape[0], rows)):
        s, e = piece_bounds(p, rows, h.shape[0])
        _rnn_forward(x, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu, s, h[s:e], out)


def rnn_backward_ref(dout, out, w_ih, w_hh, starts, sizes, reverse, relu, dh, dgates, dx):
    size, width = dh.shape[1], dx.shape[1]
    for s, e in spans(starts, sizes, not reverse):
        n = e - s
        total = dh[:n] + dout[s:e] if len(dout) else dh[:n]
        h = out[s:e]
        dgates[s:e] = np.where(h > 0, total, 0) if relu else total * (1 - h * h)
        dh[:n] = dgates[s:e] @ unpacked(w_hh, size)
        if len(dx):
            dx[s:e] = dgates[s:e] @ unpacked(w_ih, width)


@piece
def add_rows(dout, s, dh):
    """dh += rows of dout from s on, if there are any."""
    if dout.shape[0]:
        for n in range(dh.shape[0]):
            more, total = dout[s + n], dh[n]
            for k in range(total.size):
                total[k] += more[k]


@piece
def _rnn_gradient(dh, h, relu, dgates):
    one, zero = h.dtype.type(1.0), h.dtype.type(0.0)
    if relu:
        for k in range(h.size):
            dgates[k] = dh[k] if h[k] > zero else zero
    else:
        for k in range(h.size):
            dgates[k] = dh[k] * (one - h[k] * h[k])


@piece
def _rnn_backward(dout, out, w_ih, w_hh, starts, sizes, reverse, relu, first, dh, dgates, dx):
    for i in range(sizes.size):
        t = step_of(i, sizes.size, not reverse)
        n = min(dh.shape[0], sizes[t] - first)
        if n > 0:
            s = starts[t] + first
            own = dgates[s : s + n]
            add_rows(dout, s, dh[:n])
            for row in range(n):
                _rnn_gradient(dh[row], out[s + row], relu, own[row])
            panel_product(own, w_hh, False, dh[:n])
            if dx.shape[0]:
                panel_product(own, w_ih, False, dx[s : s + n])


@kernel(reference=rnn_backward_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="out")
def rnn_backward(dout, out, w_ih, w_hh, starts, sizes, reverse, relu, dh, dgates, dx):
    """dout (N, H) or (0, H), out, dgates (N, H), dh (B, H), dx (N, D) or (0, D).

    dgates = (dout + dh) act'(its argument), which out tells; dh = dgates W_hh, dx = dgates W_ih,
    with weights packed from W_hh (H, H) and W_ih (H, D).
    """
    rows = sequences_a_piece(dh.shape[0])
    for p in prange(count_pieces(dh.shape[0], rows)):
        s, e = piece_bounds(p, rows, dh.shape[0])
        _rnn_backward(dout, out, w_ih, w_hh, starts, sizes, reverse, relu, s, dh[s:e], dgates, dx)


def gate_weights_ref(dgates, first, x, dw, db):
    own = dgates[:, first : first + len(dw)]
    dw[:] = own.T @ x
    if db.size:
        db[:] = own.sum(0, dtype=np.float64)


@piece
def _gate_weights(own, x, dw, db):
    panel = np.empty((1, _ROWS, PANEL_BYTES // x.itemsize), x.dtype)
    width = panel.shape[2]
    sums = np.zeros(db.size, np.float64)
    clear_rows(dw)
    for s in range(0, x.shape[0], _ROWS):
        e = min(s + _ROWS, x.shape[0])
        for column in range(0, x.shape[1], width):
            pack_columns(x[s:e], column, panel[0, : e - s])
            to = dw[:, column : min(column + width, x.shape[1])]
            panel_product(own[s:e].T, panel[:, : e - s], True, to)
        if sums.size:
            for n in range(s, e):
                row = own[n]
                for k in range(sums.size):
                    sums[k] += row[k]
    for k in range(sums.size):
        db[k] = sums[k]


@kernel(reference=gate_weights_ref, parallel=True, serial_below=SERIAL_BELOW)
def gate_weights(dgates, first, x, dw, db):
    """dgates (N, G), x (N, D), dw (M, D), db (M,) or (0,).

    For the M gates from column `first` on: dw = dgates^T x, db = the sum of dgates over rows.
    """
    for p in prange(count_pieces(dw.shape[0], _COLUMNS)):
        s, e = piece_bounds(p, _COLUMNS, dw.shape[0])
        _gate_weights(dgates[:, first + s : first + e], x, dw[s:e], db[s:e])
