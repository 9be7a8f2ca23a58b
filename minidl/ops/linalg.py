"""Decompositions of matrices, by LAPACK."""

import math

import numpy as np

from minidl.ops._op import Op


class SVD(Op):
    """Singular value decomposition, without the vectors of a null space.

        x = u diag(s) vh;   u^T u = 1, vh vh^T = 1, s descending

    With v = vh^T, E_ij = s_j^2 - s_i^2 off the diagonal, skew(a) = a - a^T, projections off the
    columns of u and v, and the quotients by E and s elementwise:

        dx = u [skew(u^T du) / E s + s skew(v^T dv) / E + diag(ds)] v^T
             + (1 - u u^T) du / s v^T + u (s^-1 dv^T) (1 - v v^T)

    Not differentiable in u and vh at equal singular values, nor where one is 0 (there only ds may
    be used). Townsend 2016, Differentiating the singular value decomposition.
    Shapes: x (..., N, M), K = min(N, M): u (..., N, K), s (..., K), vh (..., K, M).
    """

    saves = ("u", "s", "vh")
    outputs = ("u", "s", "vh")

    @staticmethod
    def forward(x):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        return (u, s, vh), (u, s, vh)

    @staticmethod
    def backward(dout, saved, needs):
        du, ds, dvh = dout
        u, s, vh = saved
        size = s.shape[-1]
        diagonal = np.eye(size, dtype=s.dtype)
        row = s.reshape((*s.shape[:-1], 1, size))  # (..., 1, K)
        column = s.reshape((*s.shape[:-1], size, 1))
        ut, v = u.swapaxes(-1, -2), vh.swapaxes(-1, -2)
        middle = 0
        if ds is not None:
            middle = ds.reshape((*s.shape[:-1], 1, size)) * diagonal
        if du is not None or dvh is not None:
            gaps = (row - column) * (row + column) + diagonal
        if du is not None:
            inner = ut @ du
            middle = middle + (inner - inner.swapaxes(-1, -2)) / gaps * row
        if dvh is not None:
            inner = vh @ dvh.swapaxes(-1, -2)
            middle = middle + column * ((inner - inner.swapaxes(-1, -2)) / gaps)
        dx = u @ middle @ vh if not isinstance(middle, int) else None
        if du is not None and u.shape[-2] > size:
            dx = dx + (du - u @ (ut @ du)) / row @ vh
        if dvh is not None and vh.shape[-1] > size:
            dx = dx + u @ ((dvh - (dvh @ v) @ vh) / column)
        return (dx,)

    @classmethod
    def flops(cls, *shapes, **settings):
        """About 4 N M^2 + 8 M^3 with M the smaller (Golub & Van Loan, Matrix Computations)."""
        rows, columns = sorted(shapes[0][-2:], reverse=True)
        return math.prod(shapes[0][:-2]) * (4 * rows * columns**2 + 8 * columns**3)
