"""Where ops take new arrays from.

Two large arrays whose distance is a power of two, or that and a few hundred bytes, want the same
banks of the machine's memory at the same time: dropout of 128 MiB into an array 256 MiB and 128
bytes away took 12 ms, 4,608 bytes further 5. So large arrays start at seven places in turn.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.typing import Array

LARGE = 4 << 20
"""Bytes from which the place of an array matters: smaller ones stay in the caches."""

STEP = 4_608
"""Bytes between two places: any multiple up to 7 measured as quick as the best distance."""

_PLACES = 7
_LINE = 64  # bytes of a cache line, and of a register of AVX-512

_turns = itertools.count()


def block(nbytes: int) -> Array:
    """`nbytes` new bytes from the start of a cache line on; large blocks at places in turn."""
    large = nbytes >= LARGE
    whole = np.empty(nbytes + _LINE + large * STEP * (_PLACES - 1), np.uint8)
    start = -whole.ctypes.data % _LINE + large * STEP * (next(_turns) % _PLACES)
    return whole[start : start + nbytes]


def _new(shape: Any, dtype: Any) -> Array:
    array = np.empty(shape, dtype)
    nbytes = array.nbytes
    if nbytes < LARGE:
        return array
    del array  # no page of it was touched
    return block(nbytes).view(dtype).reshape(shape)


_allocate: Callable[..., Array] = _new


def empty(shape: Any, dtype: Any) -> Array:
    """The one place from which ops take new arrays: a captured step hands out kept buffers here."""
    return _allocate(shape, dtype)


def set_allocator(allocate: Callable[..., Array]) -> Callable[..., Array]:
    """Let `empty` take its arrays from `allocate(shape, dtype)`; returns the one it had."""
    global _allocate
    before, _allocate = _allocate, allocate
    return before
