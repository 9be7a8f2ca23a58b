"""Buffers of a replay: which calls of `empty` may share memory, and who hands it out.

A buffer lives from the instruction that takes it to the last one that reads a value in it. The
planner walks over the program once and gives each the smallest hole that is large enough, so the
peak is about that of eager, where the allocator does the same at each step.
"""

import threading
from bisect import insort
from typing import Any

import numpy as np

from minidl._capture.program import Alloc, Instruction, Program, Storage, Value, values_in
from minidl.ops._memory import LARGE, STEP, block
from minidl.typing import Array

_ALIGN = 64  # bytes: a cache line, and a register of AVX-512


def plan(program: Program) -> int:
    """Give every Alloc of the program its array; returns the bytes of the shared block."""
    births: dict[Alloc, int] = {}
    deaths: dict[Alloc, int] = {}
    behind: dict[Storage, set[Alloc]] = {}  # what a second name of a value stands for

    def memory(value: Value) -> set[Alloc]:
        found: set[Alloc] = set()
        for storage in value.storages:
            found |= behind.get(storage, set())
            if storage.alloc in births:
                found.add(storage.alloc)
        return found

    for i, instruction in enumerate(program.instructions):
        for alloc in instruction.allocs:
            births[alloc] = deaths[alloc] = i
        if instruction.kind == "alias":
            for storage in instruction.outs.storages:
                behind[storage] = memory(instruction.args[0])
        for value in (*instruction.reads(), *instruction.makes(), *instruction.writes):
            for alloc in memory(value):
                deaths[alloc] = i
    for value in values_in(program.result):
        for alloc in memory(value):
            deaths[alloc] = len(program.instructions)
    ending: list[list[Alloc]] = [[] for _ in range(len(program.instructions) + 1)]
    for alloc, death in deaths.items():
        if not alloc.pinned:
            ending[death].append(alloc)
    offsets: dict[Alloc, int] = {}
    holes = _Holes()
    for i, instruction in enumerate(program.instructions):
        for alloc in instruction.allocs:
            if not alloc.pinned:
                offsets[alloc] = holes.take(_rounded(alloc.nbytes))
        for alloc in ending[i]:
            holes.free(offsets[alloc], _rounded(alloc.nbytes))
    shared = block(holes.end)
    for alloc in births:
        if alloc.pinned:
            if alloc.array is None:
                alloc.array = _shaped(block(alloc.nbytes), 0, alloc)
        else:
            alloc.array = _shaped(shared, offsets[alloc], alloc)
    return holes.end


def _rounded(nbytes: int) -> int:
    """Whole cache lines; behind a large buffer the next is a step away from where it would lie."""
    return -(-nbytes // _ALIGN) * _ALIGN + (STEP if nbytes >= LARGE else 0)


def _shaped(memory: Array, offset: int, alloc: Alloc) -> Array:
    return memory[offset : offset + alloc.nbytes].view(alloc.dtype).reshape(alloc.shape)


class _Holes:
    """Free stretches of a block that grows at its end."""

    def __init__(self) -> None:
        self.end = 0
        self._by_size: list[tuple[int, int]] = []  # (size, offset)
        self._by_start: dict[int, int] = {}
        self._by_stop: dict[int, int] = {}

    def take(self, size: int) -> int:
        if not size:
            return 0
        best = None
        low, high = 0, len(self._by_size)
        while low < high:
            middle = (low + high) // 2
            if self._by_size[middle][0] < size:
                low = middle + 1
            else:
                high = middle
        if low < len(self._by_size):
            best = self._by_size[low]
        if best is None:
            tail = self._by_stop.get(self.end)
            if tail is not None:  # the hole at the end grows
                self._remove(tail, self.end - tail)
                self.end = tail + size
                return tail
            self.end += size
            return self.end - size
        room, offset = best
        self._remove(offset, room)
        if room > size:
            self._insert(offset + size, room - size)
        return offset

    def free(self, offset: int, size: int) -> None:
        if not size:
            return
        start, stop = offset, offset + size
        if start in self._by_stop:
            before = self._by_stop[start]
            self._remove(before, start - before)
            start = before
        if stop in self._by_start:
            after = self._by_start[stop]
            self._remove(stop, after - stop)
            stop = after
        self._insert(start, stop - start)

    def _insert(self, offset: int, size: int) -> None:
        insort(self._by_size, (size, offset))
        self._by_start[offset] = offset + size
        self._by_stop[offset + size] = offset

    def _remove(self, offset: int, size: int) -> None:
        self._by_size.remove((size, offset))
        del self._by_start[offset]
        del self._by_stop[offset + size]


class Arena:
    """`empty` during a replay: each instruction gets its planned buffers in the order of its calls.

    The plan has None after each instruction's buffers. A call that the plan does not know, in shape
    or number, gets a new array; `rescue` then moves an instruction's results out of the plan.
    """

    __slots__ = ("at", "plan", "pointers", "strayed", "thread")

    def __init__(self) -> None:
        self.plan: list[Any] = [None]
        self.pointers: list[tuple[Any, Any]] = []  # tables of addresses, and as they were planned
        self.strayed = False  # something lies elsewhere than planned: in this replay only
        self.at = 0
        self.thread = 0

    def add(self, instruction: Instruction) -> tuple[int, int]:
        """Where an instruction's buffers start, and stop."""
        start = len(self.plan)
        self.plan += [alloc.array for alloc in instruction.allocs]
        self.plan.append(None)
        return start, len(self.plan) - 1

    def __call__(self, shape: Any, dtype: Any) -> Any:
        buffer = self.plan[self.at]
        if buffer is None or threading.get_ident() != self.thread:
            return np.empty(shape, dtype)
        known = buffer.shape
        if (known == shape or known == (shape,) or known == tuple(shape)) and buffer.dtype == dtype:
            self.at += 1
            return buffer
        self.at = 0  # not as recorded: nothing more of this plan
        self.strayed = True
        return np.empty(shape, dtype)

    def rescue(self, results: Any) -> Any:
        """Copies of what an instruction returned that took other arrays than were planned."""
        self.at, self.strayed = 0, True
        return _copied(results)

    def begin(self) -> None:
        """A new replay."""
        self.at, self.thread = 0, threading.get_ident()
        if self.strayed:
            for table, planned in self.pointers:
                table[:] = planned
            self.strayed = False


def _copied(tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, tuple):
        return tuple([_copied(branch) for branch in tree])
    if isinstance(tree, list):
        return [_copied(branch) for branch in tree]
    return tree
