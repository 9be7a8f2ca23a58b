"""Systems of linear equations, inverses, determinants, factors; PyTorch has them in `linalg`.

Gradients of every order come with them. Matrices stand in the last two axes.
"""

import math
from typing import NamedTuple

import numpy as np

from minidl._apply import apply
from minidl._tensor import Tensor, method
from minidl.functional._common import common_dtype
from minidl.functional.choice import where
from minidl.functional.diagonals import tril, triu
from minidl.functional.joining import cat
from minidl.functional.matrix import matmul
from minidl.ops import systems as ops

__all__ = [
    "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "matrix_exp", "pinverse",
    "slogdet",
]  # fmt: skip


class SignLog(NamedTuple):
    """What slogdet returns."""

    sign: Tensor
    logabsdet: Tensor


class Orthogonal(NamedTuple):
    """What qr returns."""

    Q: Tensor
    R: Tensor


class Eigen(NamedTuple):
    """What eigh returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class LeastSquares(NamedTuple):
    """What lstsq returns."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def _matrices(name: str, A: Tensor, square: bool = True) -> Tensor:
    if A.dtype.kind != "f" or A.dtype.itemsize < 4:
        raise TypeError(f"{name}: float32 or float64 is needed, got {A.dtype}; use .float()")
    if A.ndim < 2 or (square and A.shape[-1] != A.shape[-2]):
        rule = "square matrices (..., N, N)" if square else "matrices (..., N, M)"
        raise ValueError(f"{name}: A must be {rule}, got {A.shape}")
    return A


def _t(x: Tensor) -> Tensor:
    return x.swapaxes(-1, -2)


# systems of equations


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X of A X = B, A (..., N, N); of X A = B if not `left`.

    B is (..., N, K), or vectors (N,) or (..., N) with the batch axes of A. A singular A is an
    error.
    """
    A, B = common_dtype(_matrices("solve", A), B)
    if B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]):
        if not left:
            raise ValueError("solve: left=False needs a B of matrices, got vectors; unsqueeze them")
        return solve(A, B.unsqueeze(-1)).squeeze(-1)
    if B.shape[-2 if left else -1] != A.shape[-1]:
        raise ValueError(f"solve: A {A.shape} and B {B.shape} do not fit: N differs")
    return apply(ops.Solve, A, B) if left else _t(apply(ops.Solve, _t(A), _t(B)))


def _solve_system(self: Tensor, b: Tensor) -> Tensor:
    return apply(ops.Solve, self, b)


Tensor.solve_system = _solve_system  # type: ignore[attr-defined]  # for derivatives: ops/_math.py


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The X of A X = B (X A = B if not `left`), with one triangle of A; the other is not read.

    unitriangular: the diagonal counts as ones, and is not read either.
    """
    _matrices("solve_triangular", A)
    if unitriangular:
        ones = Tensor(np.eye(A.shape[-1], dtype=A.dtype))
        A = (triu(A, 1) if upper else tril(A, -1)) + ones
    else:
        A = triu(A) if upper else tril(A)
    return solve(A, B, left=left)


@method
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X of A X = B from A's Cholesky factor: A = L L^T, or L^T L if `upper`."""
    _matrices("cholesky_solve", L)
    first, second = (_t(L), L) if upper else (L, _t(L))
    return solve(second, solve(first, B))


@method
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A from its Cholesky factor: A = L L^T, or L^T L if `upper`."""
    ones = np.broadcast_to(np.eye(L.shape[-1], dtype=L.dtype), L.shape)
    return cholesky_solve(Tensor(ones.copy()), L, upper)


def lstsq(
    A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> LeastSquares:
    """The X with the least ||A X - B||, and of these the least ||X||; A (..., N, M), B (..., N, K).

    residuals: the squared lengths of the columns of A X - B where N > M and A has full rank, else
    empty. rank and singular_values are A's. driver: "gelsd" and "gelss" give all; "gelsy", which
    None means, neither residuals nor singular values; "gels" residuals only.
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ValueError(f"lstsq: driver must be gels, gelsy, gelsd or gelss, got {driver!r}")
    A, B = common_dtype(_matrices("lstsq", A, False), B)
    rows, columns = A.shape[-2:]
    if B.ndim < 2 or B.shape[-2] != rows:
        raise ValueError(f"lstsq: A {A.shape} needs B (..., {rows}, K), got {B.shape}")
    solution = matmul(pinv(A, rtol=rcond), B)
    values = np.linalg.svd(A.array, compute_uv=False)
    floor = _rtol(A, rcond) * values.max(-1, keepdims=True, initial=0)
    rank = (values > floor).sum(-1)
    residuals = Tensor(np.zeros(0, A.dtype))
    if rows > columns and driver not in (None, "gelsy") and (rank == columns).all():
        residuals = (matmul(A, solution) - B).square().sum(-2)
    nothing = Tensor(np.zeros(0, A.dtype))
    return LeastSquares(
        solution,
        residuals,
        Tensor(np.zeros(0, np.int64) if driver == "gels" else np.asarray(rank)),
        Tensor(values) if driver in ("gelsd", "gelss") else nothing,
    )


def _rtol(A: Tensor, rtol: float | None) -> float:
    return max(A.shape[-2:]) * float(np.finfo(A.dtype).eps) if rtol is None else rtol


# inverses


@method
def inverse(input: Tensor) -> Tensor:
    """The inverse of each matrix; a singular one is an error."""
    return apply(ops.Inverse, _matrices("inverse", input))


inv = inverse


def pinv(
    A: Tensor, rcond: float | None = None, *, rtol: float | None = None, hermitian: bool = False
) -> Tensor:
    """The pseudoinverse of Moore and Penrose: (..., N, M) -> (..., M, N).

    Singular values not above rtol, or rcond (max(N, M) eps for None), times the largest count as 0.
    hermitian: A is known to be symmetric; the result is the same.
    """
    _matrices("pinv", A, square=hermitian)
    if not A.array.size:
        return _t(A)
    return apply(ops.PInverse, A, rcond=_rtol(A, rcond if rtol is None else rtol))


@method
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv` with another default."""
    return pinv(input, rtol=rcond)


# determinants


@method
def det(input: Tensor) -> Tensor:
    """The determinant of each matrix."""
    return apply(ops.Det, _matrices("det", input))


@method
def slogdet(input: Tensor) -> SignLog:
    """Sign and logarithm of |determinant|, which neither overflows nor underflows."""
    return SignLog(*apply(ops.SLogDet, _matrices("slogdet", input)))


@method
def logdet(input: Tensor) -> Tensor:
    """Logarithm of the determinant: -inf where it is 0, NaN where it is below."""
    sign, log = slogdet(_matrices("logdet", input))
    return where(sign.lt(0), Tensor(np.asarray(math.nan, log.dtype)), log)


# factors


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L L^T = A, symmetric positive definite; L^T if `upper`.

    Of A its symmetric part is taken. Any other A is an error.
    """
    L = apply(ops.Cholesky, _matrices("cholesky", A))
    return _t(L) if upper else L


def _cholesky_method(self: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky`."""
    return cholesky(self, upper=upper)


Tensor.cholesky = _cholesky_method  # type: ignore[attr-defined]


def qr(A: Tensor, mode: str = "reduced") -> Orthogonal:
    """A = Q R: Q (..., N, K) with orthonormal columns, R (..., K, M) upper, K = min(N, M).

    mode="r": R alone, Q empty. mode="complete" is not there.
    """
    A = _matrices("qr", A, square=False)
    if mode not in ("reduced", "r"):
        raise ValueError(f"qr: mode must be 'reduced' or 'r', got {mode!r}")
    rows, columns = A.shape[-2:]
    if rows >= columns:
        Q, R = apply(ops.QR, A)
    else:  # the first N columns decide Q; the others are only turned
        Q, first = apply(ops.QR, A[..., :rows])
        R = cat([first, matmul(_t(Q), A[..., rows:])], -1)
    return Orthogonal(Tensor(np.zeros(0, A.dtype)) if mode == "r" else Q, R)


def eigh(A: Tensor, UPLO: str = "L") -> Eigen:
    """Eigenvalues, ascending, and orthonormal eigenvectors (in columns) of symmetric matrices.

    Of A its symmetric part is taken, which makes the two triangles that UPLO names, "L" and "U",
    the same. Eigenvectors have a gradient only where eigenvalues differ.
    """
    if UPLO not in ("L", "U"):
        raise ValueError(f"eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    return Eigen(*apply(ops.Eigh, _matrices("eigh", A)))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of symmetric matrices, ascending."""
    return eigh(A, UPLO).eigenvalues


def matrix_exp(A: Tensor) -> Tensor:
    """1 + A + A^2 / 2 + A^3 / 6 + ...

    The series to degree 18 of A / 2^s, squared s times; 2^s at least twice the largest norm.
    """
    _matrices("matrix_exp", A)
    norm = float(np.abs(A.array).sum(-1).max(initial=0))
    if not math.isfinite(norm):
        return A * math.nan
    squarings = max(0, math.ceil(math.log2(norm)) + 1) if norm else 0
    A = A / 2.0**squarings
    ones = Tensor(np.eye(A.shape[-1], dtype=A.dtype))
    out = ones + A / 18.0
    for k in range(17, 0, -1):  # Horner's rule
        out = ones + matmul(A, out) / float(k)
    for _ in range(squarings):
        out = matmul(out, out)
    return out


def matrix_rank(
    A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False
) -> Tensor:
    """How many singular values are above max(atol, rtol times the largest).

    rtol None: max(N, M) eps, or 0 if atol is given. hermitian: A is known to be symmetric; the
    result is the same.
    """
    values = np.linalg.svd(_matrices("matrix_rank", A, False).array, compute_uv=False)
    relative = 0.0 if rtol is None and atol else _rtol(A, rtol)
    floor = np.maximum(atol or 0.0, relative * values.max(-1, keepdims=True, initial=0))
    return Tensor(np.asarray((values > floor).sum(-1)))
