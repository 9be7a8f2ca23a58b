"""Layer norm, softmax, dropout and Adam against a copy of the same working set.

Counted is what must move once: layer norm, softmax and dropout read x and write y; their backward
reads dy and x (layer norm), dy and y (softmax), dy (dropout), and writes dx; statistics of rows,
weights and their gradients are left out. Adam reads gradient, parameter and two moments and
writes the latter three. A working set is all of these arrays together, and the copy that it is
held against reads one half of as many bytes and writes the other. Rounds of both alternate.

`kept`: into memory that is kept from call to call, as a captured step does; `new`: an eager op,
whose results are new arrays. The bar is >= 60 % for `kept` on 256 MiB.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import minidl
from benchmarks.roofline.machine import _copy_rates
from minidl import optim
from minidl.ops import _op

BAR = 0.6
SIZES = {"512 KiB": 1 << 19, "8 MiB": 8 << 20, "256 MiB": 256 << 20}

# name: (op, arrays it moves forward, backward)
OPS = {
    "layernorm": ("LayerNorm", 2, 3),
    "softmax": ("Softmax", 2, 3),
    "dropout": ("Dropout", 2, 2),
}
WIDTHS = (64, 768)  # of rows
NAMES = ("bar4", *(f"bar4-{name}" for name in (*OPS, "adam")))


@contextmanager
def kept_memory() -> Iterator[Callable[[], None]]:
    """Ops get the same arrays at each call, in the order they ask; the function starts anew."""
    arrays: list[np.ndarray] = []
    count = 0

    def allocate(shape: Any, dtype: Any) -> np.ndarray:
        nonlocal count
        count += 1
        if count > len(arrays):
            arrays.append(before(shape, dtype))
        kept = arrays[count - 1]
        assert kept.shape == np.empty(shape, "V0").shape
        assert kept.dtype == dtype
        return kept

    def restart() -> None:
        nonlocal count
        count = 0

    before = _op.set_allocator(allocate)
    try:
        yield restart
    finally:
        _op.set_allocator(before)


def measure(rounds: int, sizes: dict[str, int], names: list[str]) -> list[dict[str, Any]]:
    """A row for each op, direction, size, width and kind of memory; names: of NAMES."""
    rows = []
    wanted = set(names or ["bar4"])
    for label, size in sizes.items():
        for name, (op, forward, backward) in OPS.items():
            if wanted & {"bar4", f"bar4-{name}"}:
                for width in WIDTHS if op != "Dropout" else (1024,):
                    for moved, way in ((forward, "forward"), (backward, "backward")):
                        rows += _op_rows(name, op, way, size, moved, width, label, rounds)
        if wanted & {"bar4", "bar4-adam"}:
            rows += _adam_rows(size, label, rounds)
    return rows


def _op_rows(name, op_name, way, size, moved, width, label, rounds) -> Iterator[dict[str, Any]]:
    minidl.functional  # noqa: B018  registers the ops
    op = _op.REGISTRY[op_name]
    n = max(1, size // moved // width // 4)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, width), np.float32)
    row = np.ones(width, np.float32)
    arrays, settings = {
        "LayerNorm": ((x, row, row), {"eps": 1e-5}),
        "Softmax": ((x,), {}),
        "Dropout": ((x, np.array([7], np.uint64)), {"p": 0.1}),
    }[op_name]
    keep = {"keep": True} if op.takes_keep else {}
    needs = (True,) * len(arrays)
    saved = None
    if way == "backward":
        _, saved = op.forward(*arrays, **keep, **settings)

    def run() -> None:
        if way == "forward":
            op.forward(*arrays, **keep, **settings)
        else:
            op.backward(x, saved, needs, **settings)

    shown = {"name": name, "way": way, "set": label, "width": width, "bytes": moved * x.nbytes}
    with kept_memory() as restart:

        def again() -> None:
            restart()
            run()

        yield {**shown, "memory": "kept", **_against_copy(again, moved * x.nbytes, rounds)}
    yield {**shown, "memory": "new", **_against_copy(run, moved * x.nbytes, rounds)}


def _adam_rows(size: int, label: str, rounds: int) -> Iterator[dict[str, Any]]:
    p = minidl.zeros(size // 16, requires_grad=True)
    p.grad = minidl.ones(size // 16)
    moved = 7 * p.array.nbytes
    step = optim.Adam([p]).step
    shown = {"name": "adam", "way": "step", "set": label, "width": p.shape[0], "bytes": moved}
    yield {**shown, "memory": "kept", **_against_copy(step, moved, rounds, size)}


def _against_copy(
    run: Callable[[], Any], moved: int, rounds: int, size: int | None = None
) -> dict[str, Any]:
    """Times of the work and of a copy in turns; share: of the copy's rate, the rounds' median."""
    size = moved if size is None else size
    repeats = max(1, (16 << 20) // size)
    run()
    times, shares, rates = [], [], []
    for _ in range(rounds):
        (rate,) = _copy_rates(size, 1)
        run()  # what the copy left in the caches is not this work's
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        times.append((time.perf_counter() - start) / repeats)
        rates.append(rate)
        shares.append(moved / times[-1] / rate)
    return {
        "seconds": statistics.median(times),
        "copy": statistics.median(rates),
        "share": statistics.median(shares),
    }


def text(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{'':11} {'':8} {'set':>8} {'width':>6} {'memory':>6} {'ms':>9} {'GB/s':>6} {'copy':>6} "
        f"{'share':>6}"
    ]
    for r in rows:
        width = "" if r["name"] in ("adam", "dropout") else r["width"]
        below = r["set"] == "256 MiB" and r["memory"] == "kept" and r["share"] < BAR
        lines.append(
            f"{r['name']:11} {r['way']:8} {r['set']:>8} {width:>6} {r['memory']:>6} "
            f"{r['seconds'] * 1e3:9.3f} {r['bytes'] / r['seconds'] / 1e9:6.1f} "
            f"{r['copy'] / 1e9:6.1f} {r['share']:6.0%}{'  below the bar' if below else ''}"
        )
    return "\n".join(lines)
