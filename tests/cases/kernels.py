"""Inputs for every kernel of minidl, by its name: 0 and 1 rows, odd sizes, NaN and inf."""

import numpy as np

from minidl.testing.kernels import KernelCase
from tests.cases import (
    _image_kernels,
    _norm_kernels,
    _optimizer_kernels,
    _product_kernels,
    _program_kernel,
    _ranking_kernels,
    _sequence_kernels,
    _winograd_kernels,
)
from tests.cases._kernel_samples import ROWS, SIZES, normal, sampler_table, special

CASES, case = sampler_table()
for _family in (
    _image_kernels,
    _winograd_kernels,
    _norm_kernels,
    _optimizer_kernels,
    _product_kernels,
    _program_kernel,
    _ranking_kernels,
    _sequence_kernels,
):
    CASES |= _family.CASES


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


@case("arithmetic")
def arithmetic(rng, dtype):
    for n, m in ((1, 1), (1_000, 1_000), (40_000, 40_000), (60_000, 250), (150_000, 1_024)):
        x, y = normal(rng, n, dtype), normal(rng, m, dtype)
        for what in range(6):
            yield KernelCase([x, y, what], outputs=[x], note=f"{n} and {m}, way {what}")
    x = special(dtype)
    for what in range(6):
        yield KernelCase([x, x[::-1].copy(), what], outputs=[x], note="special values")


@case("arithmetic_columns")
def arithmetic_columns(rng, dtype):
    for n, width in ((0, 3), (1, 1), (2, 40), (3_000, 64), (700, 33)):
        x, y = normal(rng, (n, width), dtype), normal(rng, n, dtype)
        for what in range(6):
            yield KernelCase([x, y, what], outputs=[x], note=f"{n} x {width}, way {what}")


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


def _rows_with_ties(rng, dtype):
    for n, k in (*ROWS, (2_500, 48)):
        yield np.maximum(normal(rng, (n, k), dtype), 0), f"{n} x {k}"
    rows = np.concatenate([_special_rows(dtype), np.full((2, 3), [[-np.inf], [np.inf]], dtype)])
    rows[0, 1] = np.copysign(np.nan, -1)
    yield rows, "special rows"


@case("max_rows")
def max_rows(rng, dtype):
    for x, note in _rows_with_ties(rng, dtype):
        yield KernelCase([x], outputs=[np.empty(len(x), dtype)], note=note)


@case("share_rows")
def share_rows(rng, dtype):
    for x, note in _rows_with_ties(rng, dtype):
        dbest = normal(rng, len(x), dtype)
        for best in (x.max(axis=1), x.min(axis=1)):
            yield KernelCase([x, best, dbest], outputs=[x], note=note)


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


def _table_losses(rng, dtype):
    """(N, D, V): pieces of one and of several blocks of classes, blocks of one and of many rows."""
    for n, d, v in ((0, 3, 5), (1, 1, 1), (5, 3, 7), (70, 33, 300), (130, 40, 2_100), (300, 9, 90)):
        for smoothing in (0.0, 0.2):
            x, weight = normal(rng, (n, d), dtype), normal(rng, (v, d), dtype)
            bias = normal(rng, v if smoothing else 0, dtype, 3.0)
            shares, target = rng.random(v).astype(dtype), rng.integers(0, v, n)
            yield x, weight, bias, target, shares, smoothing


@case("linear_cross_entropy_forward")
def linear_cross_entropy(rng, dtype):
    for inputs in _table_losses(rng, dtype):
        yield KernelCase(inputs, outputs=[np.empty(len(inputs[0]), dtype)])
    x, weight, target = np.ones((2, 3), dtype), np.ones((200, 3), dtype), np.array([150, 0])
    for first, last in ((-np.inf, 0.0), (-np.inf, -np.inf), (0.0, np.nan), (0.0, np.inf)):
        bias = np.repeat([first, last], 100).astype(dtype)
        inputs = [x, weight, bias, target, np.ones(200, dtype), 0.0]
        yield KernelCase(inputs, outputs=[np.empty(2, dtype)], note=f"{first}, then {last}")


@case("linear_cross_entropy_gradients")
def linear_cross_entropy_gradients(rng, dtype):
    for number, inputs in enumerate(_table_losses(rng, dtype)):
        x, weight, bias = inputs[:3]
        given = [normal(rng, len(x), dtype), *inputs]
        none = np.empty((0, x.shape[1]), dtype)
        for dx, dweight in ((x, weight),) if number % 2 else ((x, none), (none, weight)):
            outputs = [np.empty(len(x), dtype), dx, dweight, bias]
            yield KernelCase(given, outputs=outputs)


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


@case("segment_table")
def segment_table(rng, dtype):
    for n, d in ROWS:
        ids = rng.integers(0, 1 + n // 2, n)
        order = np.argsort(ids, kind="stable")
        rows, starts = np.unique(ids[order], return_index=True)
        inputs = [normal(rng, (n, d), dtype), order, np.append(starts, n).astype(np.int64), rows]
        table = np.empty((2 + n, d), dtype)
        yield KernelCase([*inputs, 1], outputs=[table])
        yield KernelCase([*inputs, 0], state=[np.ones_like(table)])


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


@case("csr_matmul")
def csr(rng, dtype):
    for rows, columns, width, share in ((0, 3, 2, 0.5), (1, 1, 1, 1.0), (301, 57, 3, 0.1)):
        full = rng.random((rows, columns)) < share
        indices = np.nonzero(full)[1].astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(full.sum(1))]).astype(np.int64)
        data, dense = normal(rng, len(indices), dtype), normal(rng, (columns, width), dtype)
        yield KernelCase([indptr, indices, data, dense], outputs=[np.empty((rows, width), dtype)])
