"""The Transformer: encoder and decoder layers, their stacks, and both together."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.dtypes import as_dtype, get_default_dtype
from minidl.functional.creation import check_device
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.attention import KVCache, MultiheadAttention
from minidl.nn.container import ModuleList
from minidl.nn.dropout import Dropout
from minidl.nn.linear import Linear
from minidl.nn.module import Module
from minidl.nn.normalization import LayerNorm

__all__ = [
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer",
]  # fmt: skip

Activation = str | Callable[[Tensor], Tensor]


def _activation(layer: str, activation: Activation) -> Callable[[Tensor], Tensor]:
    known: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
    name: Any = activation
    if str(getattr(activation, "__module__", "")).startswith("torch"):
        name = getattr(activation, "__name__", "")  # PyTorch's own functions take no other tensors
    if isinstance(name, str) and name in known:
        return known[name]
    if callable(activation):
        return activation
    raise ValueError(
        f"{layer}: activation must be 'relu', 'gelu' or a function, got {activation!r}"
    )


class TransformerEncoderLayer(Module):
    """Self-attention and two affine maps, each added to its input and normalised.

        x = norm1(x + attention(x)),   x = norm2(x + linear2(activation(linear1(x))))

    as Vaswani et al. 2017 have it; norm_first: x + attention(norm1(x)) and so on (Xiong et al.
    2020, arXiv:2002.04745), which trains without a warm-up. src (T, B, d_model), (B, T, d_model)
    if batch_first, or without a batch. Masks as MultiheadAttention's. cache: a KVCache, for a layer
    of a decoder-only model that is run step by step.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, **made
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **made)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _activation("TransformerEncoderLayer", activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        x = src
        masks = (src_mask, src_key_padding_mask, is_causal, cache)
        if self.norm_first:
            x = x + self._attend(self.norm1(x), *masks)
            return x + self._feed(self.norm2(x))
        x = self.norm1(x + self._attend(x, *masks))
        return self.norm2(x + self._feed(x))

    def _attend(
        self, x: Tensor, mask: Any, padding: Any, is_causal: bool, cache: KVCache | None
    ) -> Tensor:
        out, _ = self.self_attn(
            x, x, x, attn_mask=mask, key_padding_mask=padding, need_weights=False,
            is_causal=is_causal, cache=cache,
        )  # fmt: skip
        return self.dropout1(out)

    def _feed(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoderLayer(Module):
    """An encoder layer with attention to `memory`, an encoder's output, between its two parts.

    tgt (T, B, d_model), memory (S, B, d_model), or batch first. cache: a KVCache of the targets so
    far, for writing step by step.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, **made
        )
        self.multihead_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, **made
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **made)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _activation("TransformerDecoderLayer", activation)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            out, _ = self.self_attn(
                x, x, x, attn_mask=tgt_mask, key_padding_mask=tgt_key_padding_mask,
                need_weights=False, is_causal=tgt_is_causal, cache=cache,
            )  # fmt: skip
            return self.dropout1(out)

        def look_back(x: Tensor) -> Tensor:
            out, _ = self.multihead_attn(
                x, memory, memory, attn_mask=memory_mask, key_padding_mask=memory_key_padding_mask,
                need_weights=False, is_causal=memory_is_causal,
            )  # fmt: skip
            return self.dropout2(out)

        x = tgt
        if self.norm_first:
            x = x + attend(self.norm1(x))
            x = x + look_back(self.norm2(x))
            return x + self._feed(self.norm3(x))
        x = self.norm1(x + attend(x))
        x = self.norm2(x + look_back(x))
        return self.norm3(x + self._feed(x))

    def _feed(self, x: Tensor) -> Tensor:
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))


def _copies(layer: Any, count: int) -> ModuleList:
    layer = layer if isinstance(layer, Module) else _taken_over(layer)
    return ModuleList([deepcopy(layer) for _ in range(count)])


def _taken_over(layer: Any) -> Module:
    """A layer of PyTorch as one of ours, with its settings and weights."""
    decodes = hasattr(layer, "multihead_attn")
    try:
        attention = layer.self_attn
        made = (TransformerDecoderLayer if decodes else TransformerEncoderLayer)(
            attention.embed_dim, attention.num_heads, layer.linear1.out_features, layer.dropout.p,
            layer.activation, layer.norm1.eps, attention.batch_first, layer.norm_first,
            layer.linear1.bias is not None,
        )  # fmt: skip
    except AttributeError:
        raise TypeError(
            "the layer to be stacked must be a Module, or a Transformer layer of PyTorch, "
            f"got {type(layer).__name__}"
        ) from None
    made.load_state_dict({k: v.detach().numpy() for k, v in layer.state_dict().items()})
    return made


def _caches(cache: Sequence[KVCache] | None, layers: ModuleList) -> Sequence[KVCache | None]:
    if cache is None:
        return [None] * len(layers)
    if len(cache) != len(layers):
        raise ValueError(f"cache: one KVCache a layer: {len(layers)} are needed, got {len(cache)}")
    return cache


def _is_causal(mask: Tensor | None, is_causal: bool | None) -> bool:
    """Whether the mask is the causal one, as PyTorch finds out unless told."""
    if is_causal is not None or mask is None:
        return bool(is_causal)
    if mask.requires_grad or mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        return False
    ahead = ~np.tri(len(mask), dtype=bool)
    if mask.dtype == bool:
        return bool((mask.array == ahead).all())
    return bool((mask.array[ahead] == -np.inf).all() and (mask.array[~ahead] == 0).all())


class TransformerEncoder(Module):
    """num_layers copies of an encoder layer, one after another, then `norm`.

    The copies start with equal weights, as PyTorch's do; a layer of PyTorch is taken over with its
    weights. is_causal None: found out from the mask.
    cache: one KVCache a layer. Nested tensors are not supported, so enable_nested_tensor is False,
    and padded places hold what the layers make of them.
    """

    def __init__(
        self,
        encoder_layer: Any,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = False,
    ):
        super().__init__()
        if enable_nested_tensor:
            raise ValueError(
                "TransformerEncoder: nested tensors are not supported; "
                "leave enable_nested_tensor False"
            )
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
        cache: Sequence[KVCache] | None = None,
    ) -> Tensor:
        causal = _is_causal(mask, is_causal)
        x = src
        for layer, own in zip(self.layers, _caches(cache, self.layers)):
            more = {} if own is None else {"cache": own}
            x = layer(
                x, src_mask=mask, is_causal=causal, src_key_padding_mask=src_key_padding_mask,
                **more,
            )  # fmt: skip
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """num_layers copies of a decoder layer, one after another, then `norm`; see the encoder."""

    def __init__(self, decoder_layer: Any, num_layers: int, norm: Module | None = None):
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        cache: Sequence[KVCache] | None = None,
    ) -> Tensor:
        causal = _is_causal(tgt_mask, tgt_is_causal)
        x = tgt
        for layer, own in zip(self.layers, _caches(cache, self.layers)):
            more = {} if own is None else {"cache": own}
            x = layer(
                x, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=causal, memory_is_causal=memory_is_causal, **more,
            )  # fmt: skip
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """Encoder and decoder (Vaswani et al. 2017, arXiv:1706.03762).

    src (S, B, d_model), tgt (T, B, d_model) -> (T, B, d_model), or batch first, or without a
    batch. custom_encoder and custom_decoder take the place of the usual stacks. Weight matrices
    start as Glorot & Bengio's uniform.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        made = {"device": device, "dtype": dtype}
        options: tuple[Any, ...] = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias,
        )  # fmt: skip
        self.encoder: Module = custom_encoder  # type: ignore[assignment]
        if custom_encoder is None:
            self.encoder = TransformerEncoder(
                TransformerEncoderLayer(*options, **made), num_encoder_layers,
                LayerNorm(d_model, layer_norm_eps, bias=bias, **made),
            )  # fmt: skip
        self.decoder: Module = custom_decoder  # type: ignore[assignment]
        if custom_decoder is None:
            self.decoder = TransformerDecoder(
                TransformerDecoderLayer(*options, **made), num_decoder_layers,
                LayerNorm(d_model, layer_norm_eps, bias=bias, **made),
            )  # fmt: skip
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all matrices anew."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ValueError(
                f"Transformer: src and tgt must end with d_model {self.d_model}, "
                f"got {src.shape} and {tgt.shape}"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """(sz, sz): -inf above the diagonal, 0 elsewhere."""
        check_device(device)
        wanted = get_default_dtype() if dtype is None else as_dtype(dtype)
        return Tensor(np.where(np.tri(sz, dtype=bool), 0, -np.inf).astype(wanted))
