"""What recurrent ops share: the rows of each time step, packed weights, gradients of weights.

Sequences of one batch lie one time step after the other, as in torch's PackedSequence: the rows of
step t are those of the sequences that are longer than t, the longest sequence first. A batch of
equal lengths is the special case of T steps of B rows.
"""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import empty
from minidl.ops._product import product
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


def rows_in(x):
    """(rows, gap) of x (N, D) or (T, B, D): (N, D) in memory's order, and how many of them lie
    between one sequence's row and the next one's. A layer's batch_first input needs no copy.
    """
    if x.ndim == 2:
        return np.ascontiguousarray(x), 1
    steps, batch, width = x.shape
    if not x.flags.c_contiguous and x.swapaxes(0, 1).flags.c_contiguous:
        return x.swapaxes(0, 1).reshape(steps * batch, width), steps
    return np.ascontiguousarray(x).reshape(steps * batch, width), 1


def shaped(rows, gap, like):
    """Rows as `rows_in` gives them, with the axes of x again."""
    if like.ndim == 2:
        return rows
    steps, batch = like.shape[:2]
    if gap == 1:
        return rows.reshape(steps, batch, rows.shape[1])
    return rows.reshape(batch, steps, rows.shape[1]).swapaxes(0, 1)


def gradient_room(steps, x, before, gates, needs):
    """(dgates, dx, sums) for a backward kernel, which fills them; gates (N, G), x (N, D).

    needs: whether dx and any weight's gradient are wanted. sums have no rows where dgates is to be
    multiplied afterwards.
    """
    shape = (0, 0, 0, 1)
    if needs[1]:
        inputs = x.shape[1] + 1 + before.shape[1]
        shape = kernels.gate_sums_shape(steps.batch, steps.rows, gates.shape[1], inputs, x.dtype)
    sums = empty(shape, x.dtype)
    dgates = empty((0 if len(sums) else steps.rows, gates.shape[1]), x.dtype)
    return dgates, empty((len(x) if needs[0] else 0, x.shape[1]), x.dtype), sums


def input_weights(found, columns, x, gap, needs):
    """(dw_ih, db) of the gates in a slice of columns; None where not needed.

    found: (dgates, sums) from the backward kernel, x (N, D) and gap: see `rows_in`.
    """
    return _weights(found, columns, x, gap, 0, x.shape[1], needs)


def recurrent_weights(found, columns, x, before, needs):
    """(dw_hh, db) likewise, for the states before each step (N, H)."""
    return _weights(found, columns, before, 1, x.shape[1] + 1, x.shape[1], needs)


def _weights(found, columns, rows, gap, place, bias_place, needs):
    (dgates, sums), count = found, columns.stop - columns.start
    if not any(needs):
        return None, None
    if not len(sums):
        own = dgates[:, columns]
        if gap > 1:
            rows = rows.reshape(-1, gap, rows.shape[1]).swapaxes(0, 1).reshape(rows.shape)
        dw = product(own.T, rows) if needs[0] else None
        return dw, sum_rows(own) if needs[1] else None
    dw = empty((count, rows.shape[1] if needs[0] else 0), rows.dtype)
    db = empty(count if needs[1] else 0, rows.dtype)
    suited(kernels.gate_weights, sums)(sums, place, columns.start, bias_place, dw, db)
    return dw if needs[0] else None, db if needs[1] else None


def rows_of(dout, like):
    """(rows, gap) of the gradient of an output; no rows if it was not used."""
    return (np.empty((0, like.shape[1]), like.dtype), 1) if dout is None else rows_in(dout)


def start(gradient, like):
    """The gradient of a last state as a new array, or zeros."""
    out = empty(like.shape, like.dtype)
    out[...] = 0 if gradient is None else gradient
    return out


def both_biases(b_ih, b_hh, width, dtype):
    """Their sum; zeros without biases."""
    return np.zeros(width, dtype) if b_ih is None else b_ih + b_hh


def unrolled(F, cell, steps, x, w_ih, b_ih, states):
    """A layer in elementary ops: cell(inputs, states) -> new states, one step after the other.

    inputs: x W_ih^T + b_ih. Returns the first state of all rows, and each state at the end.
    """
    rows = x.reshape(steps.rows, x.shape[-1]) if x.ndim == 3 else x
    inputs, outs = F.linear(rows, w_ih, b_ih), {}
    for s, e in steps.spans():
        n = e - s
        new = cell(inputs[s:e], [state[:n] for state in states])
        outs[s] = new[0]
        whole = n == steps.batch
        states = [a if whole else F.cat([a, state[n:]]) for a, state in zip(new, states)]
    out = F.cat([outs[s] for s in sorted(outs)])
    return out.reshape(*x.shape[:-1], out.shape[1]), *states
