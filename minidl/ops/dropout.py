"""Dropout."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty


class Dropout(Op):
    """Dropout (Srivastava et al. 2014, JMLR 15), scaled so that the mean stays.

        out = x / (1 - p) with probability 1 - p, else 0;   dx = dout, through the same mask

    The mask is not stored: element i's random number is computed from the key and i, forward and
    again backward. Shapes: x and out are equal; key (1,) uint64.
    """

    saves = ("key",)

    @staticmethod
    def forward(x, key, *, p):
        return masked_by_key(x, key, p), (key,)

    @staticmethod
    def backward(dout, saved, needs, *, p):
        (key,) = saved
        if type(dout) is np.ndarray:
            return masked_by_key(dout, key, p), None
        mask = masked_by_key(np.ones(dout.shape, dout.dtype), _math.values(key), p)
        return dout * mask, None

    @classmethod
    def flops(cls, *shapes, **settings):
        """A product of each element; the random numbers are integer work."""
        return int(np.prod(shapes[0], dtype=np.int64))


def masked_by_key(x, key, p):
    """Dropout of an array with the mask that the key stands for."""
    flat = np.ascontiguousarray(x).reshape(-1)
    out = empty(flat.shape, x.dtype)
    kernels.dropout(flat, key, float(p), out)
    return out.reshape(x.shape)
