"""LSTM over whole sequences. How sequences, states and weights lie: see `_sequences`.

The loops over a row are split so that each writes one array: LLVM gives up SIMD where it had to
compare too many addresses.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._math import quick_sigmoid, tanh
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds
from minidl.kernels._sequences import (
    SERIAL_BELOW,
    add_rows,
    block_rows,
    by_steps,
    copy_rows,
    dots,
    matrix,
    place_of,
    rows_of_x,
    sequences_a_piece,
    sigmoid_ref,
    spans,
    step_of,
    steps_ahead,
)
from minidl.kernels._tile import panel_product, unpacked
from minidl.kernels.recurrent_weights import add_to_sums, give_back, put_inputs, rooms


@QUIET
def lstm_forward_ref(
    x, gap, w_ih, w_hh, w_hr, packed, bias, starts, sizes, reverse, h, c, gates, c_before, out
):
    size, width, x = 4 * c.shape[1], h.shape[1], by_steps(x, gap)
    for s, e in spans(starts, sizes, reverse):
        n = e - s
        total = x[s:e] @ matrix(w_ih, packed, size) + h[:n] @ matrix(w_hh, packed, size) + bias
        i, f, g, o = np.split(total, 4, axis=1)
        i, f, g, o = sigmoid_ref(i), sigmoid_ref(f), np.tanh(g), sigmoid_ref(o)
        if len(gates):
            gates[s:e] = np.concatenate([i, f, g, o], axis=1)
            c_before[s:e] = c[:n]
        c[:n] = f * c[:n] + i * g
        inner = o * np.tanh(c[:n])
        out[s:e] = h[:n] = inner @ unpacked(w_hr, width) if len(w_hr) else inner


@piece
def _state(gate, bias, c, y):
    """One row: gates (4H,) before, then after their functions; c (H,) goes a step on."""
    size = y.size
    first, b_first = gate[: 2 * size], bias[: 2 * size]
    for k in range(first.size):
        first[k] = quick_sigmoid(first[k] + b_first[k])
    i, f, g, o = first[:size], first[size:], gate[2 * size : 3 * size], gate[3 * size :]
    b_g, b_o = bias[2 * size : 3 * size], bias[3 * size :]
    for k in range(g.size):
        g[k] = tanh(g[k] + b_g[k])
    for k in range(o.size):
        o[k] = quick_sigmoid(o[k] + b_o[k])
    for k in range(c.size):
        c[k] = f[k] * c[k] + i[k] * g[k]
    for k in range(y.size):
        y[k] = o[k] * tanh(c[k])


@piece
def _forward(
    x, gap, w_ih, w_hh, w_hr, packed, bias, starts, sizes, reverse, first, h, c, gates, c_before,
    out,
):  # fmt: skip
    keep, projected = gates.shape[0] > 0, w_hr.shape[0] > 0
    ahead = steps_ahead(h.shape[0], sizes)
    room = np.empty((0 if keep else ahead * c.shape[0], gates.shape[1]), x.dtype)
    x_room = np.empty((ahead * c.shape[0] if gap > 1 else 0, x.shape[1]), x.dtype)
    block, low = gates, 0
    inner = np.empty((c.shape[0] if projected else 0, c.shape[1]), x.dtype)
    for i in range(sizes.size):
        t = step_of(i, sizes.size, reverse)
        n = min(h.shape[0], sizes[t] - first)  # of these sequences go on so long
        if n > 0:
            s = starts[t] + first
            if i % ahead == 0:
                low, high = block_rows(i, ahead, starts, sizes, reverse, first, n)
                block = gates[low:high] if keep else room[: high - low]
                rows = rows_of_x(x, gap, sizes[0], low, high, x_room)
                if packed:
                    panel_product(rows, w_ih, False, block)
                else:
                    dots(rows, w_ih[0], False, block)
            own = block[s - low : s - low + n]
            if packed:
                panel_product(h[:n], w_hh, True, own)
            else:
                dots(h[:n], w_hh[0], True, own)
            if keep:
                copy_rows(c[:n], c_before[s : s + n])
            to = inner[:n] if projected else out[s : s + n]
            for row in range(n):
                _state(own[row], bias, c[row], to[row])
            if projected:
                panel_product(to, w_hr, False, out[s : s + n])
            copy_rows(out[s : s + n], h[:n])


@kernel(reference=lstm_forward_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="out")
def lstm_forward(
    x, gap, w_ih, w_hh, w_hr, packed, bias, starts, sizes, reverse, h, c, gates, c_before, out
):
    """x (N, D), out (N, P), h (B, P), c (B, H), bias (4H,); gates (N, 4H), c_before (N, H).

    i, f, o = sigmoid, g = tanh of x W_ih^T + h W_hh^T + bias;  c = f c + i g,  h = o tanh(c), and
    times W_hr^T if w_hr has any. gates, in that order, and c_before, c before each step, are what
    backward needs; without rows they are not kept. Weights are packed from W_ih^T (D, 4H),
    W_hh^T (P, 4H), W_hr^T (H, P).
    """
    rows = sequences_a_piece(h.shape[0])
    for p in prange(count_pieces(h.shape[0], rows)):
        s, e = piece_bounds(p, rows, h.shape[0])
        _forward(
            x, gap, w_ih, w_hh, w_hr, packed, bias, starts, sizes, reverse, s, h[s:e], c[s:e],
            gates, c_before, out,
        )  # fmt: skip


def lstm_backward_ref(
    dout, dout_gap, x, gap, before, gates, c_before, w_ih, w_hh, w_hr, starts, sizes, reverse, dh,
    dc, sums, dgates, dprojected, dx,
):  # fmt: skip
    size, width, hidden = dh.shape[1], x.shape[1], dc.shape[1]
    dout = by_steps(dout, dout_gap)
    found, dinput = np.empty(gates.shape, x.dtype), np.empty(dx.shape, x.dtype)
    for s, e in spans(starts, sizes, not reverse):
        n = e - s
        i, f, g, o = np.split(gates[s:e], 4, axis=1)
        total, tanh_c = dh[:n], np.tanh(f * c_before[s:e] + i * g)
        if len(dout):
            total = total + dout[s:e]
        if len(w_hr):
            dprojected[s:e] = total
            total = total @ unpacked(w_hr, hidden)
        own = dc[:n] + total * o * (1 - tanh_c * tanh_c)
        di, df = own * g * (i * (1 - i)), own * c_before[s:e] * (f * (1 - f))
        dg, do = own * i * (1 - g * g), total * tanh_c * (o * (1 - o))
        found[s:e] = np.concatenate([di, df, dg, do], axis=1)
        dc[:n] = own * f
        dh[:n] = found[s:e] @ unpacked(w_hh, size)
        if len(dx):
            dinput[s:e] = found[s:e] @ unpacked(w_ih, width)
    use = (4 * hidden, 0, width)
    give_back(found, dinput, x, gap, before, starts, sizes, use, dgates, dx, sums)


@piece
def _gradient(dh, gate, old, tanh_c, dc, dgate):
    """One row; tanh_c (H,) is room for a number of each unit."""
    size = dc.size
    one = dc.dtype.type(1.0)
    i, f, g, o = gate[:size], gate[size : 2 * size], gate[2 * size : 3 * size], gate[3 * size :]
    di, df = dgate[:size], dgate[size : 2 * size]
    dg, do = dgate[2 * size : 3 * size], dgate[3 * size :]
    for k in range(size):
        tanh_c[k] = tanh(f[k] * old[k] + i[k] * g[k])
    for k in range(size):
        do[k] = dh[k] * tanh_c[k] * (o[k] * (one - o[k]))
    for k in range(size):
        dc[k] += dh[k] * o[k] * (one - tanh_c[k] * tanh_c[k])
    for k in range(size):
        di[k] = dc[k] * g[k] * (i[k] * (one - i[k]))
    for k in range(size):
        df[k] = dc[k] * old[k] * (f[k] * (one - f[k]))
    for k in range(size):
        dg[k] = dc[k] * i[k] * (one - g[k] * g[k])
    for k in range(size):
        dc[k] *= f[k]


@piece
def _backward(
    dout, dout_gap, x, gap, before, gates, c_before, w_ih, w_hh, w_hr, starts, sizes, reverse,
    first, dh, dc, sums, dgates, dprojected, dx,
):  # fmt: skip
    batch, summed, filled = sizes[0], sums.shape[0] > 0, 0
    chunk, rows, inputs, panel = rooms(dh.shape[0], gates.shape[1], x, before, sums)
    projected = w_hr.shape[0] > 0
    inner = np.empty((dc.shape[0] if projected else 0, dc.shape[1]), dc.dtype)
    tanh_c = np.empty(dc.shape[1], dc.dtype)
    for i in range(sizes.size):
        t = step_of(i, sizes.size, not reverse)
        n = max(0, min(dh.shape[0], sizes[t] - first))  # rows; sequences that end early have none
        s = starts[t] + first
        own = rows[filled : filled + n] if summed else dgates[s : s + n]
        later = dh[:n]
        add_rows(dout, dout_gap, batch, s, later)
        if projected:
            copy_rows(later, dprojected[s : s + n])
            panel_product(later, w_hr, False, inner[:n])
            later = inner[:n]
        for row in range(n):
            old = c_before[s + row]
            _gradient(later[row], gates[s + row], old, tanh_c, dc[row], own[row])
        if n > 0:
            panel_product(own, w_hh, False, dh[:n])
            if dx.shape[0]:
                at = place_of(s, batch, gap)
                panel_product(own, w_ih, False, dx[at : at + n * gap : gap])
        if summed:
            put_inputs(x, gap, batch, s, before, inputs[filled : filled + n])
            filled += n
            if (i + 1) % chunk == 0 or i + 1 == sizes.size:
                use = (own.shape[1], 0, x.shape[1])
                add_to_sums(
                    rows[:filled], inputs[:filled], use, panel[:, :filled], i >= chunk, sums[0]
                )
                filled = 0


@kernel(reference=lstm_backward_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="c_before")
def lstm_backward(
    dout, dout_gap, x, gap, before, gates, c_before, w_ih, w_hh, w_hr, starts, sizes, reverse, dh,
    dc, sums, dgates, dprojected, dx,
):  # fmt: skip
    """dout (N, P) or (0, P), x (N, D), before (N, P), gates (N, 4H), dh (B, P), dc (B, H).

    dgates is the gradient of the gates before their functions, dx = dgates W_ih, dh = dgates W_hh
    that of h before the step. dprojected (N, P): the whole gradient of h, where w_hr has any.
    Weights are packed from W_ih (4H, D), W_hh (4H, P), W_hr (P, H). dgates (N, 4H) or, where
    the pieces' sums have any rows, (0, 4H); dx (N, D) or (0, D).
    """
    rows = sequences_a_piece(dh.shape[0])
    for p in prange(count_pieces(dh.shape[0], rows)):
        s, e = piece_bounds(p, rows, dh.shape[0])
        _backward(
            dout, dout_gap, x, gap, before, gates, c_before, w_ih, w_hh, w_hr, starts, sizes,
            reverse, s, dh[s:e], dc[s:e], sums[p : p + 1], dgates, dprojected, dx,
        )  # fmt: skip
