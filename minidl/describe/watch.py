"""Run a thing once on typical inputs, and time the ops it runs."""

import contextlib
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import minidl
from minidl import functional as F
from minidl import nn
from minidl.describe.code import ops_of, samplers
from minidl.describe.names import entries
from minidl.ops._op import REGISTRY, Op


class Call(NamedTuple):
    """One application of an op."""

    op: type[Op]
    arrays: tuple[Any, ...]
    settings: dict[str, Any]


def _t(*shape: int) -> minidl.Tensor:
    """Typical numbers: float32 between 0.1 and 0.9, where most functions are defined."""
    return minidl.Tensor(np.random.default_rng(0).uniform(0.1, 0.9, shape).astype(np.float32))


def _ids(high: int, *shape: int) -> minidl.Tensor:
    return minidl.Tensor(np.random.default_rng(0).integers(0, high, shape))


def _attention() -> Any:
    q = _t(4, 8, 128, 32)
    return F.scaled_dot_product_attention(q, q, q, is_causal=True)


# Sizes of an everyday model, where a function's arguments cannot be guessed from its signature.
CALLS: dict[str, Callable[[], Any]] = {
    "addmm": lambda: F.addmm(_t(256), _t(256, 256), _t(256, 256)),
    "avg_pool2d": lambda: F.avg_pool2d(_t(16, 32, 28, 28), 2),
    "batch_norm": lambda: F.batch_norm(
        _t(16, 32, 28, 28), None, None, _t(32), _t(32), training=True
    ),
    "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(
        _t(4096), _t(4096)
    ),
    "bmm": lambda: F.bmm(_t(32, 64, 64), _t(32, 64, 64)),
    "cat": lambda: F.cat([_t(1000, 500), _t(1000, 500)], 1),
    "conv2d": lambda: F.conv2d(_t(16, 32, 28, 28), _t(32, 32, 3, 3), _t(32), padding=1),
    "conv1d": lambda: F.conv1d(_t(16, 32, 128), _t(32, 32, 3), _t(32), padding=1),
    "conv_transpose2d": lambda: F.conv_transpose2d(
        _t(16, 32, 14, 14), _t(32, 16, 4, 4), stride=2, padding=1
    ),
    "cross_entropy": lambda: F.cross_entropy(_t(256, 1000), _ids(1000, 256)),
    "dropout": lambda: nn.functional.dropout(_t(1000, 1000), 0.1),
    "embedding": lambda: F.embedding(_ids(10000, 64, 32), _t(10000, 64)),
    "group_norm": lambda: F.group_norm(_t(16, 32, 28, 28), 8, _t(32), _t(32)),
    "layer_norm": lambda: F.layer_norm(_t(2048, 256), (256,), _t(256), _t(256)),
    "linear": lambda: F.linear(_t(256, 512), _t(512, 512), _t(512)),
    "matmul": lambda: F.matmul(_t(512, 512), _t(512, 512)),
    "max_pool2d": lambda: F.max_pool2d(_t(16, 32, 28, 28), 2),
    "mm": lambda: F.mm(_t(512, 512), _t(512, 512)),
    "nll_loss": lambda: F.nll_loss(_t(256, 1000), _ids(1000, 256)),
    "reshape": lambda: F.reshape(_t(1000, 1000), (-1,)),
    "scaled_dot_product_attention": _attention,
    "softmax": lambda: nn.functional.softmax(_t(2048, 256), -1),
    "log_softmax": lambda: nn.functional.log_softmax(_t(2048, 256), -1),
    "stack": lambda: F.stack([_t(1000, 500), _t(1000, 500)]),
    "svd": lambda: minidl.linalg.svd(_t(64, 64)),
    "transpose": lambda: F.transpose(_t(1000, 1000), 0, 1),
    "where": lambda: F.where(_t(1000, 1000).gt(0.5), _t(1000, 1000), _t(1000, 1000)),
}


@contextlib.contextmanager
def recorded() -> Iterator[list[Call]]:
    """All ops that run inside, with their arrays and settings."""
    calls: list[Call] = []
    kept = {op: op.__dict__["forward"] for op in REGISTRY.values()}

    def watched(op: type[Op], forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arrays: Any, **settings: Any) -> Any:
            calls.append(Call(op, arrays, settings))
            return forward(*arrays, **settings)

        return run

    for op in kept:
        op.forward = staticmethod(watched(op, op.forward))  # type: ignore[assignment]
    try:
        yield calls
    finally:
        for op, forward in kept.items():
            op.forward = forward


def guessed_call(function: Callable[..., Any]) -> Callable[[], Any] | None:
    """A call with a million numbers for each tensor that the signature asks for, if it asks for
    nothing else."""
    needed = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is parameter.empty and parameter.kind not in (2, 4):
            needed.append(parameter)
    if not needed or not all("Tensor" in str(p.annotation) for p in needed):
        return None
    return lambda: function(*[_t(1000, 1000) for _ in needed])


def run_quietly(call: Callable[[], Any]) -> list[Call]:
    """The ops of a call; none if it fails, for the inputs may be a guess."""
    with recorded() as calls, np.errstate(all="ignore"):
        try:
            call()
        except Exception:  # a guess that does not fit: the page says that nothing was measured
            return []
    return calls


def calls_of(name: str, function: Callable[..., Any]) -> list[Call]:
    """The ops that a function runs on typical inputs."""
    call = CALLS.get(name) or guessed_call(function)
    return run_quietly(call) if call else []


def typical(op: type[Op], large: bool = True, user: str = "") -> tuple[Call, str] | None:
    """An application of the op, and where its inputs are from; None without any.

    large: of an everyday size, through a function that uses the op, `user` if it does. Else, and
    where no function's arguments can be guessed: the largest inputs of the op's tests, as float32.
    """
    if large:
        users = [e for e in entries() if e.kind == "function" and op in ops_of(e.thing)]
        own, order = op.__name__.lower(), list(CALLS)
        users.sort(
            key=lambda e: (
                e.name != user,
                e.name.replace("_", "") != own,
                order.index(e.name) if e.name in CALLS else len(order),
                len(e.name),
            )
        )
        for entry in users[:8]:
            calls = [c for c in calls_of(entry.name, entry.thing) if c.op is op]
            if calls:
                return max(calls, key=_size), f"{entry.name} on everyday sizes"
    sampler = samplers().get(op.__name__)
    if sampler is None:
        return None
    cases = [
        Call(op, tuple(map(_single, case.arrays)), case.settings)
        for case in sampler(np.random.default_rng(0))
    ]
    return max(cases, key=_size), "the largest inputs of its tests"


def _single(x: Any) -> Any:
    return x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def _size(call: Call) -> int:
    return sum(np.size(a) for a in call.arrays if a is not None)


def seconds_of(call: Callable[[], Any], budget: float) -> float:
    """The median time of a call, after one that may compile; about `budget` seconds are spent."""
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    inner = max(1, int(budget / 10 / once))
    times = []
    for _ in range(max(3, min(9, int(budget / (inner * once))))):
        start = time.perf_counter()
        for _ in range(inner):
            call()
        times.append((time.perf_counter() - start) / inner)
    return float(np.median(times))


def measured(call: Call, budget: float) -> tuple[float, float | None]:
    """(seconds forward, seconds backward or None) of one application."""
    op, arrays, settings = call
    kept = {k: v for k, v in settings.items() if k != "keep"}
    given = {**kept, "keep": True} if op.takes_keep else kept

    def forward() -> Any:
        return op.forward(*arrays, **given)

    with np.errstate(all="ignore"):
        time_forward = seconds_of(forward, budget)
        if not op.differentiable or "backward" not in dir(op):
            return time_forward, None
        out, saved = forward()
        several = isinstance(out, tuple)
        outs = out if several else [out]
        douts = [np.ones_like(o) if o.dtype.kind == "f" else None for o in outs]
        needs = tuple(
            isinstance(a, np.ndarray) and a.dtype.kind == "f" and name not in op.constants
            for name, a in zip(op.arrays, arrays)
        )
        dout = tuple(douts) if several else douts[0]
        if not any(needs) or not any(d is not None for d in douts):
            return time_forward, None
        return time_forward, seconds_of(lambda: op.backward(dout, saved, needs, **kept), budget)
