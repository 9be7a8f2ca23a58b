"""Copies inside kernels by vectors of 64 bytes, for rows that are a vector long or shorter.

Of a loop over 7 or 14 numbers Numba makes tests for overlap and an unrolled body that is never
reached; they take longer than the numbers. All arrays are flat, s and t places in them. Whole
vectors are written, so that a target needs room for one more, and what lies behind is written next;
of the source no more than `count` numbers, a vector's at most, are read where that is given.
"""

import inspect
from collections.abc import Callable
from typing import Any

from minidl.kernels._jit import _Compilable, piece


class _Lanes(_Compilable):
    """LLVM code in place of a function that says what it computes."""

    def __init__(self, function: Callable[..., Any], generate: Callable[..., None]):
        super().__init__(function, ("contract",), inline=True)
        self.generate = generate

    def dispatcher(self) -> Any:
        if self._dispatcher is None:
            from numba.core import types
            from numba.extending import intrinsic

            generate = self.generate

            def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                values = [
                    context.make_array(kind)(context, builder, value).data
                    if isinstance(kind, types.Array)
                    else value
                    for kind, value in zip(signature.args, arguments, strict=True)
                ]
                generate(_Vector(builder, context.get_data_type(signature.args[0].dtype)), *values)
                return context.get_dummy_value()

            def lanes(typing_context: Any, *given: Any) -> Any:
                real = (types.Array, types.Float)
                kinds = [kind if isinstance(kind, real) else types.intp for kind in given]
                return types.void(*kinds), code

            # Numba wants to see a name for each argument
            names = ["typing_context", *inspect.signature(self.function).parameters]
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            shown = inspect.Signature([inspect.Parameter(name, kind) for name in names])
            lanes.__signature__ = shown  # type: ignore[attr-defined]
            self._dispatcher = intrinsic(lanes)
        return self._dispatcher


class _Vector:
    """Loads and stores of one vector's numbers."""

    def __init__(self, builder: Any, number: Any):
        from llvmlite import ir

        self.ir, self.builder, self.number = ir, builder, number
        self.size = 4 if isinstance(number, ir.FloatType) else 8
        self.lanes = 64 // self.size
        self.kind = ir.VectorType(number, self.lanes)

    def place(self, base: Any, offset: Any) -> Any:
        """The address of a vector of base's numbers."""
        kind = self.ir.VectorType(base.type.pointee, self.lanes)
        return self.builder.bitcast(self.builder.gep(base, [offset]), kind.as_pointer())

    def whole(self, base: Any, offset: Any) -> Any:
        value = self.builder.load(self.place(base, offset))
        value.align = self.size
        return value

    def below(self, count: Any, lanes: Any) -> Any:
        """The mask of `lanes`, a number for each, that are less than count."""
        ir, builder = self.ir, self.builder
        index = ir.IntType(32)  # of 64 bits they would take twice as many vectors
        count = builder.trunc(count, index)
        kind = ir.VectorType(index, self.lanes)
        undefined, first = ir.Constant(kind, ir.Undefined), ir.Constant(kind, None)
        counts = builder.insert_element(undefined, count, index(0))
        counts = builder.shuffle_vector(counts, undefined, first)  # count in every lane
        return builder.icmp_signed("<", ir.Constant(kind, list(lanes)), counts)

    def load(self, base: Any, offset: Any, mask: Any) -> Any:
        """The numbers where the mask is set, 0 elsewhere; others are not read."""
        return self.masked(self.place(base, offset), mask)

    def masked(self, place: Any, mask: Any) -> Any:
        """What stands at `place`, as `load`."""
        kind = place.type.pointee
        return self._call("load", kind, kind, place, mask, self.ir.Constant(kind, None))

    def store_masked(self, value: Any, place: Any, mask: Any) -> None:
        """The numbers where the mask is set; others are not written."""
        self._call("store", self.ir.VoidType(), value.type, value, place, mask)

    def _call(self, what: str, returned: Any, moved: Any, *given: Any) -> Any:
        """LLVM's masked load or store of a vector `moved`, with the alignment behind the place."""
        from numba.core import cgutils

        number = moved.element
        letter = "i" if isinstance(number, self.ir.IntType) else "f"
        bits = number.width if letter == "i" else 8 * self.size
        align = self.ir.IntType(32)(bits // 8)
        where = 1 if what == "load" else 2
        values = [*given[:where], align, *given[where:]]
        kind = self.ir.FunctionType(returned, [value.type for value in values])
        name = f"v{self.lanes}{letter}{bits}"
        name = f"llvm.masked.{what}.{name}.p0{name}"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, values)

    def store(self, value: Any, base: Any, offset: Any) -> None:
        self.builder.store(value, self.place(base, offset)).align = self.size

    def between(self, low: Any, high: Any) -> Any:
        """The mask of the lanes low <= k < high."""
        ir, builder = self.ir, self.builder
        one = high.type(1)
        bits = builder.sub(builder.shl(one, high), builder.shl(one, low))
        bits = builder.trunc(bits, ir.IntType(self.lanes))
        return builder.bitcast(bits, ir.VectorType(ir.IntType(1), self.lanes))

    def store_few(self, value: Any, base: Any, offset: Any, count: Any) -> None:
        """The first `count` numbers alone, at most a vector: as quick as a whole one (Zen 4)."""
        from numba.core import cgutils

        ir, builder, letter = self.ir, self.builder, f"v{self.lanes}f{8 * self.size}"
        mask = self.between(count.type(0), count)
        place, align = self.place(base, offset), ir.IntType(32)(self.size)
        kind = ir.FunctionType(ir.VoidType(), [self.kind, place.type, align.type, mask.type])
        name = f"llvm.masked.store.{letter}.p0{letter}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(function, [value, place, align, mask])

    def every(self, number: Any) -> Any:
        """The number in every lane."""
        undefined = self.ir.Constant(self.kind, self.ir.Undefined)
        value = self.builder.insert_element(undefined, number, self.ir.IntType(32)(0))
        return self.chosen(value, undefined, [0] * self.lanes)

    def least(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def chosen(self, a: Any, b: Any, lanes: Any) -> Any:
        """Of the numbers of a and, behind them, b those at `lanes`."""
        kind = self.ir.VectorType(self.ir.IntType(32), self.lanes)
        return self.builder.shuffle_vector(a, b, self.ir.Constant(kind, list(lanes)))

    def after(self, offset: Any) -> Any:
        """One vector on."""
        return self.builder.add(offset, offset.type(self.lanes))


def _move(source, s, target, t):
    """target[t : t + lanes] = source[s : s + lanes], a whole vector"""


def _move_code(vector: Any, source: Any, s: Any, target: Any, t: Any) -> None:
    vector.store(vector.whole(source, s), target, t)


def _move_few(source, s, target, t, count):
    """target[t : t + lanes] = source[s : s + count], then zeros"""


def _move_few_code(vector: Any, source: Any, s: Any, target: Any, t: Any, count: Any) -> None:
    value = vector.load(source, s, vector.below(count, range(vector.lanes)))
    vector.store(value, target, t)


def _move_second(source, s, target, t, count):
    """target[t : t + lanes] = source[s : s + 2 * count : 2], then zeros"""


def _move_second_code(vector: Any, source: Any, s: Any, target: Any, t: Any, count: Any) -> None:
    n = vector.lanes
    # lane k of the first vector, and of the second, is wanted if number k / 2 is
    wanted = [k // 2 if k % 2 == 0 else 2 * n for k in range(2 * n)]
    low = vector.load(source, s, vector.below(count, wanted[:n]))
    high = vector.load(source, vector.after(s), vector.below(count, wanted[n:]))
    vector.store(vector.chosen(low, high, range(0, 2 * n, 2)), target, t)


def _turn_block(source, s, step, target, t, stride):
    """target[t + k * stride + i] = source[s + i * step + k] for i, k below the lanes of a vector

    Numba's loop for it takes one number at a time: 8 times as long.
    """


def _turn_block_code(
    vector: Any, source: Any, s: Any, step: Any, target: Any, t: Any, stride: Any
) -> None:
    add, mul = vector.builder.add, vector.builder.mul
    n = vector.lanes
    rows = [vector.whole(source, add(s, mul(step, step.type(i)))) for i in range(n)]
    half = n // 2
    while half:  # swap the off-diagonal quarters of blocks of 2 * half
        for i in range(n):
            if i & half == 0:
                a, b = rows[i], rows[i + half]
                low = [k if k & half == 0 else n + k - half for k in range(n)]
                high = [k + half if k & half == 0 else n + k for k in range(n)]
                rows[i], rows[i + half] = vector.chosen(a, b, low), vector.chosen(a, b, high)
        half //= 2
    for k in range(n):
        vector.store(rows[k], target, add(t, mul(stride, stride.type(k))))


def _window(source, s, low, high, target, t, count):
    """target[t + k] = source[s + k] for low <= k < high, else 0, for k < count"""


def _window_code(vector: Any, source: Any, s: Any, low: Any, high: Any, *to: Any) -> None:
    vector.store_few(vector.load(source, s, vector.between(low, high)), *to)


def _window_second(source, s, low, high, target, t, count):
    """target[t + k] = source[s + 2 * k] for low <= k < high, else 0, for k < count"""


def _window_second_code(vector: Any, source: Any, s: Any, low: Any, high: Any, *to: Any) -> None:
    builder, n = vector.builder, low.type(vector.lanes)
    first = builder.add(low, low)
    last = builder.sub(builder.add(high, high), low.type(1))  # none after the last one wanted
    last = builder.select(builder.icmp_signed("<", low, high), last, first)

    def rest(place: Any) -> Any:
        return builder.sub(place, vector.least(place, n))

    a = vector.load(source, s, vector.between(vector.least(first, n), vector.least(last, n)))
    b = vector.load(source, vector.after(s), vector.between(rest(first), rest(last)))
    vector.store_few(vector.chosen(a, b, range(0, 2 * vector.lanes, 2)), *to)


def _add_few(source, s, target, t, count):
    """target[t : t + count] += source[s : s + count], a vector's at most; what follows is kept"""


def _add_few_code(vector: Any, source: Any, s: Any, target: Any, t: Any, count: Any) -> None:
    value = vector.load(source, s, vector.between(count.type(0), count))
    vector.store(vector.builder.fadd(vector.whole(target, t), value), target, t)


def _put_few(source, s, start, target, t, count):
    """target[t : t + count] = source[s : s + count] + start, a vector's at most"""


def _put_few_code(vector: Any, source: Any, s: Any, start: Any, *to: Any) -> None:
    vector.store_few(vector.builder.fadd(vector.whole(source, s), vector.every(start)), *to)


def _put_pairs(source, s, other, start, target, t, count):
    """target[t : t + count] = start + the numbers from source[s] and source[other] on, in turn

    Two vectors at most.
    """


def _put_pairs_code(
    vector: Any, source: Any, s: Any, other: Any, start: Any, target: Any, t: Any, count: Any
) -> None:
    builder, n, lanes = vector.builder, count.type(vector.lanes), vector.lanes
    plus = vector.every(start)
    a, b = (builder.fadd(vector.whole(source, place), plus) for place in (s, other))
    low = [k // 2 + lanes * (k % 2) for k in range(lanes)]
    vector.store_few(vector.chosen(a, b, low), target, t, vector.least(count, n))
    high = [lanes // 2 + k for k in low]
    more = builder.sub(count, vector.least(count, n))
    vector.store_few(vector.chosen(a, b, high), target, vector.after(t), more)


move: Any = _Lanes(_move, _move_code)
move_few: Any = _Lanes(_move_few, _move_few_code)
move_second: Any = _Lanes(_move_second, _move_second_code)
turn_block: Any = _Lanes(_turn_block, _turn_block_code)
window: Any = _Lanes(_window, _window_code)
window_second: Any = _Lanes(_window_second, _window_second_code)
add_few: Any = _Lanes(_add_few, _add_few_code)
put_few: Any = _Lanes(_put_few, _put_few_code)
put_pairs: Any = _Lanes(_put_pairs, _put_pairs_code)


@piece
def turn(source, s, step, rows, columns, target, t, stride):
    """target[t + k * stride + i] = source[s + i * step + k] for i < rows, k < columns: turned."""
    lanes = 64 // source.itemsize
    if rows < lanes or columns < lanes:
        for k in range(columns):
            for i in range(rows):
                target[t + k * stride + i] = source[s + i * step + k]
        return
    for row in range(0, rows, lanes):
        i = min(row, rows - lanes)  # the last block begins early enough to be whole
        for column in range(0, columns, lanes):
            k = min(column, columns - lanes)
            turn_block(source, s + i * step + k, step, target, t + k * stride + i, stride)
