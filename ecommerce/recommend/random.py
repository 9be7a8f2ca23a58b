"""Random: the floor that every model must clear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecommerce.data.errors import require_whole
from ecommerce.data.interactions import Interactions
from ecommerce.recommend.base import Codes, Recommender, Scores
from ecommerce.recommend.lists import Lists
from minidl.kernels import count_pieces, helper, kernel, piece, piece_bounds, prange, rows_a_piece

_PIECE = 8_192  # scores

# SplitMix64 (Steele, Lea & Flood 2014, Fast splittable pseudorandom number generators)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S40 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(40)


def _mix_ref(z):
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


def uniform_rows_ref(keys, out):
    steps = np.arange(1, out.shape[1] + 1, dtype=np.uint64) * _GOLDEN
    out[:] = (_mix_ref(keys[:, None] + steps) >> _S40) * np.float32(2**-24)


@helper
def _mix(z):
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@piece
def _uniform_rows(keys, out):
    scale = np.float32(2**-24)
    for b in range(out.shape[0]):
        for i in range(out.shape[1]):
            z = keys[b] + np.uint64(i + 1) * _GOLDEN
            out[b, i] = np.float32(np.int32(_mix(z) >> _S40)) * scale


@kernel(reference=uniform_rows_ref, parallel=True, size_of="out")
def uniform_rows(keys, out):
    """keys (B,) uint64; out (B, V) float32, uniform on [0, 1): row b is SplitMix64 from keys[b]."""
    step = rows_a_piece(out.shape[1], _PIECE)
    for p in prange(count_pieces(out.shape[0], step)):
        s, e = piece_bounds(p, step, out.shape[0])
        _uniform_rows(keys[s:e], out[s:e])


class Random(Recommender):
    """Scores drawn uniformly from [0, 1), fixed by the seed and the user (or his history).

    A user's list does not depend on who else is asked for, on threads, or on the day.
    """

    personal = False

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        require_whole("Random", 0, seed=seed)
        self.seed = seed

    def _fit(self, train: Interactions, items: Any, valid: Interactions | None) -> None:
        """Nothing to learn."""

    def score_block(self, user_codes: Codes, history: Lists | None = None) -> Scores:
        return self._draw(np.asarray(user_codes).astype(np.uint64))

    def score_history(self, history: Lists) -> Scores:
        taken = _mix_ref(history.items.astype(np.uint64) + _GOLDEN)
        keys = np.zeros(len(history.lengths), np.uint64)
        np.add.at(keys, history.rows(), taken)
        return self._draw(keys)

    def similar_block(self, item_codes: Codes) -> Scores | None:
        return self._draw(_mix_ref(np.asarray(item_codes).astype(np.uint64)))

    def reasons(self, history: Lists, ids: NDArray[np.int64]) -> NDArray[np.str_]:
        return np.full(ids.shape, "drawn at random")

    def _draw(self, keys: NDArray[np.uint64]) -> Scores:
        seed = _mix_ref(np.array([self.seed % 2**63], np.uint64) + _GOLDEN)
        scores = np.empty((len(keys), self.n_items), np.float32)
        uniform_rows(_mix_ref((keys + np.uint64(1)) * _GOLDEN ^ seed), scores)
        return scores
