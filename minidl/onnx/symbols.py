"""Numbers that depend on the inputs' sizes, found from runs with several sizes.

The model runs several times, each dynamic axis with another size every time. A number that is the
same in all runs is a constant; any other is looked for as a * factor + offset, or as
(a + shift) // divisor + offset as convolutions with strides have it, where a is a product of sizes.
What fits no such form, or more than one, cannot be exported, and the error says so.
"""

from fractions import Fraction
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np


class Size(NamedTuple):
    """(product of the named axes' sizes * factor + shift) // divisor + offset; its values."""

    names: tuple[str, ...]
    factor: int
    shift: int
    divisor: int
    offset: int
    values: tuple[int, ...]


class Unknown(NamedTuple):
    """A number that changes between the runs, but is no simple function of the sizes."""

    values: tuple[Any, ...]


class Symbols:
    """The dynamic axes' sizes in each run, by name."""

    def __init__(self, sizes: dict[str, tuple[int, ...]]):
        self.sizes = sizes
        self._groups = [
            names for count in (1, 2, 3) for names in combinations(sorted(sizes), count)
        ]

    def merged(self, values: Any) -> Any:
        """One value for all runs: as it is if equal, tuples place by place, numbers as a Size."""
        first = values[0]
        if isinstance(first, (tuple, list)) and all(
            isinstance(v, (tuple, list)) and len(v) == len(first) for v in values
        ):
            return tuple([self.merged(parts) for parts in zip(*values)])
        if all(type(v) is type(first) and _equal(v, first) for v in values):
            return first
        if all(isinstance(v, (int, np.integer)) for v in values):
            return self.size([int(v) for v in values])
        return Unknown(tuple(values))

    def size(self, values: Any) -> Any:
        """A number of each run as an int, a Size, or Unknown."""
        v = tuple(values)
        if len(set(v)) == 1:
            return v[0]
        for names in self._groups:
            base = [int(np.prod([self.sizes[n][run] for n in names])) for run in range(len(v))]
            found = _line(base, v)
            if found is not None:
                return Size(names, *found, v)
        return Unknown(v)


def _equal(a: Any, b: Any) -> bool:
    return a is b or a == b or (isinstance(a, float) and a != a and b != b)


def _line(base: list[int], v: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """What makes v = (base * factor + shift) // divisor + offset, or None."""
    if len(set(base)) < 2:
        return None
    low, high = base.index(min(base)), base.index(max(base))
    slope = Fraction(v[high] - v[low], base[high] - base[low])
    if slope.denominator == 1:
        offset = v[0] - base[0] * slope.numerator
        if all(b * slope.numerator + offset == w for b, w in zip(base, v)):
            return slope.numerator, 0, 1, offset
    for divisor in range(2, 33):
        found = []
        for shift in range(divisor):
            offset = v[0] - (base[0] + shift) // divisor
            if all((b + shift) // divisor + offset == w for b, w in zip(base, v)):
                found.append((1, shift, divisor, offset))
        if found:  # of several, none is known to be the right one
            return found[0] if len(found) == 1 else None
    return None
