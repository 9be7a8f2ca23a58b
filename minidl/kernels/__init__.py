"""Arrays in, arrays filled: compiled loops, each with its NumPy reference above it in its file.

    from minidl import kernels
    kernels.layer_norm_forward(x, weight, bias, eps, y, mean, rstd)

Importing this package loads neither Numba nor any compiled code; the first call of a kernel does.
`kernel`, `helper`, `piece` and `prange` make kernels in other packages.
"""

from minidl.kernels._jit import ENABLED, REGISTRY, Kernel, helper, kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds, rows_a_piece
from minidl.kernels._threads import get_num_threads, set_num_threads

__all__ = [
    "ENABLED",
    "REGISTRY",
    "Kernel",
    "count_pieces",
    "get_num_threads",
    "helper",
    "kernel",
    "piece",
    "piece_bounds",
    "prange",
    "rows_a_piece",
    "set_num_threads",
]
