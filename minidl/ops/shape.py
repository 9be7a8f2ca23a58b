"""The same elements in another shape, order or dtype."""

import numpy as np

from minidl.ops import _math
from minidl.ops._op import Op, empty


class Copy(Op):
    """Base of the ops that only move elements."""

    @classmethod
    def flops(cls, *shapes, **settings):
        """None: elements are only copied, or not even that."""
        return 0


class Expand(Copy):
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


class Reshape(Copy):
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


class SwapAxes(Copy):
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


class Permute(Copy):
    """Axes in another order, without copying.

        out = x with axis axes[i] in place i;   dx = dout with them put back

    Shapes: x any; out has x.shape[axes[i]] in place i.
    """

    view = True

    @staticmethod
    def forward(x, *, axes):
        return x.transpose(axes), ()

    @staticmethod
    def backward(dout, saved, needs, *, axes):
        back = [0] * len(axes)
        for place, axis in enumerate(axes):
            back[axis] = place
        return (_math.permute(dout, tuple(back)),)


class Cast(Copy):
    """The same values in another dtype.

        out = x in `dtype`;   dx = dout in x's dtype

    Shapes: out as x.
    """

    saves = ("x_dtype",)

    @staticmethod
    def forward(x, *, dtype):
        with np.errstate(all="ignore"):  # too large: inf; NaN as an integer: what the machine makes
            return np.asarray(x).astype(dtype), (x.dtype,)

    @staticmethod
    def backward(dout, saved, needs, *, dtype):
        (x_dtype,) = saved
        return (dout.astype(x_dtype),)


class Clone(Copy):
    """A copy of its own, contiguous.

        out = x;   dx = dout

    Shapes: out as x.
    """

    @staticmethod
    def forward(x):
        out = empty(x.shape, x.dtype)
        out[...] = x
        return out, ()

    @staticmethod
    def backward(dout, saved, needs):
        return (dout,)


class Flip(Copy):
    """Elements in reverse order along axes.

        out = x, reversed;   dx = dout, reversed

    Shapes: out as x.
    """

    @staticmethod
    def forward(x, *, axes):
        out = empty(x.shape, x.dtype)
        out[...] = np.flip(x, axes)
        return out, ()

    @staticmethod
    def backward(dout, saved, needs, *, axes):
        return (_math.flip(dout, axes),)


class Concat(Copy):
    """Arrays one after another along an axis.

        out = [x_0, x_1, ...];   dx_i = its part of dout

    Shapes: x_i equal but for the axis, along which out has the sum of their sizes.
    """

    saves = ("sizes",)

    @staticmethod
    def forward(*x, axis):
        sizes = tuple([array.shape[axis] for array in x])
        shape = list(x[0].shape)
        shape[axis] = sum(sizes)
        out = empty(tuple(shape), x[0].dtype)
        np.concatenate(x, axis, out=out)
        return out, (sizes,)

    @staticmethod
    def backward(dout, saved, needs, *, axis):
        (sizes,) = saved
        before = (slice(None),) * axis
        parts, start = [], 0
        for size, need in zip(sizes, needs):
            parts.append(dout[(*before, slice(start, start + size))] if need else None)
            start += size
        return parts
