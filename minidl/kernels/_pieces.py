"""How a parallel kernel cuts its work: into pieces that depend on the shape alone."""

import numpy as np

from minidl.kernels._jit import helper

QUIET = np.errstate(all="ignore")
"""For references: as in a compiled loop, log(0) or inf - inf gives its value without a warning."""


@helper
def count_pieces(n, size):
    """Pieces of `size` that cover 0 … n-1; the last may be shorter."""
    return (n + size - 1) // size


@helper
def piece_bounds(p, size, n):
    """(start, stop) of piece p."""
    return p * size, min(p * size + size, n)


@helper
def rows_a_piece(width, elements):
    """Rows of `width` elements that make up about `elements`; at least one."""
    return max(1, elements // max(1, width))
