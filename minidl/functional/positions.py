"""Where a token stands: sinusoidal and rotary positions, linear and bucketed attention biases."""

import math
from typing import Any

import numpy as np

from minidl._apply import record
from minidl._tensor import Tensor, recorders
from minidl.dtypes import as_dtype, get_default_dtype
from minidl.typing import Array

__all__ = [
    "alibi_bias",
    "alibi_slopes",
    "apply_rotary",
    "relative_position_buckets",
    "rotary_tables",
    "sinusoidal_positions",
]


def sinusoidal_positions(
    length: int, dim: int, base: float = 10_000.0, offset: int = 0, dtype: Any = None
) -> Tensor:
    """(length, dim): sin and cos of position / base^(2 i / dim) in turn (Vaswani et al. 2017, 3.5).

    offset: the position of the first row.
    """
    angles = _angles(np.arange(offset, offset + length), -(-dim // 2) * 2, base, dim)
    out = np.empty((length, dim))
    out[:, 0::2] = np.sin(angles)
    out[:, 1::2] = np.cos(angles[:, : dim // 2])
    table = Tensor(out.astype(_dtype(dtype)))
    if recorders:
        settings = {"length": length, "dim": dim, "base": base, "offset": offset}
        record("sinusoidal_positions", (), settings, (table,))
    return table


def _dtype(dtype: Any) -> Any:
    return get_default_dtype() if dtype is None else as_dtype(dtype)


def _angles(positions: Array, width: int, base: float, dim: int) -> Array:
    """(..., width / 2) in float64: position / base^(2 i / dim)."""
    rates = float(base) ** (-np.arange(0, width, 2) / dim)
    return np.asarray(positions, np.float64)[..., None] * rates


def rotary_tables(
    positions: Any, dim: int, base: float = 10_000.0, dtype: Any = None
) -> tuple[Tensor, Tensor]:
    """cos and sin (..., dim / 2) of position / base^(2 i / dim), for `apply_rotary`.

    positions: (...) whole numbers, or how many from 0.
    """
    if dim % 2:
        raise ValueError(f"rotary_tables: dim must be even, for pairs are turned, got {dim}")
    length = positions if isinstance(positions, (int, np.integer)) else None
    if length is not None:
        positions = np.arange(length)
    angles = _angles(getattr(positions, "array", positions), dim, base, dim)
    wanted = _dtype(dtype)
    cos, sin = Tensor(np.cos(angles).astype(wanted)), Tensor(np.sin(angles).astype(wanted))
    if recorders and length is not None:
        settings = {"length": length, "dim": dim, "base": base}
        record("rotary_tables", (), settings, (cos, sin))
    return cos, sin


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False) -> Tensor:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864, eq. 34): pairs of features turned.

        (a, b) -> (a cos - b sin, a sin + b cos)

    so that the product of a query and a key depends on the distance of their positions alone.
    interleaved: the pairs are features 2 i and 2 i + 1, as in the paper; else i and i + dim / 2,
    the half form of GPT-NeoX and Llama. x (..., T, D); cos, sin (T, dim / 2) or more axes that
    broadcast; features from dim on stay.
    """
    from minidl.functional.joining import cat, stack

    half = cos.shape[-1]
    if 2 * half > x.shape[-1] or cos.shape != sin.shape:
        raise ValueError(
            f"apply_rotary: cos and sin (T, dim / 2) with dim up to {x.shape[-1]} are needed for "
            f"x {x.shape}, got {cos.shape} and {sin.shape}"
        )
    turned, rest = x[..., : 2 * half], x[..., 2 * half :]
    if interleaved:
        pairs = turned.reshape(*turned.shape[:-1], half, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        out = stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(turned.shape)
    else:
        a, b = turned[..., :half], turned[..., half:]
        out = cat([a * cos - b * sin, a * sin + b * cos], -1)
    return cat([out, rest], -1) if rest.shape[-1] else out


def alibi_slopes(heads: int) -> Array:
    """(heads,) slopes of ALiBi: 2^(-8 i / heads), i = 1 … heads (Press et al. 2021).

    For a number of heads that is no power of 2: those of the next smaller power, and every second
    one of the next larger, as in the authors' code.
    """
    if heads < 1:
        raise ValueError(f"alibi_slopes: heads must be 1 or more, got {heads}")
    power = 2 ** int(math.log2(heads))
    slopes = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
    more = 2.0 ** (-4.0 * np.arange(1, 2 * (heads - power), 2) / power)
    return np.concatenate([slopes, more])


def alibi_bias(
    heads: int, queries: int, keys: int, offset: int = 0, dtype: Any = None
) -> Tensor:
    """ALiBi (Press, Smith & Lewis 2021, arXiv:2108.12409): -slope |i - j|, (heads, L, S).

    To be added to the logits: a float attn_mask. offset: the position of the first query; keys
    count from 0. Future keys are not masked: use it with is_causal.
    """
    distance = np.abs(np.arange(offset, offset + queries)[:, None] - np.arange(keys))
    bias = -alibi_slopes(heads)[:, None, None] * distance
    out = Tensor(bias.astype(_dtype(dtype)))
    if recorders:
        settings = {"heads": heads, "queries": queries, "keys": keys, "offset": offset}
        record("alibi_bias", (), settings, (out,))
    return out


def relative_position_buckets(
    queries: int,
    keys: int,
    num_buckets: int = 32,
    max_distance: int = 128,
    bidirectional: bool = True,
    offset: int = 0,
) -> Array:
    """(L, S) int64: the bucket of each distance key - query (T5: Raffel et al. 2020, 2.1).

    Half of the buckets (of one direction) hold one distance each, the others ranges that grow
    exponentially up to max_distance; beyond it is the last. One-way: keys ahead share bucket 0.
    """
    distance = np.arange(keys) - np.arange(offset, offset + queries)[:, None]  # (L, S)
    buckets = num_buckets // 2 if bidirectional else num_buckets
    exact = buckets // 2
    if exact < 1 or max_distance <= exact:
        raise ValueError(
            f"relative_position_buckets: num_buckets {num_buckets} and max_distance {max_distance} "
            "leave no room: give at least 4 buckets, and a distance above half of a direction's"
        )
    first = (distance > 0) * buckets if bidirectional else np.zeros_like(distance)
    size = np.abs(distance) if bidirectional else np.maximum(-distance, 0)
    growth = np.log(np.maximum(size, 1) / exact) / np.log(max_distance / exact)
    large = np.minimum(exact + (growth * (buckets - exact)).astype(np.int64), buckets - 1)
    out = first + np.where(size < exact, size, large)
    if recorders:
        settings = {
            "queries": queries, "keys": keys, "num_buckets": num_buckets,
            "max_distance": max_distance, "bidirectional": bidirectional, "offset": offset,
        }  # fmt: skip
        record("relative_position_buckets", (), settings, (Tensor(out),))
    return out
