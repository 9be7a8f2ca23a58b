"""GRU over whole sequences. How sequences, states and weights lie: see `_sequences`.

Gates have four parts: r, z, n, and m, the recurrent product that r multiplies. So the recurrent
weights come in two parts, W_h of r and z, whose products are added to the input's, and that of m.
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
def gru_forward_ref(x, gap, w_ih, w_rz, w_m, packed, bias, starts, sizes, reverse, h, gates, out):
    size, x = h.shape[1], by_steps(x, gap)
    for s, e in spans(starts, sizes, reverse):
        n = e - s
        i_r, i_z, i_n = np.split(x[s:e] @ matrix(w_ih, packed, 3 * size), 3, axis=1)
        h_r, h_z = np.split(h[:n] @ matrix(w_rz, packed, 2 * size), 2, axis=1)
        b_r, b_z, b_n, b_m = np.split(bias, 4)
        r, z = sigmoid_ref(i_r + h_r + b_r), sigmoid_ref(i_z + h_z + b_z)
        m = h[:n] @ matrix(w_m, packed, size) + b_m
        new = np.tanh(i_n + b_n + r * m)
        if len(gates):
            gates[s:e] = np.concatenate([r, z, new, m], axis=1)
        out[s:e] = h[:n] = new + z * (h[:n] - new)


@piece
def _state(gate, bias, old, y):
    """One row: gates (4H,) before, then after their functions; old, y (H,)."""
    size = y.size
    first, b_first = gate[: 2 * size], bias[: 2 * size]
    for k in range(first.size):
        first[k] = quick_sigmoid(first[k] + b_first[k])
    r, z, n, m = first[:size], first[size:], gate[2 * size : 3 * size], gate[3 * size :]
    b_n, b_m = bias[2 * size : 3 * size], bias[3 * size :]
    for k in range(size):
        m[k] += b_m[k]
    for k in range(size):
        n[k] = tanh(n[k] + b_n[k] + r[k] * m[k])
    for k in range(size):
        y[k] = n[k] + z[k] * (old[k] - n[k])


@piece
def _forward(x, gap, w_ih, w_rz, w_m, packed, bias, starts, sizes, reverse, first, h, gates, out):
    size = h.shape[1]
    keep = gates.shape[0] > 0
    ahead = steps_ahead(h.shape[0], sizes)
    room = np.empty((0 if keep else ahead * h.shape[0], gates.shape[1]), x.dtype)
    x_room = np.empty((ahead * h.shape[0] if gap > 1 else 0, x.shape[1]), x.dtype)
    block, low = gates, 0
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
                    panel_product(rows, w_ih, False, block[:, : 3 * size])
                else:
                    dots(rows, w_ih[0], False, block[:, : 3 * size])
            own = block[s - low : s - low + n]
            if packed:
                panel_product(h[:n], w_rz, True, own[:, : 2 * size])
                panel_product(h[:n], w_m, False, own[:, 3 * size :])
            else:
                dots(h[:n], w_rz[0], True, own[:, : 2 * size])
                dots(h[:n], w_m[0], False, own[:, 3 * size :])
            for row in range(n):
                _state(own[row], bias, h[row], out[s + row])
            copy_rows(out[s : s + n], h[:n])


@kernel(reference=gru_forward_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="out")
def gru_forward(x, gap, w_ih, w_rz, w_m, packed, bias, starts, sizes, reverse, h, gates, out):
    """x (N, D), out (N, H), h (B, H); bias (4H,), gates (N, 4H) or (0, 4H) as r, z, n, m.

    r, z = quick_sigmoid(x W_i^T + h W_h^T + bias),  m = h W_hn^T + bias_m,
    n = tanh(x W_in^T + bias_n + r m),  h = (1 - z) n + z h.
    Weights are packed from W_ih^T (D, 3H), and the r, z and n columns of W_hh^T (H, 3H).
    """
    rows = sequences_a_piece(h.shape[0])
    for p in prange(count_pieces(h.shape[0], rows)):
        s, e = piece_bounds(p, rows, h.shape[0])
        _forward(
            x, gap, w_ih, w_rz, w_m, packed, bias, starts, sizes, reverse, s, h[s:e], gates, out
        )


def gru_backward_ref(
    dout, dout_gap, x, gap, before, gates, w_ih, w_hh, starts, sizes, reverse, dh, sums, dgates, dx
):
    size, width, dout = dh.shape[1], x.shape[1], by_steps(dout, dout_gap)
    found, dinput = np.empty(gates.shape, x.dtype), np.empty(dx.shape, x.dtype)
    for s, e in spans(starts, sizes, not reverse):
        count = e - s
        r, z, n, m = np.split(gates[s:e], 4, axis=1)
        total = dh[:count] + dout[s:e] if len(dout) else dh[:count]
        dn = total * (1 - z) * (1 - n * n)
        dz = total * (before[s:e] - n) * (z * (1 - z))
        found[s:e] = np.concatenate([dn, dn * m * (r * (1 - r)), dz, dn * r], axis=1)
        dh[:count] = total * z + found[s:e, size:] @ unpacked(w_hh, size)
        if len(dx):
            dinput[s:e] = found[s:e, : 3 * size] @ unpacked(w_ih, width)
    use = (3 * size, size, width)
    give_back(found, dinput, x, gap, before, starts, sizes, use, dgates, dx, sums)


@piece
def _gradient(gate, old, dh, dgate):
    size = dh.size
    one = dh.dtype.type(1.0)
    r, z, n, m = gate[:size], gate[size : 2 * size], gate[2 * size : 3 * size], gate[3 * size :]
    dn, dr = dgate[:size], dgate[size : 2 * size]
    dz, dm = dgate[2 * size : 3 * size], dgate[3 * size :]
    for k in range(size):
        dn[k] = dh[k] * (one - z[k]) * (one - n[k] * n[k])
    for k in range(size):
        dr[k] = dn[k] * m[k] * (r[k] * (one - r[k]))
    for k in range(size):
        dz[k] = dh[k] * (old[k] - n[k]) * (z[k] * (one - z[k]))
    for k in range(size):
        dm[k] = dn[k] * r[k]
    for k in range(size):
        dh[k] *= z[k]


@piece
def _backward(
    dout, dout_gap, x, gap, before, gates, w_ih, w_hh, starts, sizes, reverse, first, dh, sums,
    dgates, dx,
):  # fmt: skip
    size, batch, summed, filled = dh.shape[1], sizes[0], sums.shape[0] > 0, 0
    chunk, rows, inputs, panel = rooms(dh.shape[0], gates.shape[1], x, before, sums)
    for i in range(sizes.size):
        t = step_of(i, sizes.size, not reverse)
        n = max(0, min(dh.shape[0], sizes[t] - first))  # rows; sequences that end early have none
        s = starts[t] + first
        own = rows[filled : filled + n] if summed else dgates[s : s + n]
        add_rows(dout, dout_gap, batch, s, dh[:n])
        for row in range(n):
            _gradient(gates[s + row], before[s + row], dh[row], own[row])
        if n > 0:
            panel_product(own[:, size:], w_hh, True, dh[:n])
            if dx.shape[0]:
                at = place_of(s, batch, gap)
                panel_product(own[:, : 3 * size], w_ih, False, dx[at : at + n * gap : gap])
        if summed:
            put_inputs(x, gap, batch, s, before, inputs[filled : filled + n])
            filled += n
            if (i + 1) % chunk == 0 or i + 1 == sizes.size:
                use = (3 * size, size, x.shape[1])
                add_to_sums(
                    rows[:filled], inputs[:filled], use, panel[:, :filled], i >= chunk, sums[0]
                )
                filled = 0


@kernel(reference=gru_backward_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="before")
def gru_backward(
    dout, dout_gap, x, gap, before, gates, w_ih, w_hh, starts, sizes, reverse, dh, sums, dgates, dx
):
    """dout (N, H) or (0, H), x (N, D), before (N, H): h before each step, dh (B, H).

    gates (N, 4H) as r, z, n, m; dgates (N, 4H), the gradient of the gates before their functions,
    as n, r, z, m: so the first three quarters belong to the input's product, the last three to the
    recurrent one. dx = dgates_nrz W_ih, dh = dh z + dgates_rzm W_hh. Weights are packed from
    W_ih (3H, D), rows as n, r, z, and W_hh (3H, H). dgates has no rows where the pieces' sums
    have any; dx (N, D) or (0, D).
    """
    rows = sequences_a_piece(dh.shape[0])
    for p in prange(count_pieces(dh.shape[0], rows)):
        s, e = piece_bounds(p, rows, dh.shape[0])
        _backward(
            dout, dout_gap, x, gap, before, gates, w_ih, w_hh, starts, sizes, reverse, s, dh[s:e],
            sums[p : p + 1], dgates, dx,
        )  # fmt: skip
