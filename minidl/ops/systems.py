"""Systems of linear equations, inverses, determinants and factors of matrices, by LAPACK.

All work on the last two axes and broadcast over the others. In derivatives t stands for the
transposed matrix: a t b is a^T b. The adjoint formulas are those of Giles 2008, Collected matrix
derivative results for forward and reverse mode algorithmic differentiation.
"""

import math

import numpy as np

from minidl.ops import _math
from minidl.ops._op import Op, sum_to


def t(x):
    """Transposed matrices."""
    return x.swapaxes(-1, -2)


def _lapack(function, *arrays, fault):
    """Call NumPy's LAPACK; its LinAlgError as a ValueError that tells fault and place."""
    try:
        return function(*arrays)
    except np.linalg.LinAlgError:
        raise ValueError(fault + _where(arrays[0], function)) from None


def _where(a, function):
    """Which matrix of a batch it was."""
    if a.ndim == 2 or function is np.linalg.eigh:
        return ""
    for place in np.ndindex(*a.shape[:-2]):
        one = a[place]
        try:
            np.linalg.cholesky(one) if function is np.linalg.cholesky else np.linalg.inv(one)
        except np.linalg.LinAlgError:
            return f" (the matrix at {place})"
    return ""


SINGULAR = "a is singular, so there is no inverse; use linalg.pinv or lstsq, or add to the diagonal"


def _cube(shape, factor):
    return int(factor * math.prod(shape) * shape[-1])


class Solve(Op):
    """The solution of a system of linear equations, by LU factors.

        a @ out = b;   db = a^-T dout,   da = -db out^T, each summed over its broadcast axes

    Shapes: a (..., N, N), b and out (..., N, K). A singular a is an error.
    """

    saves = ("a", "out", "shape")

    @staticmethod
    def forward(a, b):
        out = _lapack(np.linalg.solve, a, b, fault=SINGULAR)
        return out, (a, out, b.shape)

    @staticmethod
    def backward(dout, saved, needs):
        a, out, shape = saved
        db = _math.solve(t(a), dout)
        da = sum_to(-(db @ t(out)), a.shape) if needs[0] else None
        return da, sum_to(db, shape) if needs[1] else None

    @classmethod
    def flops(cls, *shapes, **settings):
        """2/3 N^3 for the factors, 2 N^2 for each column."""
        return _cube(shapes[0], 2 / 3) + 2 * math.prod(shapes[1]) * shapes[0][-1]


class Inverse(Op):
    """The inverse of square matrices.

        out = a^-1;   da = -out^T dout out^T

    Shapes: a and out (..., N, N). A singular a is an error.
    """

    saves = ("out",)

    @staticmethod
    def forward(a):
        out = _lapack(np.linalg.inv, a, fault=SINGULAR)
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        return (-(t(out) @ dout @ t(out)),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """2 N^3."""
        return _cube(shapes[0], 2)


class Det(Op):
    """The determinant of square matrices.

        out = det a;   da = dout cofactor(a),   cofactor(a) = out a^-T where a is not singular

    Where it is singular the cofactors are those of the singular values: with a = u diag(s) v^T,
    det(u) det(v) u diag(prod of the other s) v^T. There the second derivative is not supported.
    Shapes: a (..., N, N), out (...).
    """

    saves = ("a", "out")

    @staticmethod
    def forward(a):
        out = np.linalg.det(a)
        return out, (a, np.asarray(out))

    @staticmethod
    def backward(dout, saved, needs):
        a, out = saved
        if type(a) is np.ndarray and not out.all():
            return (np.asarray(dout)[..., None, None] * _cofactors(a),)
        scale = (dout * out).reshape((*a.shape[:-2], 1, 1))
        return (scale * t(_math.inverse(a)),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """2/3 N^3."""
        return _cube(shapes[0], 2 / 3)


def _cofactors(a):
    """From products of singular values, without division: also right where a is singular."""
    u, s, vt = np.linalg.svd(a)
    size = s.shape[-1]
    others = np.where(np.eye(size, dtype=bool), 1, s[..., None, :]).prod(-1)  # (..., N)
    sign = np.linalg.det(u) * np.linalg.det(vt)
    return np.round(sign)[..., None, None].astype(a.dtype) * (u * others[..., None, :] @ vt)


class SLogDet(Op):
    """Sign and logarithm of the absolute value of the determinant, which cannot overflow.

        det a = sign e^out;   da = dout a^-T

    sign has derivative 0. Of a singular a, sign is 0 and out -inf, without a derivative.
    Shapes: a (..., N, N); sign and out (...).
    """

    saves = ("a",)
    outputs = ("sign", "out")

    @staticmethod
    def forward(a):
        sign, out = np.linalg.slogdet(a)
        return (np.asarray(sign), np.asarray(out)), (a,)

    @staticmethod
    def backward(dout, saved, needs):
        (a,), dlog = saved, dout[1]
        if dlog is None:
            return (a * 0,)
        try:
            inverse = _math.inverse(a)
        except np.linalg.LinAlgError:
            raise ValueError(f"slogdet: the derivative does not exist, {SINGULAR}") from None
        return (dlog.reshape((*a.shape[:-2], 1, 1)) * t(inverse),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """2/3 N^3."""
        return _cube(shapes[0], 2 / 3)


class Cholesky(Op):
    """The lower triangular factor of symmetric positive definite matrices.

        out out^T = a;   da = (s + s^T) / 2,   s = out^-T low(out^T dout) out^-1

    low keeps the lower triangle with half of the diagonal. Of a its symmetric part is taken.
    Murray 2016, Differentiation of the Cholesky decomposition, arXiv:1602.07527, eq. 9.
    Shapes: a and out (..., N, N). An a that is not positive definite is an error.
    """

    saves = ("out",)

    @staticmethod
    def forward(a):
        out = _lapack(
            np.linalg.cholesky, (a + t(a)) / a.dtype.type(2),
            fault="a is not positive definite; add a small number to its diagonal, or use eigh",
        )  # fmt: skip
        return out, (out,)

    @staticmethod
    def backward(dout, saved, needs):
        (out,) = saved
        size = out.shape[-1]
        low = np.tril(np.ones((size, size), out.dtype)) - np.eye(size, dtype=out.dtype) / 2
        middle = (t(out) @ _math.masked(np.tri(size, dtype=bool), dout)) * low
        s = _math.solve(t(out), t(_math.solve(t(out), t(middle))))  # out^-T middle out^-1
        return ((s + t(s)) / 2,)

    @classmethod
    def flops(cls, *shapes, **settings):
        """1/3 N^3."""
        return _cube(shapes[0], 1 / 3)


class QR(Op):
    """Orthonormal columns times an upper triangular matrix, N >= M.

        a = q r,   q^T q = 1
        da = (dq + q copy(r dr^T - dq^T q)) r^-T

    copy mirrors the lower triangle: tril(x) + tril(x, -1)^T. Not differentiable where columns of a
    are dependent. Walter & Lehmann 2010; Roberts & Roberts 2020, arXiv:2009.10071.
    Shapes: a (..., N, M), q (..., N, M), r (..., M, M).
    """

    saves = ("q", "r")
    outputs = ("q", "r")

    @staticmethod
    def forward(a):
        q, r = np.linalg.qr(a)
        return (q, r), (q, r)

    @staticmethod
    def backward(dout, saved, needs):
        dq, dr = dout
        q, r = saved
        size = r.shape[-1]
        middle = 0
        if dr is not None:
            middle = r @ t(_math.masked(np.tri(size, dtype=bool).T, dr))
        if dq is not None:
            middle = middle - t(dq) @ q
        strict = np.tri(size, k=-1, dtype=bool)
        mirrored = _math.masked(np.tri(size, dtype=bool), middle)
        mirrored = mirrored + t(_math.masked(strict, middle))
        above = q @ mirrored
        if dq is not None:
            above = above + dq
        return (t(_math.solve(r, t(above))),)  # x r^-T = (r^-1 x^T)^T

    @classmethod
    def flops(cls, *shapes, **settings):
        """2 N M^2, and as much for q."""
        return 4 * math.prod(shapes[0]) * shapes[0][-1]


class Eigh(Op):
    """Eigenvalues, ascending, and orthonormal eigenvectors of symmetric matrices.

        a = v diag(w) v^T;   da = v (diag(dw) + skew(v^T dv) / E) v^T,   E_ij = w_j - w_i

    skew(x) = (x - x^T) / 2. Of a its symmetric part is taken. Eigenvectors have a derivative only
    where eigenvalues differ. Shapes: a and v (..., N, N), w (..., N).
    """

    saves = ("w", "v")
    outputs = ("w", "v")

    @staticmethod
    def forward(a):
        w, v = _lapack(
            np.linalg.eigh, (a + t(a)) / a.dtype.type(2),
            fault="the iteration did not converge: look for NaN and inf in a",
        )  # fmt: skip
        return (w, v), (w, v)

    @staticmethod
    def backward(dout, saved, needs):
        dw, dv = dout
        w, v = saved
        size = w.shape[-1]
        diagonal = np.eye(size, dtype=w.dtype)
        row = (*w.shape[:-1], 1, size)
        middle = 0
        if dw is not None:
            middle = dw.reshape(row) * diagonal
        if dv is not None:
            inner = t(v) @ dv
            gaps = w.reshape(row) - w.reshape((*w.shape[:-1], size, 1)) + diagonal
            middle = middle + (inner - t(inner)) / (2 * gaps)
        return (v @ middle @ t(v),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """About 9 N^3 (Golub & Van Loan, Matrix Computations, section 8.3)."""
        return _cube(shapes[0], 9)


class PInverse(Op):
    """The pseudoinverse of Moore and Penrose, by singular values.

        out = v diag(1 / s) u^T of a = u diag(s) v^T, over the s above rcond times the largest
        da = -out^T dout out^T + (1 - a out) dout^T out out^T + out^T out dout^T (1 - out a)

    The derivative holds where the rank does not change. Golub & Pereyra 1973, eq. 4.12.
    Shapes: a (..., N, M), out (..., M, N).
    """

    saves = ("a", "out")

    @staticmethod
    def forward(a, *, rcond):
        out = np.linalg.pinv(a, rcond)
        return out, (a, out)

    @staticmethod
    def backward(dout, saved, needs, *, rcond):
        a, out = saved
        up = t(dout) @ out  # (..., N, N)
        left = up @ t(out)  # dout^T out out^T, (..., N, M)
        right = t(out) @ out @ t(dout)  # (..., N, M)
        da = left - a @ (out @ left) + right - (right @ out) @ a
        return (da - t(out) @ dout @ t(out),)

    @classmethod
    def flops(cls, *shapes, **settings):
        """As SVD, and a product."""
        rows, columns = sorted(shapes[0][-2:], reverse=True)
        return math.prod(shapes[0][:-2]) * (6 * rows * columns**2 + 8 * columns**3)
