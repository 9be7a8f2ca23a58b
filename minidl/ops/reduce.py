"""Reductions over axes, and their mirror image, broadcasting."""

import numpy as np

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


class Expand(Op):
    """Broadcast to a shape, without copying.

        out = x, repeated;   dx = dout, summed over the repeated axes

    Shapes: x broadcasts to `shape`, that of out.
    """

    saves = ("x_shape",)
    view = True

    @staticmethod
    def forward(x, *, shape):
        return np.broadcast_to(x, shape), (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, shape):
        (x_shape,) = saved
        added = len(shape) - len(x_shape)
        axes = tuple(range(added)) + tuple(
            added + i for i, n in enumerate(x_shape) if n == 1 and shape[added + i] != 1
        )
        return ((dout.sum(axis=axes, keepdims=True) if axes else dout).reshape(x_shape),)


class Reshape(Op):
    """The same elements in another shape.

        out = x;   dx = dout in x's shape

    Shapes: as many elements on both sides.
    """

    saves = ("x_shape",)
    view = True

    @staticmethod
    def forward(x, *, shape):
        return x.reshape(shape), (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, shape):
        (x_shape,) = saved
        return (dout.reshape(x_shape),)


def expand(x, shape):
    """Broadcast an array or a Tensor."""
    return np.broadcast_to(x, shape) if type(x) is np.ndarray else x.expand(shape)
