"""Activation checkpointing: memory for time (Chen et al. 2016, arXiv:1604.06174).

    from minidl.utils.checkpoint import checkpoint, checkpoint_sequential

    h = checkpoint(block, x, use_reentrant=False)

The forward of `block` keeps its inputs and outputs only; backward computes it again to get what the
ops inside had saved. A chain of n equal blocks, each checkpointed, holds n inputs and one block's
activations instead of n blocks', and costs one forward more.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minidl import _tensor as engine
from minidl import random
from minidl._apply import refresh
from minidl._tensor import Node, Tensor, _mode
from minidl._walk import _walk
from minidl.autograd._pull import flatten
from minidl.autograd.modes import enable_grad
from minidl.ops._op import Op
from minidl.typing import Array

__all__ = ["checkpoint", "checkpoint_sequential"]

_SAMPLE = 256  # elements of each output by which a different recomputation is noticed


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool = False,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), whose inside is computed again in backward instead of kept.

    Gradients are those of the plain call, also of parameters that `function` reaches through its
    closure, and second ones. preserve_rng_state: what draws from minidl's default generator, such
    as dropout masks, is drawn again as it was. determinism_check: "default" compares the outputs
    of the second run with the first's and raises if they differ (a generator of the function's
    own, a global it counts in); "none" leaves that out.

    function must not change its arguments in place, and arguments and parameters must not change
    before backward; both are errors. What it does on the side (running statistics of a batch norm)
    happens twice. use_reentrant=True, torch's older way, is not offered.
    """
    if use_reentrant:
        raise ValueError("checkpoint: only use_reentrant=False is offered; its gradients are equal")
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"checkpoint: determinism_check must be 'default' or 'none', got {determinism_check!r}"
        )
    if not _mode.grad:
        return function(*args, **kwargs)
    segment = _Segment(function, args, kwargs, preserve_rng_state, determinism_check == "default")
    return segment.run()


class _Segment:
    """A function call that can be made again."""

    def __init__(
        self, function: Callable[..., Any], args: Any, kwargs: Any, keep_rng: bool, check: bool
    ):
        self.function, self.args, self.kwargs = function, args, kwargs
        self.rng = random.get_rng_state() if keep_rng else None
        self.check = check
        self.watched: list[tuple[Tensor, int]] = []
        self.prints: list[Array] = []
        self.parents: tuple[Any, ...] = ()

    def run(self) -> Any:
        given = [x for x in flatten((self.args, self.kwargs))[0] if isinstance(x, Tensor)]
        for x in given:
            if x.origin is not None:
                refresh(x)
        self.watched = [(x, x.version[0]) for x in given]
        begun = next(engine._count)  # nodes from here on are the segment's own
        result = self.function(*self.args, **self.kwargs)
        self._check_unchanged("its function changed an argument in place; let it work on a clone()")
        leaves, rebuild = flatten(result)
        outputs = [x for x in leaves if isinstance(x, Tensor) and x.requires_grad]
        if not outputs:
            return result
        for x in outputs:
            if x.origin is not None:
                refresh(x)
        parents = _outside(outputs, begun)
        self.watched += [(p, p.version[0]) for p in parents if isinstance(p, Tensor)]
        self.prints = [_print(x) for x in outputs] if self.check else []
        node = Node(_op(len(outputs)), None, (self,), (True,) * len(parents), tuple(parents))
        self.parents = node.parents
        for observer in engine.observers:
            observer(node)
        made = {}
        for index, x in enumerate(outputs):
            shown = x.array.copy() if x.origin is not None else x.array  # a view's owner stays
            out = Tensor(shown, True, Node(engine.Pick, {"index": index}, (), (True,), (node,)))
            if x.origin is None:
                out.version = x.version
            made[id(x)] = out
        return rebuild([made.get(id(x), x) for x in leaves])

    def _check_unchanged(self, why: str) -> None:
        for x, version in self.watched:
            if x.version[0] != version:
                raise RuntimeError(f"checkpoint: a tensor of shape {x.shape} was modified: {why}")

    def again(self) -> list[Tensor]:
        """The outputs once more, on a tape of their own."""
        self._check_unchanged(
            "an argument or parameter changed between forward and backward; change a clone()"
        )
        now = random.get_rng_state()
        try:
            if self.rng is not None:
                random.set_rng_state(self.rng)
            with enable_grad():
                result = self.function(*self.args, **self.kwargs)
        finally:
            if self.rng is not None:
                random.set_rng_state(now)
        outputs = [x for x in flatten(result)[0] if isinstance(x, Tensor) and x.requires_grad]
        if self.check:
            prints = [_print(x) for x in outputs]
            same = len(prints) == len(self.prints) and all(
                a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=_slack(b), equal_nan=True)
                for a, b in zip(prints, self.prints)
            )
            if not same:
                raise RuntimeError(
                    "checkpoint: the second run of the function gave other outputs than the first; "
                    "it must depend on its arguments, its parameters and minidl's default "
                    "generator only"
                )
        return outputs


def _outside(outputs: Sequence[Tensor], begun: int) -> list[Any]:
    """What the segment's tape hangs on: leaves, and nodes made before it began."""
    found: list[Any] = []
    waiting: list[Any] = [x.node or x for x in outputs]
    seen: set[int] = set()
    while waiting:
        place = waiting.pop()
        if id(place) in seen:
            continue
        seen.add(id(place))
        if not isinstance(place, Node) or place.seq < begun:
            found.append(place)
        else:
            waiting += [parent for parent in place.parents if parent is not None]
    return found


def _print(x: Tensor) -> Array:
    flat = x.array.reshape(-1)
    return np.array(flat[:: max(1, len(flat) // _SAMPLE)], np.float64)


def _slack(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return 1e-4 * float(np.abs(finite).max()) if finite.size else 0.0


class _Checkpoint(Op):
    """A segment on the tape; its arrays are what the segment hangs on."""

    @staticmethod
    def backward(dout, saved, needs):
        (segment,) = saved
        parents, on_tape = segment.parents, _mode.grad
        outputs = segment.again()
        douts = dout if isinstance(dout, list) else [dout]
        pairs = [(x, d) for x, d in zip(outputs, douts) if d is not None]
        starts = [d if isinstance(d, Tensor) else Tensor(np.asarray(d)) for _, d in pairs]
        targets = [p if isinstance(p, Tensor) else Tensor(np.empty(0), True, p) for p in parents]
        # the walk that is under way has gradients and hooks on the same nodes: they must wait
        kept = [(p, p.hooks, p.grad if isinstance(p, Node) else None) for p in parents]
        for p, _, _ in kept:
            p.hooks = None
            if isinstance(p, Node):
                p.grad = None
        try:
            found = _walk([x for x, _ in pairs], starts, targets, on_tape, on_tape, True)
        finally:
            for p, hooks, grad in kept:
                p.hooks = hooks
                if isinstance(p, Node):
                    p.grad = grad
        parts = [found.get(id(p)) for p in parents]
        return tuple(None if part is None else part[1] for part in parts)


_ops: dict[int, type[Op]] = {}


def _op(count: int) -> type[Op]:
    if count not in _ops:
        names = {"outputs": tuple(f"out{i}" for i in range(count)), "saves": ("segment",)}
        _ops[count] = type("Checkpoint", (_Checkpoint,), names)
    return _ops[count]


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool = False,
    preserve_rng_state: bool = True,
) -> Any:
    """A Sequential (or list of functions) in `segments` checkpoints; the last part runs plainly.

    About sqrt(n) segments of n equal layers need the least memory.
    """
    listed: list[Any] = list(functions.children() if hasattr(functions, "children") else functions)
    if not 1 <= segments <= len(listed):
        raise ValueError(
            f"checkpoint_sequential: segments must be from 1 to the {len(listed)} functions, got "
            f"{segments}"
        )
    size = len(listed) // segments
    for part in range(segments - 1):
        input = checkpoint(
            _chain(listed[part * size : (part + 1) * size]),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
    return _chain(listed[(segments - 1) * size :])(input)


def _chain(functions: Iterable[Callable[..., Any]]) -> Callable[[Any], Any]:
    listed = list(functions)

    def run(x: Any) -> Any:
        for function in listed:
            x = function(x)
        return x

    return run
