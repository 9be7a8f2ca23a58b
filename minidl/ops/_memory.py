"""Where ops take new arrays from."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.typing import Array

_allocate: Callable[..., Array] = np.empty


def empty(shape: Any, dtype: Any) -> Array:
    """The one place from which ops take new arrays: a captured step hands out kept buffers here."""
    return _allocate(shape, dtype)


def set_allocator(allocate: Callable[..., Array]) -> Callable[..., Array]:
    """Let `empty` take its arrays from `allocate(shape, dtype)`; returns the one it had."""
    global _allocate
    before, _allocate = _allocate, allocate
    return before
