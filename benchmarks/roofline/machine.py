"""What this machine can do: bytes copied and multiplications a second, on all its threads."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl

SIZES = {"L2": 1 << 19, "L3": 8 << 20, "memory": 256 << 20}
"""Bytes of a working set (all that is read and written) that fits a core's second cache, the
shared third, and neither."""


def copy_rate(size: int, rounds: int = 7) -> float:
    """Bytes a second, read and written, of copying float32 arrays that take `size` bytes in all.

    Each thread copies its own part over and over, so what is measured is the memory, not the start
    of threads. NumPy's copy is the C library's, with streaming stores above the cache.
    """
    return max(_copy_rates(size, rounds))


def _copy_rates(size: int, rounds: int) -> list[float]:
    threads = minidl.get_num_threads()
    half = size // 2 // threads // 4
    parts = [(np.ones(half, np.float32), np.ones(half, np.float32)) for _ in range(threads)]
    repeats = max(1, (64 << 20) // size)
    rates = []
    for _ in range(rounds):
        seconds = _together([lambda p=part: np.copyto(p[1], p[0]) for part in parts], repeats)
        rates.append(2 * half * 4 * threads * repeats / seconds)
    return rates


def product_rate(n: int = 1536, rounds: int = 5) -> float:
    """FLOPs a second of a float32 product (n, n) @ (n, n), each thread on its rows of it."""
    from threadpoolctl import threadpool_limits

    threads = minidl.get_num_threads()
    x, y = np.ones((n // threads, n), np.float32), np.ones((n, n), np.float32)
    outs = [np.empty_like(x) for _ in range(threads)]
    work = [lambda out=out: np.matmul(x, y, out=out) for out in outs]
    with threadpool_limits(1, "blas"):
        best = min(_together(work, 1) for _ in range(rounds))
    return 2 * x.size * n * threads / best


def _together(work: list[Callable[[], Any]], repeats: int) -> float:
    """Seconds that the callables take side by side, a thread each, after one call of each."""
    begun, ended = [0.0] * len(work), [0.0] * len(work)
    ready = threading.Barrier(len(work))

    def run(i: int) -> None:
        work[i]()
        ready.wait()
        begun[i] = time.perf_counter()
        for _ in range(repeats):
            work[i]()
        ended[i] = time.perf_counter()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(1, len(work))]
    for thread in threads:
        thread.start()
    run(0)
    for thread in threads:
        thread.join()
    return max(ended) - min(begun)


class Roof:
    """The least time that work can take: its bytes at the copy rate, or its FLOPs at the product
    rate, whichever is longer (Williams, Waterman & Patterson 2009, CACM 52(4))."""

    def __init__(self, sizes: dict[str, int], rounds: int = 7):
        self.copy = {label: copy_rate(size, rounds) for label, size in sizes.items()}
        self.product = product_rate(rounds=rounds)

    def seconds(self, size: int, flops: int, label: str) -> tuple[float, str]:
        """(seconds, what bounds them)."""
        memory, arithmetic = size / self.copy[label], flops / self.product
        return (memory, "memory") if memory >= arithmetic else (arithmetic, "FLOPs")

    def as_dict(self) -> dict[str, Any]:
        return {"copy bytes/s": self.copy, "sgemm FLOP/s": self.product}

    def __str__(self) -> str:
        copies = ", ".join(f"{rate / 1e9:.0f} GB/s {label}" for label, rate in self.copy.items())
        return f"copy: {copies} (bytes read and written); sgemm: {self.product / 1e9:.0f} GFLOP/s"
