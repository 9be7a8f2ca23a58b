"""Where the arrays of many parameters lie, for the kernels that step them in one call."""

from collections.abc import Iterable, Sequence
from ctypes import addressof, c_char
from functools import lru_cache
from operator import is_
from typing import Any

import numpy as np

from minidl import kernels
from minidl.typing import Array

_SHARE = 8_192  # elements that one thread takes at a time; larger parameters are cut so
_from_buffer: Any = c_char.from_buffer


class Table:
    """Places, pieces and shares of some parameters' arrays, as `kernels.update` describes them.

    owned: for each parameter its array, then its states (None: not used); all contiguous and of
    one dtype. They stay the same from step to step, so their places are found once; `fits` tells
    whether they are still these. Gradients are others at each step: `call` gets them.
    """

    def __init__(self, owned: Sequence[Any], count: int):
        self.owned = list(owned)
        each = len(owned) // count
        columns = [self.owned[k * each : (k + 1) * each] for k in range(count)]
        first = columns[0][0]
        self.base = first.reshape(-1)
        self.item = first.itemsize
        self.start = _address(first)
        self.places = np.zeros((1 + each, count), np.int64)
        for k, arrays in enumerate(columns):
            for row, array in enumerate(arrays):
                if array is not None:
                    self.places[1 + row, k] = (_address(array) - self.start) // self.item
        self.pieces, self.shares = _cut([arrays[0].size for arrays in columns])

    def fits(self, owned: Sequence[Any]) -> bool:
        return len(owned) == len(self.owned) and all(map(is_, owned, self.owned))

    def call(self, kernel: Any, grads: Sequence[Array], each: Sequence[Any], numbers: Any) -> None:
        """One call of an optimizer's kernel; each: for each parameter a tuple of numbers."""
        places = np.array([_address(grad) for grad in grads], np.int64)
        places -= self.start
        places //= self.item
        self.places[0] = places
        kernel(
            self.places, self.pieces, self.shares, np.array(each, np.float64), *numbers, self.base
        )


class Tables(dict[Any, Table]):
    """The tables of an optimizer; a copy starts empty, for the copy's arrays lie elsewhere."""

    def __deepcopy__(self, memo: Any) -> "Tables":
        return Tables()

    def __reduce__(self) -> Any:
        return Tables, ()


def run_together(
    kernel: Any, arrays: Iterable[Sequence[Array | None]], each: Sequence[Any], numbers: Any = ()
) -> None:
    """Call an optimizer's kernel once; arrays: for each parameter its gradient, itself, states."""
    columns = list(arrays)
    grads: list[Any] = [column[0] for column in columns]
    Table([a for column in columns for a in column[1:]], len(columns)).call(
        kernel, grads, each, numbers
    )


def plain_step(param: Array, update: Array, rate: float, decay: float = 0.0) -> None:
    """param -= rate (update + decay param), in one pass over flat arrays."""
    settings = rate, 0.0, 0.0, decay, False, 1.0
    run_together(kernels.sgd, [(update, param, None)], [(1.0,)], settings)


def move_averages(means: Sequence[Array], values: Sequence[Array], weight: float) -> None:
    """mean += weight (value - mean) for all, in one call; contiguous and of one dtype."""
    if means:
        run_together(kernels.move_average, zip(values, means), [(weight,)] * len(means))


def clip_together(
    grads: Sequence[Array], max_norm: float, scale_nonfinite: bool
) -> float:
    """Scale them all to that norm at most; their norm before. Contiguous and of one dtype."""
    base = grads[0].reshape(-1)
    places = np.array([[_address(grad) for grad in grads]], np.int64)
    places -= places[0, 0]
    places //= base.itemsize
    norm = np.empty(1)
    cut = _cut_once(tuple([grad.size for grad in grads]))
    kernels.clip_norm(places, *cut, max_norm, scale_nonfinite, norm, base)
    return float(norm[0])


def _address(array: Array) -> int:
    try:
        return addressof(_from_buffer(array))  # a fifth of the time of array.ctypes.data
    except (TypeError, ValueError):  # read-only, or empty
        return array.ctypes.data


def _cut(sizes: Sequence[int]) -> tuple[Array, Array]:
    """Parameters of these sizes in pieces (Q, 3), and these in shares (S+1,) of about _SHARE."""
    pieces: list[tuple[int, int, int]] = []
    shares, room = [0], _SHARE
    for k, size in enumerate(sizes):
        for start in range(0, size, _SHARE):
            stop = min(start + _SHARE, size)
            if stop - start > room:
                shares.append(len(pieces))
                room = _SHARE
            pieces.append((k, start, stop))
            room -= stop - start
    shares.append(len(pieces))
    return np.array(pieces, np.int64).reshape(-1, 3), np.array(shares, np.int64)


_cut_once = lru_cache(maxsize=8)(_cut)
"""For who keeps no Table: 12 million elements are cut in 300 µs."""
