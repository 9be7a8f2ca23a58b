"""Scaled dot-product attention, by blocks of the logits."""

from itertools import product

import numpy as np

from minidl import kernels
from minidl.ops._attention import Mask, Plan, part
from minidl.ops._attention_heads import Heads
from minidl.ops._math import zeros
from minidl.ops._op import Op, empty, sum_to


class ScaledDotProductAttention(Op):
    """Attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), with memory linear in L and S.

        out = (p * drop) v,   p = softmax(s) over the keys,   s = scale q k^T + mask

    With lse = log sum_j e^s_j of a row, dp = (dout v^T) * drop and delta = sum_j p_j dp_j, which is
    sum(dout * out):

        p = e^(s - lse),   ds = p * (dp - delta)
        dq = scale ds k,   dk = scale ds^T q,   dv = (p * drop)^T dout,   dmask = ds

    The (L, S) matrix is never held: s is made block by block, its softmax gathered by the online
    recurrence (Milakov & Gimelshein 2018, arXiv:1805.02867), and backward makes the blocks again
    from lse (Dao et al. 2022, arXiv:2205.14135). Sequences of up to 64 are one block a head, which
    one kernel makes from end to end; of longer ones BLAS makes the products. Blocks above the
    diagonal are skipped under `causal`, where query i sees keys 0 … i. drop is 0 with probability
    dropout_p, else 1 / (1 - dropout_p); it is computed from `key` and the element's place, forward
    and backward.

    A row that sees no key (all of s is -inf) gives 0 and no gradient; PyTorch gives NaN on most
    paths. Otherwise NaN and inf spread as in softmax.

    Shapes: q (..., L, E), k (..., S, E), v (..., S, V), mask (..., L, S) or None, out (..., L, V),
    all leading axes broadcast; mask is bool (True: may look) or float, added to s. key (1,) uint64
    or None.
    """

    saves = ("q", "k", "v", "mask", "key", "out", "lse")

    @staticmethod
    def forward(q, k, v, mask, key, *, scale, causal, dropout_p, keep):
        plan = Plan(q, k, v, mask, causal)
        q4, k4, v4 = plan.four(q), plan.four(k), plan.four(v)
        lse = empty((plan.N, plan.G, plan.L), q.dtype)
        cut = None if mask is None or plan.empty else Mask(mask, plan)
        if plan.empty:
            out = zeros((plan.N, plan.G, plan.L, plan.V), q.dtype)
        elif Heads.fit(plan, q4, k4, v4, cut):
            out = Heads(plan, q4, cut).forward(q4, k4, v4, key, scale, dropout_p, lse)
        else:
            shape = (plan.N, plan.G, plan.L, plan.V)
            out = plan.like(q4) if q4.shape == shape else empty(shape, q.dtype)
            space = plan.space(1)
            with np.errstate(all="ignore"):
                for chunk, rows in product(plan.chunks(), plan.row_blocks()):
                    _attend(
                        plan, chunk, rows, space, q4, k4, v4, cut, key, scale, dropout_p, out, lse
                    )
        result = out.reshape(*plan.lead, plan.L, plan.V)
        return result, (q, k, v, mask, key, result, lse) if keep else None

    @staticmethod
    def backward(dout, saved, needs, *, scale, causal, dropout_p):
        q, k, v, mask, key, out, lse = saved
        plan = Plan(q, k, v, mask, causal)
        if plan.empty:
            return *(
                zeros(x.shape, x.dtype) if need else None for x, need in zip((q, k, v, mask), needs)
            ), None  # fmt: skip
        q4, k4, v4 = plan.four(q), plan.four(k), plan.four(v)
        do, out = plan.four(dout), plan.four(out)
        cut = None if mask is None else Mask(mask, plan)
        dmask = np.zeros_like(cut.array) if cut is not None and needs[3] else None
        if dmask is None and Heads.fit(plan, q4, k4, v4, cut):
            heads = Heads(plan, q4, cut)
            grads = heads.backward(q4, k4, v4, key, scale, dropout_p, out, lse, do)
        else:
            grads = [plan.like(x) if need else None for x, need in zip((q4, k4, v4), needs)]
            space = plan.space(2)
            for chunk in plan.chunks():
                _attend_backward(
                    plan, chunk, space, q4, k4, v4, cut, key, scale, dropout_p, out, lse, do,
                    grads, dmask,
                )  # fmt: skip
        parts = [
            _narrowed(grad, x, plan) if need else None
            for grad, x, need in zip(grads, (q, k, v), needs)
        ]
        return *parts, dmask if dmask is None else dmask.reshape(mask.shape), None

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


def _attend(plan, chunk, rows, space, q, k, v, mask, key, scale, dropout_p, out, lse):
    """The output and log-sum-exp of one block of queries."""
    qs = _scaled_queries(q, chunk, rows, space, scale)  # (n, g, l, E)
    heads = (chunk.n.stop - chunk.n.start, chunk.g.stop - chunk.g.start)
    length = rows[1] - rows[0]
    count = heads[0] * heads[1] * length
    top, total = np.full(count, -np.inf, plan.dtype), np.zeros(count, plan.dtype)
    shrink = np.empty(count, plan.dtype)
    target = out[chunk.n, chunk.g, rows[0] : rows[1]]  # (n, g, l, V)
    for columns in plan.column_blocks(rows):
        width = columns[1] - columns[0]
        s, flat = space.block(0, (*heads, length, width))
        np.matmul(qs, space.transposed(part(k, chunk, columns)), out=s)
        if mask is not None:
            mask.add_to(s, chunk, rows, columns)
        diagonal = plan.diagonal(rows, columns)
        kernels.attention_softmax(length, diagonal, width, flat, top, total, shrink)
        if dropout_p:
            numbers = plan.row_numbers(chunk, rows)
            drop = (numbers, columns[0], plan.S, width, key, float(dropout_p))
            kernels.attention_dropout(*drop, flat)
        if not columns[0]:
            np.matmul(s, part(v, chunk, columns), out=target)
            continue
        more = space.vectors(1, target.shape)
        np.matmul(s, part(v, chunk, columns), out=more)
        target *= shrink.reshape(*heads, length, 1)
        target += more
    blind = total == 0
    if blind.any():
        total[blind], top[blind] = 1, np.inf
        target[blind.reshape(*heads, length)] = 0
    target *= (1 / total).reshape(*heads, length, 1)
    np.add(
        top.reshape(*heads, length), np.log(total).reshape(*heads, length),
        out=lse[chunk.n, chunk.g, rows[0] : rows[1]],
    )  # fmt: skip


def _attend_backward(
    plan, chunk, space, q, k, v, mask, key, scale, dropout_p, out, lse, do, grads, dmask
):
    """The gradients of one chunk: its own rows of dq, dk and dv."""
    dq, dk, dv = grads
    heads = (chunk.n.stop - chunk.n.start, chunk.g.stop - chunk.g.start)
    if plan.causal:  # the first queries do not reach all keys
        for grad in (dk, dv):
            if grad is not None:
                part(grad, chunk, (0, plan.S))[...] = 0
    for rows in plan.row_blocks():
        length = rows[1] - rows[0]
        first = not rows[0] and (not plan.causal or length == plan.L)
        qs = _scaled_queries(q, chunk, rows, space, scale)
        douts = part(do, chunk, rows)  # (n, g, l, V)
        row_lse = lse[chunk.n, chunk.g, rows[0] : rows[1]].reshape(-1)
        delta = np.einsum("...d,...d->...", douts, part(out, chunk, rows)).reshape(-1)
        for columns in plan.column_blocks(rows):
            width = columns[1] - columns[0]
            s, flat = space.block(0, (*heads, length, width))
            dp, dflat = space.block(1, (*heads, length, width))
            keys, values = part(k, chunk, columns), part(v, chunk, columns)
            np.matmul(qs, space.transposed(keys), out=s)
            if mask is not None:
                mask.add_to(s, chunk, rows, columns)
            np.matmul(douts, space.transposed(values), out=dp)
            if dropout_p:
                numbers = plan.row_numbers(chunk, rows)
                drop = (numbers, columns[0], plan.S, width, key, float(dropout_p))
                kernels.attention_dropout(*drop, dflat)
            settings = (length, plan.diagonal(rows, columns), width)
            kernels.attention_softmax_backward(row_lse, delta, *settings, flat, dflat)
            if dmask is not None:
                mask.add_gradient(dmask, dp, chunk, rows, columns)
            if dq is not None:
                _add(part(dq, chunk, rows), dp, keys, space, not columns[0])
            if dk is not None:
                _add(part(dk, chunk, columns), dp.swapaxes(-1, -2), qs, space, first)
            if dv is not None:
                if dropout_p:
                    kernels.attention_dropout(*drop, flat)
                _add(part(dv, chunk, columns), s.swapaxes(-1, -2), douts, space, first)
        if dq is not None:
            target = part(dq, chunk, rows)
            target *= scale


def _scaled_queries(q, chunk, rows, space, scale):
    queries = part(q, chunk, rows)
    qs = space.vectors(0, queries.shape)
    np.multiply(queries, queries.dtype.type(scale), out=qs)
    return qs


def _add(target, x, y, space, first):
    """target += x @ y, or = for the first time; heads that share a target are summed."""
    shape = (*np.broadcast_shapes(x.shape[:2], y.shape[:2]), x.shape[-2], y.shape[-1])
    if shape != target.shape:
        more = np.matmul(x, y).sum(axis=1, keepdims=True)
    elif first:
        np.matmul(x, y, out=target)
        return
    else:
        more = np.matmul(x, y, out=space.vectors(1, shape))
    if first:
        target[...] = more
    else:
        target += more


def _narrowed(grad, x, plan):
    """A gradient (N, G or 1, T, D) in the shape of the array it belongs to."""
    if grad.shape[1] == plan.G:
        return sum_to(grad.reshape(*plan.lead, *x.shape[-2:]), x.shape)
    return sum_to(grad.reshape(*plan.lead[:-1], 1, *x.shape[-2:]), x.shape)
