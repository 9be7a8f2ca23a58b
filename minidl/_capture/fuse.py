"""Runs of elementwise instructions as one kernel call.

A run is a stretch of the program whose elementwise instructions all have one shape and dtype, with
what does not touch them moved before or behind it. Its values are places in memory if something
outside the run reads them, and registers of `kernels.elementwise_program` otherwise.
"""

import itertools
import math
from typing import Any

import numpy as np

from minidl._capture.emit import Emit, Register
from minidl._capture.micro import BACKWARD, FORWARD
from minidl._capture.program import Alloc, Instruction, Program, Storage, Value, values_in
from minidl.kernels import program as vm
from minidl.ops._op import sum_to
from minidl.ops.transcendental import Pow

_CACHE = 24_576  # bytes of registers: most of a first cache of 32 KB
_LONGEST_BLOCK = 2_048


class Run:
    """What a fused instruction needs: the code, the places, and which of them move."""

    def __init__(self, code: Any, numbers: Any, places: list[Value], once: int, registers: int,
                 like: Value, targets: list[Value]):  # fmt: skip
        self.code, self.numbers, self.places = code, numbers, places
        self.once, self.registers, self.like, self.targets = once, registers, like, targets
        size = like.dtype.itemsize
        block = _CACHE // (size * max(1, registers)) // 64 * 64
        elements = math.prod(like.shape)
        self.block = max(64, min(block, _LONGEST_BLOCK, -(-elements // 16) * 16))


def fused(program: Program) -> None:
    """Replace runs by fused instructions, in place."""
    _Fuser(program).fuse()


class _Fuser:
    def __init__(self, program: Program):
        self.program = program
        self.makers: dict[Value, Instruction] = {}
        self.readers: dict[Value, list[Instruction]] = {}
        for instruction in program.instructions:
            for value in instruction.makes():
                self.makers[value] = instruction
            for value in set(instruction.reads()):
                self.readers.setdefault(value, []).append(instruction)
        self.first: dict[Storage, Value] = {}  # who brought a storage in
        begun = (*program.args, *program.tensors, *program.consts)
        made = [v for i in program.instructions for v in i.makes()]
        for value in (*begun, *made):
            for storage in value.storages:
                self.first.setdefault(storage, value)
        self.written = {s for i in program.instructions for v in i.writes for s in v.storages}
        self.result = set(values_in(program.result))
        self.numbers = itertools.count(1 + max([v.number for v in self.makers], default=0))
        self.fused: set[Instruction] = set()
        self.straight: dict[Value, Value] = {}
        self.out: list[Instruction] = []
        self.run: list[Instruction] = []
        self.made: set[Value] = set()  # by the run
        self.outside: dict[Value, tuple[bool, bool]] = {}  # how gradients lie without a run
        self.given: dict[Instruction, Any] = {}  # what they were made from, without a run
        self.later: list[Instruction] = []  # waits for the run
        self.late: set[Value] = set()

    def fuse(self) -> None:
        for instruction in self.program.instructions:
            self._take(instruction)
        self._flush()
        read = {value for i in self.out for value in i.reads()}
        unused = set(self.straight.values()) - read
        self.program.instructions = [i for i in self.out if i.outs not in unused]
        for instruction in self.out:
            if instruction.saved is not None and instruction.saved not in read:
                instruction.saved = None

    def _take(self, instruction: Instruction) -> None:
        reads = set(instruction.reads())
        if self._fits(instruction):
            if self.run and (
                self._form(instruction) != self._form(self.run[0]) or reads & self.late
            ):
                self._flush()
                return self._take(instruction)  # its operands may lie otherwise than in the run
            if instruction.kind == "back":
                if not (instruction.args[0].contiguous or instruction.args[0].uniform):
                    straight = self._contiguous(instruction.args[0])
                    self.given[instruction] = instruction.args
                    instruction.args = (straight, *instruction.args[1:])
                for value in values_in(instruction.outs):
                    self.outside[value] = value.contiguous, value.uniform
                    value.contiguous, value.uniform = True, False  # even dout itself, passed on
            self.run.append(instruction)
            self.made.update(instruction.makes())
            return
        barrier = (
            bool(instruction.writes)
            or instruction.kind in ("host", "check")
            or (instruction.kind == "deposit" and instruction.extra != "none")
        )
        if barrier:
            self._flush()
            self.out.append(instruction)
        elif reads & self.made or reads & self.late or (self.later and instruction.effect):
            self.later.append(instruction)
            self.late.update(instruction.makes())
        else:
            self.out.append(instruction)

    def _contiguous(self, value: Value) -> Value:
        """A value whose elements lie one after another, before the run."""
        if value in self.straight:
            return self.straight[value]
        made = Instruction("call", np.ascontiguousarray, (value,))
        made.outs = self.straight[value] = copy = Value(next(self.numbers), "made")
        copy.shape, copy.dtype, copy.contiguous = value.shape, value.dtype, True
        copy.storages = (Storage("made"),)
        self.out.append(made)
        return copy

    def _flush(self) -> None:
        alone = self.run[0] if len(self.run) == 1 else None
        if alone is not None and alone.kind == "back":  # without the op, its saved is nowhere
            alone = None if self.makers[alone.args[1]] in self.fused else alone
        if self.run and alone is None:
            self.fused.update(self.run)
            self.out += _Writer(self).write(self.run, self.later)
        else:
            self.out += self.run
            for instruction, args in self.given.items():  # as eager has it: views follow from it
                instruction.args = args
            for value, (contiguous, uniform) in self.outside.items():
                value.contiguous, value.uniform = contiguous, uniform
        self.out += self.later
        self.run, self.later = [], []
        self.made, self.late, self.outside, self.given = set(), set(), {}, {}

    def own(self, value: Value) -> Alloc:
        """A planned buffer for a value of a run."""
        alloc = Alloc(value.shape, value.dtype)
        (storage,) = value.storages
        turned = not self.outside.get(value, (True, True))[0]  # views of it begin elsewhere
        if self.first.get(storage, value) is not value or turned:
            storage = Storage("made")
            self.move(value, (storage,), 0)
        storage.alloc = alloc
        alloc.storage = storage
        return alloc

    def move(self, value: Value, storages: tuple[Storage, ...], offset: int) -> None:
        """Say that a value lies elsewhere than in eager.

        There it may share its memory with what it was made from, such as a gradient that is passed
        on. What looks into that memory later may mean this value or the other.
        """
        before = set(value.storages)
        value.storages, value.offset = storages, offset
        for later in self.makers:
            if later.number > value.number and before.intersection(later.storages):
                added = [s for s in storages if s not in later.storages]
                later.storages = (*later.storages, *added)

    # what can be part of a run

    @staticmethod
    def _form(instruction: Instruction) -> Any:
        value = next(values_in(instruction.outs))
        if instruction.kind == "back":
            value = instruction.args[0]
        return value.shape, value.dtype

    def _fits(self, instruction: Instruction) -> bool:
        if instruction.kind == "op":
            return self._op_fits(instruction)
        if instruction.kind == "add":
            out = instruction.outs
            return _dense(out) and all(self._full(x, out) for x in instruction.args)
        return instruction.kind == "back" and self._back_fits(instruction)

    def _op_fits(self, instruction: Instruction) -> bool:
        out = instruction.outs
        if instruction.function not in FORWARD or not isinstance(out, Value) or not _dense(out):
            return False
        if not any(isinstance(x, Value) and x.shape == out.shape for x in instruction.args):
            return False
        if not all(self._operand(x, out) for x in instruction.args):
            return False
        if instruction.function is Pow:
            y = instruction.args[1]
            if isinstance(y, Value) or y not in (2, 3, 4):
                return False
        if instruction.saved is None:
            return True
        users = self.readers.get(instruction.saved, ())
        return all(i.kind == "back" and self._back_fits(i, instruction) for i in users)

    def _back_fits(self, instruction: Instruction, op: Instruction | None = None) -> bool:
        dout, saved, needs = instruction.args
        maker = op or (self.makers.get(saved) if isinstance(saved, Value) else None)
        if maker is None or instruction.function not in BACKWARD or not isinstance(dout, Value):
            return False
        if not (_dense(dout) or _spread(dout) or _uniform(dout)) or maker.kind != "op":
            return False
        if instruction.function is Pow and maker.args[1] not in (2, 3, 4):
            return False
        for value, x, need in zip(instruction.outs, maker.args, needs):
            known = value is None or _dense(value) or _spread(value) or _uniform(value)
            if need and not (known and isinstance(x, Value)):
                return False
        return all(self._operand(x, dout) for x in maker.args) and maker.outs.shape == dout.shape

    def _operand(self, x: Any, out: Value) -> bool:
        if not isinstance(x, Value):
            return type(x) in (int, float)
        return self._full(x, out) or (
            x.dtype == out.dtype and x.contiguous and _repeats(x.shape, out.shape) is not None
        )

    def _full(self, x: Any, out: Value) -> bool:
        return (
            isinstance(x, Value) and x.shape == out.shape and x.dtype == out.dtype and x.contiguous
        )


def _dense(value: Value) -> bool:
    return (
        isinstance(value, Value)
        and bool(value.shape)
        and value.contiguous
        and value.dtype in (np.float32, np.float64)
        and math.prod(value.shape) > 0
    )


def _uniform(value: Value) -> bool:
    return value.uniform and value.dtype in (np.float32, np.float64)


def _spread(value: Value) -> bool:
    """A small array that is not contiguous, such as the gradient of a sum: a copy costs little."""
    return (
        bool(value.shape)
        and 0 < math.prod(value.shape) <= 65_536
        and (value.dtype in (np.float32, np.float64))
    )


def _repeats(small: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """(inner, period): element i of the whole is small.flat[(i // inner) % period]; or None."""
    if len(small) > len(shape):
        return None
    padded = (1,) * (len(shape) - len(small)) + tuple(small)
    axes = [i for i, n in enumerate(padded) if n != 1]
    if not axes:
        return 1, 1
    first, last = axes[0], axes[-1]
    if padded[first : last + 1] != tuple(shape[first : last + 1]):
        return None
    return math.prod(shape[last + 1 :]), math.prod(padded)


class _Writer:
    """Writes the code of one run."""

    def __init__(self, fuser: _Fuser):
        self.fuser = fuser
        self.emit = Emit()
        self.places: dict[Value, Any] = {}  # values of the run
        self.in_memory: dict[Any, Value] = {}  # registers that are places of memory instead

    def write(self, run: list[Instruction], later: list[Instruction]) -> list[Instruction]:
        after: list[Instruction] = []
        for instruction in run:
            if instruction.kind == "add":
                known, part = [self._read(x, instruction.outs) for x in instruction.args]
                self.places[instruction.outs] = self.emit(vm.ADD, known, part)
            elif instruction.kind == "op":
                operands = [self._read(x, instruction.outs) for x in instruction.args]
                made = FORWARD[instruction.function](self.emit, *operands, **instruction.kwargs)
                self.places[instruction.outs] = made
            else:
                after += self._back(instruction)
        targets = self._targets(run, later, after)
        code, places, once, registers = self._numbered(targets)
        numbers = np.zeros(max(1, len(self.emit.numbers)))
        for number, i in self.emit.numbers.items():
            numbers[i] = number
        aliases = [
            _alias(value, place if isinstance(place, Value) else self.in_memory[place])
            for value, place in targets.items()
            if isinstance(place, Value) or self.in_memory[place] is not value
        ]
        outs = [value for value in targets if value in self.in_memory.values()]
        allocs = [self.fuser.own(value) for value in outs]
        for alias in aliases:
            of = alias.args[0]
            self.fuser.move(alias.outs, of.storages, of.offset)
        if not outs:
            return [*aliases, *after]
        made = Instruction("fused", None, tuple([v for v in places if v not in outs]))
        made.where = run[0].where
        made.outs = tuple(outs)
        made.extra = Run(code, numbers, places, once, registers, outs[0], outs)
        made.allocs = allocs
        return [made, *aliases, *after]

    def _read(self, x: Any, out: Value) -> Any:
        """The place of an operand."""
        if not isinstance(x, Value):
            return x  # a number
        if x in self.places:
            return self.places[x]
        if x.uniform:
            return self.emit.element(x)
        if x.shape == out.shape:
            return x
        inner, period = _repeats(x.shape, out.shape) or (1, 1)
        return self.emit.element(x) if period == 1 else self.emit.repeat(x, inner, period)

    def _back(self, instruction: Instruction) -> list[Instruction]:
        dout, saved, needs = instruction.args
        maker = self.fuser.makers[saved]
        named: dict[str, Any] = {"out": None}
        for name, x in zip(maker.function.arrays, maker.args):
            named[name] = x
        for name, x in _saved(maker, needs):
            named[name] = self._read(x, dout)
        parts = BACKWARD[instruction.function](
            self.emit, self._read(dout, dout), named, needs, **instruction.kwargs
        )
        after = []
        for value, part in zip(instruction.outs, parts):
            if value is None:
                continue
            if any(part is row[1] for row in self.emit.once):
                part = self.emit(vm.COPY, part)
            if value.shape == dout.shape:
                self.places[value] = part
                continue
            whole = Value(next(self.fuser.numbers), "made")  # broadcast: summed afterwards
            whole.shape, whole.dtype, whole.contiguous = dout.shape, dout.dtype, True
            whole.storages = (Storage("made"),)
            self.places[whole] = part
            made = Instruction("call", sum_to, (whole, value.shape), where=instruction.where)
            made.outs = value
            after.append(made)
        return after

    def _targets(self, run: Any, later: Any, after: Any) -> dict[Value, Any]:
        """The run's values that somebody else reads, with their places."""
        inside = set(run)
        summed = {value for instruction in after for value in instruction.reads()}

        def is_read(value: Value) -> bool:
            if value in self.fuser.result or value in summed:
                return True
            maker = self.fuser.makers.get(value)
            readers = list(self.fuser.readers.get(value, ()))
            for reader in list(readers):
                if reader.saved is not None:  # its backward may be lowered as well
                    readers += self.fuser.readers.get(reader.saved, ())
            if maker is not None and maker.saved is not None:
                readers += self.fuser.readers.get(maker.saved, ())
            return any(r not in inside and value in self._reads(r) for r in readers)

        return {value: place for value, place in self.places.items() if is_read(value)}

    def _reads(self, instruction: Instruction) -> Any:
        """What an instruction reads, and what it will read once it is lowered itself."""
        for value in instruction.reads():
            yield value
            maker = self.fuser.makers.get(value)
            if maker is not None and maker.saved is value and instruction.kind == "back":
                for _, x in _saved(maker, instruction.args[2]):
                    yield from values_in(x)

    def _numbered(self, targets: dict[Value, Any]) -> Any:
        """Code with numbers in place of values and registers."""
        emit = self.emit
        in_memory = self.in_memory
        for value, place in targets.items():
            if not isinstance(place, Value):
                in_memory.setdefault(place, value)

        def shown(x: Any) -> Any:
            return in_memory.get(x, x) if isinstance(x, Register) else x

        rows = [[row[0], *[shown(x) for x in row[1:]]] for row in (*emit.once, *emit.rows)]
        places: list[Value] = []
        index: dict[Value, int] = {}
        for row in rows:
            for x in row[1:]:
                if isinstance(x, Value) and x not in index:
                    index[x] = len(places)
                    places.append(x)
        once = len(emit.once)
        for number, row in enumerate(rows):
            for x in row[2:]:
                if isinstance(x, Register):
                    x.last = number if x.last < len(rows) else x.last
        for row in rows[:once]:
            row[1].last = len(rows)  # filled once, kept to the end
        free: list[int] = []
        count = 0
        code = np.zeros((len(rows), 5), np.int64)
        for number, row in enumerate(rows):
            target = row[1]
            if isinstance(target, Register):
                if not free:
                    free.append(count)
                    count += 1
                target.number = free.pop()
            for x in {id(x): x for x in row[2:] if isinstance(x, Register)}.values():
                if x.last == number:
                    free.append(x.number)
            if isinstance(target, Register) and target.last < number:
                free.append(target.number)  # never read
            code[number] = [row[0]] + [
                index[x] if isinstance(x, Value)
                else len(places) + x.number if isinstance(x, Register)
                else x or 0
                for x in row[1:]
            ]  # fmt: skip
        return code, places, once, count


def _saved(maker: Instruction, needs: Any) -> Any:
    """(name, operand) of what the backward of a lowered op looks at."""
    op = maker.function
    for i, (name, x) in enumerate(zip(op.arrays, maker.args)):
        used = name in op.saves and not (op.crossed and not needs[1 - i])
        if isinstance(x, Value) and (used or op.saves == ("sign",)):
            yield name, x
    if "out" in op.saves:
        yield "out", maker.outs


def _alias(value: Value, of: Value) -> Instruction:
    made = Instruction("alias", None, (of,))
    made.outs = value
    return made
