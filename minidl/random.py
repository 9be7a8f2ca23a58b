"""The random state: one default generator, seeded by `manual_seed`, saved and restored exactly.

Every function that draws takes a `numpy.random.Generator` of its own as well. The state travels as
a dictionary of plain numbers, so that a checkpoint can hold it without pickle.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl._device import CPU, check_device
from minidl.typing import Array

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "new_key",
    "seed",
    "set_rng_state",
]


class Generator(np.random.Generator):
    """A `numpy.random.Generator` with the methods of PyTorch's; accepted wherever one is.

        minidl.Generator().manual_seed(0)
    """

    def __init__(self, device: Any = "cpu"):
        check_device(device)
        super().__init__(np.random.PCG64())
        self._seed: int | None = None

    device = CPU

    def manual_seed(self, seed: int) -> "Generator":
        """Start anew from `seed`; equal seeds give equal draws."""
        self._seed = check_seed("manual_seed", seed)
        self.bit_generator.state = np.random.PCG64(self._seed).state
        return self

    def seed(self) -> int:
        """Start anew from a seed of the system's randomness, which is returned."""
        fresh = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        self.manual_seed(fresh)
        return fresh

    def initial_seed(self) -> int:
        """The seed that it was last started from."""
        return self.seed() if self._seed is None else self._seed

    def get_state(self) -> dict[str, Any]:
        """The state: names, strings and whole numbers, as JSON can hold them."""
        return dict(self.bit_generator.state)

    def set_state(self, state: dict[str, Any]) -> "Generator":
        """Go back to a state that `get_state` gave."""
        _set_state(self, state)
        return self


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the default generator anew from `seed`; equal seeds give equal draws."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default generator anew from the system's randomness; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was last started from."""
    return default_generator.initial_seed()


def get_rng_state() -> dict[str, Any]:
    """The default generator's state: names, strings and whole numbers, as JSON can hold them."""
    state: dict[str, Any] = dict(default_generator.bit_generator.state)
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Go back to a state that `get_rng_state` gave."""
    _set_state(default_generator, state)


def _set_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    try:
        generator.bit_generator.state = state
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
