"""The same elements in another shape, order or dtype."""

import numpy as np

from minidl.ops._op import Op


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


class SwapAxes(Op):
    """Exchange two axes, without copying.

        out = x with axes `first` and `second` exchanged;   dx = dout with them exchanged back

    Shapes: x any with both axes.
    """

    view = True

    @staticmethod
    def forward(x, *, first, second):
        return x.swapaxes(first, second), ()

    @staticmethod
    def backward(dout, saved, needs, *, first, second):
        return (dout.swapaxes(first, second),)


class Cast(Op):
    """The same values in another dtype.

        out = x in `dtype`;   dx = dout in x's dtype

    Shapes: out as x.
    """

    saves = ("x_dtype",)

    @staticmethod
    def forward(x, *, dtype):
        return np.asarray(x).astype(dtype), (x.dtype,)

    @staticmethod
    def backward(dout, saved, needs, *, dtype):
        (x_dtype,) = saved
        return (dout.astype(x_dtype),)
