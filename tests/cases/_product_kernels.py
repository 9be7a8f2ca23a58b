"""Inputs for the kernels of products: empty, one row, odd sizes, several pieces either way."""

import numpy as np

from minidl.kernels import panels_shape
from minidl.testing.kernels import KernelCase
from tests.cases._kernel_samples import normal, sampler_table

CASES, case = sampler_table()


@case("product")
def product(rng, dtype):
    for n, d, m in [(0, 3, 4), (3, 0, 4), (1, 1, 1), (5, 7, 3), (700, 33, 65), (40, 90, 700)]:
        a = normal(rng, n * d, dtype).reshape(n, d)
        b = normal(rng, d * m, dtype).reshape(d, m)
        yield KernelCase([a, b], outputs=[np.empty((n, m), dtype)])


@case("product_batched")
def product_batched(rng, dtype):
    for count, n, d, m in [(0, 2, 3, 4), (1, 1, 1, 1), (3, 5, 7, 3), (9, 40, 50, 60)]:
        a = normal(rng, count * n * d, dtype).reshape(count, n, d)
        b = normal(rng, count * d * m, dtype).reshape(count, d, m)
        yield KernelCase([a, b], outputs=[np.empty((count, n, m), dtype)])


@case("product_panels")
def product_panels(rng, dtype):
    for n, d, m in [(3, 0, 4), (1, 1, 1), (9, 7, 3), (700, 300, 65), (40, 90, 100)]:
        a = normal(rng, n * d, dtype).reshape(n, d)
        b = normal(rng, d * m, dtype).reshape(d, m)
        packed = np.empty(panels_shape(d, m, dtype), dtype)
        for bias in (np.empty(0, dtype), normal(rng, m, dtype)):
            yield KernelCase([a, b, bias], outputs=[packed, np.empty((n, m), dtype)])


@case("column_sums")
def column_sums(rng, dtype):
    for n, d in [(0, 3), (1, 1), (7, 5), (1030, 33), (5000, 2)]:
        x = normal(rng, n * d, dtype).reshape(n, d)
        yield KernelCase([x], outputs=[np.empty(d, dtype)])
