"""What a profile found, as a table and as a trace."""

import math
import os
from collections.abc import Sequence
from typing import Any

from minidl.profiler.events import Event, Row

KINDS = ("op", "kernel", "optimizer", "module", "walk")
_KEYS = ("time", "own", "calls", "size", "flops", "name")
_TORCH = {"cpu_time_total": "time", "self_cpu_time_total": "own"}


def table(
    rows: Sequence[Row], seconds: float, sort_by: str, row_limit: int | None, kinds: Sequence[str]
) -> str:
    """The rows of some kinds as text; seconds: the whole time."""
    key = _TORCH.get(sort_by, sort_by)
    if key not in _KEYS:
        raise ValueError(f"table: sort_by must be one of {', '.join(_KEYS)}, got {sort_by!r}")
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"table: kinds are {', '.join(KINDS)}, not {', '.join(unknown)}")
    chosen = [row for row in rows if row.kind in kinds]
    if key == "name":
        chosen.sort(key=lambda row: (row.name, row.kind, row.phase))
    else:
        chosen.sort(key=lambda row: getattr(row, key) or 0, reverse=True)
    shown = chosen[:row_limit]
    rest = max(0.0, 1 - sum(row.share for row in chosen))
    lines = [_HEAD, *map(_line, shown)]
    lines.append(["", "(all else)", "", "", "", _milli(rest * seconds), _percent(rest)])
    hidden = len(chosen) - len(shown)
    note = f"\n{hidden} rows more; row_limit=None shows them" if hidden else ""
    return f"{_aligned(lines)}\nwhole time {_milli(seconds)} ms{note}"


def trace(events: Sequence[Event], begun: int) -> dict[str, Any]:
    """Complete events of the Trace Event Format (Chromium), in order of their start; in µs."""
    pid = os.getpid()
    title = {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": "minidl"}}
    found: list[dict[str, Any]] = [title]
    for event in sorted(events, key=lambda e: (e.start, -e.stop)):
        args = {"phase": event.phase, "bytes": event.size, "flops": event.flops}
        found.append(
            {
                "name": event.name,
                "cat": event.kind,
                "ph": "X",
                "ts": (event.start - begun) / 1e3,
                "dur": (event.stop - event.start) / 1e3,
                "pid": pid,
                "tid": event.tid,
                "args": {k: v for k, v in args.items() if v is not None},
            }
        )
    return {"traceEvents": found, "displayTimeUnit": "ms"}


_HEAD = [
    "kind", "name", "phase", "calls", "time ms", "own ms", "share", "mean µs", "MB", "GB/s",
    "MFLOP", "GFLOP/s",
]  # fmt: skip


def _line(row: Row) -> list[str]:
    def number(value: float | None, by: float = 1.0) -> str:
        return "-" if value is None or not math.isfinite(value / by) else f"{value / by:.4g}"

    size, flops, seconds = row.size, row.flops, row.time or math.nan
    return [
        row.kind, row.name, row.phase, str(row.calls), _milli(row.time), _milli(row.own),
        _percent(row.share), number(row.time / max(1, row.calls) * 1e6),
        number(size, 1e6), number(None if size is None else size / seconds, 1e9),
        number(flops, 1e6), number(None if flops is None else flops / seconds, 1e9),
    ]  # fmt: skip


def _milli(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(len(lines[0]))]
    text = []
    for line in lines:
        cells = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)
