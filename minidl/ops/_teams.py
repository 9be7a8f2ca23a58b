"""Python threads that share a list of NumPy and kernel calls.

Many small products gain nothing from BLAS's own threads. NumPy and the kernels let go of Python's
lock while they compute, so two Python threads that each work through whole items use two cores.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

_pools: dict[int, ThreadPoolExecutor] = {}  # by process: a forked child has none of the threads
_lock = threading.Lock()


def share(
    work: Callable[[Any, Any], None], items: Iterable[Any], spaces: Sequence[Any]
) -> None:
    """work(item, space) for every item, on as many threads as there are spaces to work in.

    Each item must write to places of its own; then the result does not depend on the threads.
    """
    todo = deque(items)

    def loop(space: Any) -> None:
        with np.errstate(all="ignore"):  # of this thread: NumPy keeps it apart for each
            while True:
                try:
                    item = todo.popleft()
                except IndexError:
                    return
                work(item, space)

    futures = [_pool().submit(loop, space) for space in spaces[1:]]
    try:
        loop(spaces[0])
    finally:
        todo.clear()  # after an error the others stop at the next item
        for future in futures:
            future.result()


def _pool() -> ThreadPoolExecutor:
    with _lock:
        pool = _pools.get(os.getpid())
        if pool is None:
            count = max(1, (os.cpu_count() or 1) - 1)
            pool = _pools[os.getpid()] = ThreadPoolExecutor(count, "minidl")
        return pool
