"""Inputs for every kernel of minidl, by its name: 0 and 1 rows, odd sizes, NaN and inf."""

from collections.abc import Callable, Iterator

import numpy as np

from minidl import kernels
from minidl.testing.kernels import KernelCase
from tests.cases import _image_kernels, _norm_kernels

Sampler = Callable[[np.random.Generator, type], Iterator[KernelCase]]

SIZES = (0, 1, 7, 20_001)
"""Of flat arrays: the last makes several pieces, the last of them odd."""
ROWS = ((0, 5), (1, 1), (3, 17), (301, 67))
"""(N, D) of matrices; the last makes several pieces."""

CASES: dict[str, Sampler] = _image_kernels.CASES | _norm_kernels.CASES


def case(*names: str) -> Callable[[Sampler], Sampler]:
    def add(sampler: Sampler) -> Sampler:
        for name in names:
            CASES[name] = sampler
        return sampler

    return add


def normal(rng, shape, dtype, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(dtype)


def special(dtype):
    """Where functions go wrong: signs of zero, denormal, huge, inf, NaN."""
    tiny = np.finfo(dtype).smallest_subnormal
    values = [0.0, -0.0, tiny, 1e-30, -1e-30, 30.0, -30.0, 95.0, -95.0, np.inf, -np.inf, np.nan]
    return np.array(values, dtype)


@case(
    "erf_forward",
    "erfc_forward",
    "exp_forward",
    "tanh_forward",
    "sigmoid_forward",
    "silu_forward",
    "relu_forward",
    "hardswish_forward",
    "softplus_forward",
    "gelu_forward",
    "gelu_tanh_forward",
)
def unary(rng, dtype):
    for n in SIZES:
        x = normal(rng, n, dtype, 4.0)
        yield KernelCase([x], outputs=[x])
    yield KernelCase([special(dtype)], outputs=[special(dtype)], note="special values")


@case(
    "tanh_backward",
    "sigmoid_backward",
    "relu_backward",
    "silu_backward",
    "hardswish_backward",
    "softplus_backward",
    "gelu_backward",
    "gelu_tanh_backward",
)
def unary_backward(rng, dtype):
    for n in SIZES:
        dy, y = normal(rng, n, dtype), normal(rng, n, dtype)
        yield KernelCase([dy, y], outputs=[y])


def bent(*numbers):
    def sampler(rng, dtype):
        for n in SIZES:
            x = normal(rng, n, dtype, 3.0)
            yield KernelCase([x, *numbers], outputs=[x])
        yield KernelCase([special(dtype), *numbers], outputs=[special(dtype)], note="special")

    return sampler


def bent_backward(*numbers):
    def sampler(rng, dtype):
        for n in SIZES:
            dy, x = normal(rng, n, dtype), normal(rng, n, dtype, 3.0)
            yield KernelCase([dy, x, *numbers], outputs=[x])

    return sampler


case("leaky_relu_forward")(bent(0.2))
case("leaky_relu_backward")(bent_backward(0.2))
case("elu_forward")(bent(1.5, 1.1, 0.7))
case("elu_backward")(bent_backward(1.5, 1.1, 0.7))


@case("dropout")
def dropout(rng, dtype):
    key = rng.integers(0, 2**63, 1).astype(np.uint64)
    for n, p in zip((*SIZES, 100, 100), (0.5, 0.5, 0.1, 0.3, 0.0, 1.0)):
        x = normal(rng, n, dtype)
        yield KernelCase([x, key, p], outputs=[x], note=f"p={p}")


@case("bce_with_logits_forward")
def bce(rng, dtype):
    for n in SIZES:
        x = normal(rng, n, dtype, 5.0)
        yield KernelCase([x, rng.random(n).astype(dtype)], outputs=[x])
    x = np.array([0.0, 90.0, -90.0, np.nan], dtype)
    yield KernelCase([x, np.array([1, 0, 1, 0], dtype)], outputs=[x], note="special values")


@case("bce_with_logits_backward")
def bce_backward(rng, dtype):
    for n in SIZES:
        dloss, x = normal(rng, n, dtype), normal(rng, n, dtype, 5.0)
        yield KernelCase([dloss, x, rng.random(n).astype(dtype)], outputs=[x])


@case("bpr_forward")
def bpr(rng, dtype):
    for n in SIZES:
        positive, negative = normal(rng, n, dtype, 5.0), normal(rng, n, dtype, 5.0)
        yield KernelCase([positive, negative], outputs=[positive])
    positive = special(dtype)
    yield KernelCase([positive, np.zeros_like(positive)], outputs=[positive], note="special values")


@case("bpr_backward")
def bpr_backward(rng, dtype):
    for n in SIZES:
        dloss, positive, negative = (normal(rng, n, dtype) for _ in range(3))
        yield KernelCase([dloss, positive, negative], outputs=[positive, negative])


def _special_rows(dtype):
    inf, nan = np.inf, np.nan
    return np.array([[0, 1, -inf], [-inf, -inf, 2], [nan, 1, 2], [1e4, -1e4, 9e3]], dtype)


@case("softmax_forward", "log_softmax_forward")
def softmax(rng, dtype):
    for shape in ROWS:
        x = normal(rng, shape, dtype, 5.0)
        yield KernelCase([x], outputs=[x])
    yield KernelCase([_special_rows(dtype)], outputs=[_special_rows(dtype)], note="special rows")


@case("softmax_backward", "log_softmax_backward")
def softmax_backward(rng, dtype):
    for shape in ROWS:
        dy, x = normal(rng, shape, dtype), normal(rng, shape, dtype)
        logp = (x - np.log(np.exp(x).sum(axis=1, keepdims=True))).astype(dtype)
        yield KernelCase([dy, logp], outputs=[x])


@case("logsumexp")
def logsumexp(rng, dtype):
    for n, k in ROWS:
        yield KernelCase([normal(rng, (n, k), dtype, 5.0)], outputs=[np.empty(n, dtype)])
    rows = np.concatenate([_special_rows(dtype), np.full((2, 3), [[-np.inf], [np.inf]], dtype)])
    yield KernelCase([rows], outputs=[np.empty(len(rows), dtype)], note="special rows")


def _cross_entropy(rng, dtype):
    for n, k in ROWS:
        for smoothing in (0.0, 0.2):
            target = rng.integers(0, k, n)
            target[::3] = -100
            x, weight = normal(rng, (n, k), dtype, 3.0), rng.random(k).astype(dtype)
            yield x, target, weight, smoothing, -100, np.empty(n, dtype)


@case("cross_entropy_forward")
def cross_entropy(rng, dtype):
    for *inputs, per_row in _cross_entropy(rng, dtype):
        yield KernelCase(inputs, outputs=[per_row, per_row])


@case("cross_entropy_backward")
def cross_entropy_backward(rng, dtype):
    for x, target, weight, smoothing, ignored, per_row in _cross_entropy(rng, dtype):
        lse = np.log(np.exp(x).sum(axis=1)).astype(dtype)
        dloss = normal(rng, per_row.shape, dtype)
        yield KernelCase([dloss, x, target, weight, smoothing, ignored, lse], outputs=[x])


@case("gather_rows")
def gather_rows(rng, dtype):
    for n, d in ROWS:
        table, ids = normal(rng, (50, d), dtype), rng.integers(0, 50, n)
        yield KernelCase([table, ids], outputs=[np.empty((n, d), dtype)])


@case("scatter_add_rows")
def scatter_add_rows(rng, dtype):
    for n, d in ROWS:
        ids = rng.integers(0, 50, n)
        yield KernelCase([normal(rng, (n, d), dtype), ids], [normal(rng, (50, d), dtype)])


@case("group_ids")
def group_ids(rng, dtype):
    for n, high in ((0, 1), (1, 1), (1, 9), (7, 3), (2_001, 50), (2_001, 3_000), (2_001, 2**40)):
        ids = rng.integers(0, high, n)
        outputs = [ids, ids, np.empty(n + 1, np.int64), np.empty(1, np.int64)]
        yield KernelCase([ids], outputs=outputs, note=f"below {high}")


@case("segment_sum_rows")
def segment_sum_rows(rng, dtype):
    for n, d in ROWS:
        ids = rng.integers(0, 1 + n // 2, n)
        order = np.argsort(ids, kind="stable")
        starts = np.append(np.unique(ids[order], return_index=True)[1], n).astype(np.int64)
        out = np.empty((len(starts) - 1, d), dtype)
        yield KernelCase([normal(rng, (n, d), dtype), order, starts], outputs=[out])


@case("topk_rows")
def topk_rows(rng, dtype):
    for b, v, k in ((0, 5, 2), (1, 1, 1), (3, 9, 12), (301, 167, 10)):
        scores = np.round(normal(rng, (b, v), dtype, 3.0))  # many ties
        scores[rng.random((b, v)) < 0.05] = np.nan
        scores[rng.random((b, v)) < 0.05] = -np.inf
        lists = [np.flatnonzero(rng.random(v) < 0.2) for _ in range(b)]
        indptr = np.cumsum([0, *(len(items) for items in lists)]).astype(np.int64)
        seen = np.concatenate([*lists, np.empty(0, np.int64)])
        outputs = [np.empty((b, k), np.int64), np.empty((b, k), dtype)]
        yield KernelCase([scores, indptr, seen], outputs=outputs)


def _state(rng, n, dtype):
    """A parameter, and two states that stay positive as sums of squares do."""
    return [normal(rng, n, dtype), *(rng.random(n).astype(dtype) + dtype(0.5) for _ in range(2))]


@case("sgd")
def sgd(rng, dtype):
    for n in SIZES:
        for momentum, dampening, nesterov, first, sign in (
            (0.0, 0.0, False, True, 1.0),
            (0.9, 0.0, True, False, 1.0),
            (0.9, 0.3, False, False, -1.0),
            (0.9, 0.3, False, True, 1.0),
        ):
            param, buffer, _ = _state(rng, n, dtype)
            if momentum == 0:
                buffer = buffer[:0]
            elif first:
                buffer[:] = 0
            settings = [0.1, momentum, dampening, 0.01, nesterov, sign, first]
            yield KernelCase([normal(rng, n, dtype), *settings], [param, buffer])


@case("adam")
def adam(rng, dtype):
    for n in SIZES:
        for decoupled, amsgrad, sign in ((False, False, 1.0), (True, True, -1.0)):
            param, m, v = _state(rng, n, dtype)
            vmax = v.copy() if amsgrad else v[:0]
            settings = [3, 0.01, 0.9, 0.999, 1e-8, 0.02, decoupled, sign]
            yield KernelCase([normal(rng, n, dtype), *settings], [param, m, v, vmax])


@case("adagrad")
def adagrad(rng, dtype):
    for n in SIZES:
        param, total, _ = _state(rng, n, dtype)
        settings = [4, 0.1, 0.05, 0.01, 1e-10, 1.0]
        yield KernelCase([normal(rng, n, dtype), *settings], [param, total])


@case("rmsprop")
def rmsprop(rng, dtype):
    for n in SIZES:
        for momentum, centered in ((0.0, False), (0.9, False), (0.0, True), (0.9, True)):
            param, square, buffer = _state(rng, n, dtype)
            mean = normal(rng, n, dtype, 0.1) if centered else param[:0]
            buffer = buffer if momentum else buffer[:0]
            settings = [0.01, 0.99, 1e-8, 0.02, momentum, 1.0]
            yield KernelCase([normal(rng, n, dtype), *settings], [param, square + 2, mean, buffer])


@case("adadelta")
def adadelta(rng, dtype):
    for n in SIZES:
        yield KernelCase([normal(rng, n, dtype), 0.7, 0.9, 1e-6, 0.01, -1.0], _state(rng, n, dtype))


@case("adamax")
def adamax(rng, dtype):
    for n in SIZES:
        settings = [3, 0.01, 0.9, 0.999, 1e-8, 0.02, 1.0]
        yield KernelCase([normal(rng, n, dtype), *settings], _state(rng, n, dtype))


@case("adam_mixed")
def adam_mixed(rng, dtype):
    for n in SIZES:
        for now, ahead, plain in ((0.1, 0.2, 0.0), (0.0, 0.0, 0.3)):
            settings = [now, ahead, plain, 0.9, 0.999, 1.4, 1e-8, 0.02, 0.99, -1.0]
            yield KernelCase([normal(rng, n, dtype), *settings], _state(rng, n, dtype))


@case("rprop")
def rprop(rng, dtype):
    for n in SIZES:
        grad, before, param = (normal(rng, n, dtype) for _ in range(3))
        grad[::5] = 0
        size = rng.random(n).astype(dtype)
        yield KernelCase([grad, 0.5, 1.2, 0.1, 0.9, -1.0], [param, before, size])


@case("lion")
def lion(rng, dtype):
    for n in SIZES:
        grad, param, m = (normal(rng, n, dtype) for _ in range(3))
        grad[::5] = m[::5] = 0
        yield KernelCase([grad, 0.1, 0.9, 0.99, 0.98, -1.0], [param, m])


@case("move_average")
def move_average(rng, dtype):
    for n in SIZES:
        yield KernelCase([normal(rng, n, dtype), 0.1], [normal(rng, n, dtype)])


def _rows(rng, dtype):
    for n, d in ROWS:
        rows = rng.permutation(400)[:n]
        table = normal(rng, (400, d), dtype)
        yield normal(rng, (n, d), dtype), rows, table, rng.random((400, d)).astype(dtype)


@case("sgd_rows")
def sgd_rows(rng, dtype):
    for values, rows, table, _ in _rows(rng, dtype):
        yield KernelCase([values, rows, 0.1, -1.0], [table])


@case("adagrad_rows")
def adagrad_rows(rng, dtype):
    for values, rows, table, total in _rows(rng, dtype):
        yield KernelCase([values, rows, 3, 0.1, 0.05, 1e-10, 1.0], [table, total])


@case("sparse_adam_rows")
def sparse_adam_rows(rng, dtype):
    for values, rows, table, v in _rows(rng, dtype):
        inputs = [values, rows, 3, 0.1, 0.9, 0.999, 1e-8, 1.0]
        yield KernelCase(inputs, [table, table * dtype(0.1), v])


@case("csr_matmul")
def csr(rng, dtype):
    for rows, columns, width, share in ((0, 3, 2, 0.5), (1, 1, 1, 1.0), (301, 57, 3, 0.1)):
        full = rng.random((rows, columns)) < share
        indices = np.nonzero(full)[1].astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(full.sum(1))]).astype(np.int64)
        data, dense = normal(rng, len(indices), dtype), normal(rng, (columns, width), dtype)
        yield KernelCase([indptr, indices, data, dense], outputs=[np.empty((rows, width), dtype)])


BATCHES = ((0, 3), (1, 1), (5, 7), (70, 67))
"""(B, H) of recurrent layers; the last makes several pieces."""


@case("rnn_forward")
def rnn_forward(rng, dtype):
    for shape in BATCHES:
        for relu in (False, True):
            arrays = [normal(rng, shape, dtype) for _ in range(2)]
            bias = normal(rng, shape[1], dtype)
            yield KernelCase([*arrays, bias, relu], outputs=[arrays[0]], note=f"{shape}, {relu}")


@case("rnn_backward")
def rnn_backward(rng, dtype):
    for shape in BATCHES:
        for relu in (False, True):
            arrays = [normal(rng, shape, dtype) for _ in range(3)]
            yield KernelCase([*arrays, relu], outputs=[arrays[0]], note=f"{shape}, {relu}")


@case("lstm_forward")
def lstm_forward(rng, dtype):
    for shape in BATCHES:
        wide = (shape[0], 4 * shape[1])
        recurrent, gates = normal(rng, wide, dtype), normal(rng, wide, dtype)
        c = normal(rng, shape, dtype)
        bias = normal(rng, wide[1], dtype)
        yield KernelCase([recurrent, bias, c], state=[gates], outputs=[c, c], note=f"{shape}")


@case("lstm_backward")
def lstm_backward(rng, dtype):
    for shape in BATCHES:
        gates = rng.random((shape[0], 4 * shape[1])).astype(dtype)
        dout, dh, c, dc = (normal(rng, shape, dtype) for _ in range(4))
        yield KernelCase([dout, dh, gates, c], state=[dc], outputs=[gates], note=f"{shape}")


@case("gru_forward")
def gru_forward(rng, dtype):
    for shape in BATCHES:
        gates = normal(rng, (shape[0], 4 * shape[1]), dtype)
        recurrent = normal(rng, (shape[0], 3 * shape[1]), dtype)
        bias, h = normal(rng, 4 * shape[1], dtype), normal(rng, shape, dtype)
        yield KernelCase([recurrent, bias, h], state=[gates], outputs=[h], note=f"{shape}")


@case("gru_backward")
def gru_backward(rng, dtype):
    for shape in BATCHES:
        gates = rng.random((shape[0], 4 * shape[1])).astype(dtype)
        dout, back, h, dh = (normal(rng, shape, dtype) for _ in range(4))
        yield KernelCase([dout, back, gates, h], state=[dh], outputs=[gates], note=f"{shape}")


def _logits(rng, dtype):
    """(period, diagonal, columns, s, tops): causal and not, blind rows, NaN, inf, large."""
    yield 1, 32, 5, normal(rng, (0, 32), dtype)
    yield 1, 0, 1, normal(rng, (1, 32), dtype)
    yield 50, 0, 50, normal(rng, (150, 64), dtype, 3.0)
    yield 50, 64, 50, normal(rng, (150, 64), dtype, 1e4)
    yield 7, -3, 40, normal(rng, (21, 64), dtype)
    yield 150, 9, 151, normal(rng, (300, 160), dtype)  # several pieces
    s = normal(rng, (6, 32), dtype)
    s[0], s[1, 3], s[2, 4], s[3, 5], s[4, 20] = -np.inf, np.nan, np.inf, -np.inf, np.nan
    yield 6, 32, 17, s


@case("attention_softmax")
def attention_softmax(rng, dtype):
    for *settings, s in _logits(rng, dtype):
        top = np.where(np.arange(len(s)) % 2, normal(rng, len(s), dtype), dtype(-np.inf))
        total = np.where(np.isinf(top), dtype(0), dtype(2.5))
        yield KernelCase(settings, [s, top.astype(dtype), total], [total], note=f"{settings}")


@case("attention_softmax_backward")
def attention_softmax_backward(rng, dtype):
    for *settings, s in _logits(rng, dtype):
        lse = 4 + np.abs(s).max(axis=1, initial=0)
        lse[::5] = np.inf
        state = [np.minimum(s, lse[:, None]), normal(rng, s.shape, dtype)]
        yield KernelCase([lse, normal(rng, len(s), dtype), *settings], state, note=f"{settings}")


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
    """(q, k, v, bias, key, p, scale, causal): lengths in and out of step, masks, dropout."""
    key, none = rng.integers(0, 2**63, 1).astype(np.uint64), np.zeros((0, 0, 0, 0), dtype)
    for n, g, length, keys, width, depth, causal, p in (
        (0, 2, 3, 3, 4, 4, False, 0.0),
        (1, 1, 1, 1, 1, 1, True, 0.0),
        (2, 2, 5, 7, 3, 6, False, 0.3),
        (3, 2, 50, 50, 32, 32, True, 0.0),
        (2, 1, 33, 64, 8, 5, True, 0.2),
        (2, 1, 61, 33, 5, 64, True, 0.0),
    ):
        q, k, v = (normal(rng, s, dtype) for s in (
            (n, length, g, width), (n, keys, g, width), (n, keys, g, depth)))  # fmt: skip
        yield q, k, v, none, key, p, 0.3, causal
        bias = np.where(rng.random((n, 1, 1, keys)) < 0.3, dtype(-np.inf), dtype(0))
        yield q, k, v, bias if n > 1 else none, key, p, 0.3, causal
    wide = normal(rng, (1, 2, 9, 1), dtype)
    q, k, v = (normal(rng, (2, 9, 2, 4), dtype) for _ in range(3))
    yield q, k, v, wide, key, 0.0, 3.0, False


@case("attention_heads_forward")
def attention_heads_forward(rng, dtype):
    for q, k, v, *settings in _heads(rng, dtype):
        out = np.empty((*q.shape[:3], v.shape[3]), dtype)
        lse = np.empty((q.shape[0], q.shape[2], q.shape[1]), dtype)
        yield KernelCase([q, k, v, *settings], outputs=[out, lse], note=f"{q.shape}, {k.shape}")


@case("attention_heads_backward")
def attention_heads_backward(rng, dtype):
    for q, k, v, *settings in _heads(rng, dtype):
        out = np.empty((*q.shape[:3], v.shape[3]), dtype)
        lse = np.empty((q.shape[0], q.shape[2], q.shape[1]), dtype)
        if q.size:
            kernels.attention_heads_forward.reference(q, k, v, *settings, out, lse)
        inputs = [q, k, v, *settings, out, lse, normal(rng, out.shape, dtype)]
        yield KernelCase(inputs, outputs=[q, k, v], note=f"{q.shape}, {k.shape}")
