"""What recurrent ops share: the rows of each time step, packed weights, gradients of weights.

Sequences of one batch lie one time step after the other, as in torch's PackedSequence: the rows of
step t are those of the sequences that are longer than t, the longest sequence first. A batch of
equal lengths is the special case of T steps of B rows.
"""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import empty
from minidl.ops._sums import sum_rows

_PACK_FROM = 16
"""Rows from which packed weights are quicker: the packing costs as much as 10 rows' product with
the weights as they lie."""


class Steps:
    """starts, sizes: int64 (T,), each step's first row and how many it has, all `rows`, the first
    `batch`; even: all have as many.
    """

    def __init__(self, sizes, reverse):
        self.sizes = np.ascontiguousarray(_math.values(sizes), np.int64)
        stops = np.cumsum(self.sizes)
        self.starts = stops - self.sizes
        self.rows, self.batch = int(stops[-1]), int(self.sizes[0])
        self.even, self.reverse = self.batch == int(self.sizes[-1]), reverse

    def spans(self):
        """(start, stop) of each step's rows, in the order in which steps are computed."""
        spans = list(zip(self.starts.tolist(), (self.starts + self.sizes).tolist()))
        return spans[::-1] if self.reverse else spans

    def weights(self, *given):
        """(packed, arrays) of weights (M, K) as forward's kernels take them."""
        if self.rows >= _PACK_FROM:
            return True, [panels(w, True) for w in given]
        return False, [np.ascontiguousarray(w)[None] for w in given]

    def room(self, first):
        """(before, out) for a state before and after each step: (N, H), before filled later.

        Where lengths are equal both lie in one array, for what a step leaves is where the next one
        begins; else before is None.
        """
        if not self.even:
            return None, empty((self.rows, first.shape[1]), first.dtype)
        both = empty((self.rows + self.batch, first.shape[1]), first.dtype)
        early, late = both[: self.rows], both[self.batch :]
        (both[self.rows :] if self.reverse else both[: self.batch])[...] = first
        return (late, early) if self.reverse else (early, late)

    def before(self, first, out):
        """The state before each step of sequences of different lengths, from those after it."""
        row = np.arange(self.rows)
        own = row - np.repeat(self.starts, self.sizes)  # which sequence a row belongs to
        if self.reverse:  # where a sequence ends it begins
            source = row + np.repeat(self.sizes, self.sizes)
            going = own < np.repeat(np.append(self.sizes[1:], 0), self.sizes)
        else:
            source = row - np.repeat(np.append(0, self.sizes[:-1]), self.sizes)
            going = row >= self.batch
        before = empty((self.rows, first.shape[1]), first.dtype)
        before[going] = out[source[going]]
        before[~going] = first[own[~going]]
        return before


def suited(kernel, *arrays):
    """The kernel if one of the arrays is large, else its reference."""
    return kernel if any(map(_math.large, arrays)) else getattr(kernel, "reference", kernel)


def panels(w, transposed=False):
    """w (K, M), or (M, K) if transposed, packed for kernels."""
    w = np.ascontiguousarray(w)
    inner, columns = w.shape[::-1] if transposed else w.shape
    packed = empty(kernels.panels_shape(inner, columns, w.dtype), w.dtype)
    suited(kernels.pack_panels, w)(w, transposed, packed)
    return packed


def weight_gradient(dgates, columns, x, needs):
    """(dw, db) of the gates in a slice of columns: dgates^T x, and the sum; None where not needed.

    dgates (N, G), x (N, D), dw (M, D), db (M,); needs: (dw, db).
    """
    own = dgates[:, columns]
    if not needs[0]:
        return None, sum_rows(own) if needs[1] else None
    x = np.ascontiguousarray(x)
    dw = empty((own.shape[1], x.shape[1]), x.dtype)
    db = empty(len(dw) if needs[1] else 0, x.dtype)
    suited(kernels.gate_weights, dgates, dw)(dgates, columns.start, x, dw, db)
    return dw, db if needs[1] else None


def rows_of(dout, like):
    """The gradient of an output, contiguous; no rows if it was not used."""
    return np.empty((0, like.shape[1]), like.dtype) if dout is None else np.ascontiguousarray(dout)


def start(gradient, like):
    """The gradient of a last state as a new array, or zeros."""
    out = empty(like.shape, like.dtype)
    out[...] = 0 if gradient is None else gradient
    return out


def both_biases(b_ih, b_hh, width, dtype):
    """Their sum; zeros without biases."""
    return np.zeros(width, dtype) if b_ih is None else b_ih + b_hh


def unrolled(F, cell, steps, inputs, states):
    """A layer in elementary ops: cell(inputs, states) -> new states, one step after the other.

    Returns the first state of all rows, and each state at the end.
    """
    outs = {}
    for s, e in steps.spans():
        n = e - s
        new = cell(inputs[s:e], [state[:n] for state in states])
        outs[s] = new[0]
        whole = n == steps.batch
        states = [a if whole else F.cat([a, state[n:]]) for a, state in zip(new, states)]
    return F.cat([outs[s] for s in sorted(outs)]), *states
