"""What `python -m minidl doctor` says of this machine."""

import importlib.metadata
import importlib.util
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl import kernels
from minidl.kernels._gemm import find_blas
from minidl.ops._product import product


def examine() -> int:
    """Print versions, processor, threads, cache and times; 1 if something is wrong, else 0."""
    wrong: list[str] = []
    print("versions")
    for name in ("minidl", "numpy", "numba", "llvmlite", "safetensors", "threadpoolctl"):
        _line(name, minidl.__version__ if name == "minidl" else _version(name))
    _line("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    print("processor")
    _line("name", _processor())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    _line("cores", f"{cores} that this process may use, of {os.cpu_count()}")
    print("threads")
    _threads(cores or 1, wrong)
    print("cache of compiled kernels")
    _cache(wrong)
    print("times, with 1 thread and all")
    _times(wrong)
    print("what is wrong")
    for fault in wrong or ["nothing"]:
        print(f"  {fault}")
    return 1 if wrong else 0


def _line(name: str, value: Any) -> None:
    print(f"  {name:14} {value}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    wide = [flag for flag in ("avx2", "fma", "avx512f") if f" {flag} " in f"{flags} "]
    return f"{names[0] if names else 'unknown'} ({', '.join(wide) or 'no AVX2'})"


def _threads(cores: int, wrong: list[str]) -> None:
    from threadpoolctl import threadpool_info

    _line("budget", f"{minidl.get_num_threads()} (minidl.set_num_threads, MINIDL_NUM_THREADS)")
    kernels.hold_blas()
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            what = f"{pool['internal_api']} {pool['version']}"
            if pool["num_threads"] == 1:
                what += ", one thread: large products are cut up among the kernels' threads"
            else:
                wrong.append(
                    f"BLAS keeps {pool['num_threads']} threads of its own, which hold up those "
                    "of the kernels: set OPENBLAS_NUM_THREADS=1 (MKL_NUM_THREADS=1)"
                )
            _line("BLAS", f"{what}, {pool.get('architecture', 'architecture unknown')}")
    if find_blas() is None:
        wrong.append(
            "kernels found no cblas_sgemm in NumPy's BLAS: products inside kernels are plain "
            "loops; use NumPy's own wheel (pip install --force-reinstall numpy)"
        )
    if not kernels.ENABLED:
        reason = "MINIDL_JIT=0" if os.environ.get("MINIDL_JIT") == "0" else "Numba is missing"
        _line("kernels", f"plain NumPy ({reason})")
        wrong.append(f"kernels are not compiled ({reason}): expect several times the time")
        return
    before = os.environ.get("OMP_WAIT_POLICY")
    kernels.softmax_forward(np.zeros((2, 2), np.float32), np.empty((2, 2), np.float32))
    import numba

    from minidl.kernels._threads import may_start_threads

    allowed = may_start_threads()
    layer = numba.threading_layer() if allowed else "none started (one thread)"
    _line("kernels", f"Numba's {layer}")
    _line("waiting", _waiting(before))
    if before is not None and before.lower() == "passive":
        wrong.append(
            "OMP_WAIT_POLICY=passive: starting threads takes some 40 µs instead of 2; unset it"
        )
    if layer == "workqueue":
        wrong.append(
            "Numba found neither OpenMP nor TBB: kernels start slowly, and only in the main "
            "thread; install libgomp"
        )
    if minidl.get_num_threads() > cores:
        wrong.append(
            f"{minidl.get_num_threads()} threads for {cores} cores: set MINIDL_NUM_THREADS={cores}"
        )
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if os.environ.get(name):
            _line(name, os.environ[name])


def _waiting(policy: str | None) -> str:
    if policy is not None:
        return f"OMP_WAIT_POLICY={policy}"
    return f"workers look {os.environ.get('GOMP_SPINCOUNT', '?')} times for work, then sleep"


def _cache(wrong: list[str]) -> None:
    if not kernels.ENABLED:
        _line("folder", "not used")
        return
    from minidl.kernels._cache import folders

    readable, writable = folders()
    folder = writable or (readable[0] if readable else None)
    if folder is None:
        _line("folder", "none")
        wrong.append("no folder for compiled kernels: set MINIDL_CACHE_DIR to one you can write")
        return
    files = list(folder.glob("*.bin"))
    size = sum(file.stat().st_size for file in files)
    state = "can be written" if writable else "read only"
    _line("folder", folder)
    _line("state", f"{len(files)} kernels, {size / 1e6:.1f} MB, {state}")
    if writable is None:
        wrong.append(f"{folder} cannot be written: new kernels are compiled in each process")


def _times(wrong: list[str]) -> None:
    budget = minidl.get_num_threads()
    x = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    out = np.empty_like(x)
    work: dict[str, Callable[[], Any]] = {
        "product": lambda: product(x, x, out),
        "softmax": lambda: kernels.softmax_forward(x, out),
        "both": lambda: (product(x, x, out), kernels.softmax_forward(x, out)),
    }
    rows: dict[str, list[float]] = {}
    try:
        for name, run in work.items():
            row = rows[name] = []
            for n in sorted({1, budget}):
                minidl.set_num_threads(n)
                row.append(_best(run))
            _line(name, ", ".join(f"{seconds * 1e3:.2f} ms" for seconds in row))
    finally:
        minidl.set_num_threads(budget)
    all_ = {name: row[-1] for name, row in rows.items()}
    if all_["both"] > 1.5 * (all_["product"] + all_["softmax"]):
        wrong.append(
            "a product and a kernel in turn take over 1.5 times their sum: their threads hold each "
            "other up (does BLAS keep threads of its own, or is the machine busy?)"
        )
    share = all_["product"] / rows["product"][0]
    if budget > 1 and share > 0.9:
        wrong.append(
            f"a product on {budget} threads takes {share:.0%} of its time on one: the cores are "
            "busy, or shared with other programs"
        )


def _best(run: Callable[[], Any], rounds: int = 7) -> float:
    """The least of several times: other programs only add to it."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
