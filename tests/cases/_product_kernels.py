"""Inputs for the kernels of products: empty, one row, odd sizes, several pieces either way."""

import numpy as np

from minidl.testing.kernels import KernelCase
from tests.cases._kernel_samples import normal, sampler_table

CASES, case = sampler_table()


@case("product")
def product(rng, dtype):
    for n, d, m in [
        (0, 3, 4), (3, 0, 4), (1, 1, 1), (5, 7, 3), (35, 300, 100), (700, 33, 65), (40, 90, 700),
        (100, 600, 17), (7, 1000, 50),
    ]:  # fmt: skip
        a = normal(rng, n * d, dtype).reshape(n, d)
        b = normal(rng, d * m, dtype).reshape(d, m)
        for bias, floor in ((np.empty(0, dtype), -np.inf), (normal(rng, m, dtype), 0.0)):
            yield KernelCase([a, b, bias, floor], outputs=[np.empty((n, m), dtype)])
        turned = [np.ascontiguousarray(x.T).T for x in (a, b)]
        yield KernelCase([*turned, bias, -np.inf], outputs=[np.empty((n, m), dtype)])


@case("weight_gradient")
def weight_gradient(rng, dtype):
    for r, m, n in [
        (0, 3, 4), (1, 1, 1), (9, 7, 3), (35, 100, 1), (300, 70, 35), (1000, 33, 100),
        (600, 5, 300),
    ]:  # fmt: skip
        dout, x = (normal(rng, r * k, dtype).reshape(r, k) for k in (m, n))
        for size in (0, m):
            outputs = [np.empty(size, dtype), np.empty((m, n), dtype)]
            yield KernelCase([dout, x], outputs=outputs)


@case("product_batched")
def product_batched(rng, dtype):
    for count, n, d, m in [(0, 2, 3, 4), (1, 1, 1, 1), (3, 5, 7, 3), (9, 40, 50, 60)]:
        a = normal(rng, count * n * d, dtype).reshape(count, n, d)
        b = normal(rng, count * d * m, dtype).reshape(count, d, m)
        yield KernelCase([a, b], outputs=[np.empty((count, n, m), dtype)])


@case("column_sums")
def column_sums(rng, dtype):
    for n, d in [(0, 3), (1, 1), (7, 5), (1030, 33), (5000, 2)]:
        x = normal(rng, n * d, dtype).reshape(n, d)
        yield KernelCase([x], outputs=[np.empty(d, dtype)])


@case("row_sums")
def row_sums(rng, dtype):
    for n, d in [(0, 3), (1, 1), (7, 5), (130, 1030), (2500, 64)]:
        x = normal(rng, n * d, dtype).reshape(n, d)
        yield KernelCase([x], outputs=[np.empty(n, dtype)])
