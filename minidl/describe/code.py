"""What a piece of code calls, found by its names; and where a thing stands."""

import dis
import functools
import importlib
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import minidl
from minidl import kernels
from minidl.ops._op import REGISTRY, Op

ROOT = Path(minidl.__file__).parents[1]

_OPS = ("minidl.ops", "minidl.kernels")
_FUNCTIONS = ("minidl.functional", "minidl.linalg", "minidl.nn", "minidl.optim")


def where(thing: Any) -> str:
    """file:line of a function, class or kernel, from the folder that holds minidl."""
    thing = plain(thing)
    path = Path(inspect.getsourcefile(thing) or "?")
    line = inspect.getsourcelines(thing)[1]
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{line}"


def plain(thing: Any) -> Any:
    """The function or class under wrappers, decorators and kernels."""
    if isinstance(thing, (staticmethod, classmethod)):
        thing = thing.__func__
    if isinstance(thing, types.MethodType):
        thing = thing.__func__
    thing = getattr(thing, "function", thing) if not isinstance(thing, type) else thing
    return inspect.unwrap(thing) if callable(thing) else thing


def references(function: Any) -> Iterator[Any]:
    """The objects that a function's code names: globals, what stands in its modules and classes,
    variables of the function around it, what it imports."""
    function = plain(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return
    outer = dict(zip(code.co_freevars, function.__closure__ or ()))
    yield from function.__defaults__ or ()
    waiting = [code]
    while waiting:
        code = waiting.pop()
        waiting += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        here = imported = None
        for step in dis.get_instructions(code):
            name = step.argval
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                here = function.__globals__.get(name)
            elif step.opname == "LOAD_DEREF" and name in outer:
                try:
                    here = outer[name].cell_contents
                except ValueError:  # not filled yet
                    here = None
            elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                inside = isinstance(here, (types.ModuleType, type))
                here = getattr(here, name, None) if inside else None
            elif step.opname == "IMPORT_NAME":
                ours = name.split(".")[0] == "minidl"
                here = imported = importlib.import_module(name) if ours else None
            elif step.opname == "IMPORT_FROM":
                here = getattr(imported, name, None)
            else:
                here = None
            if isinstance(here, (dict, list, tuple)) and len(here) < 100:
                yield from here.values() if isinstance(here, dict) else here
            elif here is not None:
                yield here


def reached(start: Any, wanted: Callable[[Any], bool], into: tuple[str, ...]) -> list[Any]:
    """What `wanted` accepts among the things that `start` names, and that functions of the modules
    `into` name in their turn; each once, in the order of the code."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        more = []
        for thing in references(waiting.pop(0)):
            callable_ = isinstance(thing, types.FunctionType | type | kernels.Kernel)
            if id(thing) in seen or not callable_:
                continue
            seen.add(id(thing))
            if wanted(thing):
                found.append(thing)
            elif isinstance(thing, types.FunctionType) and thing.__module__.startswith(into):
                more.append(thing)
        waiting = more + waiting
    return found


@functools.cache
def _kernel_of() -> dict[int, Any]:
    """Kernels by themselves and, without the compiler, by their references."""
    load_ops()
    kernels.load_all()
    found = {}
    for kernel in kernels.REGISTRY.values():
        found[id(kernel)] = found[id(kernel.reference)] = kernel
    return found


@functools.cache
def load_ops() -> None:
    """Import every op and function, so that the registry is complete."""
    import pkgutil

    import minidl.functional
    import minidl.ops

    for package in (minidl.ops, minidl.functional):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")


@functools.cache
def kernels_of(function: Any, into: tuple[str, ...] = _OPS) -> tuple[Any, ...]:
    """The kernels that an op's forward or backward, or an optimizer's step, may call."""
    table = _kernel_of()
    found = [table[id(k)] for k in reached(function, lambda x: id(x) in table, into)]
    return tuple(dict.fromkeys(found))


@functools.cache
def ops_of(function: Any) -> tuple[type[Op], ...]:
    """The ops that a function names, or that the functions it calls by name do.

    What it calls as a tensor's method is not seen here.
    """

    def is_op(thing: Any) -> bool:
        return isinstance(thing, type) and REGISTRY.get(thing.__name__) is thing

    return tuple(reached(function, is_op, _FUNCTIONS))


@functools.cache
def samplers() -> dict[str, Any]:
    """The test inputs of each op, where minidl stands in its repository; else none."""
    folder = ROOT / "tests" / "cases"
    if not folder.is_dir():
        return {}
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("[a-z]*.py")):
        if path.stem != "kernels":
            module = importlib.import_module(f"tests.cases.{path.stem}")
            if Path(module.__file__ or "").parent == folder:  # not another project's tests
                found.update(module.CASES)
    return found


def sampler_where(name: str) -> str | None:
    """file:line of an op's sampler: of the function its entry calls."""
    sampler = samplers().get(name)
    if sampler is None:
        return None
    inner = [x for x in references(sampler) if isinstance(x, types.FunctionType)]
    return where(inner[0] if inner else sampler)
