"""Arrays of attention as `kernels.attention_forward` takes them."""

import math
from typing import Any

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import empty, sum_to

_NO_KEY = np.zeros(1, np.uint64)
_NOT_MASKED = np.zeros((0, 0, 0, 0), bool)


class Plan:
    """q, k and v as (N, T, heads, D): G are the heads that may share one key head (grouped
    queries), or just the last leading axis; N are all others. Heads that lie side by side, as a
    projection makes them, stay so; others become sequences of their own.
    """

    def __init__(self, q: Any, k: Any, v: Any, mask: Any):
        shapes = [x.shape[:-2] for x in (q, k, v)]
        if mask is not None:
            shapes.append(mask.shape[:-2])
        self.lead = np.broadcast_shapes(*shapes)
        self.N = math.prod(self.lead[:-1])
        self.G = self.lead[-1] if self.lead else 1
        self.L, self.S = q.shape[-2], k.shape[-2]
        self.dtype = q.dtype
        self.empty = not (self.N and self.G and self.L and self.S)
        fours = [self.four(x) for x in (q, k, v)]
        if fours[1].shape[1] != fours[2].shape[1]:  # one shared, one not: all heads of both
            fours[1:] = [np.broadcast_to(x, (self.N, self.G, *x.shape[2:])) for x in fours[1:]]
        if fours[0].shape[1] != self.G:
            fours[0] = np.broadcast_to(fours[0], (self.N, self.G, *fours[0].shape[2:]))
        self.group = self.G // fours[1].shape[1] if fours[1].shape[1] else 1
        self.mask: Any = None if mask is None else self._mask(mask)
        one_mask = self.mask is None or self.mask.shape[:2] == (1, 1)
        side_by_side = fours[0].swapaxes(1, 2).flags.c_contiguous
        self.apart = self.group == 1 and one_mask and not side_by_side
        self.arrays: Any = [self.give(x) for x in fours]

    def four(self, x: Any) -> Any:
        """x (..., T, D) as (N, G or 1, T, D), without a copy where its strides allow."""
        lead = (1,) * (len(self.lead) - (x.ndim - 2)) + x.shape[:-2]
        if lead == self.lead or (lead and (*lead[:-1], self.G) == self.lead and lead[-1] == 1):
            return x.reshape(self.N, lead[-1] if lead else 1, *x.shape[-2:])
        full = np.broadcast_to(x, (*self.lead, *x.shape[-2:]))
        return full.reshape(self.N, self.G, *x.shape[-2:])

    def _mask(self, mask: Any) -> Any:
        """A mask (..., L, S) as (N or 1, G or 1, L or 1, S or 1)."""
        lead = (1,) * (len(self.lead) + 2 - mask.ndim) + mask.shape
        outer, inner = lead[: max(0, len(self.lead) - 1)], lead[-3:]
        inner = (1,) * (3 - len(inner)) + inner
        if math.prod(outer) != 1 and outer != self.lead[:-1]:
            mask = np.broadcast_to(mask.reshape(*outer, *inner), (*self.lead[:-1], *inner))
            outer = self.lead[:-1]
        return mask.reshape(math.prod(outer), *inner)

    def give(self, x: Any) -> Any:
        """x (N, heads, T, D) for the kernels."""
        if self.apart:
            return np.ascontiguousarray(x).reshape(self.N * self.G, x.shape[2], 1, x.shape[3])
        return np.ascontiguousarray(x.swapaxes(1, 2))

    def take(self, x: Any) -> Any:
        """What the kernels filled, as (N, heads, T, D)."""
        if self.apart:
            return x.reshape(self.N, self.G, x.shape[1], x.shape[3])
        return x.swapaxes(1, 2)

    def narrowed(self, grad: Any, x: Any) -> Any:
        """A gradient that the kernels filled, in the shape of the array it belongs to."""
        grad = self.take(grad)
        lead = (*self.lead[:-1], grad.shape[1]) if self.lead else ()
        return sum_to(grad.reshape(*lead, *grad.shape[-2:]), x.shape)


def packed(q: Any, k: Any, v: Any, mask: Any) -> Any:
    """The array (B, T, 3 H, d) of which q, k, v (B, H, T, d) are the parts, or None.

    A projection to three times the width, cut and turned as heads, leaves them so; then nothing
    need be copied, and their gradients may lie in one array as well.
    """
    if q.ndim != 4 or not q.shape == k.shape == v.shape or not q.size:
        return None
    if mask is not None and mask.ndim != 4:
        return None
    b, heads, t, d = q.shape
    size = q.itemsize
    strides = (t * 3 * heads * d * size, d * size, 3 * heads * d * size, size)
    if not q.strides == k.strides == v.strides == strides:
        return None
    places = [x.__array_interface__["data"][0] for x in (q, k, v)]
    step = heads * d * size
    if places[1:] != [places[0] + step, places[0] + 2 * step]:
        return None
    # together they are every element of it, whoever owns the memory: a captured step's is a block
    return np.lib.stride_tricks.as_strided(
        q, (b, t, 3 * heads, d), (t * 3 * heads * d * size, *strides[2:0:-1], size)
    )


def forward(
    q: Any, k: Any, v: Any, first: Any, heads: int, group: int, mask: Any, key: Any,
    settings: tuple[float, float, bool],
) -> tuple[Any, Any]:  # fmt: skip
    """The output (N, L, heads, V) and lse (N, heads, L) of `kernels.attention_forward`."""
    dropout_p, scale, causal = settings
    out = empty((*q.shape[:2], heads, v.shape[3]), q.dtype)
    lse = empty((len(q), heads, q.shape[1]), q.dtype)
    run = _math.suited(kernels.attention_forward, out)
    run(q, k, v, first, group, *_masks(mask, q.dtype), _NO_KEY if key is None else key,
        dropout_p, scale, causal, out, lse)  # fmt: skip
    return out, lse


def backward(
    q: Any, k: Any, v: Any, first: Any, group: int, mask: Any, key: Any,
    settings: tuple[float, float, bool], out: Any, lse: Any, dout: Any, grads: Any,
) -> None:  # fmt: skip
    """Fills grads: dq, dk, dv, laid out as q, k, v; they may be parts of one array as well."""
    dropout_p, scale, causal = settings
    run = _math.suited(kernels.attention_backward, out)
    run(q, k, v, first, group, *_masks(mask, q.dtype), _NO_KEY if key is None else key,
        dropout_p, scale, causal, out, lse, dout, *grads)  # fmt: skip


def _masks(mask: Any, dtype: Any) -> tuple[Any, Any]:
    """A mask with four axes as the kernels' `allowed` and `bias`, of which one is empty."""
    none = np.zeros((0, 0, 0, 0), dtype)
    if mask is None:
        return _NOT_MASKED, none
    mask = np.ascontiguousarray(mask)
    return (mask, none) if mask.dtype == bool else (_NOT_MASKED, mask)


def mask_gradient(
    q: Any, k: Any, v: Any, shape: tuple[int, ...], plan: Plan, key: Any,
    settings: tuple[float, float, bool], out: Any, lse: Any, dout: Any,
) -> Any:  # fmt: skip
    """The gradient of a float mask of this shape: a sequence at a time, in plain NumPy.

    It is as large as the logits themselves, so blocks would save nothing.
    """
    from minidl.kernels.attention import attention_dropout_ref

    dropout_p, scale, causal = settings
    dmask = np.zeros_like(plan.mask)
    heads = np.arange(out.shape[2]) // plan.group
    for n in range(len(q)):
        at = n if len(dmask) > 1 else 0
        s = (q[n] * q.dtype.type(scale)).swapaxes(0, 1) @ k[n][:, heads].transpose(1, 2, 0)
        s += plan.mask[at]  # (G, L, S)
        if causal:
            s[:, ~np.tri(s.shape[1], s.shape[2], dtype=bool)] = -np.inf
        with np.errstate(all="ignore"):
            p = np.where(lse[n][..., None] == np.inf, 0, np.exp(s - lse[n][..., None]))
        dp = dout[n].swapaxes(0, 1) @ v[n][:, heads].transpose(1, 2, 0)
        if dropout_p:
            drop = np.ones((s.shape[0] * s.shape[1], s.shape[2]), s.dtype)
            rows = n * len(drop) + np.arange(len(drop))
            attention_dropout_ref(rows, 0, s.shape[2], s.shape[2], key, dropout_p, drop)
            dp *= drop.reshape(s.shape)
        delta = (dout[n] * out[n]).sum(axis=-1).T[..., None]
        ds = np.where(p == 0, 0, p * (dp - delta)).astype(s.dtype)
        dmask[at] += sum_to(ds, dmask.shape[1:])
    if len(dmask) == 1:
        return dmask.reshape(shape)
    return sum_to(dmask.reshape(*plan.lead[:-1], *dmask.shape[1:]), shape)
