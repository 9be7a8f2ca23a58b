"""Reductions over axes."""

from minidl.ops._math import expand
from minidl.ops._op import Op


class Sum(Op):
    """Sum over the axes `dim` (all of them for None).

        out = sum x;   dx = dout, broadcast back

    Shapes: x any; out without the axes, or with 1 in their place if `keepdim`.
    """

    saves = ("shape",)

    @staticmethod
    def forward(x, *, dim, keepdim):
        return x.sum(axis=dim, keepdims=keepdim), (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, dim, keepdim):
        (shape,) = saved
        if not keepdim:
            axes = range(len(shape)) if dim is None else [d % len(shape) for d in dim]
            dout = dout.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape)))
        return (expand(dout, shape),)
