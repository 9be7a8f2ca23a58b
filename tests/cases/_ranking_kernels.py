"""Inputs for the kernels that train pairwise rankers."""

import numpy as np

from minidl.kernels import ranking
from minidl.testing.kernels import KernelCase
from tests.cases._kernel_samples import normal, sampler_table

CASES, case = sampler_table()

SIZES = ((1, 1, 1, 1.0), (1, 4, 1, 0.5), (7, 9, 2, 0.4), (23, 30, 4, 0.9), (40, 5, 8, 1.0))
"""Users, items, parts, share of items that a user took; the last leaves parts empty."""


def matrix(rng, users, items, share):
    """indptr and items of a CSR matrix; a user may have none."""
    full = rng.random((users, items)) < share
    indptr = np.concatenate([[0], np.cumsum(full.sum(axis=1))]).astype(np.int64)
    return indptr, np.nonzero(full)[1].astype(np.int64)


def blocks(rng, users, items, parts, share):
    """Arguments of `pair_blocks` and what its reference makes of them, with the items' order."""
    indptr, taken = matrix(rng, users, items, share)
    item_order = rng.permutation(items)
    item_part = np.empty(items, np.int64)
    item_part[item_order] = np.arange(items) // -(-items // parts)
    key = rng.integers(0, 2**64, 1, dtype=np.uint64)
    given = [indptr, taken, rng.permutation(users), item_part, parts, key]
    made = [np.empty(parts**2 + 1, np.int64), *np.empty((2, len(taken)), np.int32)]
    ranking.pair_blocks_ref(*given, *made)
    return given, made, item_order


@case("pair_blocks")
def pair_blocks(rng, dtype):
    for size in SIZES:
        given, made, _ = blocks(rng, *size)
        yield KernelCase(given, outputs=made)


@case("draw_in_blocks")
def draw_in_blocks(rng, dtype):
    for size in SIZES:
        given, (starts, users, liked), item_order = blocks(rng, *size)
        indptr, taken, _, _, parts, key = given
        given = [indptr, taken, item_order, parts, key, starts, users, liked]
        yield KernelCase(given, outputs=[np.empty(len(taken), np.int32)])


@case("bpr_sgd")
def bpr_sgd(rng, dtype):
    for size, width in zip(SIZES, (1, 3, 16, 33, 70)):
        given, (starts, users, liked), item_order = blocks(rng, *size)
        drawn = np.empty(len(users), np.int32)
        ranking.draw_in_blocks_ref(
            *given[:2], item_order, given[4], given[5], starts, users, liked, drawn
        )
        tables = [normal(rng, (n, width), dtype) for n in size[:2]]
        yield KernelCase(
            [users, liked, drawn, starts, given[4], 0.05, 0.02],
            state=[*tables, normal(rng, size[1], dtype)],
            outputs=[np.empty(len(users), dtype)],
        )
