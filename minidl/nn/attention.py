"""Attention layers, and the memory of keys and values for generating step by step."""

from typing import Any

import numpy as np

from minidl._tensor import Tensor, _mode
from minidl.functional import attention as heads
from minidl.nn import init
from minidl.nn.linear import Linear, check_sizes, new_parameter
from minidl.nn.module import Module
from minidl.nn.positions import RotaryPositions
from minidl.typing import Array

__all__ = ["GroupedQueryAttention", "KVCache", "MultiheadAttention"]


class KVCache:
    """Keys and values of the tokens so far, so that the next one costs one query.

        cache = nn.KVCache()
        with minidl.no_grad():
            for token in tokens:                    # (B, 1, D)
                out = layer(token, cache=cache)     # as the full pass gives at this place

    One for each attention layer. For inference: it takes nothing that needs a gradient.
    """

    def __init__(self) -> None:
        self._arrays: list[Array] = []
        self._length = 0

    def __len__(self) -> int:
        """Tokens held."""
        return self._length

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put (B, H, T, d) behind what is there; returns all keys and all values."""
        if _mode.grad and (key.requires_grad or value.requires_grad):
            raise RuntimeError("KVCache: it is for inference: call the model under no_grad()")
        new = (key.array, value.array)
        stop = self._length + key.shape[-2]
        if not self._arrays:
            self._arrays = [np.empty((*x.shape[:-2], 0, x.shape[-1]), x.dtype) for x in new]
        for i, x in enumerate(new):
            held = self._arrays[i]
            if x.shape[:-2] != held.shape[:-2] or x.shape[-1] != held.shape[-1]:
                raise ValueError(
                    f"KVCache: it holds {held.shape[:-2]} heads of {held.shape[-1]} features, "
                    f"got {x.shape}; begin another sequence with reset()"
                )
            if stop > held.shape[-2]:  # room for twice as many: each is copied once on average
                room = np.empty((*held.shape[:-2], max(16, 2 * stop), held.shape[-1]), held.dtype)
                room[..., : self._length, :] = held[..., : self._length, :]
                self._arrays[i] = held = room
            held[..., self._length : stop, :] = x
        self._length = stop
        key, value = (Tensor(x[..., :stop, :]) for x in self._arrays)
        return key, value

    def reorder(self, batch_index: Any) -> None:
        """Keep these rows of the batch, in this order: what beam search needs."""
        index = np.asarray(getattr(batch_index, "array", batch_index))
        self._arrays = [x[index] for x in self._arrays]

    def truncate(self, length: int) -> None:
        """Forget all tokens but the first `length`."""
        if not 0 <= length <= self._length:
            raise ValueError(f"KVCache: it holds {self._length} tokens, cannot keep {length}")
        self._length = length

    def reset(self) -> None:
        """Forget everything."""
        self._arrays, self._length = [], 0


class MultiheadAttention(Module):
    """Several attentions side by side (Vaswani et al. 2017, arXiv:1706.03762, 3.2.2).

        out = concat(head_1, …, head_H) W_o,
        head_h = softmax(q_h k_h^T / sqrt(d) + mask) v_h,   q_h = query W_q,h …,   d = embed_dim / H

    query (L, B, E), key (S, B, kdim), value (S, B, vdim), or batch first, or without a batch.
    in_proj_weight (3 E, E) holds W_q, W_k, W_v, or q_, k_ and v_proj_weight do if kdim or vdim
    differ. add_bias_kv: one more learned key and value (bias_k, bias_v); add_zero_attn: one more
    of zeros. Returns the output and, if need_weights, the weights (B, L, S), averaged over heads
    or (B, H, L, S). Masks: bool, True where a query may *not* look, or float, added; is_causal
    says that attn_mask is the causal one, which then need not be given. A query that sees nothing
    gives 0 before the output's projection; PyTorch gives NaN. cache: see KVCache.

    With need_weights=False the memory is linear in L and S.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        _check_heads("MultiheadAttention", embed_dim, num_heads)
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = new_parameter((3 * embed_dim, embed_dim), device, dtype)
            for name in names:
                self.register_parameter(name, None)
        else:
            for name, width in zip(names, (embed_dim, self.kdim, self.vdim)):
                setattr(self, name, new_parameter((embed_dim, width), device, dtype))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", None)
        if bias:
            self.in_proj_bias = new_parameter(3 * embed_dim, device, dtype)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, None)
            if add_bias_kv:
                setattr(self, name, new_parameter((1, 1, embed_dim), device, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the input projections anew, with biases 0, as PyTorch does."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        if self.bias_k is not None:
            init.xavier_normal_(self.bias_k)
            init.xavier_normal_(self.bias_v)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        for name, x, width in (
            ("query", query, self.embed_dim), ("key", key, self.kdim), ("value", value, self.vdim)
        ):  # fmt: skip
            if not x.ndim or x.shape[-1] != width:
                raise ValueError(
                    f"MultiheadAttention: {name} must be (..., {width}), got {x.shape}"
                )
        turned = query.ndim == 3 and not self.batch_first
        if turned:
            same = key is query, value is key
            query = query.swapaxes(0, 1)
            key = query if same[0] else key.swapaxes(0, 1)
            value = key if same[1] else value.swapaxes(0, 1)
        out, weights = heads.attend_heads(
            query, key, value, self.num_heads, self._projections(),
            bias_k=self.bias_k, bias_v=self.bias_v, add_zero_attn=self.add_zero_attn,
            dropout_p=self.dropout if self.training else 0.0, key_padding_mask=key_padding_mask,
            need_weights=need_weights, attn_mask=attn_mask,
            average_attn_weights=average_attn_weights, is_causal=is_causal, cache=cache,
        )  # fmt: skip
        return (out.swapaxes(0, 1) if turned else out), weights

    def _projections(self) -> heads.Projections:
        return heads.Projections.of(
            self.in_proj_weight, self.in_proj_bias,
            (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight),
            (self.out_proj.weight, self.out_proj.bias), self.embed_dim,
        )  # fmt: skip


class GroupedQueryAttention(Module):
    """Self-attention whose query heads share key heads (Ainslie et al. 2023, arXiv:2305.13245).

    x (B, T, embed_dim) -> the same. num_kv_heads heads of keys and values serve num_heads of
    queries: num_heads of them is multi-head, 1 multi-query attention (Shazeer 2019). rotary: turns
    queries and keys by their positions. attn_mask (..., T, S) as in scaled_dot_product_attention:
    bool, True where a query *may* look, or float, as ALiBi's. cache: see KVCache; queries then see
    all up to their own place.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: RotaryPositions | None = None,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        _check_heads("GroupedQueryAttention", embed_dim, num_heads)
        shared = num_heads if num_kv_heads is None else num_kv_heads
        check_sizes("GroupedQueryAttention", num_kv_heads=shared)
        if not shared or num_heads % shared:
            raise ValueError(
                f"GroupedQueryAttention: num_heads {num_heads} must be a multiple of num_kv_heads "
                f"{shared}"
            )
        self.embed_dim, self.num_heads, self.num_kv_heads = embed_dim, num_heads, shared
        self.head_dim, self.dropout = embed_dim // num_heads, dropout
        width = shared * self.head_dim
        self.q_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        self.k_proj = Linear(embed_dim, width, bias, device, dtype)
        self.v_proj = Linear(embed_dim, width, bias, device, dtype)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        self.rotary = rotary

    def forward(
        self,
        x: Tensor,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        batch, length, width = x.shape
        q = heads.split_heads(self.q_proj(x), self.num_heads)  # (B, H, T, d)
        k = heads.split_heads(self.k_proj(x), self.num_kv_heads)
        v = heads.split_heads(self.v_proj(x), self.num_kv_heads)
        offset = 0 if cache is None else len(cache)
        if self.rotary is not None:
            q, k = self.rotary(q, offset), self.rotary(k, offset)
        if cache is not None:
            k, v = cache.append(k, v)
            barred, is_causal = heads.after_cache(length, k.shape[-2])
            if barred is not None:
                attn_mask = _both(Tensor(~barred.array), attn_mask)
        out = heads.scaled_dot_product_attention(
            q, k, v, attn_mask, self.dropout if self.training else 0.0, is_causal, None, True
        )
        return self.out_proj(out.swapaxes(1, 2).reshape(batch, length, width))

    def extra_repr(self) -> str:
        return (
            f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, "
            f"num_kv_heads={self.num_kv_heads}"
        )


def _both(allowed: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return allowed
    if mask.dtype == bool:
        return Tensor(allowed.array & mask.array)
    return mask + Tensor(np.where(allowed.array, 0, -np.inf).astype(mask.dtype))


def _check_heads(layer: str, embed_dim: int, num_heads: int) -> None:
    check_sizes(layer, embed_dim=embed_dim, num_heads=num_heads)
    if not embed_dim or not num_heads or embed_dim % num_heads:
        raise ValueError(
            f"{layer}: embed_dim must be a multiple of num_heads, both above 0, "
            f"got {embed_dim} and {num_heads}"
        )
