"""Convolutions by Winograd's minimal filtering, where it is quicker: for `_conv`.

A quarter of the multiplications of a 3 x 3 convolution (36 % of a 5 x 5 one's), for 2 x 2 to 4 x 4
outputs at once; see `kernels/winograd.py`. Measured against the direct product on two cores (Zen
4): 32 -> 64 channels at 14 x 14 .95 ms instead of 2.7, 128 -> 128 at 28 x 28 5.0 instead of 18,
40 -> 82 by 5 x 5 at 10 x 10 3.6 instead of 8.0; the gradient in the weight likewise. float32 errors
are 2 to 5 times the direct product's. An infinity or NaN in x reaches the outputs of its tile, up
to 3 beside those that see it.
"""

from functools import lru_cache

import numpy as np

from minidl import kernels
from minidl.ops._blocks import blocks_of, scratch
from minidl.typing import Array

TILES = 32
"""Tiles of a block: their squares and products fill half of the second cache or less."""

VECTOR = 3_200
"""What a tile's transforms cost for 64 bytes of channels, in multiplications."""

FILTER = 1_500
"""The same of a filter's transform."""

SUMS = 1 << 19
"""Elements of all sums of a weight's gradient that are formed at once, where 2 have not more."""


def tile_side(x, weight, size, geometry, groups) -> int:
    """Outputs along a tile's side, where x * weight -> size is quicker by tiles; else 0.

    x (B, C, H, W), weight (O, C/G, KH, KW), size (OH, OW): shapes.
    """
    plain = groups == 1 and geometry[:2] == (1, 1) and geometry[4:] == (1, 1)
    if not plain or weight[2:] not in ((3, 3), (5, 5)) or min(geometry[2:4]) < 0:
        return 0
    taps = weight[2]
    outputs, channels = weight[:2]
    side = 7 - taps
    tiles = x[0] * -(-size[0] // side) * -(-size[1] // side)
    direct = x[0] * size[0] * size[1] * outputs * channels * taps * taps
    products = 36 * channels * -(-outputs // 32) * 32
    vectors = -(-channels // 16) + -(-outputs // 16)
    ours = tiles * (products + VECTOR * vectors) + FILTER * outputs * channels
    return side if ours < 0.8 * direct else 0


def convolve(x: Array, weight: Array, bias: Array | None, side: int, padding, out: Array) -> None:
    """out (B, O, OH, OW): x (B, C, H, W) with weight (O, C, r, r), any view, by tiles of `side`."""
    outputs, channels = weight.shape[:2]
    panels, _, width = kernels.panels_shape(0, outputs, x.dtype)
    packed = scratch((panels, 36, channels, width), x.dtype, "filters")
    kernels.winograd_filters(weight, filter_matrix(side, x.dtype), packed)
    start = np.zeros(outputs, x.dtype) if bias is None else np.ascontiguousarray(bias)
    kernels.winograd_convolve(x, packed, start, _blocks(out.shape, side), padding, side, out)


def gradient(x: Array, g: Array, side: int, padding, out: Array) -> None:
    """out (O, C, r, r): the gradient in the weight; x (B, C, H, W), g (B, O, OH, OW)."""
    outputs, channels = out.shape[:2]
    ids = _blocks(g.shape, side)
    panels, _, width = kernels.panels_shape(0, outputs, x.dtype)
    size, runs = panels * 36 * channels * width, 2
    while runs < 8 and 2 * runs * size <= SUMS:
        runs *= 2
    parts = scratch((min(runs, len(ids)), panels, 36, channels, width), x.dtype, "parts")
    kernels.winograd_weight(x, g, ids, padding, side, parts)
    kernels.winograd_taps(parts, filter_matrix(side, x.dtype), out)


def _blocks(shape, side: int) -> Array:
    return blocks_of(shape[0], -(-shape[2] // side), -(-shape[3] // side), TILES)


@lru_cache(maxsize=8)
def filter_matrix(side: int, dtype) -> Array:
    """(36, r * r): what a filter's taps have for a value at each point."""
    taps = kernels.winograd_matrix(side)
    made = np.kron(taps, taps).astype(dtype)
    made.flags.writeable = False
    return made
