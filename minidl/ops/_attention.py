"""How attention cuts its work: into chunks of heads, and these into blocks of the logits.

Arrays are brought to four axes (N, G, T, D): G are the heads that may share one key head (grouped
queries), or just the last leading axis; N are all others. A chunk is a range of N and of G. Blocks
are small enough to stay in a core's cache, and each product in them small enough that BLAS keeps to
one thread: with blocks for all cores BLAS and the kernels waited for each other longer than one
core takes alone (T = 4,096, 4 heads, d 32), and Python threads over chunks gained nothing either.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from minidl.kernels.attention import STEP
from minidl.ops._op import empty

_ONE_THREAD = 262_144  # OpenBLAS starts threads where rows * columns * depth exceed this
_WIDTH = 128  # columns of a block at most
_ELEMENTS = 65_536  # logits of all heads of a block at most: 256 KB in float32


class Chunk(NamedTuple):
    n: slice
    g: slice


class Plan:
    """The cut for given shapes."""

    def __init__(self, q, k, v, mask, causal):
        shapes = [q.shape[:-2], k.shape[:-2], v.shape[:-2]]
        if mask is not None:
            shapes.append(mask.shape[:-2])
        self.lead = np.broadcast_shapes(*shapes)
        self.N = math.prod(self.lead[:-1])
        self.G = self.lead[-1] if self.lead else 1
        self.L, self.S, self.E, self.V = q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1]
        self.dtype, self.causal = q.dtype, causal
        depth = max(self.E, self.V, 1)
        self.width = min(self.S, _WIDTH, max(16, _ONE_THREAD // (16 * depth)))
        rows = _ONE_THREAD // (max(1, self.width) * depth)
        self.height = min(self.L, max(16, rows // 16 * 16))
        heads = max(1, _ELEMENTS // max(1, self.height * self.width))
        self.g = max(1, min(self.G, heads))
        self.n = max(1, min(self.N, heads // self.g))
        self.empty = not (self.N and self.G and self.L and self.S)

    def chunks(self) -> list[Chunk]:
        return [
            Chunk(slice(n, min(n + self.n, self.N)), slice(g, min(g + self.g, self.G)))
            for n in range(0, self.N, self.n)
            for g in range(0, self.G, self.g)
        ]

    def four(self, x: Any) -> Any:
        """x (..., T, D) as (N, G or 1, T, D), without a copy where its strides allow."""
        lead = (1,) * (len(self.lead) - (x.ndim - 2)) + x.shape[:-2]
        if lead == self.lead or (lead and (*lead[:-1], self.G) == self.lead):
            return x.reshape(self.N, lead[-1] if lead else 1, *x.shape[-2:])
        full = np.broadcast_to(x, (*self.lead, *x.shape[-2:]))
        return full.reshape(self.N, self.G, *x.shape[-2:])

    def like(self, x: Any) -> Any:
        """An uninitialised array of four axes, laid out in memory as x is.

        Heads that came from one projection (B, T, H D) go back into one without a copy.
        """
        n, g, t, d = x.shape
        if g > 1 and x.strides[1] < x.strides[2]:
            return empty((n, t, g, d), self.dtype).swapaxes(1, 2)
        return empty(x.shape, self.dtype)

    def row_blocks(self):
        return [(i, min(i + self.height, self.L)) for i in range(0, self.L, self.height)]

    def column_blocks(self, rows: tuple[int, int]):
        """The blocks of keys that some row of these sees."""
        end = min(self.S, rows[1]) if self.causal else self.S
        return [(i, min(i + self.width, end)) for i in range(0, end, self.width)]

    def diagonal(self, rows: tuple[int, int], columns: tuple[int, int]) -> int:
        """What `kernels.attention_softmax` calls so."""
        return rows[0] - columns[0] if self.causal else self.S

    def row_numbers(self, chunk: Chunk, rows: tuple[int, int]) -> Any:
        """The place of each row of a block among all N G L rows, for dropout."""
        n = np.arange(chunk.n.start, chunk.n.stop)[:, None, None]
        g = np.arange(chunk.g.start, chunk.g.stop)[:, None]
        return (((n * self.G + g) * self.L) + np.arange(*rows)).reshape(-1)

    def space(self, blocks: int) -> "Space":
        """Memory for the blocks of one pass, so many of them logits."""
        heads, depth = self.n * self.g, max(self.E, self.V)
        height, width = self.height, _padded(self.width)
        return Space(
            [empty(heads * height * width, self.dtype) for _ in range(blocks)],
            [empty(heads * max(height, self.width) * depth, self.dtype) for _ in range(3)],
        )


def _padded(width: int) -> int:
    return -(-width // STEP) * STEP


class Space:
    """Memory that is used again for each block; views of it are contiguous."""

    def __init__(self, blocks: list[Any], vectors: list[Any]):
        self._blocks, self._vectors = blocks, vectors

    def block(self, i: int, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """A block of logits (n, g, l, s), and all rows of its memory as the kernels want them."""
        wide = (*shape[:-1], _padded(shape[-1]))
        memory = self._blocks[i][: math.prod(wide)]
        return memory.reshape(wide)[..., : shape[-1]], memory.reshape(-1, wide[-1])

    def vectors(self, i: int, shape: tuple[int, ...]) -> Any:
        return self._vectors[i][: math.prod(shape)].reshape(shape)

    def transposed(self, x: Any) -> Any:
        """x^T in memory of its own, with which BLAS is quicker by more than the copy costs."""
        out = self.vectors(2, (*x.shape[:-2], x.shape[-1], x.shape[-2]))
        np.copyto(out, x.swapaxes(-1, -2))
        return out


def part(x: Any, chunk: Chunk, rows: tuple[int, int]) -> Any:
    """Rows of x (N, G or 1, T, D) that belong to a chunk."""
    g = chunk.g if x.shape[1] > 1 else slice(0, 1)
    return x[chunk.n, g, rows[0] : rows[1]]


class Mask:
    """A mask (..., L, S) that broadcasts, cut into blocks without being broadcast first."""

    def __init__(self, mask: Any, plan: Plan):
        lead = (1,) * (len(plan.lead) + 2 - mask.ndim) + mask.shape
        outer, inner = lead[: max(0, len(plan.lead) - 1)], lead[-3:]
        inner = (1,) * (3 - len(inner)) + inner
        count = math.prod(outer)
        self.array = mask.reshape(count, *inner)  # (M, G or 1, L or 1, S or 1)
        which = np.arange(count).reshape(outer or (1,))
        self.which = np.broadcast_to(which, plan.lead[:-1] or (1,)).reshape(-1)  # (N,) below M
        self.shape = mask.shape

    def _places(self, chunk: Chunk, rows: tuple[int, int], columns: tuple[int, int]) -> Any:
        ranges = (chunk.g, slice(*rows), slice(*columns))
        inner = [r if n > 1 else slice(0, 1) for r, n in zip(ranges, self.array.shape[1:])]
        outer = slice(0, 1) if len(self.array) == 1 else self.which[chunk.n]
        return outer, *inner

    def add_to(
        self, s: Any, chunk: Chunk, rows: tuple[int, int], columns: tuple[int, int]
    ) -> None:
        """Add the mask's block to the logits; False of a boolean mask is -inf."""
        block = self.array[self._places(chunk, rows, columns)]
        if block.dtype == bool:
            block = np.where(block, s.dtype.type(0), s.dtype.type(-np.inf))
        s += block

    def add_gradient(
        self, out: Any, ds: Any, chunk: Chunk, rows: tuple[int, int], columns: tuple[int, int]
    ) -> None:
        """Add a block of logits' gradients to `out`, of this mask's shape with four axes."""
        outer, *inner = self._places(chunk, rows, columns)
        axes = tuple(i for i in (1, 2, 3) if out.shape[i] == 1)
        ds = ds.sum(axis=axes, keepdims=True) if axes else ds
        if isinstance(outer, slice):
            out[0][tuple(inner)] += ds.sum(axis=0)
            return
        for m, row in zip(outer, ds):
            out[m][tuple(inner)] += row
