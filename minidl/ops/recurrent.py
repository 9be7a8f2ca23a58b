"""Recurrent layers: one direction of one layer over a whole batch of sequences is one op.

The products of a block of steps with the input weights are one product; a step is then one product
with the recurrent weights and one kernel (`kernels.recurrent`). Backpropagation through time
(Werbos 1990, "Backpropagation through time: what it does and how to do it") runs the loop the other
way: it carries dh, the gradient of the state, and gives a step's `dgates`; the gradients of input
and weights are again products over blocks of steps. Rows are packed: see `_steps`.
"""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty
from minidl.ops._product import product
from minidl.ops._steps import States, Steps, WeightGradients, both_biases, start, unrolled


def _inputs(x, w_ih, steps, width, keep):
    """The array of all gates, and what fills it: (first row, gates, spans) for each block of steps.

    A block's gates (rows, width) come with the product of the input; width may leave room behind
    it. Without `keep` the memory of one block serves all.
    """
    gates = empty((len(x) if keep else steps.block_rows(), width), x.dtype)

    def blocks():
        for first, last, spans in steps.blocks():
            part = gates[first:last] if keep else gates[: last - first]
            product(x[first:last], w_ih.T, out=part[:, : len(w_ih)])
            yield first, part, spans

    return gates, blocks()


def _flops(x, w_ih, w_hh):
    """A multiplication and an addition for each weight and row."""
    return 2 * x[0] * (w_ih[0] * w_ih[1] + w_hh[0] * w_hh[1])


class RNN(Op):
    """The simple recurrent network of Elman (1990, "Finding structure in time").

        h_t = act(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh),   act = tanh or ReLU

    With dh_t the whole gradient of h_t and a_t the argument of act:

        da_t = dh_t act'(a_t),   act' = 1 - h_t^2 or [h_t > 0],   dh_{t-1} = dout_{t-1} + da_t W_hh
        dx = da W_ih,   dW_ih = da^T x,   dW_hh = sum_t da_t^T h_{t-1},   db_ih = db_hh = sum da

    Shapes: x (N, D) packed, sizes (T,) its rows a step, h0 and h_n (B, H), w_ih (H, D),
    w_hh (H, H), b_ih and b_hh (H,) or None, out (N, H).
    """

    saves = ("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh", "sizes", "before", "out")
    outputs = ("out", "h_n")

    @staticmethod
    def forward(x, h0, w_ih, w_hh, b_ih, b_hh, sizes, *, relu, reverse):
        steps = Steps(sizes, reverse)
        inputs, blocks = _inputs(x, w_ih, steps, len(w_ih), False)
        bias, h = both_biases(b_ih, b_hh, len(w_hh), x.dtype), States(h0, steps)
        recurrent, transposed = empty(h0.shape, x.dtype), np.ascontiguousarray(w_hh.T)
        run = _math.suited(kernels.rnn_forward, inputs)
        for first, given, spans in blocks:
            for s, e in spans:
                part = recurrent[: e - s]
                product(h.enter(s, e), transposed, out=part)
                run(given[s - first : e - first], part, bias, relu, h.after[s:e])
                h.leave(s, e)
        saved = (x, h0, w_ih, w_hh, b_ih, b_hh, sizes, h.before, h.after)
        return (h.after, h.last()), saved

    @staticmethod
    def backward(douts, saved, needs, *, relu, reverse):
        x, h0, w_ih, w_hh, _, _, sizes, before, out = saved
        steps = Steps(sizes, reverse)
        dout, dh, nothing = _contiguous(douts[0]), start(douts[1], h0), start(None, h0)
        buffer = empty((steps.block_rows(), dh.shape[1]), x.dtype)
        sums = WeightGradients(x, before, w_ih, (needs[0], needs[2], needs[3], any(needs[4:6])))
        run = _math.suited(kernels.rnn_backward, out)
        for first, last, spans in steps.blocks(back=True):
            dgates = buffer[: last - first]  # (rows, H)
            for s, e in spans:
                n, own = e - s, dgates[s - first : e - first]
                run(_at(dout, nothing, s, e), dh[:n], out[s:e], relu, own)
                product(own, w_hh, out=dh[:n])
            sums.add(dgates, first, last)
        return sums.dx, dh, sums.dw_ih, sums.dw_hh, sums.db, sums.db, None

    @staticmethod
    def composite(F, x, h0, w_ih, w_hh, b_ih, b_hh, sizes, *, relu, reverse):
        def cell(inputs, states):
            a = inputs + F.linear(states[0], w_hh, b_hh)
            return [a.relu() if relu else a.tanh()]

        return unrolled(F, cell, Steps(sizes, reverse), F.linear(x, w_ih, b_ih), [h0])

    @classmethod
    def flops(cls, *shapes, **settings):
        """The products, and four for each state."""
        return _flops(shapes[0], shapes[2], shapes[3]) + 4 * shapes[0][0] * shapes[3][0]


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
    Shapes: x (N, D) packed, sizes (T,) its rows a step, h0 and h_n (B, P), c0 and c_n (B, H),
    w_ih (4H, D), w_hh (4H, P), b_ih and b_hh (4H,) or None, w_hr (P, H) or None (then P = H),
    out (N, P).
    """

    saves = (
        "x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr", "sizes", "gates", "before",
        "c_before", "out",
    )  # fmt: skip
    outputs = ("out", "h_n", "c_n")

    @staticmethod
    def forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, *, reverse, keep):
        steps = Steps(sizes, reverse)
        gates, blocks = _inputs(x, w_ih, steps, len(w_ih), keep)  # (N, 4H)
        bias = both_biases(b_ih, b_hh, len(w_hh), x.dtype)
        h, c = States(h0, steps), States(c0, steps)
        recurrent, inner = empty((steps.batch, len(w_hh)), x.dtype), empty(c0.shape, x.dtype)
        transposed = np.ascontiguousarray(w_hh.T)  # (P, 4H)
        run = _math.suited(kernels.lstm_forward, gates)
        for first, part, spans in blocks:
            for s, e in spans:
                n, own = e - s, part[s - first : e - first]
                product(h.enter(s, e), transposed, out=recurrent[:n])
                to = h.after[s:e] if w_hr is None else inner[:n]
                run(recurrent[:n], bias, c.enter(s, e), own, c.after[s:e], to)
                if w_hr is not None:
                    product(to, w_hr.T, out=h.after[s:e])
                h.leave(s, e)
                c.leave(s, e)
        saved = (x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, sizes)
        return (h.after, h.last(), c.last()), (*saved, gates, h.before, c.before, h.after)

    @staticmethod
    def backward(douts, saved, needs, *, reverse):
        x, h0, c0, w_ih, w_hh, _, _, w_hr, sizes, gates, before, c_before, _ = saved
        steps = Steps(sizes, reverse)
        dout, nothing = _contiguous(douts[0]), start(None, h0)
        dh, dc = start(douts[1], h0), start(douts[2], c0)
        buffer = empty((steps.block_rows(), gates.shape[1]), x.dtype)
        sums = WeightGradients(x, before, w_ih, (needs[0], needs[3], needs[4], any(needs[5:7])))
        if w_hr is not None:
            dprojected = empty((steps.rows, len(w_hr)), x.dtype)  # (N, P)
            dinner, no_other = empty(c0.shape, x.dtype), start(None, c0)
        run = _math.suited(kernels.lstm_backward, gates)
        for first, last, spans in steps.blocks(back=True):
            dgates = buffer[: last - first]  # (rows, 4H)
            for s, e in spans:
                n, to = e - s, dgates[s - first : e - first]
                own, later = _at(dout, nothing, s, e), dh[:n]
                if w_hr is not None:
                    np.add(own, later, out=dprojected[s:e])
                    product(dprojected[s:e], w_hr, out=dinner[:n])
                    own, later = no_other[:n], dinner[:n]
                run(own, later, gates[s:e], c_before[s:e], dc[:n], to)
                product(to, w_hh, out=dh[:n])
            sums.add(dgates, first, last)
        dw_hr = None
        if needs[7]:
            i, f, g, o = np.split(gates, 4, axis=1)
            dw_hr = product(dprojected.T, o * np.tanh(f * c_before + i * g))
        return sums.dx, dh, dc, sums.dw_ih, sums.dw_hh, sums.db, sums.db, dw_hr, None

    @staticmethod
    def composite(F, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, *, reverse):
        def cell(inputs, states):
            a = inputs + F.linear(states[0], w_hh, b_hh)
            i, f, g, o = a.chunk(4, 1)
            c = f.sigmoid() * states[1] + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            return [h if w_hr is None else F.linear(h, w_hr), c]

        return unrolled(F, cell, Steps(sizes, reverse), F.linear(x, w_ih, b_ih), [h0, c0])

    @classmethod
    def flops(cls, *shapes, **settings):
        """The products, and thirty for each state (five of them exponentials)."""
        rows, hidden = shapes[0][0], shapes[2][1]
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
    Shapes: x (N, D) packed, sizes (T,) its rows a step, h0 and h_n (B, H), w_ih (3H, D),
    w_hh (3H, H), b_ih and b_hh (3H,) or None, out (N, H).
    """

    saves = ("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh", "sizes", "gates", "before", "out")
    outputs = ("out", "h_n")

    @staticmethod
    def forward(x, h0, w_ih, w_hh, b_ih, b_hh, sizes, *, reverse, keep):
        steps = Steps(sizes, reverse)
        size = h0.shape[1]
        gates, blocks = _inputs(x, w_ih, steps, 4 * size, keep)  # r, z, n, m
        bias = np.zeros(4 * size, x.dtype)
        if b_ih is not None:
            bias[: 3 * size] = b_ih
            bias[: 2 * size] += b_hh[: 2 * size]
            bias[3 * size :] = b_hh[2 * size :]
        h = States(h0, steps)
        recurrent = empty((steps.batch, 3 * size), x.dtype)
        transposed = np.ascontiguousarray(w_hh.T)  # (H, 3H)
        run = _math.suited(kernels.gru_forward, gates)
        for first, part, spans in blocks:
            for s, e in spans:
                before, own = h.enter(s, e), part[s - first : e - first]
                product(before, transposed, out=recurrent[: e - s])
                run(recurrent[: e - s], bias, before, own, h.after[s:e])
                h.leave(s, e)
        saved = (x, h0, w_ih, w_hh, b_ih, b_hh, sizes, gates, h.before, h.after)
        return (h.after, h.last()), saved

    @staticmethod
    def backward(douts, saved, needs, *, reverse):
        x, h0, w_ih, w_hh, _, _, sizes, gates, before, _ = saved
        steps = Steps(sizes, reverse)
        size = h0.shape[1]
        dout, nothing = _contiguous(douts[0]), start(None, h0)
        dh, back = start(douts[1], h0), start(None, h0)
        turned = np.concatenate([w_ih[2 * size :], w_ih[: 2 * size]])  # rows as in dgates
        buffer = empty((steps.block_rows(), 4 * size), x.dtype)
        sums = WeightGradients(x, before, turned, (needs[0], needs[2], needs[3], any(needs[4:6])))
        run = _math.suited(kernels.gru_backward, gates)
        for first, last, spans in steps.blocks(back=True):
            dgates = buffer[: last - first]  # (rows, 4H): n, r, z, m
            for s, e in spans:
                n, own = e - s, dgates[s - first : e - first]
                run(_at(dout, nothing, s, e), back[:n], gates[s:e], before[s:e], dh[:n], own)
                product(own[:, size:], w_hh, out=back[:n])
            sums.add(dgates, first, last, dgates[:, : 3 * size], dgates[:, size:])
        dh += back
        dw_ih, db = sums.dw_ih, sums.db
        if dw_ih is not None:
            dw_ih = np.concatenate([dw_ih[size:], dw_ih[:size]])
        if db is None:
            return sums.dx, dh, dw_ih, sums.dw_hh, None, None, None
        db_ih = np.concatenate([db[size : 3 * size], db[:size]])
        return sums.dx, dh, dw_ih, sums.dw_hh, db_ih, db[size:], None

    @staticmethod
    def composite(F, x, h0, w_ih, w_hh, b_ih, b_hh, sizes, *, reverse):
        def cell(inputs, states):
            i_r, i_z, i_n = inputs.chunk(3, 1)
            h_r, h_z, m = F.linear(states[0], w_hh, b_hh).chunk(3, 1)
            n = (i_n + (i_r + h_r).sigmoid() * m).tanh()
            return [n + (i_z + h_z).sigmoid() * (states[0] - n)]

        return unrolled(F, cell, Steps(sizes, reverse), F.linear(x, w_ih, b_ih), [h0])

    @classmethod
    def flops(cls, *shapes, **settings):
        """The products, and twenty for each state (three of them exponentials)."""
        return _flops(shapes[0], shapes[2], shapes[3]) + 20 * shapes[0][0] * shapes[1][1]


def _contiguous(dout):
    return None if dout is None else np.ascontiguousarray(dout)


def _at(dout, nothing, s, e):
    """The gradient of a step's output; zeros if the output was not used."""
    return nothing[: e - s] if dout is None else dout[s:e]
