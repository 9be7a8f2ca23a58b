"""Attention: scaled dot products, and several heads of them as nn.MultiheadAttention wants."""

import math
from typing import Any, NamedTuple

import numpy as np

from minidl._apply import apply, cast
from minidl._tensor import Tensor
from minidl.dtypes import float16, float32
from minidl.functional.choice import where
from minidl.functional.comparison import logical_not, logical_or
from minidl.functional.dropouts import dropout
from minidl.functional.layers import linear
from minidl.functional.softmax import softmax
from minidl.ops import attention as ops

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale query key^T + mask) value, in memory linear in L and S (see the op).

    query (..., L, E), key (..., S, E), value (..., S, V) -> (..., L, V); leading axes broadcast.
    attn_mask broadcasts to (..., L, S): bool, True where a query may look, or float, added.
    is_causal: query i sees keys 0 … i, besides what attn_mask allows. dropout_p drops weights
    whenever it is above 0: pass 0 in evaluation. scale: 1 / sqrt(E) unless given. enable_gqa:
    query's third-last axis may be a multiple of key's and value's, neighbours sharing a key head
    (Ainslie et al. 2023, arXiv:2305.13245). A query that sees no key gives 0.
    """
    name = "scaled_dot_product_attention"
    q, k, v = query, key, value
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ValueError(
            f"{name}: query (..., L, E), key (..., S, E) and value (..., S, V) are needed, "
            f"got {q.shape}, {k.shape}, {v.shape}"
        )
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"{name}: query and key must agree in the last axis, key and value in the one before, "
            f"got query {q.shape}, key {k.shape}, value {v.shape}"
        )
    if not (q.dtype == k.dtype == v.dtype) or q.dtype.kind != "f":
        raise TypeError(
            f"{name}: one floating point dtype is needed, got {q.dtype}, {k.dtype}, {v.dtype}; "
            "bring all to one, for example with .float()"
        )
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"{name}: dropout_p must be from 0 to 1, got {dropout_p}")
    heads = q.shape[-3] if q.ndim > 2 else 1
    grouped = enable_gqa and (_axis(k) != heads or _axis(v) != heads)
    mask = _checked_mask(name, attn_mask, q)
    if grouped:
        q, k, v, mask = _grouped(name, q, k, v, mask)
    lead = _broadcast(name, q, k, v)
    if mask is not None:
        full = (*lead, q.shape[-2], k.shape[-2])
        try:
            fits = np.broadcast_shapes(full, mask.shape)[-2:] == full[-2:]
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"{name}: attn_mask must broadcast to {full}, got {mask.shape}")
    random = None
    if dropout_p > 0:
        from minidl.random import new_key

        random = new_key()
    dtype = q.dtype
    if dtype == float16:  # BLAS and the kernels know no half precision
        q, k, v = (cast(x, float32) for x in (q, k, v))
        mask = mask if mask is None or mask.dtype == bool else cast(mask, float32)
    if scale is None:
        scale = 1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0
    out = apply(
        ops.ScaledDotProductAttention, q, k, v, mask, random,
        scale=float(scale), causal=bool(is_causal), dropout_p=float(dropout_p),
    )  # fmt: skip
    out = cast(out, dtype)
    return out.reshape(*query.shape[:-1], value.shape[-1]) if grouped else out


def _axis(x: Tensor) -> int:
    return x.shape[-3] if x.ndim > 2 else 1


def _checked_mask(name: str, mask: Tensor | None, q: Tensor) -> Tensor | None:
    if mask is None or mask.dtype == bool:
        pass
    elif mask.dtype.kind != "f":
        raise TypeError(f"{name}: attn_mask must be bool or floating point, got {mask.dtype}")
    else:
        mask = cast(mask, q.dtype)
    if mask is not None and mask.ndim < 2:
        mask = mask.reshape(*(1,) * (2 - mask.ndim), *mask.shape)
    return mask


def _grouped(name: str, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Any:
    """The heads of q as (shared heads, heads of each); those of k and v as (shared heads, 1)."""
    heads, shared = q.shape[-3] if q.ndim > 2 else 0, max(_axis(k), _axis(v))
    for x in (k, v):
        if x.ndim < 3 or not x.shape[-3] or heads % x.shape[-3]:
            raise ValueError(
                f"{name}: with enable_gqa the heads of query must be a multiple of those of key "
                f"and value, got query {q.shape}, key {k.shape}, value {v.shape}"
            )
    if _axis(k) != _axis(v):
        k, v = (
            x if _axis(x) == shared else x.repeat_interleave(shared // _axis(x), -3)
            for x in (k, v)
        )
    q = q.reshape(*q.shape[:-3], shared, heads // shared, *q.shape[-2:])
    k, v = (x.reshape(*x.shape[:-2], 1, *x.shape[-2:]) for x in (k, v))
    if mask is not None and mask.ndim > 2:
        own = (shared, heads // shared) if mask.shape[-3] != 1 else (1, 1)
        mask = mask.reshape(*mask.shape[:-3], *own, *mask.shape[-2:])
    return q, k, v, mask


def _broadcast(name: str, q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ValueError(
            f"{name}: all axes but the last two must broadcast, got query {q.shape}, "
            f"key {k.shape}, value {v.shape}; enable_gqa=True lets heads share keys"
        ) from None


class Projections(NamedTuple):
    """The weights of multi-head attention: of query, key, value and output, biases or None."""

    weights: Any  # of the three, where they are not packed
    biases: Any
    out_weight: Tensor
    out_bias: Tensor | None
    packed: tuple[Tensor, Tensor | None] | None = None  # the three as one, (3 D, D) and (3 D,)

    @classmethod
    def of(cls, in_weight: Any, in_bias: Any, apart: Any, out: Any, width: int) -> "Projections":
        """From in_proj_weight, or the three weights `apart`; in_proj_bias; and the output's two."""
        if in_weight is not None:
            return cls(None, None, out[0], out[1], (in_weight, in_bias))
        return cls(apart, packed(None, in_bias, width)[1], out[0], out[1])


def packed(weight: Tensor | None, bias: Tensor | None, width: int) -> tuple[Any, Any]:
    """in_proj_weight (3 D, D) and in_proj_bias (3 D,) in their three parts, where there are any."""
    starts = (0, width, 2 * width)
    weights = None if weight is None else tuple(weight[i : i + width] for i in starts)
    biases = (None,) * 3 if bias is None else tuple(bias[i : i + width] for i in starts)
    return weights, biases


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What nn.MultiheadAttention does, on (L, B, D) or (L, D), with the weights as arguments."""
    name = "multi_head_attention_forward"
    if query.shape[-1] != embed_dim_to_check:
        raise ValueError(
            f"{name}: query must end with embed_dim {embed_dim_to_check}, got {query.shape}"
        )
    if use_separate_proj_weight:
        if q_proj_weight is None or k_proj_weight is None or v_proj_weight is None:
            raise ValueError(f"{name}: use_separate_proj_weight needs q_, k_ and v_proj_weight")
        in_proj_weight = None
    elif in_proj_weight is None:
        raise ValueError(f"{name}: in_proj_weight is needed, or use_separate_proj_weight")
    projections = Projections.of(
        in_proj_weight, in_proj_bias, (q_proj_weight, k_proj_weight, v_proj_weight),
        (out_proj_weight, out_proj_bias), embed_dim_to_check,
    )  # fmt: skip
    batched = query.ndim == 3
    if batched:
        same = key is query, value is key
        query = query.swapaxes(0, 1)
        key = query if same[0] else key.swapaxes(0, 1)
        value = key if same[1] else value.swapaxes(0, 1)
    out, found = attend_heads(
        query, key, value, num_heads, projections,
        bias_k=bias_k, bias_v=bias_v, add_zero_attn=add_zero_attn,
        dropout_p=dropout_p if training else 0.0, key_padding_mask=key_padding_mask,
        need_weights=need_weights, attn_mask=attn_mask, static_k=static_k, static_v=static_v,
        average_attn_weights=average_attn_weights, is_causal=is_causal,
    )  # fmt: skip
    return (out.swapaxes(0, 1) if batched else out), found


def attend_heads(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    projections: Projections,
    *,
    bias_k: Tensor | None = None,
    bias_v: Tensor | None = None,
    add_zero_attn: bool = False,
    dropout_p: float = 0.0,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = False,
    attn_mask: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    cache: Any = None,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention on (B, L, D), or (L, D) without a batch: output and weights, or None.

    Masks as in PyTorch's MultiheadAttention: bool, True where a query may *not* look, or float.
    cache: a nn.KVCache; keys and values are put behind those it holds, and queries see all up to
    their own place.
    """
    _check_inputs(query, key, value, num_heads)
    batched = query.ndim == 3
    if not batched:
        query, key, value = (x.reshape(1, *x.shape) for x in (query, key, value))
    batch, length, width = query.shape
    if (
        projections.packed is not None and query is key and key is value and not need_weights
        and bias_k is None and not add_zero_attn and static_k is None and static_v is None
        and cache is None and query.dtype != float16
        and not any(m is not None and m.requires_grad for m in (attn_mask, key_padding_mask))
    ):  # fmt: skip
        out = _attend_packed(
            query, num_heads, *projections.packed, dropout_p, key_padding_mask,
            None if is_causal else attn_mask, is_causal,
        )  # fmt: skip
        out = linear(out, projections.out_weight, projections.out_bias)
        return (out if batched else out.reshape(length, width)), None
    weights, biases = projections.weights, projections.biases
    if projections.packed is not None:
        weights, biases = packed(*projections.packed, width)
    q, k, v = (linear(*parts) for parts in zip((query, key, value), weights, biases))
    size = q.shape[-1] // num_heads
    added = int(bias_k is not None) + int(add_zero_attn)
    if bias_k is not None and bias_v is not None:
        k, v = (_with_row(x, row) for x, row in ((k, bias_k), (v, bias_v)))
    q, k, v = (split_heads(x, num_heads) for x in (q, k, v))
    k, v = (
        x if given is None else given.reshape(batch, num_heads, -1, size)
        for x, given in ((k, static_k), (v, static_v))
    )
    if add_zero_attn:
        k, v = (_with_row(x, None) for x in (k, v))
    if cache is not None:
        if attn_mask is not None or added or static_k is not None or static_v is not None:
            raise ValueError("attention: with a cache queries see all keys up to their own; "
                             "attn_mask, added keys and static ones do not go with it")
        k, v = cache.append(k, v)
        attn_mask, is_causal = after_cache(length, k.shape[-2])
    keys = k.shape[-2]
    # the mask that is_causal speaks of need not be looked at, unless keys were added to it
    as_hint = is_causal and not added and not need_weights
    mask = allowed_or_added(
        None if as_hint else attn_mask, key_padding_mask, (batch, num_heads, length, keys),
        q.dtype, added, is_causal and not as_hint and attn_mask is None,
    )  # fmt: skip
    weights = None
    if need_weights:
        weights = _weights(q, k, mask)  # (B, H, L, S)
        if dropout_p:
            weights = dropout(weights, dropout_p)
        out = weights @ v
        weights = weights.sum(1) / float(num_heads) if average_attn_weights else weights
        weights = weights if batched else weights.reshape(*weights.shape[1:])
    else:
        out = scaled_dot_product_attention(q, k, v, mask, dropout_p, as_hint)
    out = out.swapaxes(1, 2).reshape(batch, length, num_heads * size)
    out = linear(out, projections.out_weight, projections.out_bias)
    return (out if batched else out.reshape(length, width)), weights


def _attend_packed(
    x: Tensor, heads: int, weight: Tensor, bias: Tensor | None, dropout_p: float,
    key_padding_mask: Tensor | None, attn_mask: Tensor | None, causal: bool,
) -> Tensor:  # fmt: skip
    """Heads of x (B, T, D) attending to x, before the output's projection: one product, one op."""
    qkv = linear(x, weight, bias)  # (B, T, 3 D)
    batch, length, width = x.shape
    sizes = (batch, heads, length, length)
    mask = allowed_or_added(attn_mask, key_padding_mask, sizes, x.dtype)
    random = None
    if dropout_p > 0:
        from minidl.random import new_key

        random = new_key()
    return apply(
        ops.PackedAttention, qkv, mask, random, heads=heads, scale=(width // heads) ** -0.5,
        causal=bool(causal), dropout_p=float(dropout_p),
    )  # fmt: skip


def after_cache(length: int, keys: int) -> tuple[Tensor | None, bool]:
    """The mask (True: may not look) or is_causal, where queries stand at the last of `keys`."""
    if length == keys:
        return None, length > 1
    return (Tensor(~np.tri(length, keys, keys - length, dtype=bool)) if length > 1 else None), False


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, H d) -> (B, H, T, d), a view."""
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).swapaxes(1, 2)


def _check_inputs(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> None:
    shapes = f"got query {query.shape}, key {key.shape}, value {value.shape}"
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        raise ValueError(f"attention: all of three axes are needed, or of two, {shapes}")
    if key.shape[:-1] != value.shape[:-1]:
        raise ValueError(f"attention: key and value must agree in all axes but the last, {shapes}")
    if query.ndim == 3 and query.shape[0] != key.shape[0]:
        raise ValueError(f"attention: query and key must have one batch size, {shapes}")
    if query.shape[-1] % num_heads:
        raise ValueError(
            f"attention: embed_dim {query.shape[-1]} must be a multiple of num_heads {num_heads}"
        )


def _with_row(x: Tensor, row: Tensor | None) -> Tensor:
    """x (..., T, D) with one more row at the end, 0 if it is None."""
    from minidl.functional.joining import cat

    shape = (*x.shape[:-2], 1, x.shape[-1])
    more = Tensor(np.zeros(shape, x.dtype)) if row is None else row.expand(shape)
    return cat([x, more], -2)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """The softmax itself, for those who want to look at it; 0 in a row that sees nothing."""
    from minidl.functional.choice import masked_fill

    s = (q * (1 / math.sqrt(q.shape[-1]))) @ k.swapaxes(-1, -2)
    if mask is None:
        return softmax(s, -1)
    s = masked_fill(s, logical_not(mask), -np.inf) if mask.dtype == bool else s + mask
    blind = Tensor(np.asarray(np.isneginf(s.array).all(-1, keepdims=True)))
    if not blind.array.any():
        return softmax(s, -1)
    return masked_fill(softmax(masked_fill(s, blind, 0.0), -1), blind, 0.0)


def allowed_or_added(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    sizes: tuple[int, int, int, int],
    dtype: Any,
    added: int = 0,
    causal: bool = False,
) -> Tensor | None:
    """PyTorch's two masks as one of scaled_dot_product_attention, broadcast to (B, H, L, S).

    added: keys at the end that both masks do not speak of; everybody sees them.
    """
    batch, heads, length, keys = sizes
    masks = []
    if attn_mask is not None:
        masks.append(_attn_mask(attn_mask, batch, heads, length, keys - added))
    if causal:
        ahead = ~np.tri(length, keys - added, dtype=bool)
        masks.append(Tensor(ahead.reshape(1, 1, *ahead.shape)))
    if key_padding_mask is not None:
        shape = key_padding_mask.shape
        if shape not in ((batch, keys - added), (keys - added,)) or (
            key_padding_mask.ndim == 1 and batch != 1
        ):
            raise ValueError(
                f"attention: key_padding_mask must be {(batch, keys - added)}, got {shape}"
            )
        _check_mask_dtype("key_padding_mask", key_padding_mask)
        masks.append(key_padding_mask.reshape(-1, 1, 1, keys - added))
    if not masks:
        return None
    if added:
        masks = [_with_columns(m, added) for m in masks]
    if all(m.dtype == bool for m in masks):
        barred = masks[0]
        for other in masks[1:]:
            barred = logical_or(barred, other)
        return logical_not(barred)
    total: Tensor | None = None
    for m in masks:
        if m.dtype == bool:
            m = where(m, Tensor(np.full((), -np.inf, dtype)), Tensor(np.zeros((), dtype)))
        total = cast(m, dtype) if total is None else total + cast(m, dtype)
    return total


def _attn_mask(mask: Tensor, batch: int, heads: int, length: int, keys: int) -> Tensor:
    _check_mask_dtype("attn_mask", mask)
    if mask.shape == (length, keys):
        return mask.reshape(1, 1, length, keys)
    if mask.shape == (batch * heads, length, keys):
        return mask.reshape(batch, heads, length, keys)
    raise ValueError(
        f"attention: attn_mask must be {(length, keys)} or {(batch * heads, length, keys)} "
        f"(batch * heads first), got {mask.shape}"
    )


def _check_mask_dtype(name: str, mask: Tensor) -> None:
    if mask.dtype != bool and mask.dtype.kind != "f":
        raise TypeError(f"attention: {name} must be bool or floating point, got {mask.dtype}")


def _with_columns(mask: Tensor, count: int) -> Tensor:
    from minidl.functional.joining import cat

    return cat([mask, Tensor(np.zeros((*mask.shape[:-1], count), mask.dtype))], -1)
