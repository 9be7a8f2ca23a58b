"""Attention of short sequences by `kernels.attention_heads`: whole heads, on all threads."""

import numpy as np

from minidl import kernels
from minidl.kernels.attention_heads import SIDE
from minidl.ops._op import empty

_KEY = np.zeros(1, np.uint64)


class Heads:
    """The arrays of a `Plan` as those kernels take them: (N, T, G, D), or (N G, T, 1, D)."""

    def __init__(self, plan, q, mask):
        self.plan = plan
        self.N, self.G = plan.N, plan.G
        self.side_by_side = plan.G > 1 and q.swapaxes(1, 2).flags.c_contiguous
        self.bias = np.zeros((0, 0, 0, 0), plan.dtype) if mask is None else self._bias(mask)

    @staticmethod
    def fit(plan, q, k, v, mask):
        """Whether all is short enough, and no head shared."""
        return (
            max(plan.L, plan.S, plan.E, plan.V) <= SIDE
            and q.shape[1] == k.shape[1] == v.shape[1] == plan.G
            and (mask is None or len(mask.array) in (1, plan.N))
        )

    def _bias(self, mask):
        bias = mask.array  # (N or 1, G or 1, L or 1, S or 1)
        if bias.dtype == bool:
            bias = np.where(bias, self.plan.dtype.type(0), self.plan.dtype.type(-np.inf))
        if not self.side_by_side and bias.shape[:2] != (1, 1):
            shape = (self.N, self.G, *bias.shape[2:])
            bias = np.broadcast_to(bias, shape).reshape(self.N * self.G, 1, *bias.shape[2:])
        return np.ascontiguousarray(bias)

    def give(self, x):
        """x (N, G, T, D) for the kernels."""
        if self.side_by_side:
            return np.ascontiguousarray(x.swapaxes(1, 2))
        return np.ascontiguousarray(x).reshape(self.N * self.G, x.shape[2], 1, x.shape[3])

    def new(self, length, width):
        """An array for them to fill."""
        heads = (self.N, length, self.G) if self.side_by_side else (self.N * self.G, length, 1)
        return empty((*heads, width), self.plan.dtype)

    def take(self, x):
        """Their array as (N, G, T, D)."""
        if self.side_by_side:
            return x.swapaxes(1, 2)
        return x.reshape(self.N, self.G, x.shape[1], x.shape[3])

    def sums(self, lse):
        """lse (N, G, L) for the kernels."""
        return lse if self.side_by_side else lse.reshape(self.N * self.G, 1, lse.shape[2])

    def forward(self, q, k, v, key, scale, dropout_p, lse):
        """Fills lse; returns the output (N, G, L, V)."""
        out = self.new(self.plan.L, self.plan.V)
        kernels.attention_heads_forward(
            self.give(q), self.give(k), self.give(v), self.bias,
            _KEY if key is None else key, dropout_p, scale, self.plan.causal, out, self.sums(lse),
        )  # fmt: skip
        return self.take(out)

    def backward(self, q, k, v, key, scale, dropout_p, out, lse, dout):
        """dq, dk, dv, each (N, G, T, D)."""
        plan = self.plan
        grads = [self.new(plan.L, plan.E), self.new(plan.S, plan.E), self.new(plan.S, plan.V)]
        kernels.attention_heads_backward(
            self.give(q), self.give(k), self.give(v), self.bias,
            _KEY if key is None else key, dropout_p, scale, plan.causal, self.give(out),
            self.sums(lse), self.give(dout), *grads,
        )  # fmt: skip
        return [self.take(grad) for grad in grads]
