"""Norms and decompositions: PyTorch's `linalg`, the part that is here."""

import math
from itertools import pairwise
from typing import Any, NamedTuple

from minidl._apply import apply, cast
from minidl._tensor import Tensor
from minidl.dtypes import as_dtype
from minidl.functional import statistics
from minidl.functional._common import axes_of, kept, numpy_names, one_axis, permuted
from minidl.functional.decompositions import (
    cholesky,
    det,
    eigh,
    eigvalsh,
    inv,
    lstsq,
    matrix_exp,
    matrix_rank,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
)
from minidl.functional.matrix import matmul, matrix_power
from minidl.ops import linalg as ops

__all__ = [
    "cholesky", "det", "eigh", "eigvalsh", "inv", "lstsq", "matmul", "matrix_exp", "matrix_norm",
    "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve",
    "solve_triangular", "svd", "svdvals", "vecdot", "vector_norm",
]  # fmt: skip


class Decomposition(NamedTuple):
    """What svd returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def _floating(x: Tensor, name: str, dtype: Any) -> Tensor:
    if dtype is not None:
        x = cast(x, as_dtype(dtype))
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: floating point is needed, got {x.dtype}; use .float()")
    return x


@numpy_names
def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """(sum |x|^ord)^(1/ord) over `dim`, or of all elements; inf and -inf: the largest, smallest.

    Where the derivative does not exist (at 0) it is 0.
    """
    x = _floating(x, "vector_norm", dtype)
    return statistics.vector_norm(x, float(ord), axes_of(dim, x.ndim, "vector_norm"), keepdim)


@numpy_names
def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """A norm of the matrices in the two axes `dim`.

    "fro": root of the sum of squares; "nuc": sum of the singular values; 2, -2: the largest,
    smallest of them; inf, -inf: of the sums of |x| of a row; 1, -1: of a column.
    """
    A = _floating(A, "matrix_norm", dtype)
    if len(tuple(dim)) != 2 or A.ndim < 2:
        raise ValueError(f"matrix_norm: A {A.shape} needs two axes and dim two of them, got {dim}")
    row, column = (one_axis(d, A.ndim, "matrix_norm") for d in dim)
    axes = axes_of(dim, A.ndim, "matrix_norm")
    if ord == "fro":
        return statistics.vector_norm(A, 2.0, axes, keepdim)
    if ord == "nuc" or (ord in (2, -2) and not isinstance(ord, str)):
        rest = [a for a in range(A.ndim) if a not in axes]
        values = svdvals(permuted(A, [*rest, row, column]))
        out = values.sum(-1) if ord == "nuc" else _extreme(values, (-1,), ord, False)
        return out.reshape(kept(A.shape, axes)) if keepdim else out
    if isinstance(ord, str) or abs(ord) not in (1, math.inf):
        raise ValueError(
            f"matrix_norm: ord {ord!r} is not known: give 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2"
        )
    inner, outer = (column, row) if abs(ord) == math.inf else (row, column)
    sums = A.abs().sum(inner, keepdim=True)
    out = _extreme(sums, (outer,), ord, True)
    return out if keepdim else out.reshape([n for a, n in enumerate(A.shape) if a not in axes])


def _extreme(x: Tensor, axes: tuple[int, ...], order: float, keepdim: bool) -> Tensor:
    return x.amax(axes, keepdim) if order > 0 else x.amin(axes, keepdim)


@numpy_names
def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """A vector norm over one axis, a matrix norm over two.

    Without dim and ord: the 2-norm of all elements; with ord alone, A must be a vector or a matrix.
    """
    A = _floating(A, "norm", dtype)
    if dim is not None:
        dims = (dim,) if isinstance(dim, int) else tuple(dim)
        if len(dims) > 2 and ord is not None:
            raise ValueError(f"norm: dim must be one axis or two, got {dims}")
    elif ord is None:
        dims = tuple(range(A.ndim))
        return vector_norm(A, 2, dims, keepdim)
    else:
        if A.ndim not in (1, 2):
            raise ValueError(
                f"norm: with ord, A must have 1 or 2 axes or dim be given, got {A.shape}"
            )
        dims = tuple(range(A.ndim))
    if ord is None:
        return vector_norm(A, 2, dims, keepdim)
    if len(dims) == 2:
        return matrix_norm(A, ord, dims, keepdim)
    if isinstance(ord, str):
        raise ValueError(f"norm: ord {ord!r} needs a matrix: two axes, got dim {dims}")
    return vector_norm(A, ord, dims, keepdim)


def svd(A: Tensor, full_matrices: bool = False) -> Decomposition:
    """A (..., N, M) = U diag(S) Vh with K = min(N, M) singular values, descending.

    full_matrices, PyTorch's default, is not there: it has no gradient for what it adds.
    """
    if full_matrices:
        raise ValueError("svd: full_matrices=True is not supported; use full_matrices=False")
    A = _floating(A, "svd", None)
    if A.ndim < 2:
        raise ValueError(f"svd: A must have at least two axes, got {A.shape}")
    return Decomposition(*apply(ops.SVD, A))


def svdvals(A: Tensor) -> Tensor:
    """Singular values, descending."""
    return svd(A).S


@numpy_names
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Sum of products along `dim`, the rest broadcast."""
    return (x * y).sum(dim)


def multi_dot(tensors: list[Tensor]) -> Tensor:
    """The product of several matrices, in the order that costs fewest multiplications.

    The first may be a row vector and the last a column vector, (D,). The order is the classic
    dynamic program (Cormen et al., Introduction to Algorithms, section 15.2).
    """
    if len(tensors) < 2:
        raise ValueError(f"multi_dot: at least two tensors are needed, got {len(tensors)}")
    first, last = tensors[0], tensors[-1]
    chain = list(tensors)
    if first.ndim == 1:
        chain[0] = first.reshape(1, -1)
    if last.ndim == 1:
        chain[-1] = last.reshape(-1, 1)
    for x, y in pairwise(chain):
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[0]:
            raise ValueError(f"multi_dot: {x.shape} and {y.shape} cannot be multiplied")
    sizes = [chain[0].shape[0], *(x.shape[1] for x in chain)]
    count = len(chain)
    cost = {(i, i): 0 for i in range(count)}
    cut = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            tries = [
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            ]
            cost[i, j], cut[i, j] = min(tries)
    products: dict[tuple[int, int], Tensor] = {(i, i): x for i, x in enumerate(chain)}
    todo = [(0, count - 1)]
    while todo:
        i, j = todo[-1]
        k = cut.get((i, j), i)
        missing = [part for part in ((i, k), (k + 1, j)) if part not in products]
        if missing and (i, j) not in products:
            todo += missing
            continue
        if (i, j) not in products:
            products[i, j] = matmul(products[i, k], products[k + 1, j])
        todo.pop()
    out = products[0, count - 1]
    shape = [*([] if first.ndim == 1 else [sizes[0]]), *([] if last.ndim == 1 else [sizes[-1]])]
    return out.reshape(shape)
