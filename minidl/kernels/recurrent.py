"""The plain RNN over whole sequences: the shortest of the recurrent kernels.

How sequences, states and weights lie: see `_sequences`.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._math import tanh
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
    spans,
    step_of,
    steps_ahead,
)
from minidl.kernels._tile import panel_product, unpacked
from minidl.kernels.recurrent_weights import add_to_sums, give_back, put_inputs, rooms


@QUIET
def rnn_forward_ref(x, gap, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu, h, out):
    size, x = h.shape[1], by_steps(x, gap)
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
def _rnn_forward(x, gap, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu, first, h, out):
    ahead = steps_ahead(h.shape[0], sizes)
    room = np.empty((ahead * h.shape[0] if gap > 1 else 0, x.shape[1]), x.dtype)
    for i in range(sizes.size):
        t = step_of(i, sizes.size, reverse)
        n = min(h.shape[0], sizes[t] - first)  # of these sequences go on so long
        if n > 0:
            s = starts[t] + first
            if i % ahead == 0:
                low, high = block_rows(i, ahead, starts, sizes, reverse, first, n)
                rows = rows_of_x(x, gap, sizes[0], low, high, room)
                if packed:
                    panel_product(rows, w_ih, False, out[low:high])
                else:
                    dots(rows, w_ih[0], False, out[low:high])
            own = out[s : s + n]
            if packed:
                panel_product(h[:n], w_hh, True, own)
            else:
                dots(h[:n], w_hh[0], True, own)
            for row in range(n):
                _rnn_state(bias, relu, own[row])
            copy_rows(own, h[:n])


@kernel(reference=rnn_forward_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="out")
def rnn_forward(x, gap, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu, h, out):
    """x (N, D), out (N, H), bias (H,), h (B, H): h = act(x W_ih^T + h W_hh^T + bias).

    act is tanh or ReLU; weights are packed from W_ih^T (D, H) and W_hh^T (H, H).
    """
    rows = sequences_a_piece(h.shape[0])
    for p in prange(count_pieces(h.shape[0], rows)):
        s, e = piece_bounds(p, rows, h.shape[0])
        _rnn_forward(
            x, gap, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu, s, h[s:e], out
        )


def rnn_backward_ref(
    dout, dout_gap, x, gap, before, out, w_ih, w_hh, starts, sizes, reverse, relu, dh, sums, dgates,
    dx,
):  # fmt: skip
    size, width, dout = dh.shape[1], x.shape[1], by_steps(dout, dout_gap)
    found, dinput = np.empty(out.shape, out.dtype), np.empty(dx.shape, dx.dtype)
    for s, e in spans(starts, sizes, not reverse):
        n = e - s
        total = dh[:n] + dout[s:e] if len(dout) else dh[:n]
        h = out[s:e]
        found[s:e] = np.where(h > 0, total, 0) if relu else total * (1 - h * h)
        dh[:n] = found[s:e] @ unpacked(w_hh, size)
        if len(dx):
            dinput[s:e] = found[s:e] @ unpacked(w_ih, width)
    use = (size, 0, width)
    give_back(found, dinput, x, gap, before, starts, sizes, use, dgates, dx, sums)


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
def _rnn_backward(
    dout, dout_gap, x, gap, before, out, w_ih, w_hh, starts, sizes, reverse, relu, first, dh,
    sums, dgates, dx,
):  # fmt: skip
    batch, summed, filled = sizes[0], sums.shape[0] > 0, 0
    chunk, rows, inputs, panel = rooms(dh.shape[0], out.shape[1], x, before, sums)
    for i in range(sizes.size):
        t = step_of(i, sizes.size, not reverse)
        n = max(0, min(dh.shape[0], sizes[t] - first))  # rows; sequences that end early have none
        s = starts[t] + first
        own = rows[filled : filled + n] if summed else dgates[s : s + n]
        add_rows(dout, dout_gap, batch, s, dh[:n])
        for row in range(n):
            _rnn_gradient(dh[row], out[s + row], relu, own[row])
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


@kernel(reference=rnn_backward_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="out")
def rnn_backward(
    dout, dout_gap, x, gap, before, out, w_ih, w_hh, starts, sizes, reverse, relu, dh, sums, dgates,
    dx,
):  # fmt: skip
    """dout, out (N, H), dout or (0, H), x (N, D), before (N, H): h before each step, dh (B, H).

    dgates = (dout + dh) act'(its argument), which out tells; dh = dgates W_hh, dx = dgates W_ih,
    with weights packed from W_hh (H, H) and W_ih (H, D). dgates (N, H) or, where the pieces'
    sums have any rows, (0, H); dx (N, D) or (0, D).
    """
    rows = sequences_a_piece(dh.shape[0])
    for p in prange(count_pieces(dh.shape[0], rows)):
        s, e = piece_bounds(p, rows, dh.shape[0])
        _rnn_backward(
            dout, dout_gap, x, gap, before, out, w_ih, w_hh, starts, sizes, reverse, relu, s,
            dh[s:e], sums[p : p + 1], dgates, dx,
        )  # fmt: skip
