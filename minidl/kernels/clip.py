"""The norm of many arrays as one vector, and all of them scaled to a largest norm, in one call."""

import numpy as np

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import QUIET
from minidl.kernels._windows import window
from minidl.kernels.update import SERIAL_BELOW, windows_ref


@QUIET
def clip_norm_ref(places, pieces, shares, max_norm, scale_nonfinite, norm, base):
    squares = [np.square(windows_ref(places, cut, base)[0], dtype=np.float64) for cut in pieces]
    norm[0] = np.sqrt(sum(part.sum() for part in squares))
    factor = max_norm / (norm[0] + 1e-6)
    if (scale_nonfinite or np.isfinite(norm[0])) and not factor >= 1.0:
        for cut in pieces:
            (grad,) = windows_ref(places, cut, base)
            grad *= base.dtype.type(factor)


# reassoc: eight or more sums side by side
@piece(fastmath=("contract", "reassoc"))
def _squares(x):
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])  # in float32 1e20 squared would be inf
    return total


@piece
def _scale(x, factor):
    for i in range(x.size):
        x[i] *= factor


@kernel(reference=clip_norm_ref, parallel=True, serial_below=SERIAL_BELOW, size_of="shares")
def clip_norm(places, pieces, shares, max_norm, scale_nonfinite, norm, base):
    """places (1, P), pieces, shares, base: gradients, as in `update`.  norm (1,) float64, filled.

        grad *= max_norm / (norm + 1e-6)  where that is below 1, or NaN

    A norm of inf or NaN changes nothing unless `scale_nonfinite`.
    """
    part = np.empty(shares.size - 1, np.float64)
    for share in prange(shares.size - 1):
        total = 0.0
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            total += _squares(window(base, places[0, k] + s, places[0, k] + e))
        part[share] = total
    total = 0.0
    for share in range(part.size):
        total += part[share]
    norm[0] = np.sqrt(total)
    factor = max_norm / (norm[0] + 1e-6)
    if factor >= 1.0 or not (scale_nonfinite or np.isfinite(norm[0])):
        return
    small = base.dtype.type(factor)
    for share in prange(shares.size - 1):
        for q in range(shares[share], shares[share + 1]):
            k, s, e = pieces[q, 0], pieces[q, 1], pieces[q, 2]
            _scale(window(base, places[0, k] + s, places[0, k] + e), small)
