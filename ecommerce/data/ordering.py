"""Orders of events: by user and time, with a stated rule for events of the same moment.

Shops log days or minutes, so a user's events often share a time. The order of such ties decides
which item a leave-last-out split asks for; taken from the raw file it often follows the product
code and inflates the scores of sequence models (ecommerce.md 2.0, trap 6). So ties are either
kept as in the file, or put in a random order that depends on the ids and a seed alone, not on
where the rows stood in the file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer]

# Constants of the finaliser of SplitMix64 (Steele, Lea & Flood 2014), which turns a counter into
# 64 well mixed bits.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_FNV_PRIME = np.uint64(0x100000001B3)
_FNV_START = np.uint64(0xCBF29CE484222325)


def mix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 mixed bits for each x, any shape (the finaliser of SplitMix64)."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    return x ^ (x >> np.uint64(31))


def hash_ids(ids: NDArray[np.str_]) -> NDArray[np.uint64]:
    """A 64-bit number for each id, (V,): FNV-1a over its characters, so of the text alone."""
    h = np.full(len(ids), _FNV_START, np.uint64)
    if ids.dtype.itemsize == 0 or not len(ids):
        return h
    letters = np.ascontiguousarray(ids).view(np.uint32).reshape(len(ids), -1)  # (V, longest)
    for column in letters.T:
        # A 0 is NumPy's padding: skipping it keeps the hash free of the longest id's length.
        h = np.where(column != 0, (h ^ column.astype(np.uint64)) * _FNV_PRIME, h)
    return mix64(h)


def group_order(groups: IntArray, times: IntArray | None = None) -> NDArray[np.int64]:
    """The rows sorted by group, then time, then place in the file, (N,) -> (N,).

    groups are codes 0 ... V - 1; times None leaves the file's order within a group.
    """
    n = len(groups)
    rows = np.arange(n, dtype=np.int64)
    if times is not None and n > 1 and bool(np.any(times[1:] < times[:-1])):
        rows = np.argsort(times, kind="stable").astype(np.int64, copy=False)
    # One sort of (group, place) packed into 64 bits: NumPy sorts plain integers several times
    # faster than it argsorts them, and packed keys are distinct, so the sort need not be stable.
    packed = (groups[rows].astype(np.int64) << 32) | np.arange(n, dtype=np.int64)
    packed.sort()
    return rows[packed & 0xFFFFFFFF]


def shuffle_keys(
    users: IntArray,
    items: IntArray,
    times: IntArray | None,
    user_hash: NDArray[np.uint64],
    item_hash: NDArray[np.uint64],
    seed: int,
) -> NDArray[np.uint64]:
    """A random number for each event, (N,), of the seed, the two ids and the time alone."""
    key = user_hash[users] ^ mix64(item_hash[items] + np.uint64(seed % 2**63))
    if times is not None:
        key = mix64(key + times.astype(np.uint64))
    return mix64(key)


def tied(users: IntArray, times: IntArray | None, order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where the event at this place of the order shares user and time with a neighbour."""
    ties = np.zeros(len(order), bool)
    if times is None or len(order) < 2:
        return ties
    same = (users[order[1:]] == users[order[:-1]]) & (times[order[1:]] == times[order[:-1]])
    ties[1:] = same
    ties[:-1] |= same
    return ties


def shuffled_order(
    users: IntArray,
    times: IntArray | None,
    order: NDArray[np.int64],
    keys: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """``order`` (from group_order) with each run of ties sorted by its keys instead."""
    ties = tied(users, times, order)
    if times is None or not ties.any():
        return order
    result = order.copy()
    places = np.flatnonzero(ties)
    rows = order[places]
    result[places] = rows[np.lexsort((keys[rows], times[rows], users[rows]))]
    return result
