"""A run of elementwise ops as one kernel: a small machine that works on blocks in the first cache.

Compiling a kernel for each run would take LLVM seconds, and a captured step may have dozens. This
one is compiled once, and a run is data: rows of whole numbers. It works as numexpr's does (Cooke &
Hochberg 2009): every instruction goes over a block of up to some thousand elements, in a SIMD loop,
before the next one starts, so that what passes between instructions never leaves the first cache.
Measured on Zen 4: an instruction takes 5 ns plus 0.03 to 0.06 ns an element (tanh 0.25).

A row of `code` is (instruction, target, a, b, c). Target, a, b and c are places: 0 … K-1 lie in
memory, at the addresses `places`; from K on they are registers, rows of a block's length.
"""

import ctypes
from typing import Any

import numpy as np

from minidl.kernels._jit import _Compilable, kernel, piece, prange
from minidl.kernels._math import log
from minidl.kernels._pieces import QUIET, count_pieces, piece_bounds
from minidl.kernels.activation import (
    _gelu_backward,
    _gelu_forward,
    _relu_backward,
    _relu_forward,
    _silu_backward,
    _silu_forward,
    gelu_backward_ref,
    gelu_forward_ref,
    silu_backward_ref,
    silu_forward_ref,
)
from minidl.kernels.elementwise import (
    _erf_forward,
    _exp_forward,
    _sigmoid_backward,
    _sigmoid_forward,
    _tanh_backward,
    _tanh_forward,
    erf_forward_ref,
    sigmoid_forward_ref,
)

# target = ... of a number, of one element in memory, of a smaller array that repeats
NUMBER, ELEMENT, REPEAT = 0, 1, 2
# of a, b and c
COPY, ADD, SUB, MUL, DIV, NEG, ABS, SQRT, EXP, LOG = 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
TANH, SIGMOID, RELU, LEAKY, GELU, SILU, ERF = 13, 14, 15, 16, 17, 18, 19
MAXIMUM, MINIMUM = 20, 21
# derivatives: a is the incoming gradient, b what was saved
TANH_BACK, SIGMOID_BACK, RELU_BACK, LEAKY_BACK, GELU_BACK, SILU_BACK = 22, 23, 24, 25, 26, 27
SIGN_BACK, UNTAKEN, ABOVE, NOT_ABOVE = 28, 29, 30, 31

_PIECE = 16_384  # elements
_SERIAL_BELOW = 60_000


class _ArrayAt(_Compilable):
    """A flat array of n elements at an address, of the dtype of `like`."""

    def dispatcher(self) -> Any:
        if self._dispatcher is None:
            from numba.core import cgutils, types
            from numba.extending import intrinsic
            from numba.np.arrayobj import populate_array

            @intrinsic
            def array_at(typing_context, address, n, like):
                made = types.Array(like.dtype, 1, "C")

                def generate(context, builder, signature, arguments):
                    array = context.make_array(made)(context, builder)
                    element = context.get_data_type(made.dtype)
                    size = context.get_constant(types.intp, context.get_abi_sizeof(element))
                    populate_array(
                        array,
                        data=builder.inttoptr(arguments[0], element.as_pointer()),
                        shape=cgutils.pack_array(builder, [arguments[1]]),
                        strides=cgutils.pack_array(builder, [size]),
                        itemsize=size,
                        meminfo=None,
                    )
                    return array._getvalue()

                return made(types.intp, types.intp, like), generate

            self._dispatcher = array_at
        return self._dispatcher


def _array_at_ref(address, n, like):
    size = int(n) * like.itemsize
    if not size:
        return np.empty(0, like.dtype)
    return np.frombuffer((ctypes.c_char * size).from_address(int(address)), like.dtype)


array_at: Any = _ArrayAt(_array_at_ref, ("contract",), inline=True)


def _filled(reference: Any) -> Any:
    """A reference that fills its last argument, as one that returns it."""

    def value(*arrays: Any) -> Any:
        out = np.empty_like(arrays[0])
        reference(*arrays, out)
        return out

    return value


_REFERENCES: dict[int, Any] = {
    COPY: lambda a, b, c: a,
    ADD: lambda a, b, c: a + b,
    SUB: lambda a, b, c: a - b,
    MUL: lambda a, b, c: a * b,
    DIV: lambda a, b, c: a / b,
    NEG: lambda a, b, c: -a,
    ABS: lambda a, b, c: np.abs(a),
    SQRT: lambda a, b, c: np.sqrt(a),
    EXP: lambda a, b, c: np.exp(a),
    LOG: lambda a, b, c: np.log(a),
    TANH: lambda a, b, c: np.tanh(a),
    SIGMOID: lambda a, b, c: _filled(sigmoid_forward_ref)(a),
    RELU: lambda a, b, c: np.maximum(a, 0),
    LEAKY: lambda a, b, c: np.where(a > 0, a, b * a),
    GELU: lambda a, b, c: _filled(gelu_forward_ref)(a),
    SILU: lambda a, b, c: _filled(silu_forward_ref)(a),
    ERF: lambda a, b, c: _filled(erf_forward_ref)(a),
    MAXIMUM: lambda a, b, c: np.maximum(a, b),
    MINIMUM: lambda a, b, c: np.minimum(a, b),
    TANH_BACK: lambda a, b, c: a * (1 - b * b),
    SIGMOID_BACK: lambda a, b, c: a * (1 - b) * b,
    RELU_BACK: lambda a, b, c: np.where(b <= 0, 0, a),
    LEAKY_BACK: lambda a, b, c: np.where(b > 0, a, c * a),
    GELU_BACK: lambda a, b, c: _filled(gelu_backward_ref)(a, b),
    SILU_BACK: lambda a, b, c: _filled(silu_backward_ref)(a, b),
    SIGN_BACK: lambda a, b, c: a * np.subtract(b > 0, b < 0, dtype=a.dtype),
    UNTAKEN: lambda a, b, c: np.where((a != 0) | np.isfinite(b), b, 0),
    ABOVE: lambda a, b, c: np.where(b > c, a, 0),
    NOT_ABOVE: lambda a, b, c: np.where(b > c, 0, a),
}


@QUIET
def elementwise_program_ref(code, numbers, places, once, registers, block, out):
    memory: list[Any] = [None] * (len(places) + registers)
    small = {row[2] for row in code.tolist() if row[0] in (ELEMENT, REPEAT)}
    for i, address in enumerate(places):
        if i not in small:
            memory[i] = _array_at_ref(address, out.size, out) if address else out
    for op, target, a, b, c in code.tolist():
        if op == NUMBER:
            value = np.full(out.size, numbers[a], out.dtype)
        elif op == ELEMENT:
            value = np.full(out.size, _array_at_ref(places[a], 1, out)[0], out.dtype)
        elif op == REPEAT:  # each of c elements b times, and again
            value = np.resize(np.repeat(_array_at_ref(places[a], c, out), b), out.size)
        else:
            value = np.asarray(_REFERENCES[op](memory[a], memory[b], memory[c]), out.dtype)
        if target < len(places):
            memory[target][:] = value
        else:
            memory[target] = value


@piece
def _step(op, o, a, b, c):
    zero, n = o.dtype.type(0.0), o.size
    if op == COPY:
        for i in range(n):
            o[i] = a[i]
    elif op == ADD:
        for i in range(n):
            o[i] = a[i] + b[i]
    elif op == SUB:
        for i in range(n):
            o[i] = a[i] - b[i]
    elif op == MUL:
        for i in range(n):
            o[i] = a[i] * b[i]
    elif op == DIV:
        for i in range(n):
            o[i] = a[i] / b[i]
    elif op == NEG:
        for i in range(n):
            o[i] = -a[i]
    elif op == ABS:
        for i in range(n):
            o[i] = abs(a[i])
    elif op == SQRT:
        for i in range(n):
            o[i] = np.sqrt(a[i])
    elif op == EXP:
        _exp_forward(a, o)
    elif op == LOG:
        for i in range(n):
            o[i] = log(a[i])
    elif op == TANH:
        _tanh_forward(a, o)
    elif op == SIGMOID:
        _sigmoid_forward(a, o)
    elif op == RELU:
        _relu_forward(a, o)
    elif op == LEAKY:
        for i in range(n):
            o[i] = a[i] if a[i] > zero else b[i] * a[i]
    elif op == GELU:
        _gelu_forward(a, o)
    elif op == SILU:
        _silu_forward(a, o)
    elif op == ERF:
        _erf_forward(a, o)
    elif op == MAXIMUM:
        for i in range(n):
            o[i] = a[i] if a[i] > b[i] or a[i] != a[i] else b[i]
    elif op == MINIMUM:
        for i in range(n):
            o[i] = a[i] if a[i] < b[i] or a[i] != a[i] else b[i]


@piece
def _step_back(op, o, a, b, c):
    zero, one, n = o.dtype.type(0.0), o.dtype.type(1.0), o.size
    if op == TANH_BACK:
        _tanh_backward(a, b, o)
    elif op == SIGMOID_BACK:
        _sigmoid_backward(a, b, o)
    elif op == RELU_BACK:
        _relu_backward(a, b, o)
    elif op == GELU_BACK:
        _gelu_backward(a, b, o)
    elif op == SILU_BACK:
        _silu_backward(a, b, o)
    elif op == LEAKY_BACK:
        for i in range(n):
            o[i] = a[i] if b[i] > zero else c[i] * a[i]
    elif op == SIGN_BACK:
        for i in range(n):
            sign = one if b[i] > zero else zero
            o[i] = a[i] * (sign - (one if b[i] < zero else zero))
    elif op == UNTAKEN:
        for i in range(n):
            finite = b[i] - b[i] == zero
            o[i] = b[i] if (a[i] != zero or finite) else zero
    elif op == ABOVE:
        for i in range(n):
            o[i] = a[i] if b[i] > c[i] else zero
    elif op == NOT_ABOVE:
        for i in range(n):
            o[i] = zero if b[i] > c[i] else a[i]


@piece
def _repeat(o, small, inner, start):
    # element i of the whole is small[(i // inner) % period]
    period = small.size
    at, left = (start // inner) % period, inner - start % inner
    for i in range(o.size):
        o[i] = small[at]
        left -= 1
        if left == 0:
            left = inner
            at += 1
            if at == period:
                at = 0


@piece
def _run(code, numbers, places, once, registers, block, start, stop, out):
    scratch = np.empty(registers * block + 1, out.dtype)
    size, count = out.itemsize, places.size
    first = np.empty(count + registers, np.int64)  # the address of a place at element 0
    step = np.empty(count + registers, np.int64)  # bytes from one element to the next block's
    for k in range(count):
        first[k] = places[k] if places[k] != 0 else out.ctypes.data
        step[k] = size
    for k in range(registers):
        first[count + k] = scratch.ctypes.data + k * block * size
        step[count + k] = 0
    for k in range(once):  # what does not change from block to block
        o = array_at(first[code[k, 1]], block, out)
        if code[k, 0] == NUMBER:
            o[:] = out.dtype.type(numbers[code[k, 2]])
        else:
            o[:] = array_at(first[code[k, 2]], 1, out)[0]
    for s in range(start, stop, block):
        n = min(block, stop - s)
        for k in range(once, code.shape[0]):
            op, target, a, b, c = code[k, 0], code[k, 1], code[k, 2], code[k, 3], code[k, 4]
            o = array_at(first[target] + s * step[target], n, out)
            if op == REPEAT:
                _repeat(o, array_at(first[a], c, out), b, s)
                continue
            x = array_at(first[a] + s * step[a], n, out)
            y = array_at(first[b] + s * step[b], n, out)
            z = array_at(first[c] + s * step[c], n, out)
            if op < TANH_BACK:
                _step(op, o, x, y, z)
            else:
                _step_back(op, o, x, y, z)


@kernel(reference=elementwise_program_ref, parallel=True, serial_below=_SERIAL_BELOW, size_of="out")
def elementwise_program(code, numbers, places, once, registers, block, out):
    """code (M, 5), numbers (S,) float64, places (K,) addresses of arrays like `out`, 0 for itself.

    All have as many elements as out (N,) and its dtype, but for those that ELEMENT and REPEAT read.
    The first `once` rows fill registers with numbers and elements; the others run block by block.
    """
    for p in prange(count_pieces(out.size, _PIECE)):
        s, e = piece_bounds(p, _PIECE, out.size)
        _run(code, numbers, places, once, registers, block, s, e, out)
