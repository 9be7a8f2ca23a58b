"""Inputs for the kernels of recurrent layers, attention, CTC and embedding bags."""

import numpy as np

from minidl import kernels
from minidl.kernels._sequences import pieces_of
from minidl.testing.kernels import KernelCase
from tests.cases._kernel_samples import normal, sampler_table

CASES, case = sampler_table()


@case("pack_panels")
def pack_panels(rng, dtype):
    for inner, columns in ((0, 3), (3, 0), (1, 1), (5, 32), (67, 70)):
        packed = np.empty(kernels.panels_shape(inner, columns, dtype), dtype)
        for transposed in (False, True):
            shape = (columns, inner) if transposed else (inner, columns)
            note = f"{shape}, {transposed}"
            yield KernelCase([normal(rng, shape, dtype), transposed], outputs=[packed], note=note)


def _sequences(rng, dtype):
    """(D, H, starts, sizes, reverse, gap) of recurrent layers; the last ones in several pieces, and
    in several chunks of their rows. gap: of x; above 1 where it lies one sequence after the other.
    """
    shapes = [
        (2, 3, (0, 0)), (1, 1, (1,)), (3, 7, (5, 4, 4, 1)), (16, 20, (70, 70)), (5, 33, (24, 9)),
        (3, 9, (64,) * 11 + (40,) * 3),
    ]  # fmt: skip
    for d, h, sizes in shapes:
        for reverse in (False, True):
            counts = np.array(sizes)
            even = reverse and counts.min() == counts.max() > 0
            yield d, h, np.cumsum(counts) - counts, counts, reverse, len(sizes) if even else 1


def _summed(rng, dtype, batch, rows, gates, inputs, summed):
    """(dgates, sums) as a backward kernel fills them: one of them has rows."""
    shape = kernels.gate_sums_shape(batch, rows, gates, inputs, dtype)
    pieces = -(-batch // max(1, -(-batch // pieces_of(batch)))) if summed else 0
    sums = normal(rng, (pieces, *shape[1:]), dtype)
    return normal(rng, (0 if pieces else rows, gates), dtype), sums


def _weights(rng, dtype, inner, columns, packed=True):
    """Weights (inner, columns) as kernels take them."""
    w = normal(rng, (inner, columns), dtype, 0.5)
    if not packed:
        return np.ascontiguousarray(w.T)[None]
    panels = np.empty(kernels.panels_shape(inner, columns, dtype), dtype)
    kernels.pack_panels(w, False, panels)
    return panels


def _normals(rng, dtype, *shapes):
    return [normal(rng, shape, dtype) for shape in shapes]


@case("rnn_forward")
def rnn_forward(rng, dtype):
    for d, h, starts, sizes, reverse, gap in _sequences(rng, dtype):
        for packed, relu in ((True, False), (False, True)):
            x, bias, state, out = _normals(
                rng, dtype, (sizes.sum(), d), h, (sizes[0], h), (sizes.sum(), h)
            )
            w_ih, w_hh = (_weights(rng, dtype, k, h, packed) for k in (d, h))
            inputs = [x, gap, w_ih, w_hh, packed, bias, starts, sizes, reverse, relu]
            yield KernelCase(inputs, [state], [out], f"{d}, {h}, {sizes}, {reverse}, {packed}")


@case("rnn_backward")
def rnn_backward(rng, dtype):
    for d, h, starts, sizes, reverse, gap in _sequences(rng, dtype):
        for relu, used, with_x, summed in ((False, True, True, True), (True, False, False, False)):
            n = sizes.sum()
            dout, x, before, out, dh = _normals(
                rng, dtype, (used * n, h), (n, d), (n, h), (n, h), (sizes[0], h)
            )
            weights = [_weights(rng, dtype, h, k) for k in (d, h)]
            dgates, sums = _summed(rng, dtype, sizes[0], n, h, d + 1 + h, summed)
            inputs = [dout, gap, x, gap, before, np.tanh(out), *weights, starts, sizes, reverse]
            inputs.append(relu)
            outputs = [sums, dgates, np.empty((with_x * n, d), dtype)]
            yield KernelCase(inputs, [dh], outputs, f"{d}, {h}, {sizes}, {reverse}, {relu}")


@case("lstm_forward")
def lstm_forward(rng, dtype):
    for d, h, starts, sizes, reverse, gap in _sequences(rng, dtype):
        for packed, p, keep in ((True, h, True), (False, h, False), (True, 2, True)):
            n = sizes.sum()
            x, bias, state, c = _normals(rng, dtype, (n, d), 4 * h, (sizes[0], p), (sizes[0], h))
            w_ih, w_hh = (_weights(rng, dtype, k, 4 * h, packed) for k in (d, p))
            w_hr = w_ih[:0] if p == h else _weights(rng, dtype, h, p)
            shapes = (keep * n, 4 * h), (keep * n, h), (n, p)
            inputs = [x, gap, w_ih, w_hh, w_hr, packed, bias, starts, sizes, reverse]
            note = f"{d}, {h}, {p}, {sizes}, {reverse}, {packed}"
            yield KernelCase(inputs, [state, c], _normals(rng, dtype, *shapes), note)


@case("lstm_backward")
def lstm_backward(rng, dtype):
    for d, h, starts, sizes, reverse, gap in _sequences(rng, dtype):
        for p, used, summed in ((h, True, True), (2, False, False), (2, True, True)):
            n = sizes.sum()
            gates = rng.random((n, 4 * h)).astype(dtype)
            dout, x, before, c, dh, dc = _normals(
                rng, dtype, (used * n, p), (n, d), (n, p), (n, h), (sizes[0], p), (sizes[0], h)
            )
            w_ih, w_hh = (_weights(rng, dtype, 4 * h, k) for k in (d, p))
            w_hr = w_ih[:0] if p == h else _weights(rng, dtype, p, h)
            dgates, sums = _summed(rng, dtype, sizes[0], n, 4 * h, d + 1 + p, summed)
            outputs = [sums, dgates, *_normals(rng, dtype, (len(w_hr) and n, p), (used * n, d))]
            inputs = [dout, gap, x, gap, before, gates, c, w_ih, w_hh, w_hr, starts, sizes, reverse]
            note = f"{d}, {h}, {p}, {sizes}, {reverse}"
            yield KernelCase(inputs, [dh, dc], outputs, note)


@case("gru_forward")
def gru_forward(rng, dtype):
    for d, h, starts, sizes, reverse, gap in _sequences(rng, dtype):
        for packed, keep in ((True, True), (False, False)):
            n = sizes.sum()
            x, bias, state = _normals(rng, dtype, (n, d), 4 * h, (sizes[0], h))
            shapes = ((d, 3 * h), (h, 2 * h), (h, h))
            weights = [_weights(rng, dtype, *shape, packed) for shape in shapes]
            outputs = _normals(rng, dtype, (keep * n, 4 * h), (n, h))
            inputs = [x, gap, *weights, packed, bias, starts, sizes, reverse]
            yield KernelCase(inputs, [state], outputs, f"{d}, {h}, {sizes}, {reverse}, {packed}")


@case("gru_backward")
def gru_backward(rng, dtype):
    for d, h, starts, sizes, reverse, gap in _sequences(rng, dtype):
        for used, summed in ((True, True), (False, False)):
            n = sizes.sum()
            gates = rng.random((n, 4 * h)).astype(dtype)
            dout, x, before, dh = _normals(rng, dtype, (used * n, h), (n, d), (n, h), (sizes[0], h))
            weights = [_weights(rng, dtype, 3 * h, k) for k in (d, h)]
            dgates, sums = _summed(rng, dtype, sizes[0], n, 4 * h, d + 1 + h, summed)
            inputs = [dout, gap, x, gap, before, gates, *weights, starts, sizes, reverse]
            note = f"{d}, {h}, {sizes}, {reverse}"
            outputs = [dgates, np.empty((used * n, d), dtype)]
            yield KernelCase(inputs, [dh, sums], outputs, note)  # of sums a part stays as it was


@case("gate_weights")
def gate_weights(rng, dtype):
    for pieces, gates, first, columns, d in (
        (1, 1, 0, 1, 1), (2, 150, 20, 130, 33), (4, 300, 0, 300, 300), (3, 40, 10, 30, 0),
    ):  # fmt: skip
        _, panels, _, width = kernels.gate_sums_shape(1, 1, gates, 1, dtype)
        sums = normal(rng, (pieces, panels, d + 3, width), dtype)
        for with_bias in (True, False):
            outputs = _normals(rng, dtype, (columns, d), with_bias * columns)
            inputs = [sums, 2, first, 1]
            yield KernelCase(inputs, outputs=outputs, note=f"{pieces}, {gates}, {with_bias}")


@case("attention_dropout")
def attention_dropout(rng, dtype):
    key = rng.integers(0, 2**63, 1).astype(np.uint64)
    for n, p in ((0, 0.5), (1, 0.3), (301, 0.3), (5, 0.0), (5, 1.0)):
        rows = rng.integers(0, 2**31, n)
        yield KernelCase([rows, 128, 1000, 45, key, p], [normal(rng, (n, 64), dtype)])


def ctc_samples(rng, dtype):
    """log_probs, targets, input_lengths, target_lengths; impossible and empty ones among them."""
    for steps, count, classes, size in ((1, 0, 3, 1), (1, 1, 2, 1), (7, 5, 4, 3), (40, 9, 11, 12)):
        x = normal(rng, (steps, count, classes), dtype)
        x -= np.log(np.exp(x).sum(2, keepdims=True))
        targets = rng.integers(1, classes, (count, size))
        ins, outs = rng.integers(0, steps + 1, count), rng.integers(0, size + 1, count)
        yield x, targets, ins, outs, np.empty((count, steps, 2 * size + 3), dtype)


@case("ctc_forward")
def ctc_forward(rng, dtype):
    for x, targets, ins, outs, alpha in ctc_samples(rng, dtype):
        loss = np.empty(len(targets), dtype)
        yield KernelCase([x, targets, ins, outs, 0], outputs=[loss, alpha], note=f"{x.shape}")


@case("ctc_backward")
def ctc_backward(rng, dtype):
    from minidl.kernels.ctc import ctc_forward_ref

    for x, targets, ins, outs, alpha in ctc_samples(rng, dtype):
        loss = np.empty(len(targets), dtype)
        ctc_forward_ref(x, targets, ins, outs, 0, loss, alpha)
        dloss = np.where(rng.random(len(loss)) < 0.2, 0, 1).astype(dtype)
        for normalised in (False, True):
            inputs = [dloss, x, targets, ins, outs, 0, normalised, loss, alpha]
            yield KernelCase(inputs, outputs=[x], note=f"{x.shape}, {normalised}")


@case("bag_max")
def bag_max(rng, dtype):
    for bags, ids, width in ((0, 0, 3), (1, 1, 1), (5, 9, 4), (200, 900, 17)):
        indptr = np.sort(rng.integers(0, ids + 1, bags + 1))
        indptr[0] = 0
        table = normal(rng, (50, width), dtype)
        out = np.empty((bags, width), dtype)
        inputs = [indptr, rng.integers(0, 50, ids), table]
        yield KernelCase(inputs, outputs=[out, np.zeros(out.shape, np.int64)], note=f"{bags} bags")


def _heads(rng, dtype):
    """(q, k, v, first, group, allowed, bias, key, p, scale, causal), and heads of the output."""
    key, none = rng.integers(0, 2**63, 1).astype(np.uint64), np.zeros((0, 0, 0, 0), dtype)
    free, own = np.zeros((0, 0, 0, 0), bool), np.zeros(3, np.int64)
    for n, g, length, keys, width, depth, causal, p in (
        (0, 2, 3, 3, 4, 4, False, 0.0),
        (1, 1, 1, 1, 1, 1, True, 0.0),
        (2, 2, 5, 7, 3, 6, False, 0.3),
        (3, 2, 50, 50, 32, 32, True, 0.0),
        (2, 1, 33, 64, 8, 5, True, 0.2),
        (1, 1, 300, 530, 5, 34, True, 0.0),  # several blocks, and chunks of keys
        (1, 2, 261, 300, 3, 4, False, 0.4),
        (1, 1, 140, 140, 64, 32, True, 0.0),  # whole tiles, whose rows are not copied
    ):
        q, k, v = (normal(rng, s, dtype) for s in (
            (n, length, g, width), (n, keys, g, width), (n, keys, g, depth)))  # fmt: skip
        yield (q, k, v, own, 1, free, none, key, p, 0.3, causal), g
        allowed = rng.random((n, 1, 1, keys)) < 0.7
        yield (q, k, v, own, 1, allowed if n > 1 else free, none, key, p, 0.3, causal), g
    q, k, v = (normal(rng, (1, t, 1, 16), dtype) for t in (140, 300, 300))
    both = rng.random((1, 1, 140, 300)) < 0.7, normal(rng, (1, 1, 140, 300), dtype)
    yield (q, k, v, own, 1, *both, key, 0.0, 0.5, False), 1
    q, k, v = (normal(rng, (2, 9, g, 4), dtype) for g in (6, 2, 2))
    wide = normal(rng, (1, 6, 9, 1), dtype)
    yield (q, k, v, own, 3, free, wide, key, 0.0, 3.0, False), 6  # three heads share one
    seen = rng.random((1, 1, 9, 9)) < 0.5
    seen[0, 0, 3] = False
    packed = normal(rng, (2, 9, 6, 4), dtype)
    first = np.array([0, 2, 4])
    yield (packed, packed, packed, first, 1, seen, none, key, 0.1, 0.5, False), 2


@case("attention_forward")
def attention_forward(rng, dtype):
    for inputs, heads in _heads(rng, dtype):
        q, v = inputs[0], inputs[2]
        out = np.empty((*q.shape[:2], heads, v.shape[3]), dtype)
        lse = np.empty((q.shape[0], heads, q.shape[1]), dtype)
        note = f"{q.shape}, {inputs[1].shape}"
        yield KernelCase(list(inputs), outputs=[out, lse], note=note)


@case("attention_backward")
def attention_backward(rng, dtype):
    from minidl.kernels.attention_heads import attention_forward_ref

    for inputs, heads in _heads(rng, dtype):
        q, k, v = inputs[:3]
        out = np.empty((*q.shape[:2], heads, v.shape[3]), dtype)
        lse = np.empty((q.shape[0], heads, q.shape[1]), dtype)
        if q.size:
            attention_forward_ref(*inputs, out, lse)
        if q is k:  # the gradients are parts of one array: see the test of the op
            continue
        inputs = [*inputs, out, lse, normal(rng, out.shape, dtype)]
        yield KernelCase(inputs, outputs=[q, k, v], note=f"{q.shape}, {k.shape}")
