"""Each compiled kernel against its NumPy reference, on the same arrays.

    python -m benchmarks kernels [NAME ...] [--smoke] [--json FILE]

The arrays are those that the kernel's ops and optimizers give it for a working set of 8 MiB (see
`op_inputs`); where none of them calls it, the largest of its tests, with the rows repeated. Times
are medians, with the thread budget of this process and, apart, with one thread.
"""

import argparse
import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from benchmarks.alternate import versions
from benchmarks.roofline.op_inputs import inputs
from minidl import kernels, nn, optim
from minidl.describe.code import kernels_of, samplers
from minidl.describe.watch import seconds_of
from minidl.ops._op import REGISTRY

_SLOW = 1.0  # seconds; a reference that takes longer is timed once
_UNFIT = (IndexError, RuntimeError, TypeError, ValueError)  # inputs that do not fit


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kernels", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="kernels; without: all")
    parser.add_argument("--smoke", action="store_true", help="small and once, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    args = parser.parse_args(argv)
    if not kernels.ENABLED:
        print("kernels are not compiled here (MINIDL_JIT=0, or no Numba): nothing to compare")
        return 0
    samplers()  # loads every op
    kernels.load_all()
    known = [name for name, k in kernels.REGISTRY.items() if k.__module__.startswith("minidl.")]
    unknown = set(args.names) - set(known)
    if unknown:
        parser.error(f"no kernel is called {', '.join(sorted(unknown))}; there is {known}")
    chosen = args.names or sorted(known)
    size, budget = (1 << 16, 0.0) if args.smoke else (8 << 20, 0.1)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # values of tests, many times over: sums overflow
        calls = calls_of(chosen, size)
        print(f"{'kernel':28} {'of':>26} {'MB':>8} {'reference ms':>13} {'one thread':>11} "
              f"{minidl.get_num_threads()} threads{'speedup':>9}")  # fmt: skip
        rows = [row_of(name, *calls[name], budget) for name in chosen if name in calls]
    if args.json:
        args.json.write_text(json.dumps({"versions": versions(), "kernels": rows}, indent=1))
    return 0


def row_of(name: str, caller: str, args: tuple[Any, ...], budget: float) -> dict[str, Any]:
    kernel = kernels.REGISTRY[name]
    threads = minidl.get_num_threads()
    try:
        minidl.set_num_threads(1)
        one = seconds_of(lambda: kernel(*args), budget)
    finally:
        minidl.set_num_threads(threads)
    ours = seconds_of(lambda: kernel(*args), budget)
    start = time.perf_counter()
    kernel.reference(*args)
    reference = time.perf_counter() - start
    if reference < _SLOW:
        reference = seconds_of(lambda: kernel.reference(*args), budget)
    size = sum(a.nbytes for a in args if isinstance(a, np.ndarray))
    row = {
        "kernel": name, "of": caller, "bytes": size, "reference": reference, "one thread": one,
        "threads": threads, "seconds": ours, "speedup": reference / ours,
        "shapes": [np.shape(a) for a in args],
    }  # fmt: skip
    print(f"{name:28} {caller:>26} {size / 1e6:8.2f} {reference * 1e3:13.3f} {one * 1e3:11.3f} "
          f"{ours * 1e3:9.3f}{row['speedup']:9.1f}", flush=True)  # fmt: skip
    return row


def calls_of(names: list[str], size: int) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Kernel: (whose call, its arguments), the call with the most bytes of all ops and optimizers
    that may call it."""
    found: dict[str, tuple[str, tuple[Any, ...]]] = {}
    most: dict[str, int] = {}
    with _recorded() as calls:
        for caller, run in _callers(set(names), size):
            calls.clear()
            with contextlib.suppress(*_UNFIT):  # half a run may have called the kernel
                run()
            for name, args in calls:
                bytes_ = sum(a.nbytes for a in args if isinstance(a, np.ndarray))
                if bytes_ > most.get(name, -1):
                    most[name], found[name] = bytes_, (caller, args)
    for name in set(names) - set(found):
        args = _from_tests(name, size)
        if args is not None:
            found[name] = "its tests", args
    return found


@contextlib.contextmanager
def _recorded() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """All calls of kernels inside, with copies of their arrays as they were."""
    calls: list[tuple[str, tuple[Any, ...]]] = []
    forms = [f for f in (kernels.Kernel, *kernels.Kernel.__subclasses__()) if "__call__" in vars(f)]
    before = [vars(form)["__call__"] for form in forms]

    def watched(call: Callable[..., None]) -> Callable[..., None]:
        def run(kernel: Any, *args: Any) -> None:
            if "places" in signature(kernel.reference).parameters:
                return call(kernel, *args)  # copies would leave the arrays it works on behind
            kept = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in args)
            calls.append((kernel.name, kept))
            return call(kernel, *args)

        return run

    for form, call in zip(forms, before):
        form.__call__ = watched(call)  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        for form, call in zip(forms, before):
            form.__call__ = call  # type: ignore[method-assign]


def _callers(names: set[str], size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    for name, op in REGISTRY.items():
        used = kernels_of(op.forward)
        used += kernels_of(op.backward) if "backward" in dir(op) else ()
        if len(names) > 1 or not names.isdisjoint(k.name for k in used):
            call = inputs(name, size)
            if call is not None:
                yield name, lambda call=call: _both_ways(*call)
    for optimizer in (getattr(optim, name) for name in optim.__all__):
        if isinstance(optimizer, type) and issubclass(optimizer, optim.Optimizer):
            for sparse in (False, True):
                yield optimizer.__name__, lambda o=optimizer, s=sparse: _steps(o, s, size)


def _both_ways(op: Any, arrays: tuple[Any, ...], settings: dict[str, Any]) -> None:
    keep = {"keep": True} if op.takes_keep else {}
    out, saved = op.forward(*arrays, **keep, **settings)
    if "backward" in dir(op):
        dout = tuple(map(np.ones_like, out)) if isinstance(out, tuple) else np.ones_like(out)
        needs = tuple(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in arrays)
        op.backward(dout, saved, needs, **settings)


def _steps(optimizer: type, sparse: bool, size: int) -> None:
    table = nn.Embedding(max(2, size // 16 // 64), 64, sparse=sparse)
    made = optimizer(table.parameters(), lr=1e-3)
    ids = minidl.arange(table.num_embeddings)

    def loss() -> Any:
        made.zero_grad()
        value = table(ids).square().sum()
        value.backward()
        return value

    for _ in range(2):
        made.step(loss)


def _from_tests(name: str, size: int) -> tuple[Any, ...] | None:
    """The largest float32 inputs of a kernel's tests, with the rows repeated."""
    from tests.cases.kernels import CASES

    if name not in CASES:
        return None
    cases = list(CASES[name](np.random.default_rng(0), np.float32))
    whole = [[*c.inputs, *c.state, *c.outputs] for c in cases]
    args = max(whole, key=lambda args: sum(np.size(a) for a in args))
    big = max((a for a in args if isinstance(a, np.ndarray)), key=lambda a: a.nbytes)
    grown = [
        np.concatenate([a] * max(1, size // 2 // big.nbytes)) if np.shape(a) == big.shape else a
        for a in args
    ]
    if all(np.shape(a) in ((), big.shape) for a in args):
        return tuple(grown)
    return tuple(a.copy() if isinstance(a, np.ndarray) else a for a in args)


if __name__ == "__main__":
    sys.exit(main())
