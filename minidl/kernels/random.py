"""Dropout whose mask is never stored: element i's random number is computed from (key, i).

The numbers are those of SplitMix64 (Steele, Lea & Flood 2014, Fast splittable pseudorandom number
generators) seeded with the key, and do not depend on threads, machine or order of evaluation, so
the backward pass recomputes the same mask.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds

_PIECE = 8_192  # elements

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: the counter's step
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S40 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(40)


def _mix_ref(key, n):
    """The first n numbers of SplitMix64 from `key`, as uint64."""
    z = key + np.arange(1, n + 1, dtype=np.uint64) * _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


def dropout_ref(x, key, p, y):
    keep = (_mix_ref(key[0], x.size) >> _S40) >= np.uint64(round(p * 2**24))
    y[:] = x * np.where(keep, 0.0 if p == 1 else 1.0 / (1.0 - p), 0.0).astype(x.dtype)


@helper
def _mix(key, i):
    z = key + np.uint64(i + 1) * _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@piece
def _dropout(x, key, first, bar, scale, y):
    zero = x.dtype.type(0.0)
    for i in range(x.size):
        y[i] = x[i] * (scale if (_mix(key, first + i) >> _S40) >= bar else zero)


@kernel(reference=dropout_ref, parallel=True, serial_below=30_000)
def dropout(x, key, p, y):
    """x, y (N,); key (1,) uint64; p in [0, 1].  y = x / (1 - p) with probability 1 - p, else 0.

    The backward pass is the same call on dy. p is rounded to a multiple of 2^-24. NaN and inf times
    0 give NaN, as in PyTorch.
    """
    bar = np.uint64(round(p * 16777216.0))
    scale = x.dtype.type(0.0 if p == 1.0 else 1.0 / (1.0 - p))
    for q in prange(count_pieces(x.size, _PIECE)):
        s, e = piece_bounds(q, _PIECE, x.size)
        _dropout(x[s:e], key[0], s, bar, scale, y[s:e])
