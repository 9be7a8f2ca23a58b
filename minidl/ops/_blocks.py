"""How the work of convolutions is cut into blocks, and memory that lives for one of them."""

import math
import threading
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from minidl.typing import Array

BLOCK = 1 << 21
"""Elements of a block's columns: what the columns, the product and its result may take of the
third-level cache. Smaller ones start more parallel regions and products than they save."""

POSITIONS = 512
"""Positions of a block of `kernels.convolve`: 16 panels, so that little is lost at the last one,
while the channels that are multiplied at once, their windows and results fit the second cache."""


@lru_cache(maxsize=256)
def blocks_of(
    images: int, rows: int, across: int, most: int = POSITIONS, multiple: int = 4
) -> Array:
    """(n, 4): first image, last, first row of outputs, last, of blocks of some `most` positions.

    Their number is a multiple of `multiple` where it can be, for two threads.
    """
    one = rows * across
    if one <= 2 * most:
        count = -(-images // max(1, most // one))
        count = max(1, min(images, -(-count // multiple) * multiple))
        ends = [k * images // count for k in range(count + 1)]
        found = [(s, e, 0, rows) for s, e in pairwise(ends)]
    else:
        count = min(rows, -(-one // (2 * most)))
        ends = [k * rows // count for k in range(count + 1)]
        found = [(b, b + 1, s, e) for b in range(images) for s, e in pairwise(ends)]
    made = np.array(found, np.int64).reshape(-1, 4)
    made.flags.writeable = False
    return made


class _Scratch(threading.local):
    """Arrays that live for one block; kept, because the system clears new memory page by page."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Array] = {}


_scratch = _Scratch()


def scratch(shape, dtype, name: str) -> Array:
    """An array whose memory is used again when the next one of this name is asked for."""
    size = math.prod(shape)
    known = _scratch.kept.get((name, dtype.char))
    if known is None or known.size < size:
        _scratch.kept[name, dtype.char] = known = np.empty(size, dtype)
    return known[:size].reshape(shape)


def blocks(images: int, size: tuple[int, int], depth: int) -> Iterator[tuple[int, int, int, int]]:
    """(first image, last, first row of outputs, last) of each block of columns, alike in size."""
    rows, across = size
    image = depth * rows * across
    if image <= BLOCK:
        count = -(-images // max(1, BLOCK // max(1, image)))
        for k in range(count):
            yield k * images // count, (k + 1) * images // count, 0, rows
    else:
        count = -(-rows // max(1, BLOCK // (depth * across)))
        for b in range(images):
            for k in range(count):
                yield b, b + 1, k * rows // count, (k + 1) * rows // count
