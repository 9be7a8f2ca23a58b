"""Sums and maxima over bags of table rows."""

from typing import Any

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty
from minidl.ops.sparse import csr_product
from minidl.sparse import RowSparse, sum_by_row


class EmbeddingBag(Op):
    """Weighted sums of table rows: a sparse matrix of the factors, times the table.

        out_b = sum_{j in bag b} factors_j weight[ids_j]
        dweight[v] = sum over j with ids_j = v of factors_j dout_{b(j)}
        dfactors_j = dout_{b(j)} . weight[ids_j]

    Rows are read and added where they lie: no array of all rows of all bags is made, unless the
    factors take a gradient. `sparse`: dweight is a RowSparse of the rows that were read.
    Shapes: weight (V, D), factors (J,), ids (J,) int64, indptr (B + 1,) int64: bag b has the j from
    indptr_b to indptr_{b+1} - 1; out (B, D).
    """

    saves = ("weight", "factors", "ids", "indptr")

    @staticmethod
    def forward(weight, factors, ids, indptr, *, sparse):
        ids, indptr = np.ascontiguousarray(ids), np.ascontiguousarray(indptr)
        out = csr_product(indptr, ids, np.ascontiguousarray(factors), weight)
        return out, (weight, factors, ids, indptr)

    @staticmethod
    def backward(dout, saved, needs, *, sparse):
        weight, factors, ids, indptr = saved
        bag = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))  # (J,)
        dweight: Any = None
        dfactors = None
        if needs[0]:
            n = len(ids)
            order, rows = np.empty(n, np.int64), np.empty(n, np.int64)
            starts, count = np.empty(n + 1, np.int64), np.empty(1, np.int64)
            kernels.group_ids(ids, order, rows, starts, count)
            m = int(count[0])
            rows = rows[:m].copy()
            sums = csr_product(starts[: m + 1], bag[order], factors[order], dout)  # (m, D)
            if sparse:
                dweight = RowSparse(rows, sums, weight.shape, True)
            else:
                dweight = _math.zeros(weight.shape, weight.dtype)
                dweight[rows] = sums
        if needs[1]:
            dfactors = np.einsum("jd,jd->j", weight[ids], dout[bag])
        return dweight, dfactors, None, None

    @staticmethod
    def composite(F, weight, factors, ids, indptr, *, sparse):
        ids, indptr = _math.values(ids), _math.values(indptr)
        bag = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        rows = weight.take_rows(ids, 0) * factors.unsqueeze(1)  # (J, D)
        return rows.add_rows(bag, 0, (len(indptr) - 1, weight.shape[1]))

    @classmethod
    def flops(cls, *shapes, **settings):
        """A multiplication and an addition for each row and column."""
        return 2 * shapes[2][0] * shapes[0][1]


class EmbeddingBagMax(Op):
    """The maximum over bags of table rows, column by column.

        out_bd = max_{j in bag b} weight[ids_j, d];   dweight[ids_j*, d] += dout_bd, j* the first
        of equal maxima

    An empty bag has 0, and no gradient. Shapes: as EmbeddingBag.
    """

    saves = ("places", "shape")

    @staticmethod
    def forward(weight, ids, indptr):
        size = (len(indptr) - 1, weight.shape[1])
        out, places = empty(size, weight.dtype), empty(size, np.int64)
        arrays = [np.ascontiguousarray(a) for a in (indptr, ids, weight)]
        _math.suited(kernels.bag_max, out)(*arrays, out, places)
        return out, (places, weight.shape)

    @staticmethod
    def backward(dout, saved, needs):
        places, shape = saved
        places = _math.values(places)
        dout = _math.masked(places >= 0, dout)
        flat = (np.maximum(places, 0) * shape[1] + np.arange(shape[1])).reshape(-1)
        if type(dout) is not np.ndarray or not flat.size:
            return _math.add_flat(dout.reshape(-1), flat, shape), None, None
        rows, sums = sum_by_row(flat, np.ascontiguousarray(dout).reshape(-1, 1))
        dweight = _math.zeros(shape, dout.dtype)
        dweight.reshape(-1)[rows] = sums[:, 0]
        return dweight, None, None

    @classmethod
    def flops(cls, *shapes, **settings):
        """A comparison for each row and column."""
        return shapes[1][0] * shapes[0][1]
