"""Optimizer steps that touch only the rows of a table which a batch has used.

`rows` (M,) int64 are different from one another (`group_ids`), values (M, D) their gradients; table
and states are (V, D). Nothing here takes longer for a longer table.
"""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds, rows_a_piece
from minidl.kernels._prefetch import prefetch

_PIECE = 4_096  # elements
_SERIAL_BELOW = 50_000  # 1,024 rows of 64: Adagrad 27 µs serial, 14 on two cores; 256: level
_AHEAD = 8  # rows: the scattered rows of three tables are asked for this long before their turn
_LINE = 16  # elements in a cache line of 64 bytes; of float64 every second line is asked for


def sgd_rows_ref(values, rows, lr, sign, table):
    table[rows] -= lr * sign * values


@piece
def _sgd(values, rows, rate, table):
    width = values.shape[1]
    for j in range(rows.size):
        ahead = rows[min(j + _AHEAD, rows.size - 1)] * width
        for d in range(0, width, _LINE):
            prefetch(table, ahead + d)
        r = rows[j]
        for d in range(width):
            table[r, d] -= rate * values[j, d]


@kernel(reference=sgd_rows_ref, parallel=True, serial_below=_SERIAL_BELOW)
def sgd_rows(values, rows, lr, sign, table):
    """table[rows] -= lr sign values: exactly the dense step without momentum and decay."""
    rate = table.dtype.type(lr * sign)
    step = rows_a_piece(values.shape[1], _PIECE)
    for p in prange(count_pieces(rows.size, step)):
        s, e = piece_bounds(p, step, rows.size)
        _sgd(values[s:e], rows[s:e], rate, table)


def adagrad_rows_ref(values, rows, step, lr, lr_decay, eps, sign, table, total):
    total[rows] += values * values
    rate = lr / (1 + (step - 1) * lr_decay)
    table[rows] -= rate * sign * values / (np.sqrt(total[rows]) + eps)


@piece
def _adagrad(values, rows, rate, eps, table, total):
    width = values.shape[1]
    for j in range(rows.size):
        ahead = rows[min(j + _AHEAD, rows.size - 1)] * width
        for d in range(0, width, _LINE):
            prefetch(table, ahead + d)
            prefetch(total, ahead + d)
        r = rows[j]
        for d in range(width):
            g = values[j, d]
            square = total[r, d] + g * g
            total[r, d] = square
            table[r, d] -= rate * g / (np.sqrt(square) + eps)


@kernel(reference=adagrad_rows_ref, parallel=True, serial_below=_SERIAL_BELOW)
def adagrad_rows(values, rows, step, lr, lr_decay, eps, sign, table, total):
    """Adagrad on rows: exactly the dense step without decay (see `adagrad`)."""
    real = table.dtype.type
    rate = real(sign * lr / (1.0 + (step - 1) * lr_decay))
    size = rows_a_piece(values.shape[1], _PIECE)
    for p in prange(count_pieces(rows.size, size)):
        s, e = piece_bounds(p, size, rows.size)
        _adagrad(values[s:e], rows[s:e], rate, real(eps), table, total)


def sparse_adam_rows_ref(
    values, order, starts, rows, step, lr, beta1, beta2, eps, sign, table, m, v
):
    sums = np.zeros((rows.size, values.shape[1]))
    np.add.at(sums, np.repeat(np.arange(rows.size), np.diff(starts)), values[order])
    g = sign * sums.astype(values.dtype)
    m[rows] += (1 - beta1) * (g - m[rows])
    v[rows] += (1 - beta2) * (g * g - v[rows])
    rate = lr * np.sqrt(1 - beta2**step) / (1 - beta1**step)
    table[rows] -= rate * m[rows] / (np.sqrt(v[rows]) + eps)


@piece
def _sparse_adam(values, order, starts, rows, rate, new1, new2, eps, sign, table, m, v):
    width = values.shape[1]
    total, rounded = np.empty(width, np.float64), np.empty(width, values.dtype)
    for j in range(rows.size):
        if j + _AHEAD < rows.size:
            ahead, first = rows[j + _AHEAD] * width, order[starts[j + _AHEAD]] * width
            for d in range(0, width, _LINE):
                prefetch(table, ahead + d)
                prefetch(m, ahead + d)
                prefetch(v, ahead + d)
                prefetch(values, first + d)
        gradient = values[order[starts[j]]]
        if starts[j + 1] > starts[j] + 1:
            for d in range(width):
                total[d] = gradient[d]
            for i in range(starts[j] + 1, starts[j + 1]):
                more = values[order[i]]
                for d in range(width):
                    total[d] += more[d]
            for d in range(width):
                rounded[d] = total[d]
            gradient = rounded
        weight, mean, square = table[rows[j]], m[rows[j]], v[rows[j]]
        for d in range(weight.size):
            g = sign * gradient[d]
            first_moment = mean[d] + new1 * (g - mean[d])
            second_moment = square[d] + new2 * (g * g - square[d])
            mean[d] = first_moment
            square[d] = second_moment
            weight[d] -= rate * first_moment / (np.sqrt(second_moment) + eps)


@kernel(reference=sparse_adam_rows_ref, parallel=True, serial_below=_SERIAL_BELOW)
def sparse_adam_rows(
    values, order, starts, rows, step, lr, beta1, beta2, eps, sign, table, m, v
):
    """torch.optim.SparseAdam: moments and parameters of the given rows only.

        table -= lr sqrt(1 - beta2^step) / (1 - beta1^step) m / (sqrt(v) + eps)

    The gradient of rows[j] is the sum of values[order[i]], i in starts[j] ... starts[j+1] - 1:
    values (N, D) come as they are, for adding up repeated rows beforehand writes and reads as much
    memory again. `step` counts the optimizer's steps, not those of the row; unused rows do not
    decay.
    """
    real = table.dtype.type
    rate = real(lr * np.sqrt(1.0 - beta2**step) / (1.0 - beta1**step))
    new1, new2 = real(1.0 - beta1), real(1.0 - beta2)
    size = rows_a_piece(values.shape[1], _PIECE)
    for p in prange(count_pieces(rows.size, size)):
        s, e = piece_bounds(p, size, rows.size)
        _sparse_adam(
            values, order, starts[s : e + 1], rows[s:e], rate, new1, new2, real(eps), real(sign),
            table, m, v,
        )
