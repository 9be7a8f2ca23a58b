"""Ask for memory before it is needed.

A loop over scattered rows waits for each row: the processor looks ahead a few hundred instructions,
less than the work on one row, and its own prefetching knows only rising addresses.
"""

from typing import Any

from minidl.kernels._jit import _Compilable


def _nothing(array, i):
    """What prefetching computes."""


class _Prefetch(_Compilable):
    """LLVM's llvm.prefetch of the cache line that holds element i of an array, counted flat."""

    def dispatcher(self) -> Any:
        if self._dispatcher is None:
            from llvmlite import ir
            from numba.core import types
            from numba.extending import intrinsic

            @intrinsic
            def prefetch(typing_context, array, i):
                def generate(context, builder, signature, arguments):
                    array_type = signature.args[0]
                    data = context.make_array(array_type)(context, builder, arguments[0]).data
                    byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
                    address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
                    declared = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
                    name = "llvm.prefetch.p0"
                    function = builder.module.globals.get(name)
                    function = function or ir.Function(builder.module, declared, name)
                    # to read, into the second level: it takes more requests at a time than the
                    # first, and scattered rows of 256 bytes came a fifth quicker
                    read, near, data_cache = (ir.Constant(whole, n) for n in (0, 2, 1))
                    builder.call(function, [address, read, near, data_cache])
                    return context.get_dummy_value()

                return types.void(array, types.intp), generate

            self._dispatcher = prefetch
        return self._dispatcher


prefetch: Any = _Prefetch(_nothing, ("contract",), inline=True)
