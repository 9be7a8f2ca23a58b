"""Connectionist temporal classification."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty

_LOW = -1e30  # stands for log(0) in the composite: sums of it stay finite


class CTC(Op):
    """Connectionist temporal classification (Graves et al. 2006, ICML, "Connectionist temporal
    classification: labelling unsegmented sequence data with recurrent neural networks").

    The probability that a path through y_t(k) = e^x_t(k), t = 1 … T, spells a target once repeated
    labels are merged and blanks removed. l is the target with a blank before, between and behind
    its labels, S' = 2L + 1 places. Forward from a_1(1) = y_1(l_1) and a_1(2) = y_1(l_2), backward
    from b_T(S') = b_T(S' - 1) = 1, all others 0 (here b_t does not hold y_t):

        a_t(s) = y_t(l_s) (a_{t-1}(s) + a_{t-1}(s-1) + [l_s not blank, not l_{s-2}] a_{t-1}(s-2))
        b_t(s) = sum of y_{t+1}(l_u) b_{t+1}(u) over the u that may follow s: s, s+1, perhaps s+2
        out = -log p,   p = a_T(S') + a_T(S' - 1)
        dx_t(k) = -dout sum_{s: l_s = k} a_t(s) b_t(s) / p

    The last is the probability that the path is in k at t, given the target. `normalised` adds
    dout e^x_t(k), as PyTorch does: the gradient is then that of logits whose log_softmax is x, and
    the same once it has gone through a log_softmax. An impossible target has out = inf and
    gradient NaN. All in logarithms.
    Shapes: x (T, N, C), targets (N, S), input_lengths and target_lengths (N,), all int64, out (N,).
    """

    saves = ("x", "targets", "input_lengths", "target_lengths", "out", "alpha")

    @staticmethod
    def forward(x, targets, input_lengths, target_lengths, *, blank, normalised):
        steps, count = x.shape[:2]
        out = empty(count, x.dtype)
        alpha = empty((count, steps, 2 * targets.shape[1] + 3), x.dtype)
        constants = [np.ascontiguousarray(a) for a in (targets, input_lengths, target_lengths)]
        run = _math.suited(kernels.ctc_forward, alpha)
        run(np.ascontiguousarray(x), *constants, blank, out, alpha)
        return out, (x, *constants, out, alpha)

    @staticmethod
    def backward(dout, saved, needs, *, blank, normalised):
        x, targets, input_lengths, target_lengths, out, alpha = saved
        dx = empty(x.shape, x.dtype)
        run = _math.suited(kernels.ctc_backward, alpha)
        run(
            np.ascontiguousarray(dout), np.ascontiguousarray(x), targets, input_lengths,
            target_lengths, blank, normalised, out, alpha, dx,
        )  # fmt: skip
        return dx, None, None, None

    @staticmethod
    def composite(F, x, targets, input_lengths, target_lengths, *, blank, normalised):
        targets, steps, lengths = (
            _math.values(a) for a in (targets, input_lengths, target_lengths)
        )
        time, count, classes = x.shape
        labels = np.full((count, 2 * targets.shape[1] + 1), blank)  # (N, S')
        labels[:, 1::2] = targets
        follows = np.zeros(labels.shape, bool)
        follows[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
        place = np.arange(labels.shape[1])
        first = np.arange(time)[:, None] * count + np.arange(count)  # (T, N)
        y = x.take_flat(first[..., None] * classes + np.where(labels < 0, 0, labels))

        def low(where):
            return F.tensor(np.where(where, _LOW, 0.0).astype(x.dtype))

        inside = place <= np.minimum(1, 2 * lengths[:, None])
        alpha = y[0] + low(~inside) if time else low(np.ones(labels.shape, bool))
        edge = low(np.ones((count, 2), bool))
        for t in range(1, time):
            before = F.cat([edge, alpha], 1)
            ways = [before[:, 2:], before[:, 1:-1], before[:, :-2] + low(~follows)]
            new = F.logsumexp(F.stack(ways), 0) + y[t]
            running = np.broadcast_to((t < steps)[:, None], labels.shape)
            alpha = new.masked(running) + alpha.masked(~running)
        ends = (place == 2 * lengths[:, None]) | (place == 2 * lengths[:, None] - 1)
        out = -F.logsumexp(alpha + low(~ends), 1)
        out = out + F.tensor(np.where(out.array > -_LOW / 2, np.inf, 0).astype(x.dtype))
        out = out.masked(steps > 0) + F.tensor(
            np.where((steps == 0) & (lengths > 0), np.inf, 0).astype(x.dtype)
        )
        if normalised:
            running = np.broadcast_to(np.arange(time)[:, None, None] < steps[:, None], x.shape)
            total = x.exp().masked(running).sum(axis=(0, 2))
            out = out + (total - total.detach())
        return out

    @classmethod
    def flops(cls, *shapes, **settings):
        """Four exponentials or logarithms and five more for each step and place."""
        return 9 * shapes[0][0] * shapes[0][1] * (2 * shapes[1][1] + 1)
