"""Machine code for what is called, and for nothing else on the way there.

Numba optimises each function it compiles and makes machine code of it before it links the function
into its caller, where all of that is done once more. A helper that is inlined, and Numba's own for
slices or `np.empty`, go through it twice; the body of a `prange`, in three wrappers, four times.
`emitting_once` leaves it to the outermost: kernels, and pieces that are called by symbol. A CNN's
first step took 15 s instead of 20.
"""

import contextlib
import functools
import gc
from collections.abc import Iterator
from typing import Any

OUTERMOST: set[str] = set()
"""The names of functions that need machine code of their own."""

_PREFIX_OF_WRAPPERS = "_ZN7cpython"  # what Python calls; a user's njit may have one
_BODY_OF_PRANGE = "__numba_parfor_gufunc"
_depth = 0  # a kernel's pieces are compiled while it is


@contextlib.contextmanager
def emitting_once() -> Iterator[None]:
    """While kernels are compiled (Numba's lock is held): link what they call, as it is.

    Python's garbage collector rests as well: it looked through millions of Numba's objects, of
    which few are garbage, for a tenth of the time.
    """
    global _depth
    from numba.core.registry import cpu_target

    codegen: Any = cpu_target.target_context.codegen()
    if _depth:
        yield
        return
    whole, collected = codegen._library_class, gc.isenabled()
    set_env = codegen.set_env

    def set_env_of_emitted(name: str, env: Any) -> None:
        if codegen._engine.get_global_value_address(name):  # 0: it has no machine code
            set_env(name, env)

    codegen._library_class, codegen.set_env = _linked_only(whole), set_env_of_emitted
    gc.disable()
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        codegen._library_class = whole
        del codegen.set_env  # the class's own is back
        if collected:
            gc.enable()


@functools.cache
def _linked_only(whole: Any) -> Any:
    """Numba's class of libraries, but only the outermost are optimised and emitted."""

    class Library(whole):  # type: ignore[misc]
        def finalize(self) -> None:
            if _needs_code(self):
                super().finalize()
                return
            self._raise_if_finalized()
            for library in dict.fromkeys(self._linking_libraries):
                self._reload_init.update(library._reload_init)
                module = library._get_module_for_linking()
                self._final_module.link_in(module, preserve=True)
            self._finalize_dynamic_globals()
            self._finalized = True

    return Library


def _needs_code(library: Any) -> bool:
    if library.name in OUTERMOST:
        return True
    if library.name.startswith(_BODY_OF_PRANGE):
        return False
    functions = library._final_module.functions
    return any(f.name.startswith(_PREFIX_OF_WRAPPERS) and not f.is_declaration for f in functions)
