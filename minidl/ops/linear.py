"""Matrix products: each is one call of BLAS, forward and for each gradient."""

from minidl.ops._op import Op, shape_of, sum_to


class MatMul(Op):
    """Matrix product of the last two axes, broadcast over the others.

        out = x @ y;   dx = dout @ y^T, dy = x^T @ dout, each summed over its broadcast axes

    Shapes: x (..., N, D), y (..., D, M), out (..., N, M).
    """

    saves = ("x", "y")
    crossed = True

    @staticmethod
    def forward(x, y):
        return x @ y, (x, y)

    @staticmethod
    def backward(dout, saved, needs):
        x, y = saved
        dx = sum_to(dout @ y.swapaxes(-1, -2), shape_of(x)) if needs[0] else None
        dy = sum_to(x.swapaxes(-1, -2) @ dout, shape_of(y)) if needs[1] else None
        return dx, dy

    @classmethod
    def flops(cls, *shapes):
        """A multiplication and an addition for each of N, D, M."""
        x, y = shapes
        batch = super().flops(x[:-2], y[:-2])
        return 2 * batch * x[-2] * x[-1] * y[-1]
