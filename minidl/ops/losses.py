"""Losses that are more exact, or need fewer passes over memory, as one op."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty


class CrossEntropy(Op):
    """Cross-entropy of logits and a class for each row, in one pass (Bridle 1990).

        out_n = -sum_k q_k log softmax(x_n)_k,   q = (1 - s) weight_t onehot(t) + s / K weight
        dx = dout * (softmax(x) * sum(q) - q)

    t the row's class, s the label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7). A
    row whose class is `ignore_index` has loss and gradient 0.
    Shapes: x (N, K), target (N,) int64, weight (K,), out (N,).
    """

    saves = ("x", "target", "weight", "lse")
    constants = ("weight",)

    @staticmethod
    def forward(x, target, weight, *, label_smoothing, ignore_index):
        x = np.ascontiguousarray(x)
        out, lse = empty(len(x), x.dtype), empty(len(x), x.dtype)
        run = _math.suited(kernels.cross_entropy_forward, x)
        run(x, target, weight, label_smoothing, ignore_index, out, lse)
        return out, (x, target, weight, lse)

    @staticmethod
    def backward(dout, saved, needs, *, label_smoothing, ignore_index):
        x, target, weight, lse = saved
        dx = empty(x.shape, x.dtype)
        dout = np.ascontiguousarray(dout)
        run = _math.suited(kernels.cross_entropy_backward, x)
        run(dout, x, target, weight, label_smoothing, ignore_index, lse, dx)
        return dx, None, None

    @staticmethod
    def composite(F, x, target, weight, *, label_smoothing, ignore_index):
        classes = x.shape[1]
        t, w = target.array, weight.array
        kept = t != ignore_index
        q = np.zeros(x.shape, x.dtype)
        q[np.flatnonzero(kept), t[kept]] = (1 - label_smoothing) * w[t[kept]]
        q[kept] += label_smoothing / classes * w
        return -(F.log_softmax(x, 1) * F.tensor(q)).sum(axis=1)

    @classmethod
    def flops(cls, *shapes, **settings):
        """As softmax: five of each logit."""
        return 5 * shapes[0][0] * shapes[0][1]


class BCEWithLogits(Op):
    """Binary cross-entropy of a logit x and a target t in [0, 1], without overflow.

        out = max(x, 0) - x t + log(1 + e^-|x|)
        dx = dout * (sigmoid(x) - t),   dtarget = -dout * x

    Shapes: x, target and out are equal.
    """

    saves = ("x", "target")

    @staticmethod
    def forward(x, target):
        return _math.run(kernels.bce_with_logits_forward, x, target), (x, target)

    @staticmethod
    def backward(dout, saved, needs):
        x, target = saved
        if _math.large(dout) and not needs[1]:
            return _math.run(kernels.bce_with_logits_backward, dout, x, target), None
        dx = dout * (_math.sigmoid(x) - target) if needs[0] else None
        return dx, -dout * x if needs[1] else None

    @classmethod
    def flops(cls, *shapes, **settings):
        """Exponential, logarithm and five more of each element."""
        return 7 * int(np.prod(shapes[0], dtype=np.int64))


class BPR(Op):
    """Bayesian personalised ranking (Rendle et al. 2009, arXiv:1205.2618, section 4).

        out = -log sigmoid(positive - negative)
        dnegative = dout * sigmoid(negative - positive),   dpositive = -dnegative

    Shapes: scores of a liked and of a sampled item, and out, are equal.
    """

    saves = ("positive", "negative")

    @staticmethod
    def forward(positive, negative):
        return _math.run(kernels.bpr_forward, positive, negative), (positive, negative)

    @staticmethod
    def backward(dout, saved, needs):
        positive, negative = saved
        if _math.large(dout):
            flat = [np.ascontiguousarray(a).reshape(-1) for a in (dout, positive, negative)]
            parts = empty(dout.shape, dout.dtype), empty(dout.shape, dout.dtype)
            kernels.bpr_backward(*flat, parts[0].reshape(-1), parts[1].reshape(-1))
            return parts
        dnegative = dout * _math.sigmoid(negative - positive)
        return -dnegative, dnegative

    @classmethod
    def flops(cls, *shapes, **settings):
        """Exponential, logarithm and four more of each pair."""
        return 6 * int(np.prod(shapes[0], dtype=np.int64))
