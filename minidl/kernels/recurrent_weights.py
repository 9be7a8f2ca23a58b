"""Gradients of a recurrent layer's weights, while its backward kernel walks.

The gates of a step are (x, 1, h) times weights, the bias being the weight of an input that is
always 1. So dw = inputs^T dgates, summed over all rows. A piece of the backward kernel multiplies
some hundred rows at a time, while they are in the second cache, and dgates never goes to memory:
a fifth of an LSTM step. Each piece has a sum of its own, (panels, D + 1 + H, width), for
the gates in panels; `gate_weights` adds them up.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import count_pieces
from minidl.kernels._sequences import as_given, by_steps, pieces_of, place_of
from minidl.kernels._tile import PANEL_BYTES, pack_columns, panel_product

ROWS = 128
_FEW = 32  # rows a piece, below which reading and writing the sums takes too long


def gate_sums_shape(batch, rows, gates, inputs, dtype):
    """The shape of the pieces' sums for (rows, gates) and (rows, inputs); (0, …) if rows are few:
    the caller then gets dgates.
    """
    width = PANEL_BYTES // np.dtype(dtype).itemsize
    pieces = pieces_of(batch)
    each = (batch + pieces - 1) // pieces
    return (
        (batch + each - 1) // each if rows >= _FEW * pieces else 0,
        (gates + width - 1) // width,
        inputs,
        width,
    )


def give_back(found, dinput, x, gap, before, starts, sizes, use, dgates, dx, sums):
    """The outputs of a backward kernel, from all gradients of gates found: for references.

    found (N, G), dinput (N, D) or (0, D), before (N, H), one step after the other; use: as in
    `add_to_sums`.
    """
    dx[:] = as_given(dinput, gap)
    if not len(sums):
        dgates[:] = found
        return
    rows = by_steps(x, gap)
    inputs = np.concatenate([rows, np.ones((len(rows), 1), x.dtype), before], axis=1)
    pieces, panels, _, width = sums.shape
    owner = (np.arange(len(found)) - np.repeat(starts, sizes)) // -(-int(sizes[0]) // pieces)
    wide = np.zeros((len(found), panels * width), x.dtype)
    wide[:, : found.shape[1]] = found
    for q in range(pieces):
        own = inputs[owner == q].T @ wide[owner == q]
        for p in range(panels):
            low, high = _needed(p * width, width, use, inputs.shape[1])
            sums[q, p, low:high] = own[low:high, p * width : p * width + width]


def _needed(s, width, use, inputs):
    for_x, for_h, x_width = use
    return 0 if s < for_x else x_width, inputs if s + width > for_h else x_width + 1


_inputs_of = helper(_needed)


@helper
def rooms(batch, gates, x, before, sums):
    """(steps, rows, inputs, panel): what a piece with `batch` sequences multiplies at once."""
    steps = max(1, ROWS // batch)
    size = steps * batch if sums.shape[0] else 0
    return (
        steps,
        np.empty((size, gates), x.dtype),
        np.empty((size, x.shape[1] + 1 + before.shape[1]), x.dtype),
        np.empty((1, size, sums.shape[3]), x.dtype),
    )


@piece
def put_inputs(x, gap, batch, s, before, inputs):
    """inputs (n, D + 1 + H) = a row of x, 1, and a row of `before`, for the rows from s on."""
    width = x.shape[1]
    for n in range(inputs.shape[0]):
        row, to = x[place_of(s + n, batch, gap)], inputs[n]
        first, last, h = to[:width], to[width + 1 :], before[s + n]
        for k in range(row.size):
            first[k] = row[k]
        to[width] = 1
        for k in range(h.size):
            last[k] = h[k]


@piece
def add_to_sums(dgates, inputs, use, panel, add, sums):
    """sums (panels, D + 1 + H, width) = inputs^T dgates, or += if add; for the same rows (R, ·).

    use: x has to do with the gates below use[0] only, h with those from use[1] on, and use[2] = D.
    panel: (1, R, width), room.
    """
    width = sums.shape[2]
    for p in range(sums.shape[0]):
        pack_columns(dgates, p * width, panel[0])
        low, high = _inputs_of(p * width, width, use, inputs.shape[1])
        panel_product(inputs[:, low:high].T, panel, add, sums[p, low:high])


def gate_weights_ref(sums, row, first, bias_row, dw, db):
    total = sums[0].copy()
    for own in sums[1:]:
        total += own
    whole = total.swapaxes(0, 1).reshape(total.shape[1], -1)[:, first : first + len(dw)]
    dw[:] = whole[row : row + dw.shape[1]].T
    if db.size:
        db[:] = whole[bias_row]


@piece
def _add_up(sums, p, row, first, dw):
    width = sums.shape[3]
    low, high = max(first - p * width, 0), min(first + dw.shape[0] - p * width, width)
    total = np.empty(width, dw.dtype)
    for k in range(dw.shape[1]):
        own = sums[0, p, row + k]
        for j in range(width):
            total[j] = own[j]
        for q in range(1, sums.shape[0]):
            own = sums[q, p, row + k]
            for j in range(width):
                total[j] += own[j]
        for j in range(low, high):
            dw[p * width + j - first, k] = total[j]


@kernel(reference=gate_weights_ref, parallel=True, serial_below=65_536)
def gate_weights(sums, row, first, bias_row, dw, db):
    """sums (pieces, panels, D + 1 + H, width); dw (M, D) for the inputs from `row` on and the M
    gates from column `first` on; db (M,) or (0,) for the input bias_row.
    """
    width = sums.shape[3]
    p_first = first // width
    for i in prange(count_pieces(first + dw.shape[0], width) - p_first):
        _add_up(sums, p_first + i, row, first, dw)
    if db.size:
        for p in range(p_first, count_pieces(first + db.size, width)):
            _add_up(sums, p, bias_row, first, db.reshape(db.size, 1))
