"""Convolutions by Winograd's minimal filtering, where it is quicker: for `_conv`.

A quarter of the multiplications of a 3 x 3 convolution, 36 % of a 5 x 5 one's, 39 % of one of 4 x 4
with step 2; see `kernels/winograd.py`. Measured against the direct product on two cores (Zen 4):
32 -> 64 channels at 14 x 14 .95 ms instead of 2.7, 128 -> 128 at 28 x 28 5.0 instead of 18, 40 ->
82 by 5 x 5 at 10 x 10 3.6 instead of 8.0; with step 2, 32 -> 64 by 4 x 4 at 14 x 14 .66 instead of
1.36, its transpose .66 instead of 1.85; the gradient in the weight likewise. float32 errors are 2
to 5 times the direct product's. An infinity or NaN in x reaches the outputs of its tile, up to 4
beside those that see it.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minidl import kernels
from minidl.ops._blocks import blocks_of, scratch
from minidl.typing import Array

BLOCK = 250_000
"""Elements of a block's squares and sums: about what the second cache holds."""

VECTOR = 90
"""What an element of a square of 64 bytes of channels takes to transform, in multiplications."""

FILTER = 170
"""The same of a filter, for each of its taps."""

LAID_OUT = 12
"""Outputs in whose time the direct product lays out a window's number."""

PANEL = 1.2
"""What a number and a panel of outputs take in a weight's gradient, in those for each output."""

TURN = 90
"""What it takes to turn a weight round, in multiplications; the tiles' filters are taken as is."""

SPREAD, PUT = 1.2, 100
"""What a multiplication, and an output, of the direct transposed convolution with steps take."""

DIRECT = 1.0
"""What a multiplication of the direct products takes beside one of these."""

SUMS = 1 << 19
"""Elements of all sums of a weight's gradient that are formed at once, where 2 have not more."""


class Plan(NamedTuple):
    """How a convolution is cut into tiles."""

    sizes: tuple[int, int]  # n points and m outputs of a tile's axis
    rows: int  # of tiles
    across: int
    steps: tuple[int, int]  # of the windows, of the outputs
    begin: tuple[int, int]  # where the first tile's window begins
    corner: tuple[int, int]  # where out begins in what the tiles give
    block: int  # tiles of a block


def plan(x, weight, size, geometry, groups, of: str = "out") -> Plan | None:
    """Tiles for x (B, C, H, W) * weight (O, C/G, KH, KW) -> size (OH, OW), if they are quicker.

    of: "out"; "turned", where weight has to be turned round; "weight", for the gradient in it.
    """
    step = _step(weight, geometry, groups)
    if not step:
        return None
    begin = -geometry[2], -geometry[3]
    numbers = x[0] * size[0] * size[1] * weight[1] * weight[2] ** 2
    if of == "weight":
        direct = numbers * PANEL * 32 * -(-weight[0] // 32)
    else:
        direct = numbers * (weight[0] + LAID_OUT)
    if of == "turned":
        direct += TURN * weight[0] * weight[1] * weight[2] ** 2
    return _best(x[0], weight[:2], size, weight[2], (step, 1), begin, (0, 0), direct)


def plan_spread(g, weight, size, geometry, groups) -> Plan | None:
    """The same of the transpose with step 2: g (B, O, OH, OW), weight (O, C/G, KH, KW) -> size."""
    step = _step(weight, geometry, groups)
    if step != 2:
        return None
    taps = -(-weight[2] // step)
    padding = geometry[2:4]
    # positions of a remainder: the first one that any of size has, to the last
    begin = tuple(p // step for p in padding)
    count = tuple((n - 1 + p) // step - b + 1 for n, p, b in zip(size, padding, begin))
    corner = (padding[0] % step, padding[1] % step)
    start = (begin[0] - taps + 1, begin[1] - taps + 1)
    direct = SPREAD * weight[0] * weight[2] ** 2 / step**2 + PUT
    direct *= g[0] * size[0] * size[1] * weight[1]
    return _best(g[0], weight[1::-1], count, weight[2], (1, step), start, corner, direct)


def _step(weight, geometry, groups) -> int:
    """1 or 2 if all else is as the kernels want it, else 0."""
    square = weight[2] == weight[3] and geometry[0] == geometry[1] and geometry[4:] == (1, 1)
    if groups != 1 or not square or min(geometry[2:4]) < 0 or geometry[0] > 2:
        return 0
    return geometry[0]


def _best(images, channels, size, kernel, steps, begin, corner, direct) -> Plan | None:
    """The best plan for `size` positions; channels (O, C); direct: what else it takes."""
    outputs, inputs = channels
    best, least = None, DIRECT * direct
    taps = -(-kernel // (steps[0] * steps[1]))
    depth, columns = steps[0] ** 2 * inputs, -(-steps[1] ** 2 * outputs // 32) * 32
    vectors = steps[0] ** 2 * -(-inputs // 16) + steps[1] ** 2 * -(-outputs // 16)
    for side, m in kernels.WINOGRAD_SIZES:
        if side + 1 - m != taps:
            continue
        rows, across = -(-size[0] // m), -(-size[1] // m)
        work = images * rows * across * side**2 * (depth * columns + VECTOR * vectors)
        work += FILTER * outputs * inputs * kernel**2
        if work < least:
            block = max(8, min(64, BLOCK // (side**2 * (depth + columns))))
            best = Plan((side, m), rows, across, steps, begin, corner, block)
            least = work
    return best


def convolve(x: Array, weight: Array, bias: Array | None, how: Plan, out: Array) -> None:
    """out (B, O, OH, OW) of x (B, C, H, W) and weight (O, C, KH, KW), which may be any view.

    Of a transposed convolution weight is turned, and has its channels where it wants them.
    """
    outputs, channels = weight.shape[:2]
    first, second = how.steps
    side = how.sizes[0]
    panels, _, width = kernels.panels_shape(0, second**2 * outputs, x.dtype)
    packed = scratch((panels, side**2, first**2 * channels, width), x.dtype, "filters")
    kernels.winograd_filters(weight, filter_matrix(*how.sizes, x.dtype), how.steps, packed)
    start = np.zeros(outputs + 64 // x.itemsize, x.dtype)
    if bias is not None:
        start[:outputs] = bias
    blocks = _blocks(len(x), how)
    kernels.winograd_convolve(
        x, packed, start, blocks, how.begin, how.steps, how.sizes, how.across, how.corner, out
    )


def gradient(x: Array, g: Array, how: Plan, out: Array) -> None:
    """out (O, C, KH, KW): the gradient in the weight; x (B, C, H, W), g (B, O, OH, OW)."""
    outputs, channels = out.shape[:2]
    step, side = how.steps[0], how.sizes[0]
    blocks = _blocks(len(x), how)
    panels, _, width = kernels.panels_shape(0, outputs, x.dtype)
    size, runs = panels * side**2 * step**2 * channels * width, 2
    while runs < 8 and 2 * runs * size <= SUMS:
        runs *= 2
    shape = (min(runs, len(blocks)), panels, side**2, step**2 * channels, width)
    parts = scratch(shape, x.dtype, "parts")
    kernels.winograd_weight(x, g, blocks, how.begin, step, how.sizes, parts)
    kernels.winograd_taps(parts, filter_matrix(*how.sizes, x.dtype), step, out)


def _blocks(images: int, how: Plan) -> Array:
    return blocks_of(images, how.rows, how.across, how.block, 2)


@lru_cache(maxsize=16)
def filter_matrix(side: int, outputs: int, dtype) -> Array:
    """(n^2, r^2): what a filter's taps have for a value at each point."""
    taps = kernels.winograd_matrices(side, outputs)[1]
    made = np.kron(taps, taps).astype(dtype)
    made.flags.writeable = False
    return made
