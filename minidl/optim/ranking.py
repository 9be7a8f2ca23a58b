"""BPR-SGD: matrix factorisation for ranking, whole epochs of single steps in compiled code."""

import math

import numpy as np

from minidl import kernels
from minidl._tensor import Tensor
from minidl.optim.optimizer import check_range
from minidl.random import default_generator, new_key
from minidl.typing import IntArray

_CACHE = 512 << 10  # bytes of rows in a block: half of a core's second-level cache
_FEWEST = 8  # parts, where there is enough to cut: work for as many cores
_ITEMS, _PAIRS = 64, 256  # at least so many items, and users, in a part, and pairs in a block


class BPRSGD:
    """Bayesian personalised ranking by plain SGD, a step for every triple (Rendle et al. 2009).

        steps = optim.BPRSGD(users.weight, items.weight, bias, indptr, taken, lr=0.02, reg=0.01)
        for _ in range(100):
            loss = steps.epoch()

    An epoch takes every pair (u, i) of the CSR matrix once, in random order. For each it draws an
    item j that u has not taken, and does one step of SGD of

        -log sigmoid(x) + reg/2 (|p_u|² + |q_i|² + |q_j|²),   x = p_u · (q_i - q_j) + b_i - b_j

    with p, q, b the rows of the three tables. The same in public operations, step by step:

        x = (p[u] * (q[i] - q[j])).sum() + b[i] - b[j]
        (F.softplus(-x) + reg/2 * ((p[u]**2).sum() + (q[i]**2).sum() + (q[j]**2).sum())).backward()
        optim.SGD([p, q, b], lr).step()

    So that cores can share the work, j comes from a random part of the items that i is in; the
    parts are others in each epoch, so over epochs every item is drawn as often. How many there are
    depends on the sizes alone, and equal generators give equal bits on any number of threads. A
    pair whose user has taken all of the part is left out for this epoch.

    user_table (U, D), item_table (V, D), bias (V,) or (V, 1): leaf Tensors of one float dtype,
    changed in place. indptr (U+1,), taken (N,): what each user took, ascending, each item once.
    lr and reg may be changed between epochs.

    Source: Rendle, Freudenthaler, Gantner & Schmidt-Thieme 2009 (UAI; arXiv:1205.2618), figure 4;
    the parts: see minidl/kernels/ranking.py.
    """

    def __init__(
        self,
        user_table: Tensor,
        item_table: Tensor,
        bias: Tensor,
        indptr: IntArray,
        taken: IntArray,
        lr: float = 0.02,
        reg: float = 0.01,
        generator: np.random.Generator | None = None,
    ):
        check_range("BPRSGD", "lr", lr, 0.0, None)
        check_range("BPRSGD", "reg", reg, 0.0, None)
        self.user_table, self.item_table, self.bias = user_table, item_table, bias
        self._check_tables()
        self.indptr = np.ascontiguousarray(indptr, np.int64)
        self.taken = np.ascontiguousarray(taken, np.int64)
        self._check_pairs()
        self.lr, self.reg = lr, reg
        self.generator = default_generator if generator is None else generator
        users, items, pairs = len(user_table), len(item_table), len(self.taken)
        rows = (users + items) * user_table.shape[1] * user_table.dtype.itemsize
        self.parts = count_parts(users, items, pairs, rows)
        self._pairs = [np.empty(pairs, np.int32) for _ in range(3)]  # users, liked, drawn
        self._starts = np.empty(self.parts**2 + 1, np.int64)
        self._margins, self._losses = np.empty((2, pairs), user_table.dtype)

    def epoch(self) -> float:
        """Every pair once; returns the mean of -log sigmoid(x), each x from before its step."""
        self.draw()
        for table in (self.user_table, self.item_table, self.bias):
            table.version[0] += 1
        kernels.bpr_sgd(
            *self._pairs, self._starts, self.parts, self.lr, self.reg, self.user_table.array,
            self.item_table.array, self.bias.array.reshape(-1), self._margins,
        )
        np.negative(self._margins, out=self._margins)
        kernels.softplus_forward(self._margins, self._losses)
        steps = np.count_nonzero(self._pairs[2] >= 0)
        return float(self._losses.sum(dtype=np.float64) / steps) if steps else 0.0

    def draw(self) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """New triples: users, liked, drawn (N,), drawn -1 for none, and where blocks start.

        Block p parts + q holds part p of the users with part q of the items; the steps go through
        blocks (0, 0), (1, 1) … (0, 1), (1, 2) … Arrays are used again at the next call.
        """
        rng, parts = self.generator, self.parts
        user_order = rng.permutation(len(self.user_table))
        item_order = rng.permutation(len(self.item_table))
        item_part = np.empty(len(item_order), np.int64)
        item_part[item_order] = np.arange(len(item_order)) // -(-len(item_order) // parts)
        users, liked, drawn = self._pairs
        matrix = self.indptr, self.taken
        kernels.pair_blocks(
            *matrix, user_order, item_part, parts, new_key(rng), self._starts, users, liked
        )
        kernels.draw_in_blocks(
            *matrix, item_order, parts, new_key(rng), self._starts, users, liked, drawn
        )
        return users, liked, drawn, self._starts

    def _check_tables(self) -> None:
        tables = self.user_table, self.item_table, self.bias
        for table in tables:
            if not isinstance(table, Tensor) or table.node is not None:
                raise TypeError("BPRSGD: the tables and the bias must be leaf Tensors")
            if table.dtype not in (np.float32, np.float64) or table.dtype != tables[0].dtype:
                raise TypeError(
                    "BPRSGD: tables and bias must be all float32 or all float64, got "
                    f"{', '.join(str(t.dtype) for t in tables)}"
                )
            if not table.array.flags.c_contiguous:
                raise ValueError("BPRSGD: a table is not contiguous; give table.contiguous()")
        shapes = [table.shape for table in tables]
        if not (len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][1] == shapes[1][1]
                and shapes[2] in ((shapes[1][0],), (shapes[1][0], 1))):
            raise ValueError(
                "BPRSGD: user_table (U, D) and item_table (V, D) need a bias (V,), got "
                f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
            )
        if max(shapes[0][0], shapes[1][0]) >= 2**31:
            raise ValueError("BPRSGD: a table has 2^31 rows or more")

    def _check_pairs(self) -> None:
        indptr, taken, items = self.indptr, self.taken, len(self.item_table)
        if len(indptr) != len(self.user_table) + 1 or indptr[0] or indptr[-1] != len(taken):
            raise ValueError(
                f"BPRSGD: indptr must have one entry more than the {len(self.user_table)} users, "
                f"from 0 to the {len(taken)} items taken"
            )
        if (np.diff(indptr) < 0).any():
            raise ValueError("BPRSGD: indptr must not fall")
        if len(taken) and not 0 <= taken.min() <= taken.max() < items:
            raise ValueError(f"BPRSGD: taken has an item outside 0 to {items - 1}")
        rises = np.diff(taken) > 0
        rises[indptr[1:-1][(indptr[1:-1] > 0) & (indptr[1:-1] < len(taken))] - 1] = True
        if not rises.all():
            raise ValueError("BPRSGD: each user's items must be ascending, each once")


def count_parts(users: int, items: int, pairs: int, row_bytes: int) -> int:
    """How many parts users and items are cut into: by their sizes, never by the machine's cores."""
    wanted = max(_FEWEST, -(-row_bytes // _CACHE))
    most = min(users // _ITEMS, items // _ITEMS, math.isqrt(pairs // _PAIRS))
    parts = max(1, min(wanted, most))
    return parts - parts % 8 if parts >= 8 else 1 << (parts.bit_length() - 1)
