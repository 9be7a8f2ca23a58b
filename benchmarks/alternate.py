"""Time the same work in several libraries, fairly.

In one process two libraries' thread pools starve each other, and one after the other they meet the
machine in different moods. So each library has a process of its own, all are warmed up, and then
rounds alternate between the waiting processes: while one works, the others sleep on a pipe.

    class OpChain(Work):
        def minidl(self): ...return a callable that does the work once and returns a checksum
        def torch(self): ...

    results = alternate("benchmarks.speed.op_chain:OpChain", ["minidl", "torch"], rounds=20)
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

IMPORTS = {
    "minidl": ("minidl.nn", "minidl.optim"),
    "captured": ("minidl.nn", "minidl.optim"),
    "torch": ("torch",),
    "compiled": ("torch",),
    "jax": ("jax",),
    "implicit": ("implicit",),
}
"""What a library's process imports before its memory and its first run are looked at."""

PAUSE = 0.01  # seconds before a round: the threads of the one before stop spinning


class Work:
    """What is to be timed: one method a library, each returns a callable that does it once."""

    repeats = 1  # how often a round does the work; its time is divided by this
    settle = 0.0  # seconds of untimed runs before a round: caches and threads come back
    warm = 2  # rounds before the timed ones
    curve = 0  # runs after the first of which the results are kept, as the first's is

    def __init__(self, **settings: Any):
        for name, value in settings.items():
            setattr(self, name, value)


def alternate(
    target: str, libraries: Sequence[str], rounds: int = 20,
    failed: dict[str, str] | None = None, **settings: Any,
) -> dict[str, dict[str, Any]]:
    """Seconds of each round for each library whose import works: {library: {times, checksum}}.

    target: "module:class" of a Work; settings: its attributes. A library that is not installed is
    left out. RuntimeError where one fails; with `failed` (a dict) its message goes there, and the
    others are timed.
    """
    workers = {name: worker(target, name, settings) for name in libraries}
    results: dict[str, dict[str, Any]] = {}
    for name, each in list(workers.items()):  # warm up one after the other
        ready = ask(each, "prepare")
        if "missing" in ready:
            end(workers.pop(name))
            continue
        if "failed" in ready:
            end(workers.pop(name))
            if failed is None:
                raise RuntimeError(f"{name} failed: {ready['failed']}; see its error above")
            failed[name] = ready["failed"]
            continue
        results[name] = {"times": [], **ready}
    for _ in range(rounds):
        for name, each in workers.items():
            time.sleep(PAUSE)
            results[name]["times"].append(ask(each, "round")["seconds"])
    for name, each in workers.items():
        results[name].update(ask(each, "end"))
        end(each)
    for result in results.values():
        result["median"] = statistics.median(result["times"])
        result["spread"] = _spread(result["times"])
    return results


def worker(
    target: str, library: str, settings: dict[str, Any], env: dict[str, str] | None = None
) -> subprocess.Popen:
    """A process that waits for requests: "prepare", then "round" as often as wanted, "end"."""
    command = [sys.executable, "-m", "benchmarks.alternate", target, json.dumps(settings), library]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )


def ask(worker: subprocess.Popen, request: str) -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(request + "\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"a worker ended early (exit code {worker.wait()}): see its error above")
    return json.loads(line)


def end(worker: subprocess.Popen) -> None:
    """Wait for a worker that has nothing more to do."""
    with worker:
        assert worker.stdin is not None
        worker.stdin.close()


def _spread(times: list[float]) -> float:
    """Half the interquartile range, as a share of the median."""
    low, _, high = statistics.quantiles(times, n=4)
    return (high - low) / 2 / statistics.median(times)


def ratio(results: dict[str, dict[str, Any]], peer: str, ours: str = "minidl") -> float:
    """Median over the rounds of the peer's time over ours: above 1 we are quicker."""
    pairs = zip(results[peer]["times"], results[ours]["times"])
    return statistics.median(theirs / mine for theirs, mine in pairs)


def versions() -> dict[str, Any]:
    """What a result depends on besides the code."""
    import platform

    import numpy

    found: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    found["numpy"] = numpy.__version__
    for name in ("numba", "torch", "jax", "implicit"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def memory_after_imports() -> int:
    """Bytes in memory now; from now on counts the peak, if the system lets us say so."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    """Bytes of a field of Linux' process status; elsewhere the peak, which is all there is."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    found = re.search(rf"{field}:\s+(\d+)", status)
    return int(found[1]) * 1024 if found else 0


def _warm_up(work: Work, run: Any, started: float) -> dict[str, Any]:
    checksum = run()
    first = time.perf_counter() - started
    curve = [checksum, *(run() for _ in range(work.curve))]
    for _ in range(work.warm * work.repeats):
        run()
    return {"first": first, "checksum": checksum, "curve": curve}


def _serve(target: str, settings: str, library: str) -> None:
    """One library's process: answers requests on standard input; an error is the last answer."""
    module, _, name = target.partition(":")
    replies, sys.stdout = sys.stdout, sys.stderr  # nothing else may write among the replies
    work: Work = getattr(importlib.import_module(module), name)(**json.loads(settings))
    run: Any = None
    before = 0
    for request in sys.stdin:
        reply: dict[str, Any] = {}
        if request.strip() == "prepare":
            try:
                for name in IMPORTS.get(library, ()):
                    importlib.import_module(name)
                before = memory_after_imports()
                started = time.perf_counter()
                run = getattr(work, library)()
            except ImportError as error:
                reply = {"missing": str(error)}
            else:
                reply = _warm_up(work, run, started)
        elif request.strip() == "round":
            started = time.perf_counter()
            while time.perf_counter() - started < work.settle:
                run()
            started = time.perf_counter()
            for _ in range(work.repeats):
                run()
            reply = {"seconds": (time.perf_counter() - started) / work.repeats}
        elif request.strip() == "end":
            reply = {"peak_memory": _memory("VmHWM"), "memory_before": before}
        print(json.dumps(reply), file=replies, flush=True)
        if "missing" in reply or request.strip() == "end":
            return


if __name__ == "__main__":
    replies = sys.stdout
    try:
        _serve(*sys.argv[1:])
    except Exception as error:
        print(json.dumps({"failed": repr(error)[:200]}), file=replies, flush=True)
        raise
