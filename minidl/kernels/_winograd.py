"""Winograd's minimal filtering: its matrices, and their use on squares of vectors in registers.

m outputs of a filter of r taps take n = m + r - 1 products instead of m * r: both, as polynomials,
are evaluated at n points, multiplied there, and what lies between is found again (Winograd 1980;
for images Lavin & Gray 2016, arXiv:1509.09308):

    out = OUT [(TAPS w TAPS^T) * (IN x IN^T)] OUT^T        x (n, n), w (r, r), out (m, m)

The points are 0 where their number is even, pairs -a and a, and infinity; IN depends on them alone.
The usual 0, -1, 1, -2, 2 have twice the errors in float32 of those here for n = 6, and 0, -1, 1, 2
for n = 5 (Barabasz et al. 2020, arXiv:1803.10986, on how to choose points).

In kernels a square is flat, an element of it a vector of 64 bytes: equally many channels.
"""

from typing import Any

import numpy as np

from minidl.kernels._lanes import _Lanes

_ROOT = 0.5**0.5
POINTS = {
    4: (0.0, -1.0, 1.0),
    5: (-0.45, 0.45, -1.4, 1.4),
    6: (0.0, -_ROOT, _ROOT, -1 / _ROOT, 1 / _ROOT),
}
"""The finite points, by n."""

WINOGRAD_SIZES = ((4, 3), (5, 4), (6, 2), (6, 4))
"""The n and m that there are."""


def winograd_matrices(side: int, outputs: int) -> tuple[Any, Any, Any]:
    """IN (n, n), TAPS (n, r), OUT (m, n), for n points and m outputs."""
    points, taps = POINTS[side], side + 1 - outputs
    into, by = np.zeros((side, side)), np.zeros((side, taps))
    out = np.zeros((outputs, side))
    for j, point in enumerate(points):
        others = [p for p in points if p != point]
        into[j, :-1] = np.poly(others)[::-1]  # the polynomial that is 0 at the others
        by[j] = point ** np.arange(taps) / np.prod(point - np.array(others))
        out[:, j] = point ** np.arange(outputs)
    into[-1], by[-1, -1], out[-1, -1] = np.poly(points)[::-1], 1, 1
    return np.where(abs(into) < 1e-12, 0, into), by, out


# ------------------------------------------------------------------------------- squares


def _square(matrix: Any) -> Any:
    """A function that computes y = matrix x matrix^T of a square x of vectors."""
    matrix = np.asarray(matrix)
    many, few = matrix.shape

    def square(x, s, row, column, y, t, y_row, y_column):
        """x[s + i * row + j * column], y[t + i * y_row + j * y_column]; vectors, i by i."""

    def generate(vector: Any, x: Any, s: Any, row: Any, column: Any, y: Any, *where: Any) -> None:
        t, y_row, y_column = where
        builder, kind = vector.builder, s.type
        middle = []
        for j in range(few):
            begin = builder.add(s, builder.mul(column, kind(j)))
            values = [
                vector.whole(x, builder.add(begin, builder.mul(row, kind(i)))) for i in range(few)
            ]
            middle.append(_combine(vector, matrix, values))
        for i in range(many):
            begin = builder.add(t, builder.mul(y_row, kind(i)))
            values = _combine(vector, matrix, [column[i] for column in middle])
            for j in range(many):
                vector.store(values[j], y, builder.add(begin, builder.mul(y_column, kind(j))))

    return _Lanes(square, generate)


def _combine(vector: Any, matrix: Any, values: list[Any]) -> list[Any]:
    """matrix @ values; points p and -p share their even and their odd part."""
    builder, (many, few) = vector.builder, matrix.shape
    if many < few:  # columns of p and -p are equal or opposite: once their sum and difference
        matrix, values = matrix.copy(), list(values)
        for c in range((few + 1) % 2, few - 1, 2):
            values[c], values[c + 1] = (
                builder.fadd(values[c + 1], values[c]), builder.fsub(values[c + 1], values[c])
            )
            low, high = matrix[:, c].copy(), matrix[:, c + 1].copy()
            matrix[:, c], matrix[:, c + 1] = (low + high) / 2, (high - low) / 2
        return [_sum(vector, line, values) for line in matrix]
    begin = (many + 1) % 2  # the point 0 is one of an odd number
    found = [_sum(vector, line, values) for line in matrix[:begin]]
    for c in range(begin, many - 1, 2):  # rows of -p and p
        even = _sum(vector, (matrix[c] + matrix[c + 1]) / 2, values)
        odd = _sum(vector, (matrix[c + 1] - matrix[c]) / 2, values)
        found += [builder.fsub(even, odd), builder.fadd(even, odd)]
    return [*found, _sum(vector, matrix[-1], values)]


def _sum(vector: Any, factors: Any, values: list[Any]) -> Any:
    """The sum of factors * values, from 1 * a value where there is one."""
    ir, builder, total = vector.ir, vector.builder, None
    for place in sorted(range(len(values)), key=lambda n: factors[n] != 1):
        factor, value = float(factors[place]), values[place]
        if abs(factor) < 1e-12:
            continue
        if factor != 1:
            constant = ir.Constant(vector.kind, [factor] * vector.lanes)
            value = builder.fmul(value, constant, flags=("contract",))
        total = value if total is None else builder.fadd(total, value, flags=("contract",))
    return total


# ------------------------------------------------------------------------------- channels last


def _turned(vector: Any, values: list[Any]) -> list[Any]:
    """The transpose of as many vectors as a vector has numbers."""
    ir, lanes, values = vector.ir, vector.lanes, list(values)
    index = ir.VectorType(ir.IntType(32), lanes)
    apart = 1
    while apart < lanes:
        low = [n if not n & apart else n - apart + lanes for n in range(lanes)]
        high = [n + apart if not n & apart else n + lanes for n in range(lanes)]
        for n in range(lanes):
            if not n & apart:
                a, b = values[n], values[n + apart]
                for place, chosen in ((n, low), (n + apart, high)):
                    values[place] = vector.builder.shuffle_vector(a, b, ir.Constant(index, chosen))
        apart *= 2
    return values


def _gather_lanes(x, s, step, y, t, last, count):
    """y[t + k * lanes + c] = x[s + min(c, last) * step + k], for k < count; then zeros"""


def _gather_code(vector, x, s, step, y, t, last, count) -> None:
    builder, kind = vector.builder, s.type
    mask = vector.below(count, range(vector.lanes))
    values = []
    for c in range(vector.lanes):
        row = builder.mul(_least(builder, c, last), step)
        values.append(vector.load(x, builder.add(s, row), mask))
    for k, value in enumerate(_turned(vector, values)):
        vector.store(value, y, builder.add(t, kind(k * vector.lanes)))


def _put_lanes(x, s, bias, first, y, t, step, last, count):
    """y[t + c * step + k] = x[s + k * lanes + c] + bias[first + c], for k < count and c <= last"""


def _put_code(vector, x, s, bias, first, y, t, step, last, count) -> None:
    builder, kind, lanes = vector.builder, s.type, vector.lanes
    start = vector.whole(bias, first)
    values = [
        builder.fadd(vector.whole(x, builder.add(s, kind(k * lanes))), start) for k in range(lanes)
    ]
    values = _turned(vector, values)
    for c in reversed(range(lanes)):  # those behind the last write where it will stand
        row = builder.mul(_least(builder, c, last), step)
        vector.store_few(values[c], y, builder.add(t, row), count)


def _least(builder: Any, c: int, last: Any) -> Any:
    here = last.type(c)
    return builder.select(builder.icmp_signed("<", here, last), here, last)


gather_lanes: Any = _Lanes(_gather_lanes, _gather_code)
put_lanes: Any = _Lanes(_put_lanes, _put_code)


def _in(side: int) -> Any:
    return winograd_matrices(side, side - 1)[0]


def _out(side: int, outputs: int) -> Any:
    return winograd_matrices(side, outputs)[2]


# by name, n and m: kernels know constants alone
into_4: Any = _square(_in(4))  # of x
into_5: Any = _square(_in(5))
into_6: Any = _square(_in(6))
from_4_3: Any = _square(_out(4, 3))
from_5_4: Any = _square(_out(5, 4))
from_6_2: Any = _square(_out(6, 2))
from_6_4: Any = _square(_out(6, 4))
dout_4_3: Any = _square(_out(4, 3).T)  # of dout, for the gradient in the weight
dout_5_4: Any = _square(_out(5, 4).T)
dout_6_2: Any = _square(_out(6, 2).T)
dout_6_4: Any = _square(_out(6, 4).T)
