"""A block of a matrix turned in registers.

Element by element, 50 rows of 32 take 700 ns: each number is a store of its own. By vectors of 64
bytes, each pair of rows exchanging halves, then quarters …, it is 64 shuffles for 16 x 16 numbers.
"""

from typing import Any

from minidl.kernels._jit import _Compilable, piece
from minidl.kernels._lanes import _Vector
from minidl.kernels._pieces import count_pieces


def _square(x, factor, out):
    """out[:n, :n] = factor x^T, n numbers in 64 bytes, x (K, D) of at most n each; 0 beyond it"""


class _Square(_Compilable):
    """LLVM code, for Numba has no shuffles."""

    def dispatcher(self) -> Any:
        if self._dispatcher is None:
            from numba.core import types
            from numba.extending import intrinsic

            @intrinsic
            def square(typing_context, x, factor, out):
                return types.void(x, x.dtype, out), _generate

            self._dispatcher = square
        return self._dispatcher


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    from llvmlite import ir

    x, out = (
        context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2)
    )
    vector = _Vector(builder, context.get_data_type(signature.args[0].dtype))
    n, size, index = vector.lanes, vector.size, ir.IntType(64)
    rows, columns = (builder.extract_value(x.shape, axis) for axis in (0, 1))
    inside = vector.below(columns, range(n))
    none = ir.Constant(inside.type, None)

    shift = index(size.bit_length() - 1)
    steps = [builder.ashr(builder.extract_value(a.strides, 0), shift) for a in (x, out)]
    undefined = ir.Constant(vector.kind, ir.Undefined)
    first = ir.Constant(ir.VectorType(ir.IntType(32), n), None)
    factors = builder.insert_element(undefined, arguments[1], index(0))
    factors = builder.shuffle_vector(factors, undefined, first)
    values = []
    for i in range(n):
        mask = builder.select(builder.icmp_signed("<", index(i), rows), inside, none)
        numbers = vector.load(x.data, builder.mul(steps[0], index(i)), mask)
        values.append(builder.fmul(numbers, factors))
    step = n // 2
    while step:  # blocks of `step` rows and columns change places across the diagonal
        for i in range(n):
            if not i & step:
                a, b = values[i], values[i + step]
                low = [n + k - step if k & step else k for k in range(n)]
                high = [n + k if k & step else k + step for k in range(n)]
                values[i], values[i + step] = vector.chosen(a, b, low), vector.chosen(a, b, high)
        step //= 2
    for i in range(n):
        vector.store(values[i], out.data, builder.mul(steps[1], index(i)))
    return context.get_dummy_value()


square: Any = _Square(_square, ("contract",), inline=True)


@piece
def turn(x, factor, panels):
    """panels (P or more, D or more, width) = factor x^T, for x (K, D); 0 in columns beyond K.

    Panels have a multiple of 64 bytes' numbers of rows; those beyond D become 0 too.
    """
    lanes, width = 64 // x.itemsize, panels.shape[2]
    for p in range(count_pieces(x.shape[0], width)):
        for s in range(0, width, lanes):
            k = min(p * width + s, x.shape[0])
            for d in range(0, x.shape[1], lanes):
                part = x[k : k + lanes, d : d + lanes]
                square(part, factor, panels[p, d : d + lanes, s : s + lanes])
