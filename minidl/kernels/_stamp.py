"""What a kernel's machine code is made from, as a hash: the key of the cache on disk.

A kernel and all that it calls count, each with its bytecode, the constants of its module that it
reads, and its flags. Comments, docstrings and what else stands in the file do not. What generates
LLVM code itself (`_tile`, `_lanes`, `_prefetch`, `gemm`) counts with the source of its module.
"""

import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def stamp_of(start: Any) -> str:
    """The hash for a `_jit._Compilable`."""
    import hashlib

    state = hashlib.sha256()
    for part in reachable(start):
        state.update(_own_state(part))
    return state.hexdigest()


def reachable(start: Any) -> list[Any]:
    """A kernel and everything it calls, each once, in a fixed order."""
    from minidl.kernels._jit import ByDtype, _Compilable

    found: list[Any] = []
    waiting = [start]
    while waiting:
        part = waiting.pop()
        if part in found:
            continue
        found.append(part)
        for _, value in names_used(part.function):
            if isinstance(value, ByDtype):
                waiting += [value.float32, value.float64]
            elif isinstance(value, _Compilable):
                waiting.append(value)
    return found


def names_used(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of the module's names in a function's code."""
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]


@functools.cache
def _global_names(code: types.CodeType) -> list[str]:
    import dis

    steps = dis.get_instructions(code)
    return list(dict.fromkeys(s.argval for s in steps if s.opname == "LOAD_GLOBAL"))


@functools.cache
def _own_state(part: Any) -> bytes:
    """What one function contributes."""
    function = part.function
    what = [part.name, *sorted(part.fastmath), part.inline, function.__defaults__]
    what += [_content(function.__code__, function.__doc__), _generator(part)]
    for name, value in names_used(function):
        if isinstance(value, (bool, int, float, str, tuple, np.generic)):
            what += [name, value]
        elif isinstance(value, np.ndarray):
            what += [name, value.dtype.str, value.shape, value.tobytes()]
        elif hasattr(value, "state"):  # a Gemm
            what += [name, value.state(), _generator(value)]
    return repr(what).encode()


def _content(code: types.CodeType, doc: str | None = None) -> tuple[Any, ...]:
    """Bytecode and constants, without where in the file they stand."""
    constants: list[Any] = []
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            constants.append(_content(constant))
        elif isinstance(constant, frozenset):
            constants.append(sorted(map(repr, constant)))
        elif doc is None or constant != doc:
            constants.append(repr(constant))
    return code.co_code, code.co_names, code.co_varnames, constants


def _generator(thing: Any) -> bytes:
    """The source of the module of a class that writes LLVM code itself; of others nothing."""
    module = type(thing).__module__
    path = getattr(sys.modules.get(module), "__file__", None)
    if module == "minidl.kernels._jit" or path is None:
        return b""
    with open(path, "rb") as file:
        return file.read()
