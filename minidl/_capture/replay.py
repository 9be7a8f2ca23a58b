"""A program as one Python function: no loop over instructions, no tensors, no tape."""

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import kernels
from minidl._capture.leaves import LeafArg, LeafTensor, address
from minidl._capture.lower import UFUNCS, by_ufunc, lowered, pin_gradients, written_storages
from minidl._capture.memory import Arena, plan
from minidl._capture.program import CaptureError, Instruction, Program, TensorOf, Value, values_in
from minidl._tensor import Tensor
from minidl._walk import _deposit
from minidl.kernels._ways import ADD
from minidl.ops._arithmetic import MANY
from minidl.ops._op import set_allocator
from minidl.sparse import RowSparse

MISS = object()
"""What a replay answers if a guard does not hold; it has changed nothing then."""

_turn = threading.RLock()  # buffers are handed out through one place: replays take turns
_LITERALS = (bool, int, str, type(None), type(...))


class Replay:
    """A program ready to run: `run(tensors)`, with the tensors and arrays among the arguments."""

    def __init__(self, program: Program, fuse: bool, kept: dict[int, Tensor]):
        lowered(program)
        if fuse:
            from minidl._capture.fuse import fused

            fused(program)
        pin_gradients(program)
        self.program = program
        self.nbytes = plan(program)
        self.arena = Arena()
        self.source, self._scope = _Writer(program, self.arena, kept).write()
        exec(compile(self.source, "<capture>", "exec"), self._scope)
        self._function = self._scope["replay"]

    def run(self, given: Sequence[Any]) -> Any:
        """The step's result, or MISS."""
        arena = self.arena
        with _turn:
            arena.begin()
            before = set_allocator(arena)
            try:
                return self._function(given)
            finally:
                set_allocator(before)


class _Writer:
    """Writes the source of a replay and gathers the objects that it names."""

    def __init__(self, program: Program, arena: Arena, kept: dict[int, Tensor]):
        self.program, self.arena, self.kept = program, arena, kept
        self.scope: dict[str, Any] = {
            "MISS": MISS, "Tensor": Tensor, "A": arena, "asarray": np.asarray, "array": np.array,
            "copyto": np.copyto, "deposit": _deposit, "fits": _fits, "late": _late,
            "returned": _returned, "errstate": np.errstate, "repoint": _repoint,
            "straight": np.ascontiguousarray,
            "run": kernels.elementwise_program,
        }  # fmt: skip
        self.lines: list[str] = []
        self._names: dict[int, str] = {}
        self._changed = False
        self._placed: dict[Value, str] = {}  # values that always lie in the same buffer
        for instruction in program.instructions:
            if instruction.kind == "fused":
                for value, alloc in zip(instruction.outs, instruction.allocs):
                    self._placed[value] = self.named(alloc.array)

    def write(self) -> tuple[str, dict[str, Any]]:
        program = self.program
        for number, value in enumerate(program.args):
            self.line(f"{value.name} = G[{number}]")
        self._guards()
        self._constants()
        self.line("with errstate(all='ignore'):")
        ends = self._ends()
        for i, instruction in enumerate(program.instructions):
            getattr(self, f"_{instruction.kind}")(instruction)
            if instruction.effect and instruction.kind != "check":
                self._changed = True
            if ends[i]:
                self.line("    " + " = ".join([v.name for v in ends[i]]) + " = None")
        for tensor in program.written:
            self.line(f"    {self.named(tensor)}.version[0] += 1")
        if not program.instructions and not program.written:
            self.line("    pass")
        self.line(f"    return {self.result(program.result)}")
        body = "\n    ".join(self.lines)
        return f"def replay(G):\n    {body}\n", self.scope

    def line(self, text: str) -> None:
        self.lines.append(text)

    # operands

    def named(self, thing: Any) -> str:
        """A name for an object of the program."""
        name = self._names.get(id(thing))
        if name is None:
            name = self._names[id(thing)] = f"k{len(self._names)}"
            self.scope[name] = thing
        return name

    def operand(self, x: Any) -> str:
        if isinstance(x, Value):
            return self._placed.get(x) or x.name
        if isinstance(x, TensorOf):
            return f"Tensor({self.operand(x.value)})"
        if isinstance(x, LeafTensor):
            return self.named(x.tensor)
        if isinstance(x, LeafArg):
            return f"G[-1][{x.number}]"
        if type(x) is tuple and any(True for _ in values_in(x)):
            return "(" + "".join([self.operand(y) + ", " for y in x]) + ")"
        if type(x) is list and any(True for _ in values_in(x)):
            return "[" + ", ".join([self.operand(y) for y in x]) + "]"
        if type(x) is slice and any(True for _ in values_in(x)):
            return f"slice({', '.join([self.operand(y) for y in (x.start, x.stop, x.step)])})"
        if type(x) is dict and any(True for _ in values_in(x)):
            return "{" + ", ".join([f"{k!r}: {self.operand(y)}" for k, y in x.items()]) + "}"
        if type(x) in _LITERALS:
            return repr(x) if x is not ... else "..."
        if type(x) is tuple and all(type(y) in (bool, int) for y in x):
            return repr(x)
        return self.named(x)

    def arguments(self, instruction: Instruction) -> str:
        parts = [self.operand(x) for x in instruction.args]
        parts += [f"{key}={self.operand(x)}" for key, x in instruction.kwargs.items()]
        return ", ".join(parts)

    def targets(self, outs: Any) -> str:
        """The left side of an assignment."""
        if isinstance(outs, Value):
            return outs.name
        if isinstance(outs, (tuple, list)):
            return "(" + "".join([self.targets(x) + ", " for x in outs]) + ")"
        return "_"

    # the parts

    def _guards(self) -> None:
        """Tensors older than the step: the same array, or one of the same kind."""
        for value in self.program.tensors:
            tensor, array = self.named(value.source), value.source.array
            self.line(f"{value.name} = {tensor}.array")
            self.line(f"if {value.name} is not {self.named(array)} and not fits({value.name}, "
                      f"{self.named(array)}): return MISS")  # fmt: skip
        flags = [f"{'not ' if not v.source.requires_grad else ''}{self.named(v.source)}"
                 ".requires_grad" for v in self.program.tensors]  # fmt: skip
        for start in range(0, len(flags), 50):
            self.line(f"if not ({' and '.join(flags[start : start + 50])}): return MISS")
        for leaf, state in self.program.leaf_states:
            grad = f"{self.operand(leaf)}.grad"
            if state == "none":
                self.line(f"if {grad} is not None: return MISS")
            else:
                form = self.named(Tensor if state == "tensor" else RowSparse)
                self.line(f"if type({grad}) is not {form}: return MISS")

    def _constants(self) -> None:
        written = written_storages(self.program)
        for value in self.program.consts:
            source = self.named(value.source)
            if written.intersection(value.storages):  # a fresh one each time, as in the step
                buffer = np.empty_like(value.source)
                self.line(f"{value.name} = {self.named(buffer)}")
                self.line(f"copyto({value.name}, {source})")
            else:
                self.line(f"{value.name} = {source}")

    def _ends(self) -> list[list[Value]]:
        """The values that are not used after each instruction and hold memory of NumPy's."""
        last: dict[Value, int] = {}
        for i, instruction in enumerate(self.program.instructions):
            for value in (*instruction.reads(), *instruction.makes()):
                last[value] = i
        keep = set(values_in(self.program.result))
        ends: list[list[Value]] = [[] for _ in self.program.instructions]
        for value, i in last.items():
            if value.kind != "made" or value in keep:
                continue
            own = bool(value.storages) and all(s.alloc is not None for s in value.storages)
            small = value.shape is not None and np.prod(value.shape) <= 256
            if not own and not small:
                ends[i].append(value)
        return ends

    def call(self, instruction: Instruction, function: str, target: str) -> None:
        """An assignment, with the instruction's buffers at hand."""
        if not instruction.allocs:
            self.line(f"    {target} = {function}({self.arguments(instruction)})")
            return
        start, stop = self.arena.add(instruction)
        self.line(f"    A.at = {start}")
        self.line(f"    {target} = r = {function}({self.arguments(instruction)})")
        self.line(f"    if A.at != {stop}: {target} = A.rescue(r)")

    def as_arrays(self, outs: Any) -> None:
        """NumPy makes scalars of 0-d arrays."""
        for value in values_in(outs):
            if value.shape == ():
                self.line(f"    {value.name} = asarray({value.name})")

    def _op(self, instruction: Instruction) -> None:
        op, outs = instruction.function, instruction.outs
        if by_ufunc(instruction):
            self._ufunc(instruction, UFUNCS[op])
            self._saved_of_ufunc(instruction)
            return
        if op.takes_keep:
            instruction.kwargs["keep"] = instruction.saved is not None
        saved = instruction.saved.name if instruction.saved is not None else "_"
        function = self.named(op.forward)
        if instruction.saved is None and not instruction.allocs:
            self.line(f"    {self.targets(outs)} = {function}({self.arguments(instruction)})[0]")
        else:
            self.call(instruction, function, f"{self.targets(outs)}, {saved}")
        self.as_arrays(outs)
        if instruction.saved is not None and instruction.extra is not None:
            parts = [repr(shape) if shape is not None else f"{saved}[{i}]"
                     for i, shape in enumerate(instruction.extra)]  # fmt: skip
            self.line(f"    {saved} = ({', '.join(parts)},)")

    def _fused(self, instruction: Instruction) -> None:
        run = instruction.extra
        planned = np.zeros(len(run.places), np.int64)
        table = np.zeros_like(planned)
        name = self.named(table)
        moving = []
        for i, value in enumerate(run.places):
            storage = value.storages[0] if len(value.storages) == 1 else None
            if value in self._placed:
                planned[i] = address(self.scope[self._placed[value]])
            elif value.kind == "const" and not self._is_written(value):
                planned[i] = address(value.source)
            elif value.kind == "tensor":
                array = value.source.array
                planned[i] = address(array)
                self.line(f"    if {value.name} is not {self.named(array)}: A.strayed = True")
            elif storage is not None and storage.alloc is not None:
                planned[i] = address(storage.alloc.array) + value.offset
            else:
                moving.append(i)
        table[:] = planned
        self.arena.pointers.append((table, planned))
        for i in moving:  # a view of a run's result may not lie as it did in eager
            if run.places[i].uniform:  # one number is read
                continue
            value = self.operand(run.places[i])
            self.line(f"    if not {value}.flags.c_contiguous: {value} = straight({value})")
        places = ", ".join([self.operand(value) for value in run.places])
        self.line(f"    if A.strayed: repoint({name}, ({places}, ))")
        for i in moving:
            value = self.operand(run.places[i])
            self.line(f"    {name}[{i}] = {value}.__array_interface__['data'][0]")
        out = self.named(self.scope[self._placed[run.targets[0]]].reshape(-1))
        code, numbers = self.named(run.code), self.named(run.numbers)
        self.line(
            f"    run({code}, {numbers}, {name}, {run.once}, {run.registers}, {run.block}, {out})"
        )

    def _alias(self, instruction: Instruction) -> None:
        self.line(f"    {instruction.outs.name} = {self.operand(instruction.args[0])}")

    def _is_written(self, value: Value) -> bool:
        return bool(written_storages(self.program).intersection(value.storages))

    def _ufunc(self, instruction: Instruction, ufunc: Any) -> None:
        operands = ", ".join([self.operand(x) for x in instruction.args])
        buffer = self.named(instruction.allocs[0].array)
        name = instruction.outs.name
        self.line(f"    {name} = {self.named(ufunc)}({operands}, {buffer})")

    def _saved_of_ufunc(self, instruction: Instruction) -> None:
        if instruction.saved is None:
            return
        op, trimmed = instruction.function, instruction.extra[0]
        parts = []
        for i, name in enumerate(op.saves):
            if trimmed is not None and trimmed[i] is not None:
                parts.append(repr(trimmed[i]))
            elif name in op.arrays:
                parts.append(self.operand(instruction.args[op.arrays.index(name)]))
            elif name in op.outputs:
                parts.append(instruction.outs.name)
            else:  # x_shape, y_shape
                array = instruction.args[op.arrays.index(name.removesuffix("_shape"))]
                parts.append(repr(array.shape if isinstance(array, Value) else ()))
        self.line(f"    {instruction.saved.name} = ({''.join([p + ', ' for p in parts])})")

    def _back(self, instruction: Instruction) -> None:
        self.call(
            instruction, self.named(instruction.function.backward), self.targets(instruction.outs)
        )

    def _add(self, instruction: Instruction) -> None:
        if by_ufunc(instruction):
            contiguous = all(x.contiguous for x in instruction.args)
            large = math.prod(instruction.outs.shape) >= MANY and contiguous
            self._ufunc(instruction, _add_large if large else np.add)
        else:
            known, part = [self.operand(x) for x in instruction.args]
            self.line(f"    {instruction.outs.name} = {known} + {part}")

    def _call(self, instruction: Instruction) -> None:
        self.call(instruction, self.named(instruction.function), self.targets(instruction.outs))
        self.as_arrays(instruction.outs)

    def _draw(self, instruction: Instruction) -> None:
        self._call(instruction)

    def _host(self, instruction: Instruction) -> None:
        if any(True for _ in instruction.makes()):
            value = instruction.outs
            call = f"{self.named(instruction.function)}({self.arguments(instruction)})"
            self.line(f"    {value.name} = {call}.array")
        else:
            self.call(instruction, self.named(instruction.function), "_")

    def _check(self, instruction: Instruction) -> None:
        (value,) = instruction.args
        function, expected = instruction.function, instruction.extra
        found = value.name if function is None else f"{self.named(function)}({value.name})"
        miss = "return MISS"
        if self._changed:
            miss = f"late({instruction.where!r})"
        self.line(f"    if {found} != {self.operand(expected)}: {miss}")

    def _deposit(self, instruction: Instruction) -> None:
        leaf, part, on_tape = instruction.args
        state, own = instruction.extra
        target, value = self.operand(leaf), self.operand(part)
        dense = part.shape is not None and not on_tape
        if own or (state == "none" and dense and isinstance(leaf, LeafTensor)):
            tensor = leaf.tensor
            kept = self.kept.get(id(tensor))
            if kept is None:
                kept = self.kept[id(tensor)] = Tensor(np.empty(tensor.shape, tensor.dtype))
            name = self.named(kept)
            if own:
                self.line(f"    {name}.array = {value}")
            else:
                buffer = self.named(np.empty(tensor.shape, tensor.dtype))
                self.line(f"    copyto({buffer}, {value})")
                self.line(f"    {name}.array = {buffer}")
            self.line(f"    {target}.grad = {name}")
        else:
            value = f"Tensor({value})" if on_tape else value
            self.line(f"    deposit([{target}, {value}], {on_tape})")
        if isinstance(instruction.outs, Value):
            self.line(f"    {instruction.outs.name} = {target}.grad.array")

    # the result

    def result(self, tree: Any) -> str:
        if isinstance(tree, Value):
            return f"returned({self.operand(tree)}, {self._is_fresh(tree)})"
        if isinstance(tree, tuple) and hasattr(tree, "_fields"):
            return f"{self.named(type(tree))}({', '.join([self.result(x) for x in tree])})"
        if isinstance(tree, tuple):
            return "(" + "".join([self.result(x) + ", " for x in tree]) + ")"
        if isinstance(tree, list):
            return "[" + ", ".join([self.result(x) for x in tree]) + "]"
        if isinstance(tree, dict):
            return "{" + ", ".join([f"{k!r}: {self.result(x)}" for k, x in tree.items()]) + "}"
        return self.operand(tree)

    def _is_fresh(self, value: Value) -> bool:
        """Whether nobody else holds the memory of a result."""
        if value.kind != "made" or len(value.storages) != 1 or value.shape == ():
            return False
        (storage,) = value.storages
        if storage.alloc is not None or storage.kind != "made":
            return False
        holders = {v for i in self.program.instructions for v in (*i.reads(), *i.makes())
                   if storage in v.storages}  # fmt: skip
        second = any(i.kind == "alias" and i.outs is value for i in self.program.instructions)
        return len(holders) == 1 and not second


def _add_large(known: Any, part: Any, out: Any) -> Any:
    """The sum of two gradients on all cores."""
    kernels.arithmetic(known.reshape(-1), part.reshape(-1), ADD, out.reshape(-1))
    return out


def _fits(array: Any, known: Any) -> bool:
    """Whether a tensor's new array can stand for the one that was recorded."""
    return (
        array.shape == known.shape and array.dtype == known.dtype and array.strides == known.strides
    )


def _repoint(table: Any, arrays: Sequence[Any]) -> None:
    """Look up where each array lies."""
    for i, array in enumerate(arrays):
        table[i] = address(array)


def _late(where: str) -> None:
    raise CaptureError(
        f"capture: at {where} the step looks at a value, which is now another than when it was "
        "recorded, and the replay has changed things already (random state, buffers, parameters); "
        "take that part out of the captured step"
    )


def _returned(array: Any, fresh: bool) -> Any:
    """A result that owns its memory."""
    if isinstance(array, RowSparse):
        rows, values = array.rows.copy(), array.values.copy()
        return RowSparse(rows, values, array.shape, array.is_coalesced)
    return Tensor(array if fresh else array.copy())
