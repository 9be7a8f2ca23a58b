"""One time step of recurrent layers, behind the product with the recurrent weights.

All arrays have a row for each sequence of the batch that is still running, and H columns for each
gate. `recurrent` is that product, h_prev @ weight_hh^T; `gates` comes in as the product of the
step's input and goes out as the activated gates, which is what backward needs. `bias` is the sum of
both biases. The loops are split so that each writes one array: LLVM gives up SIMD where it had to
compare too many addresses.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._math import sigmoid, tanh
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds, rows_a_piece

_PIECE = 4_096  # elements of h
_SERIAL_BELOW = 32_768  # likewise; a step of LSTM costs 2.5 ns an element


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0).astype(x.dtype) / (1 + e)


@QUIET
def rnn_forward_ref(inputs, recurrent, bias, relu, h):
    total = inputs + recurrent + bias
    h[:] = np.maximum(total, 0) if relu else np.tanh(total)


@piece
def _rnn_forward(inputs, recurrent, bias, relu, h):
    zero = h.dtype.type(0.0)
    for n in range(h.shape[0]):
        x, r, y = inputs[n], recurrent[n], h[n]
        if relu:
            for k in range(y.size):
                total = x[k] + r[k] + bias[k]
                y[k] = zero if total < zero else total  # a NaN stays
        else:
            for k in range(y.size):
                y[k] = tanh(x[k] + r[k] + bias[k])


@kernel(reference=rnn_forward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def rnn_forward(inputs, recurrent, bias, relu, h):
    """inputs, recurrent, h (B, H); bias (H,).  h = act(inputs + recurrent + bias), tanh or ReLU."""
    step = rows_a_piece(h.shape[1], _PIECE)
    for p in prange(count_pieces(h.shape[0], step)):
        s, e = piece_bounds(p, step, h.shape[0])
        _rnn_forward(inputs[s:e], recurrent[s:e], bias, relu, h[s:e])


def rnn_backward_ref(dout, dh, h, relu, dgates):
    total = dout + dh
    dgates[:] = np.where(h > 0, total, 0) if relu else total * (1 - h * h)


@piece
def _rnn_backward(dout, dh, h, relu, dgates):
    one, zero = h.dtype.type(1.0), h.dtype.type(0.0)
    for n in range(h.shape[0]):
        d, e, y, out = dout[n], dh[n], h[n], dgates[n]
        if relu:
            for k in range(y.size):
                out[k] = d[k] + e[k] if y[k] > zero else zero
        else:
            for k in range(y.size):
                out[k] = (d[k] + e[k]) * (one - y[k] * y[k])


@kernel(reference=rnn_backward_ref, parallel=True, serial_below=_SERIAL_BELOW)
def rnn_backward(dout, dh, h, relu, dgates):
    """All (B, H).  dgates = (dout + dh) act'(its argument), which h tells."""
    step = rows_a_piece(h.shape[1], _PIECE)
    for p in prange(count_pieces(h.shape[0], step)):
        s, e = piece_bounds(p, step, h.shape[0])
        _rnn_backward(dout[s:e], dh[s:e], h[s:e], relu, dgates[s:e])


@QUIET
def lstm_forward_ref(recurrent, bias, c_prev, gates, c, h):
    i, f, g, o = np.split(gates + recurrent + bias, 4, axis=1)
    i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
    gates[:] = np.concatenate([i, f, g, o], axis=1)
    c[:] = f * c_prev + i * g
    h[:] = o * np.tanh(c)


@piece
def _lstm_forward(recurrent, bias, c_prev, gates, c, h):
    size = h.shape[1]
    for n in range(h.shape[0]):
        gate, r = gates[n], recurrent[n]
        first, r_first, b_first = gate[: 2 * size], r[: 2 * size], bias[: 2 * size]
        for k in range(first.size):
            first[k] = sigmoid(first[k] + r_first[k] + b_first[k])
        g, r_g, b_g = gate[2 * size : 3 * size], r[2 * size : 3 * size], bias[2 * size : 3 * size]
        for k in range(g.size):
            g[k] = tanh(g[k] + r_g[k] + b_g[k])
        o, r_o, b_o = gate[3 * size :], r[3 * size :], bias[3 * size :]
        for k in range(o.size):
            o[k] = sigmoid(o[k] + r_o[k] + b_o[k])
        i, f, old, new, y = first[:size], first[size:], c_prev[n], c[n], h[n]
        for k in range(new.size):
            new[k] = f[k] * old[k] + i[k] * g[k]
        for k in range(y.size):
            y[k] = o[k] * tanh(new[k])


@kernel(reference=lstm_forward_ref, parallel=True, serial_below=_SERIAL_BELOW, size_of="h")
def lstm_forward(recurrent, bias, c_prev, gates, c, h):
    """recurrent, gates (B, 4H), bias (4H,) in the order i, f, g, o; c_prev, c, h (B, H).

    i, f, o = sigmoid(...), g = tanh(...) of gates + recurrent + bias;  c = f c_prev + i g,
    h = o tanh(c).
    """
    step = rows_a_piece(h.shape[1], _PIECE)
    for p in prange(count_pieces(h.shape[0], step)):
        s, e = piece_bounds(p, step, h.shape[0])
        _lstm_forward(recurrent[s:e], bias, c_prev[s:e], gates[s:e], c[s:e], h[s:e])


def lstm_backward_ref(dout, dh, gates, c_prev, dc, dgates):
    i, f, g, o = np.split(gates, 4, axis=1)
    total, tanh_c = dout + dh, np.tanh(f * c_prev + i * g)
    dc += total * o * (1 - tanh_c * tanh_c)
    di, df = dc * g * (i * (1 - i)), dc * c_prev * (f * (1 - f))
    dg, do = dc * i * (1 - g * g), total * tanh_c * (o * (1 - o))
    dgates[:] = np.concatenate([di, df, dg, do], axis=1)
    dc *= f


@piece
def _lstm_backward(dout, dh, gates, c_prev, dc, dgates):
    size = dc.shape[1]
    one = dc.dtype.type(1.0)
    total, tanh_c = np.empty(size, dc.dtype), np.empty(size, dc.dtype)
    for n in range(dc.shape[0]):
        gate, out, old, down = gates[n], dgates[n], c_prev[n], dc[n]
        i, f = gate[:size], gate[size : 2 * size]
        g, o = gate[2 * size : 3 * size], gate[3 * size :]
        first, second = dout[n], dh[n]
        for k in range(size):
            total[k] = first[k] + second[k]
        for k in range(size):
            tanh_c[k] = tanh(f[k] * old[k] + i[k] * g[k])
        do = out[3 * size :]
        for k in range(size):
            do[k] = total[k] * tanh_c[k] * (o[k] * (one - o[k]))
        for k in range(size):
            down[k] += total[k] * o[k] * (one - tanh_c[k] * tanh_c[k])
        di, df, dg = out[:size], out[size : 2 * size], out[2 * size : 3 * size]
        for k in range(size):
            di[k] = down[k] * g[k] * (i[k] * (one - i[k]))
        for k in range(size):
            df[k] = down[k] * old[k] * (f[k] * (one - f[k]))
        for k in range(size):
            dg[k] = down[k] * i[k] * (one - g[k] * g[k])
        for k in range(size):
            down[k] *= f[k]


@kernel(reference=lstm_backward_ref, parallel=True, serial_below=_SERIAL_BELOW, size_of="dh")
def lstm_backward(dout, dh, gates, c_prev, dc, dgates):
    """dout, dh, c_prev, dc (B, H); gates, dgates (B, 4H).

    dout + dh is the gradient of h. dc, that of c from later steps, becomes that of c_prev; dgates
    is the gradient of the gates before their activation.
    """
    step = rows_a_piece(dc.shape[1], _PIECE)
    for p in prange(count_pieces(dc.shape[0], step)):
        s, e = piece_bounds(p, step, dc.shape[0])
        _lstm_backward(dout[s:e], dh[s:e], gates[s:e], c_prev[s:e], dc[s:e], dgates[s:e])


@QUIET
def gru_forward_ref(recurrent, bias, h_prev, gates, h):
    size = h.shape[1]
    r = _sigmoid(gates[:, :size] + recurrent[:, :size] + bias[:size])
    z = gates[:, size : 2 * size] + recurrent[:, size : 2 * size] + bias[size : 2 * size]
    z = _sigmoid(z)
    m = recurrent[:, 2 * size :] + bias[3 * size :]
    n = np.tanh(gates[:, 2 * size : 3 * size] + bias[2 * size : 3 * size] + r * m)
    gates[:] = np.concatenate([r, z, n, m], axis=1)
    h[:] = n + z * (h_prev - n)


@piece
def _gru_forward(recurrent, bias, h_prev, gates, h):
    size = h.shape[1]
    for row in range(h.shape[0]):
        gate, rec = gates[row], recurrent[row]
        first, r_first, b_first = gate[: 2 * size], rec[: 2 * size], bias[: 2 * size]
        for k in range(first.size):
            first[k] = sigmoid(first[k] + r_first[k] + b_first[k])
        r, z, n, m = first[:size], first[size:], gate[2 * size : 3 * size], gate[3 * size :]
        r_n, b_n, b_m = rec[2 * size :], bias[2 * size : 3 * size], bias[3 * size :]
        for k in range(size):
            m[k] = r_n[k] + b_m[k]
        for k in range(size):
            n[k] = tanh(n[k] + b_n[k] + r[k] * m[k])
        old, y = h_prev[row], h[row]
        for k in range(size):
            y[k] = n[k] + z[k] * (old[k] - n[k])


@kernel(reference=gru_forward_ref, parallel=True, serial_below=_SERIAL_BELOW, size_of="h")
def gru_forward(recurrent, bias, h_prev, gates, h):
    """recurrent (B, 3H); bias (4H,), gates (B, 4H) in the order r, z, n, m; h_prev, h (B, H).

    r, z = sigmoid(gates + recurrent + bias),  m = recurrent_n + bias_m,
    n = tanh(gates_n + bias_n + r m),  h = (1 - z) n + z h_prev. The columns of m come in empty.
    """
    step = rows_a_piece(h.shape[1], _PIECE)
    for p in prange(count_pieces(h.shape[0], step)):
        s, e = piece_bounds(p, step, h.shape[0])
        _gru_forward(recurrent[s:e], bias, h_prev[s:e], gates[s:e], h[s:e])


def gru_backward_ref(dout, back, gates, h_prev, dh, dgates):
    r, z, n, m = np.split(gates, 4, axis=1)
    total = dout + back + dh
    dn = total * (1 - z) * (1 - n * n)
    dz = total * (h_prev - n) * (z * (1 - z))
    dgates[:] = np.concatenate([dn, dn * m * (r * (1 - r)), dz, dn * r], axis=1)
    dh[:] = total * z


@piece
def _gru_backward(dout, back, gates, h_prev, dh, dgates):
    size = dh.shape[1]
    one = dh.dtype.type(1.0)
    for row in range(dh.shape[0]):
        gate, out, old, total = gates[row], dgates[row], h_prev[row], dh[row]
        r, z, n, m = gate[:size], gate[size : 2 * size], gate[2 * size : 3 * size], gate[3 * size :]
        dn, dr, dz, dm = out[:size], out[size : 2 * size], out[2 * size : 3 * size], out[3 * size :]
        first, second = dout[row], back[row]
        for k in range(size):
            total[k] += first[k] + second[k]
        for k in range(size):
            dn[k] = total[k] * (one - z[k]) * (one - n[k] * n[k])
        for k in range(size):
            dr[k] = dn[k] * m[k] * (r[k] * (one - r[k]))
        for k in range(size):
            dz[k] = total[k] * (old[k] - n[k]) * (z[k] * (one - z[k]))
        for k in range(size):
            dm[k] = dn[k] * r[k]
        for k in range(size):
            total[k] *= z[k]


@kernel(reference=gru_backward_ref, parallel=True, serial_below=_SERIAL_BELOW, size_of="dh")
def gru_backward(dout, back, gates, h_prev, dh, dgates):
    """dout, back, h_prev, dh (B, H); gates (B, 4H) as r, z, n, m; dgates (B, 4H) as n, r, z, m.

    dout + back + dh is the gradient of h; dh becomes the part of it that goes to h_prev directly.
    In that order the first three quarters of dgates belong to the input's product, the last three
    to the recurrent one.
    """
    step = rows_a_piece(dh.shape[1], _PIECE)
    for p in prange(count_pieces(dh.shape[0], step)):
        s, e = piece_bounds(p, step, dh.shape[0])
        _gru_backward(dout[s:e], back[s:e], gates[s:e], h_prev[s:e], dh[s:e], dgates[s:e])
