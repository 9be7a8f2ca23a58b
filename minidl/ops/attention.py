"""Scaled dot-product attention, by blocks of the logits."""

import numpy as np

from minidl import kernels
from minidl.ops import _attention
from minidl.ops._attention import Plan
from minidl.ops._math import zeros
from minidl.ops._op import Op, empty

_OWN = np.zeros(3, np.int64)  # q, k and v are arrays of their own: heads from 0 on


def _side_by_side(heads):
    """The first heads of q, k and v in a packed array."""
    return np.array([0, heads, 2 * heads])


class ScaledDotProductAttention(Op):
    """Attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), with memory linear in L and S.

        out = (p * drop) v,   p = softmax(s) over the keys,   s = scale q k^T + mask

    With lse = log sum_j e^s_j of a row, dp = (dout v^T) * drop and delta = sum_j p_j dp_j, which is
    sum(dout * out):

        p = e^(s - lse),   ds = p * (dp - delta)
        dq = scale ds k,   dk = scale ds^T q,   dv = (p * drop)^T dout,   dmask = ds

    The (L, S) matrix is never held: s is made block by block, its softmax gathered by the online
    recurrence (Milakov & Gimelshein 2018, arXiv:1805.02867), and backward makes the blocks again
    from lse (Dao et al. 2022, arXiv:2205.14135), all in one parallel region over heads and blocks.
    Blocks above the diagonal are skipped under `causal`, where query i sees keys 0 … i. drop is 0
    with probability dropout_p, else 1 / (1 - dropout_p); it is computed from `key` and the
    element's place, forward and backward.

    A row that sees no key (all of s is -inf) gives 0 and no gradient; PyTorch gives NaN on most
    paths. Otherwise NaN and inf spread as in softmax.

    Shapes: q (..., L, E), k (..., S, E), v (..., S, V), mask (..., L, S) or None, out (..., L, V),
    all leading axes broadcast; mask is bool (True: may look) or float, added to s. key (1,) uint64
    or None.
    """

    saves = ("q", "k", "v", "mask", "key", "out", "lse")

    @staticmethod
    def forward(q, k, v, mask, key, *, scale, causal, dropout_p, keep):
        whole = _attention.packed(q, k, v, mask)
        if whole is not None:
            first, heads = _side_by_side(q.shape[1]), q.shape[1]
            settings = (dropout_p, scale, causal)
            out, lse = _attention.forward(whole, whole, whole, first, heads, 1, mask, key, settings)
            out = out.swapaxes(1, 2)
            return out, (q, k, v, mask, key, out, lse) if keep else None
        plan = Plan(q, k, v, mask)
        if plan.empty:
            out = zeros((*plan.lead, plan.L, v.shape[-1]), q.dtype)
            return out, (q, k, v, mask, key, out, None) if keep else None
        x, y, z = plan.arrays
        settings = (dropout_p, scale, causal)
        out, lse = _attention.forward(
            x, y, z, _OWN, 1 if plan.apart else plan.G, plan.group, plan.mask, key, settings
        )
        result = plan.take(out).reshape(*plan.lead, plan.L, v.shape[-1])
        return result, (q, k, v, mask, key, result, lse) if keep else None

    @staticmethod
    def backward(dout, saved, needs, *, scale, causal, dropout_p):
        q, k, v, mask, key, out, lse = saved
        whole = None if mask is not None and needs[3] else _attention.packed(q, k, v, mask)
        if whole is not None:
            heads = q.shape[1]
            dx = empty(whole.shape, whole.dtype)
            rows = [np.ascontiguousarray(x.swapaxes(1, 2)) for x in (out, dout)]
            settings = (dropout_p, scale, causal)
            _attention.backward(
                whole, whole, whole, _side_by_side(heads), 1, mask, key, settings,
                rows[0], lse, rows[1], (dx, dx, dx),
            )  # fmt: skip
            places = range(0, 3 * heads, heads)
            return *(dx[:, :, n : n + heads].swapaxes(1, 2) for n in places), None, None
        plan = Plan(q, k, v, mask)
        if plan.empty:
            return *(
                zeros(x.shape, x.dtype) if need else None for x, need in zip((q, k, v, mask), needs)
            ), None  # fmt: skip
        x, y, z = plan.arrays
        settings = (dropout_p, scale, causal)
        out, dout = plan.give(plan.four(out)), plan.give(plan.four(dout))
        grads = [empty(part.shape, part.dtype) for part in plan.arrays]
        _attention.backward(
            x, y, z, _OWN, plan.group, plan.mask, key, settings, out, lse, dout, grads
        )
        parts = [
            plan.narrowed(grad, array) if need else None
            for grad, array, need in zip(grads, (q, k, v), needs)
        ]
        dmask = None
        if mask is not None and needs[3]:
            dmask = _attention.mask_gradient(
                x, y, z, mask.shape, plan, key, settings, out, lse, dout
            )
        return *parts, dmask, None

    @staticmethod
    def composite(F, q, k, v, mask, key, *, scale, causal, dropout_p):
        s = (q * scale) @ k.swapaxes(-1, -2)
        if causal:
            seen = np.tri(s.shape[-2], s.shape[-1], dtype=bool)
            s = F.masked_fill(s, F.as_tensor(~seen), -np.inf)
        if mask is not None and mask.dtype == bool:
            s = F.masked_fill(s, F.logical_not(mask), -np.inf)
        elif mask is not None:
            s = s + mask
        blind = F.as_tensor(np.isneginf(s.array).all(-1, keepdims=True))
        p = F.masked_fill(F.masked_fill(s, blind, 0.0).softmax(-1), blind, 0.0)
        if dropout_p:
            drop = np.ones((int(np.prod(p.shape[:-1])), p.shape[-1]), p.dtype)
            rows = np.arange(len(drop))
            places = (0, p.shape[-1], p.shape[-1])
            kernels.attention_dropout(rows, *places, key.array, float(dropout_p), drop)
            p = p * F.as_tensor(drop.reshape(p.shape))
        return p @ v

    @classmethod
    def flops(cls, *shapes, **settings):
        """Two products, and five operations for each softmax element; causal ones are fewer."""
        q, k, v = shapes[:3]
        lead = np.broadcast_shapes(q[:-2], k[:-2], v[:-2])
        logits = int(np.prod(lead, dtype=np.int64)) * q[-2] * k[-2]
        return logits * (2 * q[-1] + 2 * v[-1] + 5)


class PackedAttention(Op):
    """ScaledDotProductAttention of a sequence with itself, from packed projections.

        out_h = softmax(scale q_h k_h^T + mask) v_h for each head h; dqkv = (dq, dk, dv)

    The derivatives are those of ScaledDotProductAttention. Heads are read from the packed array
    and their gradients written into one: nothing is cut out or joined.
    Shapes: qkv (B, T, 3 H d): all heads' queries, then keys, then values; mask (B or 1, H or 1,
    T or 1, T or 1) or None, without a gradient; key as there; out (B, T, H d).
    """

    saves = ("qkv", "mask", "key", "out", "lse")
    constants = ("mask",)

    @staticmethod
    def forward(qkv, mask, key, *, heads, scale, causal, dropout_p, keep):
        b, t, width = qkv.shape
        if not qkv.size:
            out = zeros((b, t, width // 3), qkv.dtype)
            return out, (qkv, mask, key, out, None) if keep else None
        x = np.ascontiguousarray(qkv).reshape(b, t, 3 * heads, width // (3 * heads))
        out, lse = _attention.forward(
            x, x, x, _side_by_side(heads), heads, 1, mask, key, (dropout_p, scale, causal)
        )
        out = out.reshape(b, t, width // 3)
        return out, (qkv, mask, key, out, lse) if keep else None

    @staticmethod
    def backward(dout, saved, needs, *, heads, scale, causal, dropout_p):
        qkv, mask, key, out, lse = saved
        if not qkv.size:
            return zeros(qkv.shape, qkv.dtype), None, None
        b, t, width = qkv.shape
        x = np.ascontiguousarray(qkv).reshape(b, t, 3 * heads, width // (3 * heads))
        shape = (b, t, heads, x.shape[3])
        dx = empty(x.shape, x.dtype)
        _attention.backward(
            x, x, x, _side_by_side(heads), 1, mask, key, (dropout_p, scale, causal),
            out.reshape(shape), lse, np.ascontiguousarray(dout).reshape(shape), (dx, dx, dx),
        )  # fmt: skip
        return dx.reshape(qkv.shape), None, None

    @staticmethod
    def composite(F, qkv, mask, key, *, heads, scale, causal, dropout_p):
        b, t, width = qkv.shape
        parts = qkv.reshape(b, t, 3, heads, width // (3 * heads))
        q, k, v = (parts[:, :, i].swapaxes(1, 2) for i in range(3))
        out = ScaledDotProductAttention.composite(
            F, q, k, v, mask, key, scale=scale, causal=causal, dropout_p=dropout_p
        )
        return out.swapaxes(1, 2).reshape(b, t, width // 3)

    @classmethod
    def flops(cls, *shapes, **settings):
        """Two products, and five operations for each softmax element."""
        b, t, width = shapes[0]
        return b * t * t * (4 * width // 3 + 5 * settings.get("heads", 1))
