"""Positions as layers: added to the input, turned into queries and keys, or biases of attention."""

from typing import Any

from minidl._tensor import Tensor, recorders
from minidl.functional import layers, positions
from minidl.nn import init
from minidl.nn.linear import check_sizes, new_parameter
from minidl.nn.module import Module

__all__ = [
    "ALiBi", "LearnedPositions", "RelativePositionBias", "RotaryPositions", "SinusoidalPositions",
]  # fmt: skip


def _check_width(layer: str, x: Tensor, width: int) -> None:
    if x.ndim < 2 or x.shape[-1] != width:
        raise ValueError(f"{layer}: x must be (..., T, {width}), got {x.shape}")


class SinusoidalPositions(Module):
    """x (..., T, D) + sines and cosines of the positions (Vaswani et al. 2017, 3.5).

    Nothing is learned, so any length will do. offset: the position of x's first token.
    """

    def __init__(self, embed_dim: int, base: float = 10_000.0):
        super().__init__()
        check_sizes("SinusoidalPositions", embed_dim=embed_dim)
        self.embed_dim, self.base = embed_dim, base
        self._table: Tensor | None = None  # not a buffer: it is made again from the length

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        _check_width("SinusoidalPositions", x, self.embed_dim)
        stop = offset + x.shape[-2]
        table = self._table
        if recorders or table is None or len(table) < stop or table.dtype != x.dtype:
            table = positions.sinusoidal_positions(stop, self.embed_dim, self.base, dtype=x.dtype)
            self._table = table
        return x + table[offset:stop]

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, base={self.base}"


class LearnedPositions(Module):
    """x (..., T, D) + weight[0 … T-1] (Gehring et al. 2017, arXiv:1705.03122).

    weight (max_length, embed_dim), first normal with deviation 0.02. offset: the position of x's
    first token.
    """

    def __init__(self, max_length: int, embed_dim: int, device: Any = None, dtype: Any = None):
        super().__init__()
        check_sizes("LearnedPositions", max_length=max_length, embed_dim=embed_dim)
        self.max_length, self.embed_dim = max_length, embed_dim
        self.weight = new_parameter((max_length, embed_dim), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        _check_width("LearnedPositions", x, self.embed_dim)
        stop = offset + x.shape[-2]
        if offset < 0 or stop > self.max_length:
            raise ValueError(
                f"LearnedPositions: positions {offset} to {stop - 1} are outside "
                f"max_length {self.max_length}"
            )
        return x + self.weight[offset:stop]

    def extra_repr(self) -> str:
        return f"{self.max_length}, {self.embed_dim}"


class RotaryPositions(Module):
    """Turns pairs of features of queries and keys by their positions: see F.apply_rotary.

    x (..., T, D) -> the same; the first `dim` features are turned. interleaved: neighbours are
    pairs (Su et al. 2021), else i and i + dim / 2 (GPT-NeoX, Llama). offset: the position of x's
    first token.
    """

    def __init__(self, dim: int, base: float = 10_000.0, interleaved: bool = False):
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 2 or dim % 2:
            raise ValueError(f"RotaryPositions: dim must be even and above 0, got {dim}")
        self.dim, self.base, self.interleaved = dim, base, interleaved
        self._tables: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        if x.ndim < 2 or x.shape[-1] < self.dim:
            raise ValueError(
                f"RotaryPositions: x must be (..., T, {self.dim} or more), got {x.shape}"
            )
        stop = offset + x.shape[-2]
        tables = self._tables
        if recorders or tables is None or len(tables[0]) < stop or tables[0].dtype != x.dtype:
            tables = positions.rotary_tables(stop, self.dim, self.base, x.dtype)
            self._tables = tables
        cos, sin = tables
        return positions.apply_rotary(x, cos[offset:stop], sin[offset:stop], self.interleaved)

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base}, interleaved={self.interleaved}"


class ALiBi(Module):
    """Attention with linear biases (Press et al. 2021): (L, S) -> bias (H, L, S).

    The bias is a float attn_mask of F.scaled_dot_product_attention, to be used with is_causal.
    offset: the position of the first query.
    """

    def __init__(self, num_heads: int, dtype: Any = None):
        super().__init__()
        check_sizes("ALiBi", num_heads=num_heads)
        self.num_heads, self.dtype = num_heads, dtype

    def forward(self, queries: int, keys: int | None = None, offset: int = 0) -> Tensor:
        keys = queries if keys is None else keys
        return positions.alibi_bias(self.num_heads, queries, keys, offset, self.dtype)

    def extra_repr(self) -> str:
        return f"{self.num_heads}"


class RelativePositionBias(Module):
    """A learned bias for each head and bucket of distances (T5: Raffel et al. 2020, 2.1).

    (L, S) -> bias (H, L, S), a float attn_mask of F.scaled_dot_product_attention. weight
    (num_buckets, num_heads), first standard normal; buckets as F.relative_position_buckets says.
    """

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        check_sizes("RelativePositionBias", num_heads=num_heads, num_buckets=num_buckets)
        self.num_heads, self.num_buckets = num_heads, num_buckets
        self.max_distance, self.bidirectional = max_distance, bidirectional
        positions.relative_position_buckets(1, 1, num_buckets, max_distance, bidirectional)
        self.weight = new_parameter((num_buckets, num_heads), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)

    def forward(self, queries: int, keys: int | None = None, offset: int = 0) -> Tensor:
        keys = queries if keys is None else keys
        buckets = positions.relative_position_buckets(
            queries, keys, self.num_buckets, self.max_distance, self.bidirectional, offset
        )
        return layers.embedding(Tensor(buckets), self.weight).permute(2, 0, 1)

    def extra_repr(self) -> str:
        return (
            f"num_heads={self.num_heads}, num_buckets={self.num_buckets}, "
            f"max_distance={self.max_distance}, bidirectional={self.bidirectional}"
        )
