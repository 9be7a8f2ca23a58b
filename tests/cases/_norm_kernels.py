"""Inputs for the kernels of normalisation, of rows and of channels, and of int8 products."""

import numpy as np

from minidl.testing.kernels import KernelCase
from tests.cases._kernel_samples import ROWS, normal, sampler_table

CASES, case = sampler_table()


@case("layer_norm_forward")
def layer_norm(rng, dtype):
    for n, d in ROWS:
        x = normal(rng, (n, d), dtype) + dtype(3.0)
        weight, bias, per_row = normal(rng, d, dtype), normal(rng, d, dtype), np.empty(n, dtype)
        yield KernelCase([x, weight, bias, 1e-5], outputs=[x, per_row, per_row])


@case("layer_norm_backward")
def layer_norm_backward(rng, dtype):
    for n, d in ROWS:
        dy, x = normal(rng, (n, d), dtype), normal(rng, (n, d), dtype)
        weight = normal(rng, d, dtype)
        mean = x.mean(axis=1)
        rstd = (1 / np.sqrt(x.var(axis=1) + 1e-5)).astype(dtype)
        yield KernelCase([dy, x, mean, rstd, weight], outputs=[x, weight, weight])


@case("rms_norm_forward")
def rms_norm(rng, dtype):
    for n, d in ROWS:
        x, weight = normal(rng, (n, d), dtype), normal(rng, d, dtype)
        yield KernelCase([x, weight, 1e-5], outputs=[x, np.empty(n, dtype)])


@case("rms_norm_backward")
def rms_norm_backward(rng, dtype):
    for n, d in ROWS:
        dy, x, weight = *normal(rng, (2, n, d), dtype), normal(rng, d, dtype)
        rstd = (1 / np.sqrt(np.square(x).mean(axis=1) + 0.1)).astype(dtype)
        yield KernelCase([dy, x, rstd, weight], outputs=[x, weight])


@case("unit_rows_forward")
def unit_rows(rng, dtype):
    for n, d in ROWS:
        x = normal(rng, (n, d), dtype)
        x[::3] *= dtype(0.01)
        yield KernelCase([x, 0.5], outputs=[x, np.empty(n, dtype)])
    x = np.array([[0, 0], [np.nan, 1], [np.inf, 1], [1e-30, 0]], dtype)
    yield KernelCase([x, 1e-12], outputs=[x, np.empty(4, dtype)], note="special rows")


@case("unit_rows_backward")
def unit_rows_backward(rng, dtype):
    for n, d in ROWS:
        dy, x = normal(rng, (2, n, d), dtype)
        x[::3] *= dtype(0.01)
        length = np.sqrt(np.square(x).sum(axis=1)).astype(dtype)
        yield KernelCase([dy, x, length, 0.5], outputs=[x])
    x = np.array([[0, 0], [np.nan, 1], [1e-30, 0]], dtype)
    lengths = np.array([0, np.nan, 1e-30], dtype)
    yield KernelCase([np.ones_like(x), x, lengths, 1e-12], outputs=[x], note="special rows")


PLANES = ((0, 3, 5), (2, 3, 0), (1, 1, 1), (7, 5, 1), (301, 67, 1), (3, 5, 2), (41, 13, 67))
"""(N, C, L) of channels; L = 1 takes another way."""


@case("channel_moments")
def channel_moments(rng, dtype):
    for shape in PLANES:
        x, per_channel = normal(rng, shape, dtype) + dtype(3.0), np.empty(shape[1], dtype)
        yield KernelCase([x], outputs=[per_channel, per_channel])
    yield KernelCase([np.full((4, 2, 3), 1e4, dtype)], outputs=[np.empty(2, dtype)] * 2)
    x = normal(rng, (5, 3, 4), dtype)
    x[0, 0, 0], x[2, 1, 1] = np.nan, np.nan
    yield KernelCase([x], outputs=[np.empty(3, dtype)] * 2, note="NaN")


@case("channel_affine")
def channel_affine(rng, dtype):
    for shape in PLANES:
        x, by_channel = normal(rng, shape, dtype), normal(rng, (3, shape[1]), dtype)
        yield KernelCase([x, *by_channel], outputs=[x])


@case("channel_sums")
def channel_sums(rng, dtype):
    for shape in PLANES:
        dy, x = normal(rng, (2, *shape), dtype)
        centre = normal(rng, shape[1], dtype)
        yield KernelCase([dy, x, centre], outputs=[centre, centre])


@case("channel_totals")
def channel_totals(rng, dtype):
    for shape in PLANES:
        yield KernelCase([normal(rng, shape, dtype)], outputs=[np.empty(shape[1], dtype)])


@case("channel_combine")
def channel_combine(rng, dtype):
    for shape in PLANES:
        dy, x, by_channel = *normal(rng, (2, *shape), dtype), normal(rng, (4, shape[1]), dtype)
        yield KernelCase([dy, x, *by_channel], outputs=[x])


@case("int8_linear")
def int8_linear(rng, dtype):
    for n, d, o in ((0, 5, 3), (1, 1, 1), (3, 17, 5), (4, 1031, 301)):
        weight = rng.integers(-127, 128, (o, d)).astype(np.int8)
        x, scale, bias = normal(rng, (n, d), dtype), normal(rng, o, dtype), normal(rng, o, dtype)
        yield KernelCase([x, weight, scale, bias], outputs=[np.empty((n, o), dtype)])
    zeros = np.zeros((2, 3), dtype)
    ones = np.ones((4, 3), np.int8)
    yield KernelCase([zeros, ones, scale[:4], bias[:4]], outputs=[np.empty((2, 4), dtype)])
