"""Products of matrices and vectors. Sums of products by index notation stand in `contraction`."""

import math
from typing import Any

import numpy as np

from minidl._apply import apply2
from minidl._tensor import Tensor, method
from minidl.functional._common import axes_of, common_dtype, one_axis, permuted
from minidl.ops.linear import MatMul

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "cdist", "dot", "ger", "inner", "kron",
    "matmul", "matrix_power", "mm", "mv", "outer", "tensordot", "trace", "vdot",
]  # fmt: skip


@method
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product: of two vectors a number, else over the last two axes, broadcast over others.

    A vector (D,) stands for a row on the left and a column on the right, and its axis is dropped.
    """
    if not isinstance(input, Tensor) or not isinstance(other, Tensor):
        input, other = common_dtype(input, other)
    first, second = input.array.ndim, other.array.ndim
    if first == 2 and second == 2:
        return apply2(MatMul, input, other)
    if not first or not second:
        raise ValueError(
            f"matmul: both need at least one axis, got {input.shape} and {other.shape}; use *"
        )
    inner = other.shape[-2] if second > 1 else other.shape[0]
    if input.shape[-1] != inner:
        raise ValueError(
            f"matmul: x (..., D) @ y (..., D, M) needs equal D, got {input.shape} @ {other.shape}"
        )
    if second == 1:
        rows = input.reshape(-1, inner) if inner else input.reshape(math.prod(input.shape[:-1]), 0)
        return apply2(MatMul, rows, other.reshape(inner, 1)).reshape(input.shape[:-1])
    if first == 1:
        out = matmul(input.reshape(1, inner), other)
        return out.reshape(*out.shape[:-2], out.shape[-1])
    if second == 2:  # one product of all rows, instead of one for each matrix
        rows = input.reshape(math.prod(input.shape[:-1]), inner)
        return apply2(MatMul, rows, other).reshape(*input.shape[:-1], other.shape[1])
    return apply2(MatMul, input, other)


def _rmatmul(self: Tensor, other: Any) -> Tensor:
    return matmul(*common_dtype(other, self))


def _matmul_operator(self: Tensor, other: Any) -> Any:
    return matmul(self, other)


Tensor.__matmul__ = _matmul_operator  # type: ignore[method-assign]
Tensor.__rmatmul__ = _rmatmul  # type: ignore[attr-defined]


def _need(name: str, *wanted: tuple[str, Tensor, int]) -> None:
    for what, t, axes in wanted:
        if t.ndim != axes:
            raise ValueError(f"{name}: {what} must have {axes} axes, got {t.shape}; see matmul")


@method
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """(N, D) @ (D, M)."""
    _need("mm", ("input", input, 2), ("mat2", mat2, 2))
    return matmul(input, mat2)


@method
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """(B, N, D) @ (B, D, M), one product for each B."""
    _need("bmm", ("input", input, 3), ("mat2", mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm: batch sizes differ: {input.shape} and {mat2.shape}")
    return matmul(input, mat2)


@method
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """(N, D) @ (D,)."""
    _need("mv", ("input", input, 2), ("vec", vec, 1))
    return matmul(input, vec)


@method
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Sum of the products of two vectors of one length."""
    _need("dot", ("input", input, 1), ("tensor", tensor, 1))
    return matmul(input, tensor)


vdot = dot


@method
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sum of products over the last axis of both: (..., D), (***, D) -> (..., ***)."""
    if not input.ndim or not other.ndim:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise ValueError(f"inner: last axes differ: {input.shape} and {other.shape}")
    return tensordot(input, other, ([-1], [-1]))


@method
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """(N,), (M,) -> (N, M): every product."""
    _need("outer", ("input", input, 1), ("vec2", vec2, 1))
    return input.reshape(-1, 1) * vec2


ger = outer


def _plus(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta input + alpha product; with beta 0, input counts for nothing, even NaN."""
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        np.broadcast_shapes(input.shape, product.shape)
        return product
    return (input if beta == 1 else input * beta) + product


@method
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    return _plus(input, mm(mat1, mat2), beta, alpha)


@method
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    return _plus(input, mv(mat, vec), beta, alpha)


@method
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    return _plus(input, outer(vec1, vec2), beta, alpha)


@method
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * bmm(batch1, batch2)."""
    return _plus(input, bmm(batch1, batch2), beta, alpha)


@method
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * the sum of bmm(batch1, batch2) over the batch."""
    _need("addbmm", ("batch1", batch1, 3), ("batch2", batch2, 3))
    return _plus(input, tensordot(batch1, batch2, ([0, 2], [0, 1])), beta, alpha)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: None = None) -> Tensor:
    """Sum of products over pairs of axes.

    dims: how many of a's last axes meet b's first; or the two lists of axes that meet.
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ValueError(f"tensordot: dims {dims} does not fit {a.shape} and {b.shape}")
        first, second = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
        first = [one_axis(d, a.ndim, "tensordot") for d in first]
        second = [one_axis(d, b.ndim, "tensordot") for d in second]
    for i, j in zip(first, second):  # an axis of size 1 broadcasts, as in PyTorch
        if a.shape[i] == 1 != b.shape[j]:
            b = b.sum(j, keepdim=True)
        elif b.shape[j] == 1 != a.shape[i]:
            a = a.sum(i, keepdim=True)
    if [a.shape[d] for d in first] != [b.shape[d] for d in second]:
        raise ValueError(
            f"tensordot: axes {first} of {a.shape} and {second} of {b.shape} differ in size"
        )
    left = [d for d in range(a.ndim) if d not in first]
    right = [d for d in range(b.ndim) if d not in second]
    rows, columns = [a.shape[d] for d in left], [b.shape[d] for d in right]
    size = math.prod([a.shape[d] for d in first])
    x = permuted(a, [*left, *first]).reshape(math.prod(rows), size)
    y = permuted(b, [*second, *right]).reshape(size, math.prod(columns))
    return matmul(x, y).reshape(*rows, *columns)


@method
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker product: other in place of each element of input, times that element."""
    axes = max(input.ndim, other.ndim)
    first = (1,) * (axes - input.ndim) + input.shape
    second = (1,) * (axes - other.ndim) + other.shape
    x = input.reshape([n for size in first for n in (size, 1)])
    y = other.reshape([n for size in second for n in (1, size)])
    return (x * y).reshape([n * m for n, m in zip(first, second)])


@method
def trace(input: Tensor) -> Tensor:
    """Sum of a matrix's diagonal."""
    _need("trace", ("input", input, 2))
    rows, columns = input.shape
    return input.take_flat(np.arange(min(rows, columns)) * (columns + 1)).sum()


@method
def matrix_power(input: Tensor, n: int) -> Tensor:
    """Square matrices times themselves, n times, by repeated squaring; n < 0: of the inverse."""
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise ValueError(f"matrix_power: square matrices are needed, got {input.shape}")
    if n < 0:
        input, n = input.inverse(), -n
    out, square = None, input
    while n:
        if n & 1:
            out = square if out is None else matmul(out, square)
        n >>= 1
        if n:
            square = matmul(square, square)
    if out is None:
        eye = np.broadcast_to(np.eye(input.shape[-1], dtype=input.dtype), input.shape)
        return Tensor(eye.copy())
    return out


def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """Distances ||x1_i - x2_j||_p: (..., N, D), (..., M, D) -> (..., N, M).

    compute_mode: for p = 2 by products (|a|^2 - 2 a.b + |b|^2) if N or M is above 25, or
    "use_mm_for_euclid_dist" always, or "donot_use_mm_for_euclid_dist" never: slower and more
    exact for points that lie close together.
    """
    from minidl.functional.statistics import root, vector_norm

    modes = (
        "use_mm_for_euclid_dist_if_necessary",
        "use_mm_for_euclid_dist",
        "donot_use_mm_for_euclid_dist",
    )
    if compute_mode not in modes:
        raise ValueError(f"cdist: compute_mode {compute_mode!r} must be one of {modes}")
    if p < 0:
        raise ValueError(f"cdist: p must not be negative, got {p}")
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ValueError(
            f"cdist: x1 (..., N, D) and x2 (..., M, D) with one D are needed, got {x1.shape} and "
            f"{x2.shape}"
        )
    x1, x2 = common_dtype(x1, x2)
    many = x1.shape[-2] > 25 or x2.shape[-2] > 25
    if p == 2 and (compute_mode == modes[1] or (compute_mode == modes[0] and many)):
        first = (x1 * x1).sum(-1, keepdim=True)  # (..., N, 1)
        second = (x2 * x2).sum(-1, keepdim=True).swapaxes(-1, -2)  # (..., 1, M)
        squares = first + second - matmul(x1, x2.swapaxes(-1, -2)) * 2.0
        return root(squares.clamp_min(0))
    left = x1.reshape(*x1.shape[:-1], 1, x1.shape[-1])
    right = x2.reshape(*x2.shape[:-2], 1, *x2.shape[-2:])
    difference = left - right  # (..., N, M, D)
    if p == 0:
        differs = Tensor((difference.array != 0).astype(x1.dtype))
        return (differs + difference * 0.0).sum(-1)
    if not x1.shape[-1]:
        return difference.sum(-1)
    return vector_norm(difference, float(p), axes_of(-1, difference.ndim, "cdist"), False)
