"""Padding with a number."""

import numpy as np

from minidl.ops._op import empty
from minidl.ops.shape import Copy


class Pad(Copy):
    """x with a border of one value.

        out = x in the middle, `value` around it;   dx = the middle of dout

    Shapes: x (N_0, N_1, ...), out (before_0 + N_0 + after_0, ...); pads: (before, after) an axis.
    """

    saves = ("shape",)

    @staticmethod
    def forward(x, *, pads, value):
        out = empty(tuple(a + n + b for n, (a, b) in zip(x.shape, pads)), x.dtype)
        for axis, (before, after) in enumerate(pads):  # only the border: the rest is written once
            inner = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape[:axis], pads))
            if before:
                out[(*inner, slice(0, before))] = value
            if after:
                out[(*inner, slice(before + x.shape[axis], None))] = value
        out[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, pads))] = x
        return out, (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, pads, value):
        middle = tuple(slice(a, a + n) for n, (a, _) in zip(saved[0], pads))
        dx = dout[middle]
        return (np.ascontiguousarray(dx) if isinstance(dx, np.ndarray) else dx,)
