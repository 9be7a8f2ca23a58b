"""Arrays that lie anywhere in memory, for a kernel that works on many of them in one call.

Numba compiles a function anew for each number of arrays it is given, so the arrays come as numbers:
how many elements after the start of one of them, `base`, each of the others begins. `base` need not
hold them: the difference of two addresses, in elements, is as good between two arrays as in one.
"""

import ctypes
from typing import Any

import numpy as np

from minidl.kernels._jit import _Compilable


def window_ref(base, start, stop):
    """Elements start ... stop - 1, counted from the first of `base`, a flat array."""
    size = max(0, int(stop) - int(start)) * base.itemsize
    memory = (ctypes.c_char * size).from_address(base.ctypes.data + int(start) * base.itemsize)
    return np.frombuffer(memory, base.dtype)


class _Window(_Compilable):
    """The same view in a kernel: the array's own type, with another pointer and length."""

    def dispatcher(self) -> Any:
        if self._dispatcher is None:
            from numba.core import types
            from numba.extending import intrinsic
            from numba.np.arrayobj import make_array, populate_array

            @intrinsic
            def window(typing_context, base, start, stop):
                def generate(context, builder, signature, arguments):
                    kind = signature.return_type
                    source = make_array(signature.args[0])(context, builder, arguments[0])
                    view = make_array(kind)(context, builder)
                    populate_array(
                        view,
                        data=builder.gep(source.data, [arguments[1]]),
                        shape=[builder.sub(arguments[2], arguments[1])],
                        strides=[source.itemsize],
                        itemsize=source.itemsize,
                        meminfo=None,
                    )
                    return view._getvalue()

                flat = types.Array(base.dtype, 1, "C")
                return flat(base, types.intp, types.intp), generate

            self._dispatcher = window
        return self._dispatcher


window: Any = _Window(window_ref, ("contract",), inline=True)
