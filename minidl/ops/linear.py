"""Matrix products: each is one call of BLAS, forward and for each gradient."""

from minidl.ops._op import Op, sum_to


class MatMul(Op):
    """Matrix product of the last two axes, broadcast over the others.

        out = x @ y;   dx = dout @ y^T, dy = x^T @ dout, each summed over its broadcast axes

    Shapes: x (..., N, D), y (..., D, M), out (..., N, M).
    """

    saves = ("x", "y")

    @staticmethod
    def forward(x, y):
        return x @ y, (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        dx = sum_to(dout @ y.swapaxes(-1, -2), x.shape) if needs[0] else None
        dy = sum_to(x.swapaxes(-1, -2) @ dout, y.shape) if needs[1] else None
        return dx, dy

    @classmethod
    def flops(cls, *shapes):
        """A multiplication and an addition for each of N, D, M."""
        x, y = shapes
        batch = super().flops(x[:-2], y[:-2])
        return 2 * batch * x[-2] * x[-1] * y[-1]


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
