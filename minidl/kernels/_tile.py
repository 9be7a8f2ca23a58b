"""Products inside kernels with a matrix that is used again: packed once, sums in registers.

BLAS packs the matrix at each call, or, where a product is small, reads it as it lies. In a loop
over time steps that costs a third to a half of the time: 32 rows times (128, 512) ran at 82
GFLOP/s on one core, 32 times (256, 1024) at 63, a large product at 100; these products at 114
throughout, with `a` transposed too (Zen 4, whose peak is about 118).

    packed = empty(panels_shape(inner, columns, dtype), dtype)
    kernels.pack_panels(w, False, packed)         once: w (K, M) -> (panels, K, width)
    panel_product(a, packed, add, c)              in kernels: c = a @ w, or c += a @ w

A panel is two AVX-512 vectors wide (32 float32, 16 float64), so the panel of a (128, ·) matrix
has 16 KB and stays in the first cache while rows go by, 8 at a time: each k takes two loads of the
panel and 8 numbers of `a`, and feeds 16 sums that stay in registers. Each sum runs over k from
first to last, so a row's bits do not depend on which rows stand beside it or who computes them.
"""

from typing import Any

import numpy as np

from minidl.kernels._jit import _Compilable, helper, kernel, piece
from minidl.kernels._lanes import _Vector, move, move_few, turn_block
from minidl.typing import Array

PANEL_BYTES = 128  # the width of a panel
_ROWS = 8  # of a tile at most: 16 of AVX-512's 32 registers hold sums
_HEIGHTS = (8, 4, 2, 1)  # all from 1 to 8 won a twentieth at 13 rows and compiled far longer


def panels_shape(inner: int, columns: int, dtype: Any) -> tuple[int, int, int]:
    """The shape of the packed form of a matrix (inner, columns)."""
    width = PANEL_BYTES // np.dtype(dtype).itemsize
    return (columns + width - 1) // width, inner, width


def unpacked(packed: Array, columns: int) -> Array:
    """The matrix (K, M) of panels: for references."""
    panels, inner, width = packed.shape
    return packed.swapaxes(0, 1).reshape(inner, panels * width)[:, :columns]


def pack_panels_ref(w, transposed, packed):
    w = w.T if transposed else w
    panels, inner, width = packed.shape
    whole = np.zeros((inner, panels * width), w.dtype)
    whole[:, : w.shape[1]] = w
    packed[:] = whole.reshape(inner, panels, width).swapaxes(0, 1)


@piece
def pack_columns(w, s, panel):
    """The columns of w (K, M) from s on, as many as a panel (K, width) has; 0 beyond the last.

    Rows of w are contiguous. Moved by vectors: Numba's loop over 32 numbers called memmove, and 256
    rows took 2.7 µs instead of 1.3.
    """
    width = panel.shape[1]
    columns, apart, half = min(w.shape[1] - s, width), w.strides[0] // w.itemsize, width // 2
    if columns == width:
        for k in range(panel.shape[0]):
            move(w, k * apart + s, panel, k * width)
            move(w, k * apart + s + half, panel, k * width + half)
    else:
        for k in range(panel.shape[0]):
            move_few(w, k * apart + s, panel, k * width, columns)
            move_few(w, k * apart + s + half, panel, k * width + half, columns - half)


@piece
def _pack_transposed(w, s, panel):
    """The rows of w (M, K) from s on as columns: squares of vectors, then what is left."""
    inner, width = panel.shape
    columns, apart, side = min(w.shape[0] - s, width), w.strides[0] // w.itemsize, width // 2
    squares = panel.strides[0] == width * panel.itemsize and w.strides[1] == w.itemsize
    j = 0
    while j < width:
        k = 0
        if squares and j + side <= columns:
            while k + side <= inner:
                turn_block(w, (s + j) * apart + k, apart, panel, k * width + j, width)
                k += side
        for i in range(j, j + side):
            for n in range(k, inner):
                panel[n, i] = w[s + i, n] if i < columns else 0
        j += side


@kernel(reference=pack_panels_ref)
def pack_panels(w, transposed, packed):
    """w (K, M), or (M, K) if transposed; packed (panels, K, width), the last one filled with 0."""
    for p in range(packed.shape[0]):
        if transposed:
            _pack_transposed(w, p * packed.shape[2], packed[p])
        else:
            pack_columns(w, p * packed.shape[2], packed[p])


def _tile(a, panel, rows, add, c):
    """What the code below computes: c[:rows] = a[:rows] @ panel, or c[:rows] += …"""


def _tile_affine(a, panel, rows, add, c, bias, floor):
    """c[:rows] = max(a[:rows] @ panel + bias, floor), or with add c's own values for bias.

    c may be narrower than a panel; -rows: a vector wide at most. bias (width,); NaN stays NaN.
    """


def _tile_copying(a, panel, rows, add, c, copy):
    """As `tile` for 8 rows, and copy[:] = panel (K, width) on the way."""


class _Tile(_Compilable):
    """LLVM code, for Numba has no vectors of its own and leaves sums of a loop nest in memory.

    For 8, 4, 2 and 1 rows a loop over k; see `tile_rows`. a (rows, K) may have any strides (a
    transposed view too), panel (K, width) and c (rows, width) any from row to row.
    """

    def dispatcher(self) -> Any:
        if self._dispatcher is None:
            from numba.core import types
            from numba.extending import intrinsic

            if self.name == "_tile":

                @intrinsic
                def tile(typing_context, a, panel, rows, add, c):
                    return types.void(a, panel, types.intp, types.boolean, c), _generate

            elif self.name == "_tile_copying":

                @intrinsic
                def tile(typing_context, a, panel, rows, add, c, copy):
                    return types.void(a, panel, types.intp, types.boolean, c, copy), _generate

            else:

                @intrinsic
                def tile(typing_context, a, panel, rows, add, c, bias, floor):
                    kinds = (a, panel, types.intp, types.boolean, c, bias, c.dtype)
                    return types.void(*kinds), _generate

            self._dispatcher = tile
        return self._dispatcher


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    from llvmlite import ir

    a, panel, c = (
        context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 1, 4)
    )
    number = context.get_data_type(signature.args[0].dtype)
    size = 4 if isinstance(number, ir.FloatType) else 8
    index, byte = ir.IntType(64), ir.IntType(8).as_pointer()
    fields = (number, ir.VectorType(number, 64 // size), size, index)
    data = [builder.bitcast(array.data, byte) for array in (a, panel, c)]
    strides = [builder.extract_value(array.strides, 0) for array in (a, panel, c)]
    strides.append(builder.extract_value(a.strides, 1))
    count = builder.extract_value(a.shape, 1)
    add = builder.icmp_unsigned("!=", arguments[3], arguments[3].type(0))
    affine: Any = ()
    copy = None
    if len(arguments) == 6:
        copy = context.make_array(signature.args[5])(context, builder, arguments[5])
        copy = (builder.bitcast(copy.data, byte), builder.extract_value(copy.strides, 0))
    if len(arguments) > 6:
        bias = context.make_array(signature.args[5])(context, builder, arguments[5])
        own = builder.extract_value(c.shape, 1)
        affine = (builder.bitcast(bias.data, byte), arguments[6], own)
    # with AVX-512 8 rows of two vectors at once; 16 registers of half that width hold 4 of one
    wide = "+avx512f" in str(context.codegen().magic_tuple())
    tall, halves = (_ROWS, 2) if wide else (4, 1)
    end = builder.append_basic_block("tile.end")
    switch = builder.switch(arguments[2], end)
    for rows in (_ROWS,) if copy else (*_HEIGHTS, *([-n for n in _HEIGHTS] if affine else ())):
        block = builder.append_basic_block("tile")
        switch.add_case(ir.Constant(arguments[2].type, rows), block)
        builder.position_at_end(block)
        vectors = 2 if rows > 0 else 1
        for first in range(0, abs(rows), tall):
            for half in range(0, vectors, halves):
                places = [
                    (n, h)
                    for n in range(first, min(first + tall, abs(rows)))
                    for h in range(half, min(half + halves, vectors))
                ]
                _sums(builder, fields, data, strides, count, add, affine, places, copy)
        builder.branch(end)
    builder.position_at_end(end)
    return context.get_dummy_value()


def _sums(
    builder: Any, fields: Any, data: Any, strides: Any, count: Any, add: Any, affine: Any,
    places: Any, copy: Any = None,
) -> None:
    """The loop over k for the sums at `places`, (row, half of the panel), all in registers."""
    from llvmlite import ir

    number, vector, size, index = fields
    (a, panel, c), (a_row, panel_row, c_row, a_column) = data, strides
    start, loop = builder.basic_block, builder.append_basic_block("tile.loop")
    last = builder.append_basic_block("tile.last")
    rows, halves = sorted({n for n, _ in places}), sorted({h for _, h in places})

    def at(base, offset, kind):
        return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())

    def load(place):
        value = builder.load(place)
        value.align = size
        return value

    outs = {
        (n, h): at(c, builder.add(builder.mul(c_row, index(n)), index(64 * h)), vector)
        for n, h in places
    }
    bases = {n: builder.gep(a, [builder.mul(a_row, index(n))]) for n in rows}
    builder.branch(loop)

    builder.position_at_end(loop)
    zero, undefined = ir.Constant(vector, None), ir.Constant(vector, ir.Undefined)
    first_lane = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    k = builder.phi(index)
    k.add_incoming(index(0), start)
    sums, new = {place: builder.phi(vector) for place in places}, {}
    for phi in sums.values():
        phi.add_incoming(zero, start)
    row = builder.mul(k, panel_row)
    right = {h: load(at(panel, builder.add(row, index(64 * h)), vector)) for h in halves}
    if copy:
        for h in halves:
            out = builder.add(builder.mul(k, copy[1]), index(64 * h))
            builder.store(right[h], at(copy[0], out, vector)).align = size
    column = builder.mul(k, a_column)
    for n in rows:
        left = builder.insert_element(undefined, load(at(bases[n], column, number)), index(0))
        left = builder.shuffle_vector(left, undefined, first_lane)  # the number in every lane
        for h in halves:  # "contract": one rounding for product and sum where the CPU has it
            term = builder.fmul(left, right[h], flags=("contract",))
            new[n, h] = builder.fadd(sums[n, h], term, flags=("contract",))
    following = builder.add(k, index(1))
    k.add_incoming(following, loop)
    for place, phi in sums.items():
        phi.add_incoming(new[place], loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, last)

    builder.position_at_end(last)
    if affine:
        low = builder.insert_element(undefined, affine[1], index(0))
        low = builder.shuffle_vector(low, undefined, first_lane)
        lanes = _Vector(builder, number)
        ahead = {h: range(h * lanes.lanes, (h + 1) * lanes.lanes) for h in halves}
        masks = {h: lanes.below(affine[2], ahead[h]) for h in halves}
    for n, h in places:  # c is added last: the sum of a block of k is rounded on its own
        if affine:  # one load: of c or of bias
            start = builder.select(add, outs[n, h], at(affine[0], index(64 * h), vector))
            value = builder.fadd(lanes.masked(start, masks[h]), new[n, h])
            value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
            lanes.store_masked(value, outs[n, h], masks[h])
        else:
            before = builder.select(add, load(outs[n, h]), zero)
            value = builder.fadd(before, new[n, h])
            builder.store(value, outs[n, h]).align = size


tile: Any = _Tile(_tile, ("contract",), inline=True)
tile_copying: Any = _Tile(_tile_copying, ("contract",), inline=True)
tile_affine: Any = _Tile(_tile_affine, ("contract",), inline=True)


@helper
def tile_rows(left):
    """Rows of the next tile where so many are left: `tile` computes 8, 4, 2 or 1, nothing else."""
    return 8 if left >= 8 else 4 if left >= 4 else 2 if left >= 2 else 1


@piece
def clear_rows(c):
    """c (R, M) = 0; as loops, for Numba compiles c[:] = 0 for a second."""
    for n in range(c.shape[0]):
        row = c[n]
        for j in range(row.size):
            row[j] = 0


@piece
def panel_product(a, packed, add, c):
    """c (R, M) = a (R, K) @ w (K, M), or c += a @ w if add; packed: w's panels.

    `a` may be any view; c may be one whose rows are contiguous.
    """
    width = packed.shape[2]
    rows, columns = c.shape
    if not packed.shape[1]:
        if not add:
            clear_rows(c)
        return
    edge = np.empty((_ROWS, width), c.dtype)
    for p in range(packed.shape[0]):
        s = p * width
        full = s + width <= columns
        n = 0
        while n < rows:
            m = tile_rows(rows - n)
            # a tile writes whole vectors: of the last panel, c gets the part that it has
            to = c[n : n + m, s : s + width] if full else edge[:m, :width]
            tile(a[n : n + m], packed[p], m, add and full, to)
            if not full:
                for i in range(m):
                    for j in range(columns - s):
                        c[n + i, s + j] = to[i, j] + (c[n + i, s + j] if add else c.dtype.type(0))
            n += m


@piece
def panel_affine(a, packed, add, bias, floor, c):
    """c (R, M) = max(a (R, K) @ w (K, M) + bias, floor), or with add c's own values for bias.

    packed: w's panels; bias (panels * width,), also beyond M. Where the last panel
    has less than half of its columns, half a tile computes them.
    """
    width = packed.shape[2]
    rows, columns = c.shape
    if not packed.shape[1]:
        for n in range(rows):
            for k in range(columns):
                c[n, k] = floor if bias[k] < floor else bias[k]
        return
    for p in range(packed.shape[0]):
        s = p * width
        e = min(s + width, columns)
        sign = 1 if 2 * (e - s) > width else -1
        start = bias[s : s + width]
        n = 0
        while n < rows:
            m = tile_rows(rows - n)
            to = c[n : n + m, s:e]
            tile_affine(a[n : n + m], packed[p], sign * m, add, to, start, floor)
            n += m
