"""Inputs of every op for a working set of so many bytes.

Most are the largest inputs of the op's tests with their rows repeated, so that the values stay
where the op is defined. An op whose sizes hang together says its own here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.describe.code import samplers
from minidl.describe.watch import Call
from minidl.ops._op import REGISTRY, Op

Inputs = tuple[tuple[Any, ...], dict[str, Any]]

WIDTH = 256  # of rows
_FLAT = ("activation", "choice", "elementwise", "transcendental", "trigonometry")
_SLOW = ("ctc", "linalg", "systems")  # LAPACK on small matrices, and loops of Python

MADE: dict[str, Callable[[Any, int], Inputs]] = {}
"""name: (random normal float32 arrays of a shape, floats in the working set) -> inputs."""


def made(*names: str) -> Callable[..., Any]:
    def keep(function: Callable[[Any, int], Inputs]) -> Callable[[Any, int], Inputs]:
        MADE.update(dict.fromkeys(names, function))
        return function

    return keep


def inputs(name: str, size: int) -> Call | None:
    """A call of the op that reads and writes about `size` bytes; None where its tests have no
    rows to repeat, or more would take too long."""
    op = REGISTRY[name]
    family = op.__module__.rpartition(".")[2]
    rng = np.random.default_rng(0)
    if name in MADE:
        made_ = MADE[name](lambda *shape: rng.standard_normal(shape, np.float32), size // 4)
        return Call(op, *made_)
    case = largest(op)
    if case is None or family == "view" or (family in _SLOW and size > 1 << 20):
        return None
    arrays = [a.astype(np.float32) if _is_float(a) else a for a in case.arrays]
    big = max((a for a in arrays if isinstance(a, np.ndarray)), key=lambda a: a.size)
    if not big.ndim or not len(big):
        return None
    if family in _FLAT:  # no axis matters: all rows one after the other
        count = max(1, size // 4 // (sum(np.shape(a) == big.shape for a in arrays) + 1))
        grown = [
            np.resize(a, (max(1, count // 1024), min(count, 1024)))
            if np.shape(a) == big.shape
            else a
            for a in arrays
        ]
        return Call(op, tuple(grown), case.settings)
    times = max(1, size // (2 * big.nbytes))
    grown = [
        np.concatenate([a] * times) if np.ndim(a) and len(a) == len(big) else a for a in arrays
    ]
    return Call(op, tuple(grown), case.settings)


def largest(op: type[Op]) -> Any:
    """The test inputs of an op with the most numbers."""
    sampler = samplers().get(op.__name__)
    if sampler is None:
        return None
    cases = list(sampler(np.random.default_rng(0)))
    return max(cases, key=lambda c: sum(np.size(a) for a in c.arrays))


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _side(n: int) -> int:
    """The side of three square matrices with n elements; at most 2,048, for the FLOPs' sake."""
    return min(2048, int((n / 3) ** 0.5))


@made("MatMul")
def _matmul(normal, n):
    side = _side(n)
    return (normal(side, side), normal(side, side)), {}


@made("Linear", "LinearRelu")
def _linear(normal, n):
    side = _side(n)
    return (normal(side, side), normal(side, side), normal(side)), {}


@made("Softmax", "LogSoftmax", "LogSumExp")
def _rows(normal, n):
    return (normal(max(1, n // 2 // WIDTH), WIDTH),), {}


@made("LayerNorm")
def _layer_norm(normal, n):
    x = normal(max(1, n // 2 // WIDTH), WIDTH)
    return (x, normal(WIDTH), normal(WIDTH)), {"eps": 1e-5}


@made("RMSNorm")
def _rms_norm(normal, n):
    return (normal(max(1, n // 2 // WIDTH), WIDTH), normal(WIDTH)), {"eps": 1e-5}


def _images(normal, n, channels=32):
    return normal(max(1, n // 2 // channels // 28**2), channels, 28, 28)


@made("BatchNorm")
def _batch_norm(normal, n):
    return (_images(normal, n), normal(32), normal(32)), {"eps": 1e-5}


@made("GroupNorm")
def _group_norm(normal, n):
    return (_images(normal, n), normal(32), normal(32)), {"groups": 8, "eps": 1e-5}


@made("ChannelAffine")
def _channel_affine(normal, n):
    return (_images(normal, n), normal(32), normal(32), normal(32)), {}


def _same(size: tuple[int, int]) -> dict[str, Any]:
    return {"size": size, "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}


@made("Conv", "ConvTranspose")
def _conv(normal, n):
    x = _images(normal, min(n, 16 << 20))
    return (x, normal(32, 32, 3, 3), normal(32)), {**_same((28, 28)), "groups": 1}


@made("ConvWeight")
def _conv_weight(normal, n):
    x = _images(normal, min(n, 16 << 20))
    settings = _same((28, 28))
    settings.pop("size")
    return (x, normal(*x.shape)), {**settings, "kernel": (3, 3), "groups": 1}


@made("Im2Col")
def _im2col(normal, n):
    x = normal(max(1, n // 10 // 8 // 28**2), 8, 28, 28)  # read once, written nine times
    return (x,), {**_same((28, 28)), "kernel": (3, 3)}


@made("Col2Im")
def _col2im(normal, n):
    columns = normal(max(1, n // 10 // 8 // 28**2), 8 * 9, 28 * 28)
    return (columns,), {**_same((28, 28)), "positions": (28, 28), "kernel": (3, 3)}


@made("MaxPool")
def _max_pool(normal, n):
    settings = {"size": (14, 14), "kernel": (2, 2), "stride": (2, 2)}
    return (_images(normal, n),), {**settings, "padding": (0, 0), "dilation": (1, 1)}


_HALVED = (("regular", 14, 2, 2, 0, True),) * 2


@made("AvgPool")
def _avg_pool(normal, n):
    return (_images(normal, n),), {"rules": _HALVED, "divisor": None}


@made("AvgPoolSpread")
def _avg_pool_spread(normal, n):
    x = normal(max(1, n // 5 // 32 // 14**2), 32, 14, 14)
    return (x,), {"rules": _HALVED, "divisor": None, "size": (28, 28)}


def _sequences(normal, n):
    """Rows of packed sequences: T = 50, each as many; (x, counts, B). Products dominate."""
    rows = max(1, min(n, 8 << 20) // 2 // 128 // 50)
    return normal(rows * 50, 128), np.full(50, rows), rows


@made("GRU")
def _gru(normal, n):
    x, counts, rows = _sequences(normal, n)
    weights = [0.1 * normal(384, 128), 0.1 * normal(384, 128), normal(384), normal(384)]
    return (x, normal(rows, 128), *weights, counts), {"reverse": False}


@made("RNN")
def _rnn(normal, n):
    x, counts, rows = _sequences(normal, n)
    weights = [0.1 * normal(128, 128), 0.1 * normal(128, 128), normal(128), normal(128)]
    return (x, normal(rows, 128), *weights, counts), {"relu": False, "reverse": False}


@made("LSTM")
def _lstm(normal, n):
    x, counts, rows = _sequences(normal, n)
    weights = [0.1 * normal(512, 128), 0.1 * normal(512, 128), normal(512), normal(512)]
    states = normal(rows, 128), normal(rows, 128)
    return (x, *states, *weights, None, counts), {"reverse": False}


@made("ScaledDotProductAttention")
def _attention(normal, n):
    q, k, v = (normal(max(1, min(n, 16 << 20) // 4 // 64 // 32), 64, 32) for _ in range(3))
    return (q, k, v, None, None), {"scale": 32**-0.5, "causal": True, "dropout_p": 0.0}


def _table(normal, n, batch):
    table = normal(max(2, n // 2 // 64), 64)
    return table, np.random.default_rng(1).integers(0, len(table), max(1, batch))


@made("Embedding")
def _embedding(normal, n):
    return _table(normal, n, n // 4 // 64), {"padding_idx": None, "sparse": False}


@made("EmbeddingBag")
def _bag(normal, n):
    table, ids = _table(normal, n, n // 4 // 64)
    return (table, normal(len(ids)), ids, _tens(ids)), {"sparse": False}


def _tens(ids):
    """Bounds of bags of ten."""
    return np.append(np.arange(0, len(ids), 10), len(ids))


@made("EmbeddingBagMax")
def _bag_max(normal, n):
    table, ids = _table(normal, n, n // 4 // 64)
    return (table, ids, np.arange(0, len(ids), 10)), {}


@made("CrossEntropy")
def _cross_entropy(normal, n):
    x = normal(max(1, n // 1000), 1000)  # nothing of its size is written
    target = np.random.default_rng(1).integers(0, 1000, len(x))
    settings = {"label_smoothing": 0.0, "ignore_index": -100}
    return (x, target, np.ones(1000, np.float32)), settings


@made("LinearCrossEntropy")
def _linear_cross_entropy(normal, n):
    table = normal(max(1, n // 4 // 64), 64)
    target = np.random.default_rng(1).integers(0, len(table), 128)
    settings = {
        "label_smoothing": 0.0, "ignore_index": -100, "reduction": "mean", "ahead": False,
    }  # fmt: skip
    return (normal(128, 64), table, None, target, np.ones(len(table), np.float32)), settings


@made("TakeRows")
def _take_rows(normal, n):
    return _table(normal, n, n // 4 // 64), {"axis": 0}


@made("AddRows")
def _add_rows(normal, n):
    rows = max(1, n // 2 // 64)
    ids = np.random.default_rng(1).integers(0, rows, rows)
    return (normal(rows, 64), ids), {"axis": 0, "shape": (rows, 64)}


@made("Sum", "Mean", "Amax", "Amin")
def _reduced(normal, n):
    return (normal(max(1, n // WIDTH), WIDTH),), {"dim": (1,), "keepdim": False}


@made("CumSum")
def _cumsum(normal, n):
    return (normal(max(1, n // 2 // WIDTH), WIDTH),), {"reverse": False}
