"""Shapes and values that the samplers of elementwise ops share."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.cases._case import Case

SHAPES = ((), (5,), (3, 4), (0, 3), (40, 31))
"""The last is large enough for the kernels."""
PAIRS = (
    ((), ()), ((3, 4), (3, 4)), ((3, 1), (2, 1, 4)), ((0, 4), (4,)), ((), (5,)),
    ((40, 31), (40, 31)),
)  # fmt: skip


def between(low: float, high: float) -> Callable[..., Any]:
    return lambda rng, shape: rng.uniform(low, high, shape)


def away(*points: float, gap: float = 0.05, scale: float = 2.0) -> Callable[..., Any]:
    """Normal values, none within `gap` of a point where the function is not differentiable."""

    def draw(rng, shape):
        x = np.asarray(scale * rng.standard_normal(shape))
        for point in points:
            x = np.where(np.abs(x - point) < gap, point + gap + np.abs(x - point), x)
        return x

    return draw


def unary(draw: Any, settings: Any = ({},)) -> Callable[[np.random.Generator], list[Case]]:
    """Cases of an op of one array, for each of several settings."""

    def cases(rng) -> Iterator[Case]:
        for given in settings:
            for shape in SHAPES:
                yield Case((draw(rng, shape),), dict(given), note=f"{shape} {given}")

    return lambda rng: list(cases(rng))


def binary(first: Any, second: Any = None, settings: Any = ({},), numbers: Any = ()) -> Any:
    """Cases of an op of two arrays that broadcast; `numbers` stand for the one or the other."""

    def cases(rng) -> Iterator[Case]:
        for given in settings:
            for x, y in PAIRS:
                pair = (first(rng, x), (second or first)(rng, y))
                yield Case(pair, dict(given), note=f"{x} {y} {given}")
            for number in numbers:
                yield Case((first(rng, (3, 2)), number), dict(given), note=f"number {number}")
                yield Case((number, (second or first)(rng, (3, 2))), dict(given))

    return lambda rng: list(cases(rng))
