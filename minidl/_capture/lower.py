"""What is left of a recording when its shape is known: checks first, no dead code, out= forms."""

from typing import Any

import numpy as np

from minidl._capture.leaves import LeafTensor
from minidl._capture.program import Alloc, Instruction, Program, Storage, Value, values_in
from minidl.ops import elementwise as ew

UFUNCS: dict[Any, Any] = {
    ew.Add: np.add,
    ew.Sub: np.subtract,
    ew.Mul: np.multiply,
    ew.Div: np.divide,
    ew.Neg: np.negative,
    ew.Exp: np.exp,
    ew.Log: np.log,
    ew.Sqrt: np.sqrt,
    ew.Tanh: np.tanh,
}
"""Ops whose forward is one ufunc: with out= it needs no array of NumPy's."""


def lowered(program: Program) -> None:
    """Prepare a recorded program, in place."""
    _drop_unused(program)
    _checks_first(program)
    for instruction in program.instructions:
        _with_buffer(instruction)


def _drop_unused(program: Program) -> None:
    needed: set[Value] = set(values_in(program.result))
    kept = []
    for instruction in reversed(program.instructions):
        if instruction.effect or any(value in needed for value in instruction.makes()):
            kept.append(instruction)
            needed.update(instruction.reads())
            if instruction.saved is not None and instruction.saved not in needed:
                instruction.saved = None
    program.instructions = kept[::-1]
    program.tensors = [value for value in program.tensors if value in needed]
    program.consts = [value for value in program.consts if value in needed]


def _checks_first(program: Program) -> None:
    """Move conditions on the arguments to the front, where nothing has been changed yet."""
    written = written_storages(program)
    early = {v for v in (*program.args, *program.tensors, *program.consts)
             if not written.intersection(v.storages)}  # fmt: skip
    makers: dict[Value, Instruction] = {}
    for instruction in program.instructions:
        pure = instruction.kind in ("op", "call") and not instruction.effect
        if pure and all(value in early for value in instruction.reads()):
            early.update(instruction.makes())
        for value in instruction.makes():
            makers[value] = instruction
    wanted: set[Instruction] = set()
    waiting = [i for i in program.instructions
               if i.kind == "check" and all(v in early for v in i.reads())]  # fmt: skip
    while waiting:
        instruction = waiting.pop()
        if instruction not in wanted:
            wanted.add(instruction)
            waiting += [makers[v] for v in instruction.reads() if v in makers]
    first = [i for i in program.instructions if i in wanted]
    program.instructions = first + [i for i in program.instructions if i not in wanted]


def written_storages(program: Program) -> set[Storage]:
    """All memory that is changed in place."""
    return {s for i in program.instructions for v in i.writes for s in v.storages}


def _with_buffer(instruction: Instruction) -> None:
    """Let a ufunc write into a planned buffer instead of an array of its own."""
    out = instruction.outs
    if not isinstance(out, Value) or not out.shape or instruction.allocs:
        return
    if (instruction.kind == "op" and instruction.function in UFUNCS) or instruction.kind == "add":
        operands = instruction.args
    else:
        return
    for x in operands:
        if isinstance(x, Value):
            if x.dtype != out.dtype:
                return
        elif not isinstance(x, (int, float)) or isinstance(x, bool):
            return
    if not out.contiguous or out.dtype.kind != "f":
        return
    alloc = Alloc(out.shape, out.dtype)
    alloc.storage = out.storages[0]
    alloc.storage.alloc = alloc
    instruction.allocs = [alloc]
    instruction.extra = (instruction.extra, "ufunc")


def by_ufunc(instruction: Instruction) -> bool:
    extra = instruction.extra
    return type(extra) is tuple and len(extra) == 2 and extra[1] == "ufunc"


def pin_gradients(program: Program) -> None:
    """Find gradients that may stay where they were computed: leaf.grad is that very array.

    After fusing: a run has its own buffers.
    """
    last_use: dict[Storage, int] = {}
    deposits: dict[Storage, int] = {}
    outside: set[Storage] = set()
    for value in (*program.args, *program.tensors, *program.consts):
        outside.update(value.storages)
    for value in values_in(program.result):
        outside.update(value.storages)
    for i, instruction in enumerate(program.instructions):
        for value in instruction.reads():
            for storage in value.storages:
                last_use[storage] = i
                if instruction.kind == "deposit":
                    deposits[storage] = deposits.get(storage, 0) + 1
    for i, instruction in enumerate(program.instructions):
        if instruction.kind != "deposit":
            continue
        leaf, part, on_tape = instruction.args
        own = False
        if isinstance(part, Value) and len(part.storages) == 1 and part.shape is not None:
            (storage,) = part.storages
            alloc = storage.alloc
            own = (
                isinstance(leaf, LeafTensor)
                and not on_tape
                and instruction.extra == "none"
                and storage not in outside
                and last_use[storage] == i
                and deposits[storage] == 1
                and part.contiguous
                and part.dtype == leaf.tensor.dtype
                and alloc is not None
                and alloc.nbytes == part.dtype.itemsize * int(np.prod(part.shape, dtype=np.int64))
            )
            if own and alloc is not None:
                alloc.pinned = True
        if not own:
            for value in instruction.reads():
                for storage in value.storages:
                    if storage.alloc is not None and part.shape is None:
                        storage.alloc.pinned = True  # a RowSparse: leaf.grad holds its arrays
        instruction.extra = (instruction.extra, own)
