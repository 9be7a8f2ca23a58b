"""Whether two recordings of a step are the same program, and if not, where they part."""

from typing import Any

import numpy as np

from minidl._capture.leaves import LeafArg, LeafTensor
from minidl._capture.program import Instruction, Program, TensorOf, Value
from minidl._tensor import Tensor


def difference(one: Program, two: Program) -> str:
    """Where two programs part, in words; "" if they are the same."""
    for a, b in zip(one.instructions, two.instructions):
        if a.kind != b.kind or not _same_function(a.function, b.function):
            return f"{a.title()} at {a.where}, then {b.title()} at {b.where}"
        if not (_same(a.args, b.args) and _same(a.kwargs, b.kwargs)):
            return f"{a.title()} at {a.where} has other arguments: {_first(a, b)}"
        if a.kind == "check" and not _same(a.extra, b.extra):
            return f"the value that {a.where} looks at: {a.extra!r}, then {b.extra!r}"
        if not (_same(a.outs, b.outs) and (a.saved is None) == (b.saved is None)):
            return f"{a.title()} at {a.where} has another result"
        if [(x.shape, x.dtype) for x in a.allocs] != [(x.shape, x.dtype) for x in b.allocs]:
            return f"{a.title()} at {a.where} takes other arrays"
    if len(one.instructions) != len(two.instructions):
        return f"{len(one.instructions)} operations, then {len(two.instructions)}"
    if not _same(one.result, two.result):
        return "what is returned"
    if len(one.leaf_states) != len(two.leaf_states):
        return "which tensors get a gradient"
    for (leaf, state), (other, now) in zip(one.leaf_states, two.leaf_states):
        if state != now or not _same(leaf, other):
            return "whether tensors had a gradient before"
    return ""


def _same_function(a: Any, b: Any) -> bool:
    return (
        a is b
        or (hasattr(a, "__self__") and a == b)
        or (getattr(a, "__code__", 0) is getattr(b, "__code__", 1))
    )


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Value):
        if (a.number, a.kind, a.shape, a.dtype) != (b.number, b.kind, b.shape, b.dtype):
            return False
        if a.kind == "tensor":
            return a.source is b.source
        return a.kind != "const" or _same_constant(a.source, b.source)
    if isinstance(a, TensorOf):
        return _same(a.value, b.value)
    if isinstance(a, LeafTensor):
        return a.tensor is b.tensor
    if isinstance(a, LeafArg):
        return a.number == b.number
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, slice):
        return _same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if isinstance(a, Tensor):
        return a is b
    if isinstance(a, (float, np.generic)):
        return a == b or (a != a and b != b)
    return a is b or bool(a == b) or _same_function(a, b)


def _same_constant(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return False


def _first(a: Instruction, b: Instruction) -> str:
    for x, y in zip((*a.args, *a.kwargs.values()), (*b.args, *b.kwargs.values())):
        if not _same(x, y):
            if isinstance(x, Value) and isinstance(y, Value):
                if x.kind == y.kind == "const":
                    return "an array that no op made (NumPy, or random numbers from elsewhere)"
                return f"an array of shape {x.shape}, then of {y.shape}, or from elsewhere"
            return f"{x!r}, then {y!r}"
    return "another number of them"
