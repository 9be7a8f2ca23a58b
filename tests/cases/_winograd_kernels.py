"""Inputs for the kernels of Winograd's convolutions."""

import numpy as np

from minidl.kernels import WINOGRAD_SIZES, panels_shape
from minidl.ops._blocks import blocks_of
from minidl.ops._winograd import filter_matrix
from minidl.testing.kernels import KernelCase

# (images, channels, axes, outputs, output's axes, begin, steps, (n, m), corner)
TILED = (
    (1, 1, (3, 3), 1, (1, 1), (0, 0), (1, 1), (6, 4), (0, 0)),  # one output
    (2, 3, (4, 9), 5, (4, 9), (-1, -1), (1, 1), (6, 4), (0, 0)),  # cut tiles, on both axes
    (2, 17, (9, 4), 35, (9, 2), (-2, -1), (1, 1), (6, 2), (0, 0)),  # more than a vector, a panel
    (3, 2, (17, 33), 33, (19, 31), (-2, 0), (1, 1), (6, 4), (0, 0)),  # long rows; blocks of rows
    (9, 16, (8, 8), 32, (8, 8), (-1, -1), (1, 1), (6, 4), (0, 0)),
    (3, 21, (9, 10), 7, (4, 5), (-1, -1), (2, 1), (5, 4), (0, 0)),
    (2, 3, (7, 40), 33, (3, 19), (1, -2), (2, 1), (4, 3), (0, 0)),
    (2, 18, (13, 11), 5, (5, 4), (-1, -1), (2, 1), (6, 4), (0, 0)),
    (3, 7, (5, 4), 21, (10, 8), (-1, -1), (1, 2), (5, 4), (1, 1)),
    (2, 18, (9, 20), 3, (17, 40), (-1, 0), (1, 2), (4, 3), (0, 1)),
    (2, 3, (4, 4), 5, (7, 8), (-2, -1), (1, 2), (6, 4), (1, 0)),
)


def normal(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def _tiled(rng, dtype):
    for images, channels, axes, outputs, size, begin, steps, sizes, corner in TILED:
        tiles = [-(-(n + c) // (sizes[1] * steps[1])) for n, c in zip(size, corner)]
        blocks = blocks_of(images, *tiles, 8)
        x = normal(rng, (images, channels, *axes), dtype)
        out = np.empty((images, outputs, *size), dtype)
        panels, _, width = panels_shape(0, steps[1] ** 2 * outputs, dtype)
        shape = panels, sizes[0] ** 2, steps[0] ** 2 * channels, width
        yield x, out, shape, (blocks, begin, steps, sizes, tiles[1], corner)


def winograd_convolve(rng, dtype):
    for x, out, shape, how in _tiled(rng, dtype):
        weight = normal(rng, shape, dtype) / shape[1]
        bias = normal(rng, out.shape[1] + 16, dtype)
        yield KernelCase([x, weight, bias, *how], outputs=[out], note=str(how[1:]))


def winograd_weight(rng, dtype):
    for x, dout, shape, (blocks, begin, steps, sizes, *_) in _tiled(rng, dtype):
        if steps[1] == 1:
            dout = normal(rng, dout.shape, dtype) / shape[1]
            parts, inputs = np.empty((1, *shape), dtype), [x, dout, blocks, begin, steps[0], sizes]
            yield KernelCase(inputs, outputs=[parts], note=f"{steps} {sizes}")


def _filters(rng, dtype):
    """(weight (O, C, KH, KW), a matrix (n^2, r^2), steps); kernels fill their taps or do not."""
    for sizes in WINOGRAD_SIZES:
        taps = sizes[0] + 1 - sizes[1]
        for steps in ((1, 1), (2, 1), (1, 2)):
            step = steps[0] * steps[1]
            for kernel in range(step * (taps - 1) + 1, step * taps + 1):
                for outputs, channels in ((1, 1), (19, 3), (5, 17), (35, 20)):
                    weight = normal(rng, (outputs, channels, kernel, kernel), dtype)
                    yield weight, filter_matrix(*sizes, np.dtype(dtype)), steps


def winograd_filters(rng, dtype):
    for weight, matrix, steps in _filters(rng, dtype):
        panels, _, width = panels_shape(0, steps[1] ** 2 * len(weight), dtype)
        packed = np.empty((panels, len(matrix), steps[0] ** 2 * weight.shape[1], width), dtype)
        yield KernelCase([weight, matrix, steps], outputs=[packed], note=f"{steps}")


def winograd_taps(rng, dtype):
    for weight, matrix, steps in _filters(rng, dtype):
        if steps[1] == 1:
            panels, _, width = panels_shape(0, len(weight), dtype)
            depth = steps[0] ** 2 * weight.shape[1]
            parts = normal(rng, (3, panels, len(matrix), depth, width), dtype)
            inputs = [parts, matrix, steps[0]]
            yield KernelCase(inputs, outputs=[np.empty_like(weight)], note=f"{steps}")


CASES = {
    "winograd_convolve": winograd_convolve,
    "winograd_filters": winograd_filters,
    "winograd_taps": winograd_taps,
    "winograd_weight": winograd_weight,
}
