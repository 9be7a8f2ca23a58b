"""@kernel: a loop over arrays, compiled at its first call, with the NumPy reference it must equal.

    def scale_ref(x, factor, y):
        np.multiply(x, factor, out=y)

    @kernel(reference=scale_ref)
    def scale(x, factor, y):
        for i in range(x.size):
            y[i] = x[i] * factor

Nothing is compiled, and Numba is not imported, before `scale` is called. With MINIDL_JIT=0, or
without Numba, the name `scale` is the reference itself.

A kernel that may use several cores says `parallel=True` and hands fixed pieces of its work to a
`@piece`, in a `prange`. It is compiled twice, without and with threads; both call the same compiled
piece, and what a piece computes does not depend on who runs it, so the result has the same bits for
any number of threads. A sum over pieces goes through an array of partial sums, added up in order
after the `prange`.

    @piece
    def _scale_piece(x, factor, y):
        for i in range(x.size):
            y[i] = x[i] * factor

    @kernel(reference=scale_ref, parallel=True)
    def scale(x, factor, y):
        for p in prange(count_pieces(x.size, 4096)):
            s, e = piece_bounds(p, 4096, x.size)
            _scale_piece(x[s:e], factor, y[s:e])

A piece gets slices and counts from 0: Numba wraps negative indices around, and only where it sees
that an index cannot be negative does the loop become SIMD (0.5 ns an element against 0.09).

Names that a kernel calls (`@helper`, `@piece`, other kernels) are imported as names, not reached
through a module. Numba's rules for constants apply: a module constant is frozen when compiled.
"""

import importlib.util
import os
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any, TypeVar, overload

import numpy as np

from minidl.kernels import _memory, _threads
from minidl.kernels._emission import OUTERMOST, emitting_once
from minidl.kernels._gemm import Gemm
from minidl.kernels._stamp import names_used, stamp_of

ENABLED = os.environ.get("MINIDL_JIT", "1") != "0" and importlib.util.find_spec("numba") is not None
"""False: every kernel is its reference."""

REGISTRY: dict[str, "Kernel"] = {}
"""Every kernel with its reference, by name; one outside minidl by its module and name."""

COMPILED: dict[str, float] = {}
"""Seconds that this process took to compile each kernel that it did not find on the disk."""

SERIAL_BELOW = 100_000
"""Elements below which a region's start (15 µs) costs more than a second core saves."""

_MESSAGE_AFTER = 1.0  # seconds that a process may compile in silence
_compiling = 0.0  # seconds that it has compiled
_told_where = False  # whether a message has said why
_BUILDING = threading.RLock()  # two Python threads may call a kernel for the first time at once

_Function = TypeVar("_Function", bound=Callable[..., Any])

prange = range
"""The parallel range of a kernel. Numba's own takes its place when the kernel is compiled."""


class _Compilable:
    """A Python function with the settings it is compiled with."""

    def __init__(self, function: Callable[..., Any], fastmath: tuple[str, ...], inline: bool):
        if function.__closure__:
            raise TypeError(
                f"kernel {function.__qualname__} uses variables of the function around it: a "
                "kernel's code must depend on its arguments and its module alone; pass them in"
            )
        self.function = function
        self.name = function.__name__
        self.fastmath = fastmath
        self.inline = inline
        self._dispatcher: Any = None
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__

    def __call__(self, *args: Any) -> Any:
        """From Python, as references do: the plain function."""
        return self.function(*args)

    def dispatcher(self) -> Any:
        """Numba's compiled form, as other kernels call it: without threads, and not from Python."""
        if self._dispatcher is None and self.inline:
            self._dispatcher = self._build("", forceinline=True, no_cpython_wrapper=True)
        elif self._dispatcher is None:
            from minidl.kernels._cache import DiskCache

            self._dispatcher = self._build("_called", no_cpython_wrapper=True)
            self._dispatcher._cache = DiskCache(f"{self.name}_called", stamp_of(self), shared=True)
        return self._dispatcher

    def _build(self, suffix: str, **options: Any) -> Any:
        """A Numba dispatcher of a copy of the function whose globals are what Numba knows.

        Each copy has a name of its own, for compiled functions are linked by name.
        """
        import numba

        code, scope = self.function.__code__, dict(self.function.__globals__)
        for name, value in names_used(self.function):
            if value is prange:
                scope[name] = numba.prange
            elif isinstance(value, (_Compilable, ByDtype, Gemm)):
                scope[name] = value.dispatcher()
        copy = types.FunctionType(code, scope, self.name + suffix, self.function.__defaults__)
        copy.__qualname__ = self.function.__qualname__ + suffix
        if not self.inline:
            OUTERMOST.add(copy.__qualname__)
        # numpy: a division by zero gives inf; Numba's default test for it keeps loops from SIMD
        njit: Any = numba.njit  # its declared arguments leave some out
        return njit(
            error_model="numpy", nogil=True, fastmath=set(self.fastmath), no_cfunc_wrapper=True,
            **options,
        )(copy)


class Kernel(_Compilable):
    """A compiled loop and the reference with the same signature that it must equal."""

    def __init__(
        self,
        function: Callable[..., Any],
        reference: Callable[..., Any],
        parallel: bool,
        serial_below: int,
        size_of: str | None,
        fastmath: tuple[str, ...],
        any_strides: bool = False,
    ):
        super().__init__(function, fastmath, inline=False)
        expected, given = _arguments(reference), _arguments(function)
        if expected != given:
            raise TypeError(
                f"kernel {self.name}{given} and its reference {reference.__name__}{expected} must "
                "have the same arguments: give both the same names in the same order"
            )
        self.reference = reference
        self.parallel = parallel
        self.serial_below = serial_below
        self.any_strides = any_strides
        self._size_at = 0 if size_of is None else given.index(size_of)
        self._announced = False
        self._serial: Callable[..., None] = self._first_call
        self._threaded: Any = self._first_call

    def __call__(self, *args: Any) -> None:
        self._serial(*args)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"

    def _first_call(self, *args: Any) -> None:
        """Load Numba and build the dispatchers; later calls go straight to them."""
        with _BUILDING:
            if self._serial == self._first_call:
                self._prepare()
        self(*args)  # the twin that suits them: the other is compiled when it is needed

    def _prepare(self) -> None:
        _memory.keep_freed_memory()
        try:
            _threads.prepare_numba()
        except ImportError as error:  # installed, but not for this Python or NumPy
            _say(f"Numba cannot be imported ({error}): kernels run as plain NumPy")
            self._threaded = self._serial = self.reference
            return
        self._threaded = self._twin("_threaded", parallel=_ONLY_PRANGE) if self.parallel else None
        self._serial = self._twin("")

    def _twin(self, suffix: str, **options: Any) -> Any:
        from minidl.kernels._cache import DiskCache  # imports much that is needed only now

        dispatcher = self._build(suffix, **options)
        dispatcher._cache = DiskCache(self.name + suffix, stamp_of(self))
        compile_now = dispatcher._compiler.compile  # runs only when the disk has nothing

        def announced(*args: Any) -> Any:
            global _compiling
            # many kernels of half a second each are a long silence too
            silence = max(_MESSAGE_AFTER - _compiling, _MESSAGE_AFTER / 5)
            timer = threading.Timer(silence, self._announce)
            timer.daemon = True
            timer.start()
            start = time.perf_counter()
            try:
                with emitting_once():
                    return compile_now(*args)
            finally:
                timer.cancel()
                seconds = time.perf_counter() - start
                _compiling += seconds
                COMPILED[self.name] = COMPILED.get(self.name, 0.0) + seconds

        dispatcher._compiler.compile = announced
        _share_machine_code(dispatcher, self.name, self.any_strides)
        return dispatcher

    def _announce(self) -> None:
        global _told_where
        if not self._announced:
            self._announced = True
            why = "" if _told_where else " (once on this machine, or: python -m minidl warmup)"
            _told_where = True
            _say(f"compiling {self.name} ...{why}")


class ParallelKernel(Kernel):
    """A kernel with a second, threaded twin for large arrays."""

    def __call__(self, *args: Any) -> None:
        if args[self._size_at].size < self.serial_below or not _threads.may_start_threads():
            self._serial(*args)
        else:
            self._threaded(*args)


# What parallel=True may change: prange, and nothing else that it would find to rewrite.
_ONLY_PRANGE = {
    "prange": True,
    "comprehension": False,
    "reduction": False,
    "inplace_binop": False,
    "setitem": False,
    "numpy": False,
    "stencil": False,
    "fusion": False,
}


class ByDtype:
    """A helper with one body for float32 and one for float64; the argument's type chooses."""

    def __init__(self, float32: Any, float64: Any):
        self.float32 = float32
        self.float64 = float64
        self._stub: Callable[..., Any] | None = None

    def dispatcher(self) -> Any:
        """A function that Numba resolves to one of the two bodies."""
        if self._stub is None:
            from numba.core import types as numba_types
            from numba.extending import overload as numba_overload

            single, double = self.float32._build(""), self.float64._build("")
            bodies = {
                numba_types.float32: single,
                numba_types.int32: single,  # the bits of a float32
                numba_types.float64: double,
                numba_types.int64: double,
            }

            def stub(x: Any) -> Any:
                raise NotImplementedError

            @numba_overload(stub, jit_options={"forceinline": True}, strict=False)
            def choose(x: Any) -> Any:
                body = bodies.get(x)
                return None if body is None else body.py_func

            self._stub = stub
        return self._stub


def kernel(
    *,
    reference: Callable[..., Any],
    parallel: bool = False,
    serial_below: int = SERIAL_BELOW,
    size_of: str | None = None,
    fastmath: tuple[str, ...] = ("contract",),
    any_strides: bool = False,
) -> Callable[[Callable[..., Any]], Any]:
    """Make a kernel of the function below; see the top of this module.

    `reference` does the same in NumPy, with the same arguments: inputs first, outputs last, filled
    in place. A `parallel` kernel runs without threads while the argument `size_of` (default: the
    first) has fewer than `serial_below` elements. `fastmath` names what LLVM may assume; a flag
    besides "contract" wants a reason in a comment, and those that lose NaN or inf are refused.
    `any_strides`: compile once, whatever the arrays' strides; for kernels that only call others.
    """
    _check_fastmath(fastmath)

    def decorate(function: Callable[..., Any]) -> Any:
        form = ParallelKernel if parallel else Kernel
        made = form(
            function, reference, parallel, serial_below, size_of, fastmath, any_strides
        )
        inside = function.__module__.startswith("minidl.kernels.")
        key = made.name if inside else f"{function.__module__}.{made.name}"
        taken = REGISTRY.get(key)
        if taken is not None and taken.__module__ != function.__module__:
            raise TypeError(f"two kernels are called {key}: rename one")
        REGISTRY[key] = made
        return made if ENABLED else reference

    return decorate


@overload
def helper(function: _Function) -> _Function: ...
@overload
def helper(*, fastmath: tuple[str, ...]) -> Callable[[_Function], _Function]: ...
def helper(function: Any = None, *, fastmath: tuple[str, ...] = ("contract",)) -> Any:
    """A function of scalars that kernels call; inlined, so that loops over it become SIMD."""
    _check_fastmath(fastmath)
    if function is None:
        return lambda f: _Compilable(f, fastmath, inline=True)
    return _Compilable(function, fastmath, inline=True)


@overload
def piece(function: _Function) -> _Function: ...
@overload
def piece(*, fastmath: tuple[str, ...]) -> Callable[[_Function], _Function]: ...
def piece(function: Any = None, *, fastmath: tuple[str, ...] = ("contract",)) -> Any:
    """A function of arrays and a range that kernels call: compiled once, shared by both twins."""
    _check_fastmath(fastmath)
    if function is None:
        return lambda f: _Compilable(f, fastmath, inline=False)
    return _Compilable(function, fastmath, inline=False)


def by_dtype(*, float32: Any, float64: Any) -> Any:
    """One helper of two: `float32` for a float32 (or its bits, int32), `float64` else."""
    return ByDtype(float32, float64)


def _share_machine_code(dispatcher: Any, name: str, any_strides: bool) -> None:
    """Let read-only inputs use the code compiled for writable ones.

    Numba would compile every mixture of read-only and writable arguments anew, though the machine
    code is the same. Numba asks `_compile_for_args` whenever it meets new argument types. With
    `any_strides` the code is compiled once, for arrays of any strides: for kernels whose loops are
    in what they call.
    """
    compile_for_args = dispatcher._compile_for_args

    def share(*args: Any, **kwargs: Any) -> Any:
        arrays = [arg for arg in args if isinstance(arg, np.ndarray)]
        if all(array.flags.writeable for array in arrays) and not any_strides:
            return compile_for_args(*args, **kwargs)
        if not arrays[-1].flags.writeable:
            raise ValueError(f"{name}: the last array is filled in place, but it is read-only")
        given = tuple(dispatcher.typeof_pyval(arg) for arg in args)
        same = {"readonly": False, "layout": "A"} if any_strides else {"readonly": False}
        types_ = tuple(t.copy(**same) if hasattr(t, "layout") else t for t in given)
        entry = dispatcher.compile(types_)
        dispatcher._insert([t._code for t in given], entry, False)
        dispatcher._types_active_call.clear()  # Numba's note of the types it is looking at
        return entry

    dispatcher._compile_for_args = share


def _check_fastmath(flags: tuple[str, ...]) -> None:
    allowed = {"contract", "reassoc", "arcp", "nsz", "afn"}
    if not set(flags) <= allowed:
        raise ValueError(f"fastmath flags must be of {sorted(allowed)}, got {flags}")


def _arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    code = getattr(function, "__wrapped__", function).__code__
    return code.co_varnames[: code.co_argcount]


def _say(text: str) -> None:
    if os.environ.get("MINIDL_QUIET") != "1":
        print(f"minidl: {text}", file=sys.stderr, flush=True)
