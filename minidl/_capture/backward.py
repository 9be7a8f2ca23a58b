"""Backward while recording: the walk of `_walk`, one instruction for each op's gradient."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import _walk as engine
from minidl._capture.leaves import raw_array
from minidl._capture.program import CaptureError, Value
from minidl._capture.recorder import Recorder
from minidl._capture.traced import plain, traced, user_line
from minidl._tensor import Node, Pick, Tensor, _mode

_plain_walk, _plain_deposit, _plain_on_tape = engine._walk, engine._deposit, engine._on_tape


def walk(
    recorder: Recorder,
    roots: Sequence[Tensor],
    starts: Sequence[Any],
    wanted: Sequence[Tensor],
    retain_graph: bool | None,
    create_graph: bool,
    stop_at_wanted: bool = False,
) -> dict[int, list[Any]]:
    """`_walk._walk`, written down. Under create_graph the gradients are Tensors: plain ops."""
    if engine.check_for_nan:
        raise CaptureError(
            f"capture: backward at {user_line()[0]} looks for NaN (detect_anomaly), which stops at "
            "a value; run the step without capture, or without detect_anomaly"
        )
    if create_graph:
        return _plain_walk(roots, starts, wanted, retain_graph, create_graph, stop_at_wanted)
    kept = {id(t.node) for t in wanted if t.node is not None}
    keep = bool(retain_graph)
    found: dict[int, list[Any]] = {}
    begun = [engine._start(root, start, False) for root, start in zip(roots, starts)]
    nodes = engine._reachable(roots, kept if stop_at_wanted else ())
    before = _mode.grad
    engine._turn.acquire()
    _mode.grad = False
    try:
        for root, start in zip(roots, begun):
            _give(recorder, root.node or root, start, found)
        with np.errstate(all="ignore"):
            for node in nodes:
                part, node.grad = node.grad, None
                if part is None:
                    continue
                _no_hooks(node.hooks)
                if id(node) in kept:
                    found[id(node)] = [node, part]
                    if stop_at_wanted:
                        continue
                if node.op is Pick:
                    _gather(recorder, node, part)
                    continue
                parts = _step(recorder, node, part, keep)
                for parent, part in zip(node.parents, parts):
                    if parent is not None and part is not None:
                        _give(recorder, parent, part, found)
    finally:
        _mode.grad = before
        for node in nodes:
            node.grad = None
        engine._turn.release()
    for entry in found.values():
        if isinstance(entry[0], Tensor):
            _no_hooks(entry[0].hooks)
        if isinstance(entry[1], np.generic):  # what NumPy makes of 0-d arrays
            array = np.asarray(entry[1])
            recorder.add("call", np.asarray, (recorder.refer(entry[1]),), outs=array)
            entry[1] = array
    return found


def _step(recorder: Recorder, node: Node, part: Any, keep: bool) -> Sequence[Any]:
    saved, settings, op = node.saved, node.settings or {}, node.op
    if saved is None:
        raise RuntimeError(
            f"backward: the graph at {node!r} was freed by an earlier backward; "
            "give that one retain_graph=True, or compute the output again"
        )
    if node.cells and sum([cell[0] for cell in node.cells]) != node.version:
        raise RuntimeError(
            f"backward: a tensor that {node!r} saved was modified by an in-place operation since; "
            "change a copy (clone()) instead"
        )
    own = op.__module__.startswith("minidl.ops")
    operand = recorder.saved_by(node) if own else None
    if not keep:
        node.saved = None
    if not own:  # a user's Function, a checkpoint: what it does is reported by itself
        return op.backward(part, saved, node.needs, **settings)
    recorder.paused += 1
    recorder.in_backward = True
    try:
        parts = op.backward(part, saved, node.needs, **settings)
    finally:
        recorder.paused -= 1
        recorder.in_backward = False
    args = (recorder.refer(_listed(part)), operand, node.needs)
    outs = tuple([p if node.parents[i] is not None else None for i, p in enumerate(parts)])
    made = recorder.add("back", op, args, settings, outs)
    made.extra = len(parts)
    return parts


def on_tape(recorder: Recorder, node: Node, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """`_walk._on_tape`, written down: masks, indices and the like are parts of what was saved."""
    if node.op.__module__.startswith("minidl.ops"):
        operand = recorder.saved_by(node)
        saved = tuple([_known(recorder, operand, i, x) for i, x in enumerate(saved)])
    return tuple([traced(x) if type(x) is np.ndarray else x for x in _plain_on_tape(node, saved)])


def _known(recorder: Recorder, saved: Any, index: int, x: Any) -> Any:
    """Part `index` of what an op saved, as an array that the recorder knows."""
    if isinstance(x, np.generic):  # what NumPy makes of 0-d arrays
        x = np.asarray(x)
    elif isinstance(x, np.ndarray):
        x = plain(x)
        if recorder.knows(x):
            return x
    else:
        return x
    if isinstance(saved, Value):
        recorder.add("call", _part, (saved, index), outs=x)
    return x


def _part(saved: tuple[Any, ...], index: int) -> Any:
    return saved[index]


def _listed(part: Any) -> Any:
    return tuple(part) if isinstance(part, list) else part


def _give(recorder: Recorder, target: Any, part: Any, found: dict[int, list[Any]]) -> None:
    """`_walk._give`: a sum is an instruction."""
    if type(target) is Node:
        target.grad = part if target.grad is None else _sum(recorder, target.grad, part)
    elif (entry := found.get(id(target))) is None:
        found[id(target)] = [target, part]
    else:
        entry[1] = _sum(recorder, entry[1], part)


def _sum(recorder: Recorder, known: Any, part: Any) -> Any:
    total = known + part
    recorder.add("add", _walk_sum, (recorder.refer(known), recorder.refer(part)), outs=total)
    return total


def _walk_sum(known: Any, part: Any) -> Any:
    return known + part


def _gather(recorder: Recorder, pick: Node, part: Any) -> None:
    (node,) = pick.parents
    assert pick.settings is not None
    index = pick.settings["index"]
    if node.grad is None:
        node.grad = [None] * len(node.op.outputs)
    if index >= len(node.grad):
        node.grad += [None] * (index + 1 - len(node.grad))
    known = node.grad[index]
    node.grad[index] = part if known is None else _sum(recorder, known, part)


def _no_hooks(hooks: Any) -> None:
    if hooks:
        raise CaptureError(
            f"capture: backward at {user_line()[0]} meets a hook ({hooks[0]!r}); hooks run Python "
            "on values, and a replay has no tape: remove it (and retain_grad), or run the step "
            "without capture"
        )


def deposit(recorder: Recorder, target: list[Any], on_tape: bool) -> None:
    """`_walk._deposit`, written down."""
    leaf, part = target
    known = leaf.grad
    operand = recorder.refer(part)
    del part
    _plain_deposit(target, on_tape)
    array = raw_array(leaf.grad) if isinstance(leaf.grad, Tensor) else None
    if recorder.made_here(leaf):  # nobody outside sees this leaf
        if array is None:
            raise CaptureError(
                f"capture: the row-sparse gradient of a tensor made in the step is kept at "
                f"{user_line()[0]}; make the table outside the step"
            )
        if known is None:
            recorder.add("call", np.array, (operand,), outs=array)
        else:
            made = recorder.add("call", _add_to, (recorder.of_array(array), operand))
            made.effect = True
            made.writes = [recorder.of_array(array)]
        return
    state = "none" if known is None else "tensor" if isinstance(known, Tensor) else "rows"
    if id(leaf) not in recorder.cleared:
        recorder.cleared.add(id(leaf))
        recorder.program.leaf_states.append((recorder.leaf(leaf), state))
    made = recorder.add("deposit", None, (recorder.leaf(leaf), operand, on_tape))
    made.effect = True
    made.extra = state
    if array is not None:
        made.outs = recorder.gradient(array)


def _add_to(array: Any, part: Any) -> None:
    array += part
