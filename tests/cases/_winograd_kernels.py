"""Inputs for the kernels of Winograd's convolutions."""

import numpy as np

from minidl.kernels import panels_shape
from minidl.ops._blocks import blocks_of
from minidl.ops._winograd import filter_matrix
from minidl.testing.kernels import KernelCase

# (images, channels, axes, outputs, a tile's side, padding)
TILED = (
    (1, 1, (3, 3), 1, 4, (0, 0)),  # one output
    (2, 3, (4, 9), 5, 4, (1, 1)),  # tiles that are cut, on both axes
    (2, 17, (9, 4), 35, 2, (2, 1)),  # more than a vector, and than a panel
    (3, 2, (17, 33), 33, 4, (2, 0)),  # rows of more than a vector; blocks of rows
    (9, 16, (8, 8), 32, 4, (1, 1)),
)


def normal(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def _tiled(rng, dtype):
    for images, channels, axes, outputs, side, padding in TILED:
        size = tuple(n + 2 * p - 6 + side for n, p in zip(axes, padding))
        blocks = blocks_of(images, -(-size[0] // side), -(-size[1] // side), 8)
        x = normal(rng, (images, channels, *axes), dtype)
        dout = np.empty((images, outputs, *size), dtype)
        panels, _, width = panels_shape(0, outputs, dtype)
        yield x, dout, (panels, 36, channels, width), blocks, padding, side


def winograd_convolve(rng, dtype):
    for x, out, shape, blocks, padding, side in _tiled(rng, dtype):
        weight, bias = normal(rng, shape, dtype) / 36, normal(rng, out.shape[1], dtype)
        yield KernelCase([x, weight, bias, blocks, padding, side], outputs=[out])


def winograd_weight(rng, dtype):
    for x, dout, shape, blocks, padding, side in _tiled(rng, dtype):
        dout = normal(rng, dout.shape, dtype) / 36
        parts = np.empty((1, *shape), dtype)
        yield KernelCase([x, dout, blocks, padding, side], outputs=[parts])


def winograd_filters(rng, dtype):
    for x, out, shape, *_, side in _tiled(rng, dtype):
        weight = normal(rng, (out.shape[1], x.shape[1], 7 - side, 7 - side), dtype)
        matrix = filter_matrix(side, np.dtype(dtype))
        yield KernelCase([weight, matrix], outputs=[np.empty(shape, dtype)])


def winograd_taps(rng, dtype):
    for x, out, shape, *_, side in _tiled(rng, dtype):
        parts = normal(rng, (3, *shape), dtype)
        dweight = np.empty((out.shape[1], x.shape[1], 7 - side, 7 - side), dtype)
        yield KernelCase([parts, filter_matrix(side, np.dtype(dtype))], outputs=[dweight])


CASES = {
    "winograd_convolve": winograd_convolve,
    "winograd_filters": winograd_filters,
    "winograd_taps": winograd_taps,
    "winograd_weight": winograd_weight,
}
