"""What the kernels of recurrent layers share: whole sequences of a layer in one kernel.

A batch of sequences lies one time step after the other (see `ops._steps`): `starts` and `sizes`
(T,) tell each step's first row and how many it has, the longest sequences first. A piece of a
kernel takes a range of sequences through all steps, so threads never wait for each other, and a
step is two products with packed weights (`_tile`) and the layer's function while the rows are in
cache. `packed` False: w_ih and w_hh are (1, M, K) as they lie, for a few rows only, which do not
repay the packing.

States h and c hold a row for each sequence: first states come in, last states go out; backward's dh
and dc likewise the other way. An array that is not wanted has no rows.

x and dout may lie one sequence after the other, as a layer's input does with batch_first. Their
gap, the rows from one sequence to the next one in the same step, is then T, else 1. dx lies as x.
"""

import numpy as np

from minidl.kernels._jit import helper, piece
from minidl.kernels._tile import unpacked

SERIAL_BELOW = 8_192  # elements of a state over all steps: 50 µs of work and more


def matrix(w, packed, columns):
    """(K, M) of weights as a kernel gets them: for references."""
    return unpacked(w, columns) if packed else w[0].T


def spans(starts, sizes, backwards):
    """(start, stop) of each step's rows, in the order of computation: for references."""
    found = [(int(s), int(s + n)) for s, n in zip(starts, sizes)]
    return found[::-1] if backwards else found


def by_steps(rows, gap):
    """x or dout one time step after the other, as a view of (N, D): for references."""
    if gap == 1 or not len(rows):
        return rows
    return rows.reshape(-1, gap, rows.shape[1]).swapaxes(0, 1).reshape(rows.shape)


def as_given(rows, gap):
    """Rows one time step after the other to where x has them: for references."""
    return rows if gap == 1 else by_steps(rows, len(rows) // gap)


def sigmoid_ref(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0).astype(x.dtype) / (1 + e)


def pieces_of(batch):
    """Two pieces if it can be, four of 16 rows and more, eight at 257 sequences and so on."""
    return 1 if batch < 8 else 2 if batch < 64 else 4 * ((batch + 255) // 256)


_pieces_of = helper(pieces_of)


@helper
def sequences_a_piece(batch):
    """How many sequences a piece takes."""
    pieces = _pieces_of(batch)
    return max(1, (batch + pieces - 1) // pieces)


@piece(fastmath=("contract", "reassoc"))  # reassoc: a sum in SIMD lanes
def dots(a, w, add, c):
    """c (R, M) = a (R, K) @ w^T, or c += it if add; w (M, K)."""
    for n in range(a.shape[0]):
        row, out = a[n], c[n]
        for m in range(w.shape[0]):
            weights = w[m]
            total = c.dtype.type(0.0)
            for k in range(weights.size):
                total += row[k] * weights[k]
            out[m] = out[m] + total if add else total


@piece
def copy_rows(x, y):
    """y = x, both (R, H); as loops, for Numba compiles y[:] = x for two seconds."""
    for n in range(x.shape[0]):
        row, to = x[n], y[n]
        for k in range(row.size):
            to[k] = row[k]


@piece
def step_of(i, steps, backwards):
    """The i-th step of a walk forwards or backwards."""
    return steps - 1 - i if backwards else i


@helper
def steps_ahead(count, sizes):
    """Steps whose input products are one: 8 rows' cost hardly more than one's."""
    return 8 // count if 0 < count == sizes[0] and count < 8 else 1


@piece
def block_rows(i, ahead, starts, sizes, reverse, first, n):
    """(low, high) rows of the steps from the i-th on; of the own n of one step if that is all."""
    t = step_of(i, sizes.size, reverse)
    if ahead == 1:
        return starts[t] + first, starts[t] + first + n
    last = step_of(min(i + ahead, sizes.size) - 1, sizes.size, reverse)
    return min(starts[t], starts[last]), max(starts[t] + sizes[t], starts[last] + sizes[last])


@helper
def place_of(row, batch, gap):
    """Where row `row`, counted one step after the other, lies in x or dout."""
    return row if gap == 1 else row // batch + row % batch * gap


@piece
def rows_of_x(x, gap, batch, low, high, room):
    """The rows low ... high-1, counted one step after the other: x's own, or copied to room."""
    if gap == 1:
        return x[low:high]
    for n in range(high - low):
        row, to = x[place_of(low + n, batch, gap)], room[n]
        for k in range(to.size):
            to[k] = row[k]
    return room[: high - low]


@piece
def add_rows(dout, gap, batch, s, dh):
    """dh += rows of dout from s on, counted one step after the other, if there are any."""
    if dout.shape[0]:
        for n in range(dh.shape[0]):
            more, total = dout[place_of(s + n, batch, gap)], dh[n]
            for k in range(total.size):
                total[k] += more[k]
