"""Measure one row: a workload in one shape, with each library that has it and is installed."""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from typing import Any

import numpy as np

from benchmarks.alternate import Work, alternate, ask, end, ratio, worker
from benchmarks.speed import WORKLOADS

FIRST, CURVE = 1e-4, 1e-3  # relative differences that float32 may make: first loss, later losses
OURS = ("minidl", "captured")
LIBRARIES = (*OURS, "torch", "compiled", "jax", "implicit", "numpy")

Row = dict[str, Any]


def make(name: str, settings: dict[str, Any] | None = None) -> Work:
    module, _, kind = WORKLOADS[name].partition(":")
    return getattr(importlib.import_module(module), kind)(**(settings or {}))


def drawn_settings(name: str, seed: int, number: int) -> dict[str, Any] | None:
    """Another shape of the workload's kind, by a seeded draw; None where it has only one."""
    work = make(name)
    if not hasattr(work, "drawn"):
        return None
    return work.drawn(np.random.default_rng([seed, zlib.crc32(name.encode()), number]))


def measure(name: str, libraries: list[str], rounds: int, settings: dict[str, Any]) -> Row:
    """Times, losses and memory; the ratios are medians over the rounds."""
    work = make(name, settings)
    having = [each for each in libraries if getattr(work, each, None)]
    rounds = min(rounds, getattr(work, "most_rounds", rounds))
    failed: dict[str, str] = {}
    results = alternate(WORKLOADS[name], having, rounds, failed, **settings)
    row: Row = {
        "workload": name, "settings": settings, "libraries": results, "failed": failed,
        "unit": getattr(work, "unit", "steps"), "units": getattr(work, "units", 1),
    }  # fmt: skip
    if hasattr(work, "flops"):
        row["flops"] = work.flops()
    row["ratios"] = {
        ours: {peer: ratio(results, peer, ours) for peer in results if peer not in OURS}
        for ours in OURS
        if ours in results
    }
    row["differences"] = differences(results) if getattr(work, "checked", True) else {}
    near = [a <= FIRST and b <= CURVE for a, b in row["differences"].values()]
    row["agree"] = not failed and all(near)
    row["memory"] = {
        each: [result["peak_memory"], result["peak_memory"] - result["memory_before"]]
        for each, result in results.items()
        if getattr(work, "inside", True)
    }
    return row


def differences(results: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Relative difference from minidl's of each library: (first loss, largest of the curve)."""
    if "minidl" not in results:
        return {}
    ours = results["minidl"]["curve"]
    found = {}
    for name, result in results.items():
        off = [abs(a - b) / max(abs(b), 1e-12) for a, b in zip(result["curve"], ours)]
        found[name] = (off[0], max(off)) if np.isfinite(off).all() else (np.inf, np.inf)
    return found


# --------------------------------------------------------------------------- start


def starts(name: str, libraries: list[str], rounds: int, settings: dict[str, Any]) -> Row:
    """Seconds from a new process to the end of its first step: {what: seconds}.

    "minidl" has its kernels on disk; "minidl cold" starts with an empty cache folder; "import
    torch" is a process that does only that. Each is the median of a few, one after the other.
    """
    work = make(name, settings)
    having = [each for each in libraries if getattr(work, each, None) and each != "compiled"]
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for each in having:
            seconds = first_step(name, each, settings)
            if seconds is not None:
                found.setdefault(each, []).append(seconds)
        if "torch" in found:
            found.setdefault("import torch", []).append(_import_torch())
    result = {each: statistics.median(seconds) for each, seconds in found.items()}
    for each in OURS:
        if each in found:
            with tempfile.TemporaryDirectory() as folder:
                cold = first_step(name, each, settings, MINIDL_CACHE_DIR=folder)
            result[f"{each} cold"] = cold or float("nan")
    return result


def first_step(name: str, library: str, settings: dict[str, Any], **env: str) -> float | None:
    """Seconds; None where the library is not installed."""
    once = {**settings, "batches": 1, "curve": 0, "warm": 0}
    started = time.perf_counter()
    process = worker(WORKLOADS[name], library, once, {**os.environ, **env})
    reply = ask(process, "prepare")
    seconds = time.perf_counter() - started
    worked = "checksum" in reply
    if worked:
        ask(process, "end")
    end(process)
    return seconds if worked else None


def _import_torch() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - started


# --------------------------------------------------------------------------- the machine


class Product(Work):
    """The product of matrices that is the floor of all that products rule."""

    side = 1_536
    repeats = 2

    def numpy(self):
        rng = np.random.default_rng(0)
        a = rng.standard_normal((self.side, self.side), np.float32)
        b = rng.standard_normal((self.side, self.side), np.float32)
        out = np.empty_like(a)
        return lambda: np.matmul(a, b, out=out) is None


def product_rate(rounds: int) -> float:
    """FLOPs a second of float32 products here: of the best round."""
    times = alternate("benchmarks.speed._measure:Product", ["numpy"], rounds)["numpy"]["times"]
    return 2 * Product.side**3 / min(times)
