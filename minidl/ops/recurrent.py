"""Recurrent layers: one direction of one layer over a whole batch of sequences is one op.

A kernel takes a range of the sequences through all steps (`kernels.recurrent`). Backpropagation
through time (Werbos 1990, "Backpropagation through time: what it does and how to do it") walks the
other way: it carries dh, the gradient of the state, and gives each step's `dgates`, from which the
gradients of the weights are products over all steps.

x and out are (T, B, ·), or (N, ·) packed, one time step after the other; sizes (T,) says how many
rows each step has. See `_steps`.
"""

import numpy as np

from minidl import kernels
from minidl.ops._op import Op, empty
from minidl.ops._product import product
from minidl.ops._steps import (
    Steps,
    both_biases,
    gradient_room,
    input_weights,
    panels,
    recurrent_weights,
    rows_in,
    rows_of,
    shaped,
    start,
    suited,
    unrolled,
)


def _flops(x, w_ih, w_hh):
    """A multiplication and an addition for each weight and row."""
    return 2 * _rows(x) * (w_ih[0] * w_ih[1] + w_hh[0] * w_hh[1])


def _rows(x):
    return x[0] * x[1] if len(x) == 3 else x[0]


class RNN(Op):
    """The simple recurrent network of Elman (1990, "Finding structure in time").

        h_t = act(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh),   act = tanh or ReLU

    With dh_t the whole gradient of h_t and a_t the argument of act:

        da_t = dh_t act'(a_t),   act' = 1 - h_t^2 or [h_t > 0],   dh_{t-1} = dout_{t-1} + da_t W_hh
        dx = da W_ih,   dW_ih = da^T x,   dW_hh = sum_t da_t^T h_{t-1},   db_ih = db_hh = sum da

    Shapes: x (T, B, D) or packed (N, D), sizes (T,) its rows a step, h0 and h_n (B, H),
    w_ih (H, D), w_hh (H, H), b_ih and b_hh (H,) or None, out (T, B, H) or (N, H).
    """

    saves = ("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh", "sizes", "before", "out")
    outputs = ("out", "h_n")

    @staticmethod
    def forward(x, h0, w_ih, w_hh, b_ih, b_hh, sizes, *, relu, reverse):
        steps, (rows, gap) = Steps(sizes, reverse), rows_in(x)
        packed, (ih, hh) = steps.weights(w_ih, w_hh)
        bias, h = both_biases(b_ih, b_hh, len(w_hh), x.dtype), start(h0, h0)
        before, out = steps.room(h0)
        run = suited(kernels.rnn_forward, out, w_ih, w_hh)
        run(rows, gap, ih, hh, packed, bias, steps.starts, steps.sizes, reverse, relu, h, out)
        out = shaped(out, 1, x)
        return (out, h), (x, h0, w_ih, w_hh, b_ih, b_hh, sizes, before, out)

    @staticmethod
    def backward(douts, saved, needs, *, relu, reverse):
        x, h0, w_ih, w_hh, _, _, sizes, before, out = saved
        steps, (rows, gap), (out, _) = Steps(sizes, reverse), rows_in(x), rows_in(out)
        before = steps.before(h0, out) if before is None else before
        dh, (dout, dout_gap) = start(douts[1], h0), rows_of(douts[0], h0)
        dgates, dx, sums = gradient_room(steps, rows, before, out, (needs[0], any(needs[2:6])))
        suited(kernels.rnn_backward, out, w_ih, w_hh)(
            dout, dout_gap, rows, gap, before, out, panels(w_ih), panels(w_hh), steps.starts,
            steps.sizes, reverse, relu, dh, sums, dgates, dx,
        )  # fmt: skip
        found, every = (dgates, sums), slice(0, len(w_hh))
        dw_ih, db = input_weights(found, every, rows, gap, (needs[2], any(needs[4:6])))
        dw_hh, _ = recurrent_weights(found, every, rows, before, (needs[3], False))
        return shaped(dx, gap, x) if needs[0] else None, dh, dw_ih, dw_hh, db, db, None

    @staticmethod
    def composite(F, x, h0, w_ih, w_hh, b_ih, b_hh, sizes, *, relu, reverse):
        def cell(inputs, states):
            a = inputs + F.linear(states[0], w_hh, b_hh)
            return [a.relu() if relu else a.tanh()]

        return unrolled(F, cell, Steps(sizes, reverse), x, w_ih, b_ih, [h0])

    @classmethod
    def flops(cls, *shapes, **settings):
        """The products, and four for each state."""
        return _flops(shapes[0], shapes[2], shapes[3]) + 4 * _rows(shapes[0]) * shapes[3][0]


class LSTM(Op):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gates (Gers et al. 2000).

        i, f, g, o = x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh,   i, f, o = sigmoid, g = tanh of it
        c_t = f c_{t-1} + i g,   h_t = o tanh(c_t),   or (o tanh(c_t)) W_hr^T with a projection
        (Sak, Senior & Beaufays 2014, arXiv:1402.1128)

    Backward carries dh (dout of the step, and from the later one) and dc. With T = tanh(c_t):

        dc += dh o (1 - T^2)
        di = dc g i (1 - i),   df = dc c_{t-1} f (1 - f)
        dg = dc i (1 - g^2),   do = dh T o (1 - o)
        dc_{t-1} = dc f,       dh_{t-1} = (di, df, dg, do) W_hh

    A projection comes first: dW_hr = sum dh^T (o T), dh <- dh W_hr. Weights and x as in RNN. Only
    the gates and c_{t-1} are kept: c_t is computed again.
    Shapes: x (T, B, D) or packed (N, D), sizes (T,) its rows a step, h0 and h_n (B, P), c0 and
    c_n (B, H), w_ih (4H, D), w_hh (4H, P), b_ih and b_hh (4H,) or None, w_hr (P, H) or None (then
    P = H), out (T, B, P) or (N, P).
    """

    saves = (
        "x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr", "sizes", "gates", "before",
        "c_before", "out",
    )  # fmt: skip
    outputs = ("out", "h_n", "c_n")

    @staticmethod
    def forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, *, reverse, keep):
        steps, (inputs, gap) = Steps(sizes, reverse), rows_in(x)
        packed, (ih, hh) = steps.weights(w_ih, w_hh)
        hr = ih[:0] if w_hr is None else panels(w_hr, True)
        bias, h, c = both_biases(b_ih, b_hh, len(w_hh), x.dtype), start(h0, h0), start(c0, c0)
        before, out = steps.room(h0)
        rows = steps.rows if keep else 0
        gates, c_before = empty((rows, len(w_hh)), x.dtype), empty((rows, c0.shape[1]), x.dtype)
        run = suited(kernels.lstm_forward, gates, w_ih, w_hh, out)
        run(
            inputs, gap, ih, hh, hr, packed, bias, steps.starts, steps.sizes, reverse, h, c, gates,
            c_before, out,
        )  # fmt: skip
        out = shaped(out, 1, x)
        saved = (x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, sizes)
        return (out, h, c), (*saved, gates, before, c_before, out)

    @staticmethod
    def backward(douts, saved, needs, *, reverse):
        x, h0, c0, w_ih, w_hh, _, _, w_hr, sizes, gates, before, c_before, out = saved
        steps, (rows, gap), (out, _) = Steps(sizes, reverse), rows_in(x), rows_in(out)
        before = steps.before(h0, out) if before is None else before
        ih, hh = panels(w_ih), panels(w_hh)
        hr = ih[:0] if w_hr is None else panels(w_hr)
        dh, dc, (dout, dout_gap) = start(douts[1], h0), start(douts[2], c0), rows_of(douts[0], h0)
        dprojected = empty((0 if w_hr is None else steps.rows, h0.shape[1]), x.dtype)  # (N, P)
        dgates, dx, sums = gradient_room(steps, rows, before, gates, (needs[0], any(needs[3:7])))
        suited(kernels.lstm_backward, gates, w_ih, w_hh)(
            dout, dout_gap, rows, gap, before, gates, c_before, ih, hh, hr, steps.starts,
            steps.sizes, reverse, dh, dc, sums, dgates, dprojected, dx,
        )  # fmt: skip
        found, every = (dgates, sums), slice(0, len(w_hh))
        dw_ih, db = input_weights(found, every, rows, gap, (needs[3], any(needs[5:7])))
        dw_hh, _ = recurrent_weights(found, every, rows, before, (needs[4], False))
        dw_hr = None
        if needs[7]:
            i, f, g, o = np.split(gates, 4, axis=1)
            dw_hr = product(dprojected.T, o * np.tanh(f * c_before + i * g))
        dx = shaped(dx, gap, x) if needs[0] else None
        return dx, dh, dc, dw_ih, dw_hh, db, db, dw_hr, None

    @staticmethod
    def composite(F, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, *, reverse):
        def cell(inputs, states):
            a = inputs + F.linear(states[0], w_hh, b_hh)
            i, f, g, o = a.chunk(4, 1)
            c = f.sigmoid() * states[1] + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            return [h if w_hr is None else F.linear(h, w_hr), c]

        return unrolled(F, cell, Steps(sizes, reverse), x, w_ih, b_ih, [h0, c0])

    @classmethod
    def flops(cls, *shapes, **settings):
        """The products, and thirty for each state (five of them exponentials)."""
        rows, hidden = _rows(shapes[0]), shapes[2][1]
        projection = 2 * rows * shapes[1][1] * hidden if shapes[1][1] != hidden else 0
        return _flops(shapes[0], shapes[3], shapes[4]) + projection + 30 * rows * hidden


class GRU(Op):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), as in cuDNN and PyTorch.

        r, z = sigmoid(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h),   m = h_{t-1} W_hn^T + b_hn
        n = tanh(x_t W_in^T + b_in + r m),   h_t = (1 - z) n + z h_{t-1}

    r multiplies the product, so that all of it is one; in the paper it multiplies h_{t-1}. With dh
    the gradient of h_t (dout of the step, and from the later one), before the activations:

        dn = dh (1 - z) (1 - n^2),   dz = dh (h_{t-1} - n) z (1 - z)
        dr = dn m r (1 - r),         dm = dn r
        dh_{t-1} = dh z + (dr, dz, dm) W_hh

    W_ih and x see (dr, dz, dn), W_hh sees (dr, dz, dm), as in RNN else.
    Shapes: x (T, B, D) or packed (N, D), sizes (T,) its rows a step, h0 and h_n (B, H),
    w_ih (3H, D), w_hh (3H, H), b_ih and b_hh (3H,) or None, out (T, B, H) or (N, H).
    """

    saves = ("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh", "sizes", "gates", "before", "out")
    outputs = ("out", "h_n")

    @staticmethod
    def forward(x, h0, w_ih, w_hh, b_ih, b_hh, sizes, *, reverse, keep):
        steps, (inputs, gap) = Steps(sizes, reverse), rows_in(x)
        size = h0.shape[1]
        packed, (ih, rz, m) = steps.weights(w_ih, w_hh[: 2 * size], w_hh[2 * size :])
        bias = np.zeros(4 * size, x.dtype)  # r, z, n, m, as the gates
        if b_ih is not None:
            bias[: 3 * size] = b_ih
            bias[: 2 * size] += b_hh[: 2 * size]
            bias[3 * size :] = b_hh[2 * size :]
        h, (before, out) = start(h0, h0), steps.room(h0)
        gates = empty((steps.rows if keep else 0, 4 * size), x.dtype)
        run = suited(kernels.gru_forward, gates, w_ih, w_hh, out)
        run(
            inputs, gap, ih, rz, m, packed, bias, steps.starts, steps.sizes, reverse, h, gates, out
        )
        out = shaped(out, 1, x)
        return (out, h), (x, h0, w_ih, w_hh, b_ih, b_hh, sizes, gates, before, out)

    @staticmethod
    def backward(douts, saved, needs, *, reverse):
        x, h0, w_ih, w_hh, _, _, sizes, gates, before, out = saved
        steps, (rows, gap), (out, _) = Steps(sizes, reverse), rows_in(x), rows_in(out)
        size = h0.shape[1]
        before = steps.before(h0, out) if before is None else before
        dh, (dout, dout_gap) = start(douts[1], h0), rows_of(douts[0], h0)
        turned = np.concatenate([w_ih[2 * size :], w_ih[: 2 * size]])  # rows as in dgates: n, r, z
        dgates, dx, sums = gradient_room(steps, rows, before, gates, (needs[0], any(needs[2:6])))
        suited(kernels.gru_backward, gates, w_ih, w_hh)(
            dout, dout_gap, rows, gap, before, gates, panels(turned), panels(w_hh), steps.starts,
            steps.sizes, reverse, dh, sums, dgates, dx,
        )  # fmt: skip
        found, first, last = (dgates, sums), slice(0, 3 * size), slice(size, 4 * size)
        dw_ih, db_ih = input_weights(found, first, rows, gap, (needs[2], needs[4]))
        dw_hh, db_hh = recurrent_weights(found, last, rows, before, (needs[3], needs[5]))
        if dw_ih is not None:
            dw_ih = np.concatenate([dw_ih[size:], dw_ih[:size]])
        if db_ih is not None:
            db_ih = np.concatenate([db_ih[size:], db_ih[:size]])
        dx = shaped(dx, gap, x) if needs[0] else None
        return dx, dh, dw_ih, dw_hh, db_ih, db_hh, None

    @staticmethod
    def composite(F, x, h0, w_ih, w_hh, b_ih, b_hh, sizes, *, reverse):
        def cell(inputs, states):
            i_r, i_z, i_n = inputs.chunk(3, 1)
            h_r, h_z, m = F.linear(states[0], w_hh, b_hh).chunk(3, 1)
            n = (i_n + (i_r + h_r).sigmoid() * m).tanh()
            return [n + (i_z + h_z).sigmoid() * (states[0] - n)]

        return unrolled(F, cell, Steps(sizes, reverse), x, w_ih, b_ih, [h0])

    @classmethod
    def flops(cls, *shapes, **settings):
        """The products, and twenty for each state (three of them exponentials)."""
        return _flops(shapes[0], shapes[2], shapes[3]) + 20 * _rows(shapes[0]) * shapes[1][1]
