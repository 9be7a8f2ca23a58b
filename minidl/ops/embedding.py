"""Rows of a table."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty
from minidl.sparse import RowSparse, table_of_sums


class Embedding(Op):
    """Rows of a table by their number.

        out_i = weight[ids_i];   dweight[v] = sum of dout_i over all i with ids_i = v

    A row `padding_idx` gets no gradient. With `sparse` the gradient is a RowSparse of the rows that
    were read, and costs nothing that grows with the table.
    Shapes: weight (V, D), ids (...) int64 in 0 to V - 1, out (..., D).
    """

    saves = ("ids", "shape")

    @staticmethod
    def forward(weight, ids, *, padding_idx, sparse):
        out = empty((ids.size, weight.shape[1]), weight.dtype)
        flat = np.ascontiguousarray(ids, np.int64).reshape(-1)
        if weight.dtype.itemsize < 4:  # kernels know no float16
            np.take(weight, flat, axis=0, out=out)
        else:
            kernels.gather_rows(np.ascontiguousarray(weight), flat, out)
        return out.reshape(*ids.shape, weight.shape[1]), (ids, weight.shape)

    @staticmethod
    def backward(dout, saved, needs, *, padding_idx, sparse):
        ids, shape = saved
        flat = _math.values(ids).reshape(-1)
        if type(dout) is np.ndarray and not sparse:
            values = np.ascontiguousarray(dout.reshape((flat.size, shape[1])))
            dweight = table_of_sums(flat, values, shape)
            if padding_idx is not None:  # sooner than from dout, which is as large as the batch
                dweight[padding_idx] = 0
            return dweight, None
        if padding_idx is not None:
            keep = np.broadcast_to((_math.values(ids) != padding_idx)[..., None], dout.shape)
            dout = _math.masked(keep, dout)
        values = dout.reshape((flat.size, shape[1]))
        if type(dout) is not np.ndarray:
            places = flat[:, None] * shape[1] + np.arange(shape[1])
            return _math.add_flat(values, places, shape), None
        return RowSparse(flat, values, shape), None

    @classmethod
    def flops(cls, *shapes, **settings):
        """None: rows are only copied."""
        return 0

    @classmethod
    def bytes(cls, *arrays):
        """The ids, and each row that is read and written."""
        return _moved(*arrays)

    @classmethod
    def bytes_backward(cls, *arrays):
        """As forward, and a dense gradient of the whole table."""
        return _moved(*arrays) + arrays[0].nbytes


def _moved(weight, ids):
    return ids.nbytes + 2 * ids.size * weight[:1].nbytes
