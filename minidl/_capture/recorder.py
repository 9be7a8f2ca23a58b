"""Recorder: listens while a step runs once as usual, and writes down what it does."""

import functools
import threading
import types
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl._capture.leaves import (
    LeafArg,
    LeafTensor,
    address,
    arrays_in,
    base_of,
    grad_array,
    raw_array,
    root_of,
    set_grad,
    strided,
    trimmed,
)
from minidl._capture.program import (
    Alloc,
    CaptureError,
    Instruction,
    Program,
    Storage,
    TensorOf,
    Value,
    mapped,
)
from minidl._capture.traced import Traced, inside_op, plain, traced, user_line
from minidl._tensor import Node, Tensor
from minidl.ops.elementwise import Alias
from minidl.sparse import RowSparse

_ARRAYS = (np.ndarray, np.generic)


class Recorder:
    """Turns what is reported into a Program.

    Arrays are known by identity while they live: an array that is not known is a constant, unless
    it lies in the memory of a known one (then it is a view of it), or a tensor older than the step
    holds it (then the replay reads that tensor).
    """

    def __init__(self) -> None:
        self.program = Program()
        self.thread = threading.get_ident()
        self.paused = 0
        self.nodes: dict[int, tuple[Any, Any]] = {}  # id -> (reference, what it saved)
        self._created: dict[int, Any] = {}  # references to the tensors that the step made
        self.modules: dict[int, Any] = {}
        self.cleared: set[int] = set()  # leaves whose gradient the step itself dropped
        self.arg_leaves: dict[int, int] = {}  # a tensor among the arguments -> its number
        self._known: dict[int, tuple[Any, Value]] = {}
        self._storages: dict[int, tuple[Any, Storage]] = {}
        self._copied: set[Value] = set()
        self._count = 0
        self._pending: list[tuple[Any, Alloc]] = []
        self._open: list[tuple[Any, Alloc]] = []  # allocations of the last instruction
        self._last: Instruction | None = None

    def listens(self) -> bool:
        return not self.paused and threading.get_ident() == self.thread

    def note_tensor(self, x: Tensor) -> None:
        """The step made this tensor."""
        self._created[id(x)] = weakref.ref(x)

    def made_here(self, x: Tensor) -> bool:
        reference = self._created.get(id(x))
        return reference is not None and reference() is x

    # values

    def value(self, kind: str, of: Any = None, source: Any = None) -> Value:
        """A new value; `of`: the array or other object that it is, and is known by from now on."""
        made = Value(self._count, kind, source)
        self._count += 1
        if of is not None:
            made.describe(of)
            self.know(of, made)
        return made

    def know(self, thing: Any, value: Value) -> None:
        """Find `value` by this object from now on."""
        reference = weakref.ref(thing) if isinstance(thing, np.ndarray) else (lambda: thing)
        self._known[id(thing)] = (reference, value)
        if isinstance(thing, np.ndarray):
            storage = self.storage(thing, value.kind)
            value.storages = (storage,)
            if thing.base is not None:
                value.offset = address(thing) - address(root_of(thing))
        elif isinstance(thing, RowSparse):
            value.storages = tuple([self.storage(x, "made") for x in (thing.rows, thing.values)])

    def storage(self, array: Any, kind: str = "made") -> Storage:
        """The memory of an array, shared by all of its views."""
        root = root_of(array)
        entry = self._storages.get(id(root))
        if entry is None or entry[0]() is not root:
            entry = (weakref.ref(root), Storage(kind))
            self._storages[id(root)] = entry
        return entry[1]

    def gradient(self, array: Any) -> Value:
        """The array of a leaf's .grad: the walk may have left it what it computed, or a copy."""
        made = self.value("grad", array)
        storage = Storage("grad")
        root = root_of(array)
        self._storages[id(root)] = (weakref.ref(root), storage)
        made.storages, made.offset = (storage,), 0
        return made

    def find(self, thing: Any) -> Value | None:
        entry = self._known.get(id(thing))
        return entry[1] if entry is not None and entry[0]() is thing else None

    def refer(self, x: Any) -> Any:
        """An operand of an instruction: values in place of arrays and tensors, in any nest."""
        return mapped(x, self._leaf)

    def _leaf(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self.of_tensor(x)
        if type(x) is Traced:
            x = plain(x)
        if isinstance(x, np.ndarray):
            return self.of_array(x)
        if isinstance(x, (np.generic, RowSparse)):
            known = self.find(x)
            return x if known is None and isinstance(x, np.generic) else known or self._constant(x)
        return x

    def of_tensor(self, x: Tensor) -> Value:
        array = raw_array(x)
        known = self.find(array)
        if known is not None:
            return known
        if self.made_here(x):
            return self.of_array(array)
        made = self.value("tensor", array, x)
        self.program.tensors.append(made)
        return made

    def of_array(self, array: Any) -> Value:
        known = self.find(array)
        if known is not None:
            return known
        base = base_of(array)
        while base is not None:  # a view that NumPy made without telling
            known = self.find(base)
            if known is not None:
                return self._view_of(array, base, known)
            base = base_of(base)
        return self._constant(array)

    def knows(self, array: Any) -> bool:
        """Whether an array, or one that it is a view of, came from an argument or instruction."""
        while array is not None and self.find(array) is None:
            array = base_of(array)
        return array is not None

    def _view_of(self, array: Any, base: Any, known: Value) -> Value:
        if (
            array.shape == base.shape
            and array.strides == base.strides
            and array.dtype == base.dtype
            and array.ctypes.data == base.ctypes.data
        ):
            self._known[id(array)] = (weakref.ref(array), known)
            return known
        offset = array.ctypes.data - base.ctypes.data
        args = (known, array.shape, array.dtype, array.strides, offset)
        return self.add("call", strided, args, outs=array).outs

    def _constant(self, thing: Any) -> Value:
        made = self.value("const", thing, thing)
        made.source = plain(thing)
        self.program.consts.append(made)
        return made

    # instructions

    def add(
        self, kind: str, function: Any, args: Any, kwargs: Any = None, outs: Any = None
    ) -> Instruction:
        """A new instruction; outs: the nest of arrays that it made."""
        self._settle()
        made = Instruction(kind, function, args, kwargs, user_line()[0])
        made.outs = mapped(outs, lambda x: x if x is None else self.value("made", x))
        made.allocs = [alloc for _, alloc in self._pending]
        self._open, self._pending = self._pending, []
        self.program.instructions.append(made)
        self._last = made
        return made

    def _settle(self) -> None:
        """What an instruction allocated and neither returned nor saved, but still lives: keep it.

        Nobody knows who looks at it.
        """
        last = self._last
        if last is None or not self._open:
            return
        seen = {storage for value in last.makes() for storage in value.storages}
        for reference, alloc in self._open:
            if reference() is not None and alloc.storage not in seen:
                alloc.pinned = True
        self._open = []

    def allocate(self, shape: Any, dtype: Any) -> Any:
        """`empty` while recording."""
        array = plain(np.empty(shape, dtype))
        if self.listens_below() and inside_op():
            alloc = Alloc(array.shape, array.dtype)
            alloc.storage = Storage("made", alloc)
            reference = weakref.ref(array)
            self._storages[id(array)] = (reference, alloc.storage)
            self._pending.append((reference, alloc))
        elif self.listens():
            array[...] = 0  # a constant to be filled: recordings would differ by what lay there
            return traced(array)
        return array

    def listens_below(self) -> bool:
        return threading.get_ident() == self.thread and (not self.paused or self.in_backward)

    def on_op(
        self, op: Any, inputs: Sequence[Any], settings: dict[str, Any], outs: Sequence[Tensor]
    ) -> None:
        """An op ran forward, under `apply`."""
        if isinstance(op, str) or not self.listens():
            return  # a comparison and its like: their arrays are known already
        arrays = [raw_array(out) for out in outs]
        if (op is Alias or op.view) and self.find(arrays[0]) is not None:
            return  # the array itself, or a view that NumPy has reported
        if not op.__module__.startswith("minidl.ops"):
            raise CaptureError(f"capture: {op.__name__} at {user_line()[0]} is not an op of minidl")
        args = self.refer(tuple(inputs))
        several = len(arrays) > 1 or len(op.outputs) > 1
        made = self.add("op", op, args, dict(settings), tuple(arrays) if several else arrays[0])
        del made

    def on_node(self, node: Node) -> None:
        """An op was put on the tape."""
        if not self.listens():
            return
        last = self._last
        its_own = last is not None and last.kind == "op" and last.function is node.op
        if last is not None and its_own and last.saved is None:
            last.saved = Value(self._count, "made")
            self._count += 1
            last.saved.storages = tuple([self.storage(a) for a in arrays_in(node.saved)])
            last.extra = trimmed(node)
            self._remember(node, last.saved)
            return
        if node.op.__module__.startswith("minidl.ops"):
            self._remember(node, self.refer(node.saved))

    def _remember(self, node: Node, saved: Any) -> None:
        self.nodes[id(node)] = (weakref.ref(node), saved)

    def saved_by(self, node: Node) -> Any:
        entry = self.nodes.get(id(node))
        if entry is not None and entry[0]() is node:
            return entry[1]
        if node.seq < self.first_seq:
            raise CaptureError(
                f"capture: the graph at {node!r} was made before the step; make it inside the "
                "step, or pass x.detach()"
            )
        return self.refer(node.saved)

    first_seq = 0
    in_backward = False

    def on_call(
        self, function: Any, args: Any, kwargs: Any, given: Any, named: Any, written: Any
    ) -> Any:
        """NumPy, or a kernel, outside of ops."""
        operands = self.refer(args), self.refer(kwargs)
        targets = [self._leaf(x) for x in written]
        for target in targets:
            self._keep_constants(target)
        self.paused += 1
        try:
            result = function(*given, **named)
        finally:
            self.paused -= 1
        made = self.add("call", function, *operands)
        made.writes = targets
        made.effect = bool(targets)
        if result is None:
            return None
        by_raw = {id(plain(x)): x for x in written}
        if isinstance(result, np.ndarray) and id(result) in by_raw:
            return by_raw[id(result)]
        if type(result) in (bool, int, float):  # not NumPy's float64, which is a float to Python
            made.outs = self.value("made")
            self.on_read(made.outs, made.title(), None, result)
            return result

        def wrap(x: Any) -> Any:
            if isinstance(x, np.generic):
                x = np.asarray(x)
            return x

        result = mapped(result, wrap)
        made.outs = mapped(
            result, lambda x: self.value("made", x) if isinstance(x, np.ndarray) else None
        )
        return mapped(result, lambda x: traced(x) if isinstance(x, np.ndarray) else x)

    def _keep_constants(self, target: Value) -> None:
        """Before a constant is changed in place: a replay starts from what it was."""
        changed = set(target.storages)
        if any(storage.kind == "const" for storage in changed):
            for value in self.program.consts:
                if changed.intersection(value.storages) and value not in self._copied:
                    self._copied.add(value)
                    value.source = value.source.copy()

    def on_read(self, array: Any, name: str, of: Any, value: Any) -> None:
        """A Python value was asked for."""
        where, own = user_line()
        if not own:
            raise CaptureError(
                f"capture: {name} at {where} makes a Python value of a tensor inside the step, so "
                "what follows could depend on the data, and a replay would not see it; return the "
                "tensor and look at it outside, or use minidl.where and masks in place of a branch"
            )
        operand = array if isinstance(array, Value) else self.of_array(array)
        made = self.add("check", of, (operand,))
        made.extra = value
        made.effect = True

    def on_host(self, function: Any, args: Any, kwargs: Any) -> Any:
        """A call of a live object, which a replay makes as well."""
        for x in (*args, *kwargs.values()):
            if isinstance(x, (types.FunctionType, types.MethodType, functools.partial)):
                raise CaptureError(
                    f"capture: {getattr(function, '__qualname__', function)} at {user_line()[0]} "
                    "takes a closure, which it calls as often as it likes; call it outside"
                )
        args = tuple([list(x) if isinstance(x, Iterator) else x for x in args])
        named = self._host_operands(args), self._host_operands(kwargs)
        self.paused += 1
        try:
            result = function(*args, **kwargs)
        finally:
            self.paused -= 1
        made = self.add("host", function, *named)
        made.effect = True
        made.extra = type(result) is Tensor
        if made.extra:
            made.outs = self.value("made", raw_array(result))
        return result

    def _host_operands(self, tree: Any) -> Any:
        def leaf(x: Any) -> Any:
            if isinstance(x, Tensor) and (self.made_here(x) or id(x) in self.arg_leaves):
                return TensorOf(self.of_tensor(x))
            return x  # an older tensor goes as it is

        return mapped(tree, leaf)

    def on_draw(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Random numbers."""
        self.paused += 1
        try:
            result = function(*mapped(args, plain), **mapped(kwargs, plain))
        finally:
            self.paused -= 1
        if not isinstance(result, np.ndarray):
            raise CaptureError(
                f"capture: a random Python number is drawn at {user_line()[0]}; draw an array, or "
                "draw it outside and pass it in as a tensor"
            )
        made = self.add("draw", function, self.refer(args), self.refer(kwargs), result)
        made.effect = True
        return traced(result)

    # gradients of leaves

    def on_grad_set(self, leaf: Tensor, grad: Any) -> None:
        """`leaf.grad = ...` outside the engine."""
        if self.made_here(leaf):
            return
        self.cleared.add(id(leaf))
        operand = None if grad is None else TensorOf(self.of_tensor(grad))
        made = self.add("host", set_grad, (self.leaf(leaf), operand))
        made.effect = True

    def on_grad_get(self, leaf: Tensor, grad: Any) -> None:
        """A gradient that is older than the step is read."""
        if isinstance(grad, Tensor) and not self.made_here(grad):
            array = raw_array(grad)
            if self.find(array) is None:
                self.add("call", grad_array, (self.leaf(leaf),), outs=array)

    def leaf(self, leaf: Tensor) -> Any:
        """A leaf as an operand: an older tensor itself, or the number of an argument."""
        number = self.arg_leaves.get(id(leaf))
        return LeafArg(number) if number is not None else LeafTensor(leaf)

    def finish(self, result: Any) -> Program:
        self._settle()
        program = self.program
        program.result = self.refer(result)
        program.modules = list(self.modules.values())
        written = {s for i in program.instructions for v in i.writes for s in v.storages}
        program.written = [v.source for v in program.tensors if written & set(v.storages)]
        self.nodes.clear()
        self._known.clear()
        return program
