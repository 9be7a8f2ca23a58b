"""The random state: one default generator, seeded by `manual_seed`, saved and restored exactly.

Every function that draws takes a `numpy.random.Generator` of its own as well. The state travels as
a dictionary of plain numbers, so that a checkpoint can hold it without pickle.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl.typing import Array

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "manual_seed",
    "new_key",
    "set_rng_state",
]

default_generator = np.random.Generator(np.random.PCG64())


def manual_seed(seed: int) -> np.random.Generator:
    """Start the default generator anew from `seed`; equal seeds give equal draws."""
    seed = check_seed("manual_seed", seed)
    default_generator.bit_generator.state = np.random.PCG64(seed).state
    return default_generator


def get_rng_state() -> dict[str, Any]:
    """The default generator's state: names, strings and whole numbers, as JSON can hold them."""
    state: dict[str, Any] = dict(default_generator.bit_generator.state)
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Go back to a state that `get_rng_state` gave."""
    try:
        default_generator.bit_generator.state = state
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"set_rng_state: this is no state of a PCG64 generator ({error}); "
            "give what get_rng_state returned"
        ) from None


@contextmanager
def fork_rng() -> Iterator[None]:
    """Draws inside the block leave the default generator as it was before."""
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def new_key(generator: np.random.Generator | None = None) -> Array:
    """A key (1,) uint64 from which a kernel derives the random number of each element."""
    source = default_generator if generator is None else generator
    return source.integers(0, 2**64, 1, dtype=np.uint64)


def check_seed(name: str, seed: Any) -> int:
    """A whole number of 0 or more, or one line that says so."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"{name}: the seed must be a whole number, got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"{name}: the seed must be 0 or more, got {seed}")
    return int(seed)


def generator_or_default(name: str, generator: Any) -> np.random.Generator:
    """The generator that was given, checked, or the default one."""
    if generator is None:
        return default_generator
    if not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"{name}: generator must be a numpy.random.Generator, got {type(generator).__name__}; "
            "make one with numpy.random.default_rng(seed)"
        )
    return generator
