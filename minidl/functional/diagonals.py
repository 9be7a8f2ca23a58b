"""Diagonals and triangles of matrices."""

import numpy as np

from minidl._apply import apply
from minidl._tensor import Tensor, method
from minidl.functional._common import one_axis
from minidl.functional.shape import reshape
from minidl.ops import view as views

__all__ = ["diag", "diag_embed", "diagflat", "diagonal", "tril", "triu"]


@method
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements at i in `dim1` and i + offset in `dim2`, as the last axis: a view."""
    first = one_axis(dim1, input.ndim, "diagonal")
    second = one_axis(dim2, input.ndim, "diagonal")
    if first == second:
        raise RuntimeError(f"diagonal: dim1 {dim1} and dim2 {dim2} are the same axis")
    return apply(views.Diagonal, input, offset=offset, first=first, second=second)


@method
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Zeros with the last axis of `input` as the diagonal of two new axes."""
    first = one_axis(dim1, input.ndim + 1, "diag_embed")
    second = one_axis(dim2, input.ndim + 1, "diag_embed")
    if first == second:
        raise RuntimeError(f"diag_embed: dim1 {dim1} and dim2 {dim2} are the same axis")
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for axis in sorted((first, second)):
        shape.insert(axis, size)
    if first > second:
        first, second, offset = second, first, -offset
    settings = (("first", first), ("offset", offset), ("second", second))
    return apply(views.PutView, input, path=((views.Diagonal, settings),), shape=tuple(shape))


@method
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix's diagonal, or the matrix that has the vector as its diagonal."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(
            f"diag: a vector or a matrix is needed, got shape {input.shape}; "
            "see diagonal() and diag_embed()"
        )
    return input.diagonal(diagonal).clone()


@method
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix that has all elements of `input` as its diagonal."""
    return diag_embed(reshape(input, -1), offset)


def _triangle(input: Tensor, keep_below: bool, diagonal: int, name: str) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"{name}: at least two axes are needed, got shape {input.shape}")
    rows, columns = input.shape[-2:]
    keep = np.tri(rows, columns, diagonal if keep_below else diagonal - 1, dtype=bool)
    return input.masked(keep if keep_below else ~keep)


@method
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Zeros above a diagonal of each matrix."""
    return _triangle(input, True, diagonal, "tril")


@method
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Zeros below a diagonal of each matrix."""
    return _triangle(input, False, diagonal, "triu")
