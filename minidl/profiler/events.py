"""Calls that a profile saw: what each moved and computed, and all of them summed up in rows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import optim
from minidl._tensor import Tensor
from minidl.ops._op import Op
from minidl.sparse import RowSparse

clock = time.perf_counter_ns


class Event:
    """One call: of an op, kernel, module or optimizer, or one walk back."""

    __slots__ = ("cost", "flops", "kind", "name", "parent", "phase", "size", "start", "stop", "tid")

    def __init__(self, kind: str, name: str, phase: str, tid: int, parent: "Event | None"):
        self.kind, self.name, self.phase = kind, name, phase
        self.tid, self.parent = tid, parent
        self.cost: Any = None  # what bytes and FLOPs are to be counted from
        self.size: int | None = None
        self.flops: int | None = None
        self.start = clock()
        self.stop = 0


@dataclass(frozen=True)
class Row:
    """All calls of one thing. Times in seconds.

    kind: op, kernel, module, optimizer or walk. phase: forward, backward or step, and for a kernel
    the one of what called it. time: from call to return; own: without the rows inside it; share:
    of the profile's whole time, own. size: bytes moved; it and flops are None where not counted.
    """

    kind: str
    name: str
    phase: str
    calls: int
    time: float
    own: float
    share: float
    size: int | None
    flops: int | None


def costs_of(
    op: type[Op], signature: Any, settings: dict[str, Any], needs: Any = None
) -> tuple[int | None, int | None]:
    """(bytes, FLOPs) of forward, or of backward where `needs` is given."""
    shapes = [known[0] if known else () for known in signature]
    # arrays of those shapes that take no memory
    arrays = [np.broadcast_to(np.empty((), k[1]), k[0]) for k in signature if k]
    try:
        if needs is None:
            return int(op.bytes(*arrays)), int(op.flops(*shapes, **settings))
        size, flops = op.bytes_backward(*arrays), op.flops_backward(*shapes, **settings)
    except (ValueError, TypeError, IndexError):  # a user's op that Op's defaults do not fit
        return None, None
    if op.arrays[1:2] in (("y",), ("weight",)) and sum(map(bool, shapes)) > 1:
        # a product has one product a gradient, and none for an input that needs none
        flops = flops // 2 * sum(needs[:2])
    return int(size), int(flops)


def step_bytes(optimizer: Any) -> int:
    """Bytes of one pass: gradients read, parameters and states read and written.

    A RowSparse gradient counts its rows, where the optimizer has a step for rows.
    """
    base, form = optim.Optimizer, type(optimizer)
    by_rows = (
        form._update_rows is not base._update_rows or form._step_table is not base._step_table
    )
    total = 0
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is None:
                continue
            states = optimizer.state.get(p, {}).values()
            held = p.array.nbytes + sum(s.array.nbytes for s in states if isinstance(s, Tensor))
            if isinstance(p.grad, RowSparse):
                total += p.grad.values.nbytes
                part = len(p.grad.rows) / max(1, len(p.array))
                total += int(2 * held * min(1.0, part)) if by_rows else 2 * held
            else:
                total += p.grad.array.nbytes + 2 * held
    return total


def rows_of(events: Sequence[Event], seconds: float) -> list[Row]:
    """Sum the events up. A thing inside itself counts once."""
    inside: dict[int, int] = {}
    for event in events:
        if event.parent is not None:
            key = id(event.parent)
            inside[key] = inside.get(key, 0) + event.stop - event.start
    sums: dict[tuple[str, str, str], list[Any]] = {}
    for event in events:
        name = event.kind, event.name, event.phase
        row = sums.setdefault(name, [0, 0, 0, None, None])
        row[2] += max(0, event.stop - event.start - inside.get(id(event), 0))
        above = event.parent
        while above is not None and (above.kind, above.name, above.phase) != name:
            above = above.parent
        if above is not None:
            continue
        row[0] += 1
        row[1] += event.stop - event.start
        for place, value in ((3, event.size), (4, event.flops)):
            if value is not None:
                row[place] = (row[place] or 0) + value
    whole = max(seconds, 1e-9)
    made = [
        Row(*name, calls, time_ * 1e-9, own * 1e-9, own * 1e-9 / whole, size, flops)
        for name, (calls, time_, own, size, flops) in sums.items()
    ]
    return sorted(made, key=lambda row: row.time, reverse=True)
