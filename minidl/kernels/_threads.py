"""One pool of threads for kernels and matrix products, and when a kernel may start threads at all.

Two pools on two cores starve each other: libgomp's workers spin after a parallel region and hold
up OpenBLAS (a product and a kernel of 43 + 4 µs took 8,630 µs together). Workers that sleep at once
cure that, but waking them costs 10 to 50 µs each time. So there is one pool, libgomp's: BLAS is
held to one thread, and a large product is a kernel whose pieces call it (`_gemm`, `products`). Then
the workers may spin a little, and a parallel region starts within 2 µs.
"""

import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

# How often a worker looks for work before it sleeps: some 75 µs. Longer gains 1 to 3 % on quiet
# cores, and loses much beside another program, which has the core when work comes: an MLP step of
# 2.7 ms took 28 beside a busy loop with 20,000 looks, 8.6 with 3,000 (torch 9 to 13).
_SPINS = "3000"

_FORKED = False  # True in a forked child: an OpenMP pool does not survive a fork
_blas_limit: Any = None  # the threadpoolctl limiter, kept so that its limit stays in force


class _Thread(threading.local):
    """What has been told to Numba in this Python thread; Numba keeps its limit per thread."""

    applied = 0  # the budget told to Numba; 0: nothing yet
    refused = False  # True: this thread must not start a parallel region


_thread = _Thread()


def _default_budget(environ: Mapping[str, str] = os.environ) -> int:
    """MINIDL_NUM_THREADS, else OMP_NUM_THREADS, else the cores this process may use."""
    for name in ("MINIDL_NUM_THREADS", "OMP_NUM_THREADS"):
        text = environ.get(name, "").split(",")[0].strip()  # OpenMP allows "4,2" for nested regions
        if text.isdigit() and int(text) > 0:
            return int(text)
        if text and name == "MINIDL_NUM_THREADS":
            raise ValueError(f"MINIDL_NUM_THREADS must be a whole number above 0, got {text!r}")
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_num_threads() -> int:
    """The number of threads that kernels and matrix products may use."""
    return _budget


def set_num_threads(n: int) -> None:
    """Let kernels and matrix products use at most `n` threads. Results do not depend on `n`.

    Numba starts its threads once, one a core, so kernels use at most that many. NumPy's own
    products (not those of minidl) run on one thread from the first large product on, whatever `n`.
    """
    global _budget
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"set_num_threads needs a whole number above 0, got {n!r}")
    _budget = n


def hold_blas() -> None:
    """Let BLAS use one thread from now on: the cores belong to the kernels that call it."""
    global _blas_limit
    if _blas_limit is None:
        from threadpoolctl import threadpool_limits

        _blas_limit = threadpool_limits(limits=1, user_api="blas")


def prepare_numba() -> None:
    """Settings that must stand before Numba, or the thread pool it opens, first loads."""
    if "OMP_WAIT_POLICY" not in os.environ:  # it would overrule the number
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    hold_blas()
    first_import = "numba" not in sys.modules
    from numba import config as numba_config

    chosen = {"NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY"} & os.environ.keys()
    if first_import and not chosen:
        config: Any = numba_config  # its names are made at run time
        config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]


def may_start_threads() -> bool:
    """True when a parallel twin may run now, in this Python thread."""
    if _budget == 1 or _FORKED:
        return False
    if _thread.applied != _budget:
        _tell_numba()
    return not _thread.refused


def _tell_numba() -> None:
    """Give this Python thread its share of Numba's pool, or refuse it the pool."""
    _thread.applied = _budget
    try:
        prepare_numba()  # the first call of the process may be one with threads
    except ImportError:  # the serial twin says so, and runs the reference
        _thread.refused = True
        return
    import numba
    from numba import config as numba_config

    config: Any = numba_config  # its names are made at run time
    n = min(_budget, config.NUMBA_NUM_THREADS)
    try:
        numba.set_num_threads(n)  # opens the pool at the first call of the process
    except ValueError:  # "No threading layer could be loaded"
        _thread.refused = True
        return
    # workqueue aborts the process when two Python threads enter it (numba #10565): only one may
    only_main = numba.threading_layer() == "workqueue"
    outside = threading.current_thread() is not threading.main_thread()
    _thread.refused = n == 1 or (only_main and outside)


def _after_fork_in_child() -> None:
    global _FORKED
    _FORKED = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

_budget = _default_budget()
