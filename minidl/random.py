"""The random state: one default generator, seeded by `manual_seed`, saved and restored exactly.

Every function that draws takes a `numpy.random.Generator` of its own as well. The state travels as
a dictionary of plain numbers, so that a checkpoint can hold it without pickle.
"""

from typing import Any

import numpy as np

from minidl.typing import Array

__all__ = ["default_generator", "get_rng_state", "manual_seed", "new_key", "set_rng_state"]

default_generator = np.random.Generator(np.random.PCG64())


def manual_seed(seed: int) -> np.random.Generator:
    """Start the default generator anew from `seed`; equal seeds give equal draws."""
    if seed < 0:
        raise ValueError(f"manual_seed: the seed must be 0 or more, got {seed}")
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


def new_key(generator: np.random.Generator | None = None) -> Array:
    """A key (1,) uint64 from which a kernel derives the random number of each element."""
    source = default_generator if generator is None else generator
    return source.integers(0, 2**64, 1, dtype=np.uint64)
