"""What the samplers of kernels share: sizes, numbers, and the table they are put in."""

from collections.abc import Callable, Iterator

import numpy as np

from minidl.testing.kernels import KernelCase

Sampler = Callable[[np.random.Generator, type], Iterator[KernelCase]]

SIZES = (0, 1, 7, 20_001)
"""Of flat arrays: the last makes several pieces, the last of them odd."""
ROWS = ((0, 5), (1, 1), (3, 17), (301, 67))
"""(N, D) of matrices; the last makes several pieces."""


def sampler_table() -> tuple[dict[str, Sampler], Callable[..., Callable[[Sampler], Sampler]]]:
    """An empty table of samplers, and the decorator that puts one in under kernels' names."""
    cases: dict[str, Sampler] = {}

    def case(*names: str) -> Callable[[Sampler], Sampler]:
        def add(sampler: Sampler) -> Sampler:
            for name in names:
                cases[name] = sampler
            return sampler

        return add

    return cases, case


def normal(rng, shape, dtype, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(dtype)


def special(dtype):
    """Where functions go wrong: signs of zero, denormal, huge, inf, NaN."""
    tiny = np.finfo(dtype).smallest_subnormal
    values = [0.0, -0.0, tiny, 1e-30, -1e-30, 30.0, -30.0, 95.0, -95.0, np.inf, -np.inf, np.nan]
    return np.array(values, dtype)
