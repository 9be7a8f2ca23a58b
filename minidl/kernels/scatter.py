"""Rows of a table by index: read them, add to them, and bring repeated ones together.

No kernel allocates or visits anything as long as the table: time depends on the number of indices.
Indices are int64 in 0 … V-1; the caller checks them.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds, rows_a_piece
from minidl.kernels._prefetch import prefetch

_PIECE = 16_384  # elements
_COLUMNS = 16  # a cache line of float32: two threads never write into one line
_SERIAL_BELOW = 50_000  # 1,024 rows of 64: read in 8.6 µs serial, 5.8 on two cores
_AHEAD = 8  # rows: scattered rows are asked for this long before their turn
_LINE = 16  # elements in a cache line of 64 bytes; of float64 every second line is asked for
_DIGIT = 11  # bits a pass of the radix sort looks at; its 2,048 counters stay in first-level cache


def gather_rows_ref(table, ids, out):
    out[:] = table[ids]


@piece
def _gather(table, ids, out):
    width = out.shape[1]
    for i in range(ids.size):
        ahead = ids[min(i + _AHEAD, ids.size - 1)] * width
        for d in range(0, width, _LINE):
            prefetch(table, ahead + d)
        source, target = table[ids[i]], out[i]
        for d in range(source.size):
            target[d] = source[d]


@kernel(reference=gather_rows_ref, parallel=True, serial_below=_SERIAL_BELOW, size_of="out")
def gather_rows(table, ids, out):
    """table (V, D); ids (N,); out (N, D).  out = table[ids]."""
    step = rows_a_piece(table.shape[1], _PIECE)
    for p in prange(count_pieces(ids.size, step)):
        s, e = piece_bounds(p, step, ids.size)
        _gather(table, ids[s:e], out[s:e])


def scatter_add_rows_ref(values, ids, table):
    np.add.at(table, ids, values)


@piece
def _add_columns(values, ids, first, last, table):
    for i in range(ids.size):
        source, target = values[i, first:last], table[ids[i], first:last]
        for d in range(source.size):
            target[d] += source[d]


@kernel(reference=scatter_add_rows_ref, parallel=True, serial_below=400_000)
def scatter_add_rows(values, ids, table):
    """values (N, D); ids (N,), may repeat; table (V, D).  table[ids] += values, in order of i.

    The pieces are columns, not rows: two rows of values may go to the same row of the table.
    """
    width = values.shape[1]
    for p in prange(count_pieces(width, _COLUMNS)):
        s, e = piece_bounds(p, _COLUMNS, width)
        _add_columns(values, ids, s, e, table)


def group_ids_ref(ids, order, rows, starts, count):
    order[:] = np.argsort(ids, kind="stable")
    unique, first = np.unique(ids[order], return_index=True)
    m = len(unique)
    rows[:m], rows[m:] = unique, 0
    starts[:m], starts[m:] = first, len(ids)
    count[0] = m


@piece
def _sort_by_digit(ids, order, spare, shift, counts):
    """One stable pass of the radix sort: `order` by the digit of `ids` at `shift`."""
    mask = np.int64((1 << _DIGIT) - 1)
    counts[:] = 0
    for i in range(ids.size):
        counts[((ids[i] >> shift) & mask) + 1] += 1
    for c in range(1, counts.size):
        counts[c] += counts[c - 1]
    for i in range(ids.size):
        digit = (ids[order[i]] >> shift) & mask
        spare[counts[digit]] = order[i]
        counts[digit] += 1
    for i in range(ids.size):
        order[i] = spare[i]


@kernel(reference=group_ids_ref)
def group_ids(ids, order, rows, starts, count):
    """Sort ids and find the runs of equal ones.  ids, order, rows (N,); starts (N+1,); count (1,).

    With m = count[0] different ids: rows[:m] are they, ascending, and the places of rows[j] in
    `ids` are order[starts[j] : starts[j+1]], ascending. The rest of rows is 0, that of starts N.

    Radix sort (Knuth, TAOCP 3, 5.2.5) from the lowest digit, with as many passes as the largest id
    has digits: two for tables of up to 4 million rows.
    """
    n = ids.size
    largest = np.int64(0)
    for i in range(n):
        largest = max(largest, ids[i])
        order[i] = i
    spare = np.empty(n, np.int64)
    counts = np.empty((1 << _DIGIT) + 1, np.int64)
    shift = np.int64(0)
    while largest >> shift > 0:
        _sort_by_digit(ids, order, spare, shift, counts)
        shift += _DIGIT
    m = 0
    for i in range(n):
        if i == 0 or ids[order[i]] != ids[order[i - 1]]:
            rows[m] = ids[order[i]]
            starts[m] = i
            m += 1
    count[0] = m
    rows[m:] = 0
    starts[m:] = n


def segment_sum_rows_ref(values, order, starts, out):
    for j in range(len(out)):
        out[j] = values[order[starts[j] : starts[j + 1]]].sum(axis=0, dtype=np.float64)


@piece
def _segment_sum(values, places, total, out):
    """out (D,) = the sum of the values at `places`; total (D,), to work in."""
    if places.size == 1:  # most ids of a batch come once
        source = values[places[0]]
        for d in range(out.size):
            out[d] = source[d]
        return
    for d in range(total.size):
        total[d] = 0.0
    for i in range(places.size):
        source = values[places[i]]
        for d in range(total.size):
            total[d] += source[d]
    for d in range(total.size):
        out[d] = total[d]


@piece
def _segment_sums(values, order, starts, first, out):
    total = np.empty(values.shape[1], np.float64)
    for j in range(out.shape[0]):
        s, e = starts[first + j], starts[first + j + 1]
        _segment_sum(values, order[s:e], total, out[j])


@kernel(reference=segment_sum_rows_ref, parallel=True, serial_below=_SERIAL_BELOW)
def segment_sum_rows(values, order, starts, out):
    """values (N, D); order (N,), starts (>= m+1,) of `group_ids`; out (m, D).

    out[j] = the sum of values[i] over i in order[starts[j] : starts[j+1]], in that order.
    """
    step = rows_a_piece(values.shape[1], _PIECE)
    for p in prange(count_pieces(out.shape[0], step)):
        s, e = piece_bounds(p, step, out.shape[0])
        _segment_sums(values, order, starts, s, out[s:e])


def segment_table_ref(values, order, starts, rows, clear, table):
    if clear:
        table[:] = 0
    for j, row in enumerate(rows):
        table[row] = values[order[starts[j] : starts[j + 1]]].sum(axis=0, dtype=np.float64)


@piece
def _sums_to_table(values, order, starts, rows, first, last, table):
    """The rows whose values begin in `order` from first to last."""
    total = np.empty(values.shape[1], np.float64)
    for j in range(np.searchsorted(starts[: rows.size], first), rows.size):
        if starts[j] >= last:
            break
        _segment_sum(values, order[starts[j] : starts[j + 1]], total, table[rows[j]])


@piece
def _clear(flat):
    for i in range(flat.size):
        flat[i] = 0


@kernel(reference=segment_table_ref, parallel=True, serial_below=_SERIAL_BELOW, size_of="table")
def segment_table(values, order, starts, rows, clear, table):
    """table[rows[j]] = the sum that `segment_sum_rows` has at j; rows (m,), table (V, D).

    The other rows become 0 if `clear` is 1, and stay as they are if it is 0.
    """
    flat = table.reshape(table.size)
    for p in prange(count_pieces(flat.size, _PIECE) * clear):
        s, e = piece_bounds(p, _PIECE, flat.size)
        _clear(flat[s:e])
    step = rows_a_piece(values.shape[1], _PIECE)
    for p in prange(count_pieces(order.size, step)):  # equal parts of the values, not of the rows
        s, e = piece_bounds(p, step, order.size)
        _sums_to_table(values, order, starts, rows, s, e, table)
