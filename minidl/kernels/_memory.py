"""Freed memory stays with the process, for the next step wants as much again.

glibc gives large freed blocks back to the system at once, and each page of the next array is then
zeroed and mapped anew: 736 page faults a step of an MLP (B 1,024, 128-256-128-64-1) took 1.6 ms of
its 5.1. Other C libraries have no such call and are left alone, and so is a user's own setting.
"""

import ctypes
import os

_TRIM, _MMAP = -1, -3  # names of mallopt, in malloc.h
_KEEP = 1 << 30  # free bytes at the end of the heap that are kept
_OWN_MAPPING = 256 << 20  # bytes from which an array is mapped apart, and given back
_OLD_LIMIT = 32 << 20  # the most that glibc before 2.35 accepts for it

_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Tell malloc to keep what is freed; True if it listens."""
    if any(name in os.environ for name in _SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; TypeError: Windows has no CDLL(None)
        return False
    own = mallopt(_MMAP, _OWN_MAPPING) or mallopt(_MMAP, _OLD_LIMIT)
    return bool(own and mallopt(_TRIM, _KEEP))
