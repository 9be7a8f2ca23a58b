"""Products with a constant sparse matrix."""

from typing import Any

from minidl._apply import apply
from minidl._tensor import Tensor, method
from minidl.ops import sparse as ops
from minidl.sparse import CSR

__all__ = ["csr_matmul"]


def csr_matmul(matrix: CSR, input: Tensor) -> Tensor:
    """A constant sparse matrix (N, V) times a dense tensor (V, D) or (V,): (N, D) or (N,).

    `matrix @ input` is the same.
    """
    if input.ndim not in (1, 2) or input.shape[0] != matrix.shape[1]:
        raise ValueError(
            f"csr_matmul: a matrix {matrix.shape} needs a tensor ({matrix.shape[1]}, D) or "
            f"({matrix.shape[1]},), got {input.shape}"
        )
    if input.ndim == 1:
        return csr_matmul(matrix, input.unsqueeze(1)).squeeze(1)
    transposed = matrix.T
    return csr_product(
        input, matrix.indptr, matrix.indices, matrix.data,
        transposed.indptr, transposed.indices, transposed.data,
    )  # fmt: skip


@method
def csr_product(input: Tensor, *parts: Any) -> Tensor:
    """`csr_matmul` by the parts of the matrix and of its transpose."""
    return apply(ops.CsrMatMul, input, *parts)


def _matmul(self: CSR, other: Tensor) -> Tensor:
    return csr_matmul(self, other)


CSR.__matmul__ = _matmul  # type: ignore  # sparse lies below tensors
