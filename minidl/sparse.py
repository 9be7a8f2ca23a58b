"""Sparse matrices: RowSparse, a gradient with few rows, and CSR, a constant to multiply with."""

from functools import cached_property
from typing import Any

import numpy as np

from minidl import kernels
from minidl.typing import Array, IntArray


class RowSparse:
    """A matrix that is zero outside some rows: `dense[rows[i]] += values[i]`.

    rows (N,) int64, may repeat until `coalesced()`; values (N, D); shape (V, D). A sum with another
    RowSparse is a concatenation, a sum with an array is an array.
    """

    __slots__ = ("is_coalesced", "rows", "shape", "values")
    __array_ufunc__ = None  # so that ndarray + RowSparse reaches __radd__

    def __init__(
        self,
        rows: IntArray,
        values: Array,
        shape: tuple[int, ...],
        is_coalesced: bool = False,
    ):
        if values.shape != (len(rows), *shape[1:]):
            raise ValueError(
                f"RowSparse: rows {rows.shape} of a table {shape} need values "
                f"{(len(rows), *shape[1:])}, got {values.shape}"
            )
        self.rows = rows
        self.values = values
        self.shape = shape
        self.is_coalesced = is_coalesced

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    @property
    def is_sparse(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"RowSparse({len(self.rows)} rows of {self.shape}, dtype={self.dtype})"

    def coalesced(self) -> "RowSparse":
        """Each row once, in ascending order, repeated ones summed in the order they came in."""
        if self.is_coalesced:
            return self
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        values = np.ascontiguousarray(self.values).reshape(len(self.rows), width)
        rows, sums = sum_by_row(self.rows, values)
        return RowSparse(rows, sums.reshape(len(rows), *self.shape[1:]), self.shape, True)

    def to_dense(self) -> Array:
        """The whole table, mostly zeros."""
        dense = np.zeros(self.shape, self.dtype)
        self.add_to(dense)
        return dense

    def add_to(self, dense: Array) -> None:
        """Add to an array of the table's shape, in place."""
        merged = self.coalesced()
        dense[merged.rows] += merged.values

    def __add__(self, other: Any) -> Any:
        if isinstance(other, RowSparse):
            if other.shape != self.shape:
                raise ValueError(f"RowSparse: shapes {self.shape} and {other.shape} differ")
            return RowSparse(
                np.concatenate([self.rows, other.rows]),
                np.concatenate([self.values, other.values]),
                self.shape,
            )
        if isinstance(other, np.ndarray):
            dense = np.array(other)
            self.add_to(dense)
            return dense
        return NotImplemented

    __radd__ = __add__

    def __mul__(self, factor: float) -> "RowSparse":
        return RowSparse(self.rows, self.values * factor, self.shape, self.is_coalesced)

    __rmul__ = __mul__


def sum_by_row(rows: IntArray, values: Array) -> tuple[IntArray, Array]:
    """The distinct `rows`, ascending, and for each the sum of its `values`, in order of arrival.

    rows (N,) int64, values (N, D); returns (M,) and (M, D). Time depends on N and D only.
    """
    if values.dtype == np.float16:  # a way to store: sums are float32's
        distinct, sums = sum_by_row(rows, values.astype(np.float32))
        return distinct, sums.astype(np.float16)
    distinct, order, starts = group_rows(rows)
    sums = np.empty((len(distinct), values.shape[1]), values.dtype)
    kernels.segment_sum_rows(values, order, starts, sums)
    return distinct.copy(), sums


CLEARED_BY_CORES = 1 << 24
"""Bytes of a table up to which all cores clear it as a kernel does, in the cache: one of 10 MB
takes 350 µs with its sums instead of 450. One of 60 MB is cleared quicker past the cache, as the
system does."""


def table_of_sums(rows: IntArray, values: Array, shape: tuple[int, int]) -> Array:
    """A table (V, D) with the sums of `sum_by_row` in its rows, and 0 elsewhere."""
    if values.dtype == np.float16:
        return RowSparse(rows, values, shape).to_dense()
    clear = values.itemsize * shape[0] * shape[1] <= CLEARED_BY_CORES
    table = np.empty(shape, values.dtype) if clear else np.zeros(shape, values.dtype)
    distinct, order, starts = group_rows(rows)
    kernels.segment_table(values, order, starts, distinct, int(clear), table)
    return table


def group_rows(rows: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """(distinct, order, starts): the distinct of `rows` (N,), ascending, (M,), and their places.

    distinct[j] stands in `rows` at order[starts[j] : starts[j + 1]], ascending.
    """
    n = len(rows)
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    order, distinct = np.empty(n, np.int64), np.empty(n, np.int64)
    starts, count = np.empty(n + 1, np.int64), np.empty(1, np.int64)
    kernels.group_ids(rows, order, distinct, starts, count)
    m = int(count[0])
    return distinct[:m], order, starts[: m + 1]


class CSR:
    """A constant sparse matrix in rows: graphs, bags of words, seen items.

    Row n has the values data[j] in the columns indices[j], for j in indptr[n] : indptr[n+1].
    indptr (N+1,) and indices (J,) int64, data (J,); shape (N, V). `csr @ x` multiplies a dense
    array or Tensor (V, D).
    """

    def __init__(self, indptr: IntArray, indices: IntArray, data: Array, shape: tuple[int, int]):
        self.indptr = np.ascontiguousarray(indptr, dtype=np.int64)
        self.indices = np.ascontiguousarray(indices, dtype=np.int64)
        self.data = np.ascontiguousarray(data)
        self.shape = shape
        if len(self.indptr) != shape[0] + 1 or self.indptr[0] or self.indptr[-1] != len(self.data):
            raise ValueError(
                f"CSR: indptr of {len(self.indptr)} entries does not fit {shape[0]} rows with "
                f"{len(self.data)} values: it needs one entry a row and one more, from 0 to that"
            )
        if len(self.indices) != len(self.data) or (np.diff(self.indptr) < 0).any():
            raise ValueError("CSR: indices must be as many as values, and indptr must not fall")
        if len(indices) and not 0 <= self.indices.min() <= self.indices.max() < shape[1]:
            raise ValueError(f"CSR: a column index lies outside 0 to {shape[1] - 1}")

    def __repr__(self) -> str:
        return f"CSR({self.shape[0]} x {self.shape[1]}, {len(self.data)} values)"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: IntArray) -> "CSR":
        """The given rows, in the given order."""
        rows = np.arange(self.shape[0])[rows]
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return CSR(indptr, self.indices[places], self.data[places], (len(rows), self.shape[1]))

    @cached_property
    def T(self) -> "CSR":
        """The transpose; made once."""
        order = np.argsort(self.indices, kind="stable")
        counts = np.bincount(self.indices, minlength=self.shape[1])
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return CSR(indptr, rows[order], self.data[order], (self.shape[1], self.shape[0]))

    def to_dense(self) -> Array:
        """The whole matrix; repeated places add up."""
        dense = np.zeros(self.shape, self.data.dtype)
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        np.add.at(dense, (rows, self.indices), self.data)
        return dense
