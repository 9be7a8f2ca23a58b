"""gemm: a matrix product that kernels can call, on one thread, by the BLAS that NumPy brings.

    @piece
    def _rows(x, weight, out):
        gemm(x, weight, out.dtype.type(0), out)

OpenBLAS and OpenMP each keep a pool of threads, and two pools on two cores starve each other. So
BLAS works on one thread, and it is kernels that cut a product into pieces: the same threads that
multiply a piece then add its bias, or its im2col before, while it lies in the cache.

NumPy's BLAS is found through threadpoolctl. Where it has no `cblas_sgemm` that we know, `gemm` is a
plain loop: right, but slow, and `python -m minidl doctor` says so.
"""

import ctypes
import functools
from typing import Any

_NAMES = {4: "sgemm", 8: "dgemm"}  # by the size of an element in bytes
_ROW_MAJOR, _AS_IS, _TRANSPOSED = 101, 111, 112  # constants of cblas.h


@functools.cache
def find_blas() -> tuple[dict[str, int], int] | None:
    """({"sgemm": address, "dgemm": address}, bits of its integers) of NumPy's BLAS, or None."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.empty((1, 1)) @ np.empty((1, 1))  # some systems load BLAS at the first product
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    # SciPy brings a library of its own, with threads of its own if it is imported later
    for pool in sorted(pools, key=lambda pool: "numpy" not in pool["filepath"]):
        library = ctypes.CDLL(pool["filepath"])
        for prefix, suffix, bits in (("scipy_", "64_", 64), ("", "64_", 64), ("", "", 32)):
            found = {}
            for name in _NAMES.values():
                symbol = getattr(library, f"{prefix}cblas_{name}{suffix}", None)
                if symbol is not None:
                    found[name] = ctypes.cast(symbol, ctypes.c_void_p).value or 0
            if len(found) == len(_NAMES):
                return found, bits
    return None


class Gemm:
    """What `gemm` is outside of a compiled kernel: a name that the compiler replaces."""

    def __init__(self) -> None:
        self._stub: Any = None

    def __call__(self, a: Any, b: Any, beta: Any, c: Any) -> None:
        """c = a @ b + beta * c, for a (N, D), b (D, M), c (N, M) of float32 or float64.

        beta, of the arrays' dtype, is 0 (c may hold anything before) or 1. Any array may be a view
        with unit stride along one of its axes, c along its last one.
        """
        import numpy as np

        c[...] = np.matmul(a, b) if beta == 0 else np.matmul(a, b) + beta * c

    def state(self) -> str:
        """What compiled code that calls `gemm` depends on besides its sources."""
        found = find_blas()
        return "loop" if found is None else f"cblas{found[1]}"

    def dispatcher(self) -> Any:
        """A function that Numba resolves to the call of BLAS, or to the loop."""
        if self._stub is None:
            self._stub = _make_stub()
        return self._stub


gemm = Gemm()


def _make_stub() -> Any:
    import llvmlite.binding as llvm
    from numba.extending import overload

    found = find_blas()
    if found is not None:
        for name, address in found[0].items():
            llvm.add_symbol(f"minidl_{name}", address)  # compiled code refers to it by this name
        call = _make_call(found[1])

    def stub(a: Any, b: Any, beta: Any, c: Any) -> None:
        raise NotImplementedError

    def by_blas(a: Any, b: Any, beta: Any, c: Any) -> Any:
        def body(a: Any, b: Any, beta: Any, c: Any) -> None:
            size = c.itemsize
            n, m, d = c.shape[0], c.shape[1], a.shape[1]
            if n == 0 or m == 0:
                return
            # which axis runs along memory; of an axis of size 1 the stride means nothing
            a_as_is = a.strides[1] == size or d == 1
            b_as_is = b.strides[1] == size or m == 1
            a_step = a.strides[0] if a_as_is else a.strides[1]
            b_step = b.strides[0] if b_as_is else b.strides[1]
            a_side, b_side = (d if a_as_is else n), (m if b_as_is else d)
            call(
                a, b, beta, c, _AS_IS if a_as_is else _TRANSPOSED,
                _AS_IS if b_as_is else _TRANSPOSED, n, m, d,
                max(a_step // size, a_side), max(b_step // size, b_side),
                max(c.strides[0] // size, m),
            )

        return body

    def by_loop(a: Any, b: Any, beta: Any, c: Any) -> Any:
        def body(a: Any, b: Any, beta: Any, c: Any) -> None:
            for i in range(c.shape[0]):
                for j in range(c.shape[1]):
                    c[i, j] = c[i, j] * beta if beta != 0 else beta
                for k in range(a.shape[1]):
                    factor = a[i, k]
                    for j in range(c.shape[1]):
                        c[i, j] += factor * b[k, j]

        return body

    overload(stub, strict=False)(by_loop if found is None else by_blas)
    return stub


def _make_call(bits: int) -> Any:
    """The intrinsic that calls cblas_sgemm or cblas_dgemm, by the arrays' dtype."""
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def call(context, a, b, beta, c, a_order, b_order, n, m, d, a_step, b_step, c_step):
        same = a.dtype == b.dtype == beta == c.dtype
        if not same or a.dtype not in (types.float32, types.float64):
            raise TypeError(
                f"gemm needs arrays and beta of float32, or all of float64; got {a.dtype}, "
                f"{b.dtype}, beta {beta}, {c.dtype}: pass c.dtype.type(0) or (1) as beta"
            )
        name = f"minidl_{_NAMES[a.dtype.bitwidth // 8]}"
        numbers = (a_order, b_order, n, m, d, a_step, b_step, c_step)
        signature = types.void(a, b, beta, c, *numbers)

        def code(target, builder, sig, args):
            arrays = [
                cgutils.create_struct_proxy(sig.args[i])(target, builder, args[i]).data
                for i in (0, 1, 3)
            ]
            real, whole, flag = args[2].type, ir.IntType(bits), ir.IntType(32)
            kind = ir.FunctionType(
                ir.VoidType(),
                [flag] * 3 + [whole] * 3 + [real, arrays[0].type, whole, arrays[1].type, whole]
                + [real, arrays[2].type, whole],
            )
            function = cgutils.get_or_insert_function(builder.module, kind, name)

            def cast(value, to):
                return builder.trunc(value, to) if value.type.width > to.width else value

            orders = [cast(value, flag) for value in args[4:6]]
            sizes = [cast(value, whole) for value in args[6:12]]
            x, y, out = arrays
            kinds = [ir.Constant(flag, _ROW_MAJOR), *orders]
            one = ir.Constant(real, 1.0)
            x_step, y_step, out_step = sizes[3:]
            operands = [one, x, x_step, y, y_step, args[2], out, out_step]
            builder.call(function, [*kinds, *sizes[:3], *operands])
            return target.get_dummy_value()

        return signature, code

    return call
