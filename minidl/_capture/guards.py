"""What a program is good for: the arguments' shapes and dtypes, modes, settings of modules."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from minidl._tensor import Tensor, _mode
from minidl.dtypes import get_default_dtype

_SETTINGS = (bool, int, float, str, type(None), tuple)
_HOOKS = ("_pre_hooks", "_post_hooks", "_backward_hooks")


def key_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], list[Any]]:
    """(what of the arguments a program depends on, the tensors and arrays among them in order)."""
    key: list[Any] = [_mode.grad, get_default_dtype()]
    found: list[Any] = []
    for x in args:
        if type(x) is Tensor:  # the usual case
            array = x.array
            key.append((array.shape, array.dtype, x.requires_grad, array.flags.c_contiguous))
            found.append(x)
        else:
            _gather(x, key, found)
    if kwargs:
        for name in sorted(kwargs):
            key.append(name)
            _gather(kwargs[name], key, found)
    if len(found) > 1:
        arrays = [id(x.array) if isinstance(x, Tensor) else id(x) for x in found]
        if len(set(arrays)) < len(arrays):  # the same array twice
            key.append(tuple([arrays.index(a) for a in arrays]))
    return tuple(key), found


def _gather(x: Any, key: list[Any], found: list[Any]) -> None:
    if isinstance(x, Tensor):
        array = x.array
        strides = None if array.flags.c_contiguous else array.strides
        key.append((type(x), array.shape, array.dtype, x.requires_grad, strides is None, strides))
        found.append(x)
    elif isinstance(x, np.ndarray):
        strides = None if x.flags.c_contiguous else x.strides
        key.append((np.ndarray, x.shape, x.dtype, strides))
        found.append(x)
    elif isinstance(x, (tuple, list)):
        key.append((type(x), len(x)))
        for branch in x:
            _gather(branch, key, found)
    elif isinstance(x, dict):
        key.append((dict, tuple(x)))
        for branch in x.values():
            _gather(branch, key, found)
    elif isinstance(x, (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)):
        key.append((type(x), x if x == x else "nan"))
    else:
        key.append(_Same(x))


class _Same:
    """An object that is the same only as itself; kept, so that its identity is not used again."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any):
        self.thing = thing

    def __hash__(self) -> int:
        return id(self.thing)

    def __eq__(self, other: Any) -> bool:
        return type(other) is _Same and self.thing is other.thing


class ModuleGuard:
    """The mode, the plain settings (`training`, `p`, `momentum` ...) and the hooks of the modules
    that ran."""

    def __init__(self, modules: Sequence[Any]):
        self._parts = []
        for module in modules:
            state = vars(module)
            names = [n for n, v in state.items() if type(v) in _SETTINGS and not n.startswith("__")]
            get = itemgetter(*names, *_HOOKS)
            try:
                found = get(state)
            except KeyError:
                continue
            known = tuple([list(v) if type(v) is list else v for v in found])  # lists of hooks grow
            self._parts.append((state, get, known, type(module).__name__))

    def holds(self) -> bool:
        return all(get(state) == known for state, get, known, _ in self._parts)
