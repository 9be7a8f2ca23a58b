"""The pages of `python -m minidl describe`, as text."""

import inspect
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.describe import layers, watch
from minidl.describe.code import kernels_of, ops_of, sampler_where, where
from minidl.describe.names import KINDS, Entry, entries, find, nearest
from minidl.ops._op import Op

_PAPER = re.compile(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)|([A-Z][\w.&, -]+ \((?:19|20)\d\d\))")
_FEW = 3  # ops that a function's page shows whole; more are listed


def describe(name: str, seconds: float = 0.2, large: bool = True) -> str:
    """The page of a name; of several things of that name, all their pages.

    seconds: to spend on each measurement, 0 for none. large: measure at everyday sizes.
    Raises LookupError with the nearest names if there is nothing of that name.
    """
    found = find(name)
    if not found:
        near = nearest(name)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise LookupError(f"describe: nothing is called {name!r}{hint}; no name: a list of all")
    shown: set[Any] = set()  # an op stands on a page once
    return "\n\n".join(_PAGES[entry.kind](entry, seconds, large, shown) for entry in found)


def listing() -> str:
    """All names, by kind and family."""
    lines = []
    for kind in KINDS:
        own = [entry for entry in entries() if entry.kind == kind]
        lines.append(f"{kind}s ({len(own)})" if kind != "loss" else f"losses ({len(own)})")
        for family in sorted({entry.family for entry in own}):
            names = ", ".join(sorted(e.name for e in own if e.family == family))
            lines.append(_wrapped(f"  {family:16} ", names))
        lines.append("")
    return "\n".join(lines).rstrip()


def _wrapped(head: str, text: str, width: int = 100) -> str:
    import textwrap

    return textwrap.fill(
        text, width, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False
    )


def _title(kind: str, name: str, thing: Any, signature: bool = True) -> str:
    text = f"{name}{inspect.signature(thing)}" if signature else name
    text = re.sub(r"minidl\.(_tensor|nn\.parameter)\.|collections\.abc\.|typing\.", "", text)
    rule = "=" * min(100, len(kind) + 1 + len(text))
    return f"{_wrapped(kind + ' ', text)}\n{rule}\n{where(thing)}"


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def sources(text: str) -> list[str]:
    """The papers that a docstring names."""
    return [" ".join((a or b).split()) for a, b in _PAPER.findall(text)]


def _amount(value: float, unit: str) -> str:
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def _time(seconds: float) -> str:
    for size, unit in ((1, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _shape(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(_shape(v) for v in value)
    array = getattr(value, "array", value)
    if isinstance(array, np.ndarray):
        return f"{array.shape} {array.dtype}"
    return repr(value) if value is None or isinstance(value, (int, float)) else type(value).__name__


# ops and kernels


def _op_page(entry: Entry, seconds: float, large: bool, shown: set[Any]) -> str:
    op = entry.thing
    shown.add(op)
    lines = [_title("op", op.__name__, op, signature=False), "", _doc(op), ""]
    if sources(_doc(op)):
        lines.append(_wrapped("source      ", "; ".join(sources(_doc(op)))))
    lines += _code_lines(op)
    users = [e.name for e in entries() if e.kind == "function" and op in ops_of(e.thing)]
    if users:
        lines.append(_wrapped("used by     ", ", ".join(users)))
    if seconds:
        lines += _measurement(op, seconds, large, entry.family)
    return "\n".join(lines)


def _code_lines(op: type[Op]) -> list[str]:
    lines = [f"forward     {where(op.forward)}"]
    if op.differentiable and "backward" in dir(op):
        lines.append(f"backward    {where(op.backward)}")
    if op.composite is not None:
        lines.append(f"composite   {where(op.composite)}  (its test's oracle; second derivatives)")
    elif op.differentiable:
        lines.append("composite   none: backward itself can be differentiated")
    else:
        lines.append("composite   none: not differentiable")
    used = list(kernels_of(op.forward))
    if "backward" in dir(op):
        used += [k for k in kernels_of(op.backward) if k not in used]
    for kernel in used:
        lines.append(
            f"kernel      {kernel.name}  {where(kernel)}  (reference {where(kernel.reference)})"
        )
    if not used:
        lines.append("kernel      none: NumPy and BLAS")
    if sampler_where(op.__name__):
        lines.append(f"test inputs {sampler_where(op.__name__)}")
    return lines


def _measurement(op: type[Op], seconds: float, large: bool, user: str) -> list[str]:
    chosen = watch.typical(op, large, user)
    if chosen is None:
        return ["measured    not: no function uses it with tensors alone, and no tests are here"]
    call, origin = chosen
    named = ", ".join(f"{n} {_shape(a)}" for n, a in zip(op.arrays, call.arrays) if a is not None)
    shapes = [np.shape(a) for a in call.arrays]
    arrays = [a for a in call.arrays if isinstance(a, np.ndarray)]
    lines = [_wrapped("measured    ", f"{named}; {origin}")]
    forward, backward = watch.measured(call, seconds)
    settings = {k: v for k, v in call.settings.items() if k != "keep"}
    work = op.flops(*shapes, **settings), op.bytes(*arrays)
    lines.append(_cost("forward", forward, *work))
    if backward is not None:
        work = op.flops_backward(*shapes, **settings), op.bytes_backward(*arrays)
        lines.append(_cost("backward", backward, *work))
    return lines


def _cost(what: str, seconds: float, flops: int, size: int) -> str:
    return (
        f"  {what:8}  {_time(seconds):>8}   {_amount(flops, 'FLOP'):>10}"
        f" ({_amount(flops / seconds, 'FLOP/s')})   {_amount(size, 'B'):>8}"
        f" ({_amount(size / seconds, 'B/s')})"
    )


def _kernel_page(entry: Entry, seconds: float, large: bool, shown: set[Any]) -> str:
    kernel = entry.thing
    ops = [e.name for e in entries() if e.kind == "op" and kernel in _all_kernels(e.thing)]
    optimizers = [
        e.name for e in entries() if e.kind == "optimizer" and kernel in _step_kernels(e.thing)
    ]
    threads = "one thread" if not kernel.parallel else (
        f"several threads from {kernel.serial_below:,} elements"
    )
    lines = [
        _title("kernel", kernel.name, kernel.function),
        "",
        _doc(kernel.function),
        "",
        f"reference   {where(kernel.reference)}",
        f"runs on     {threads}",
    ]
    if ops:
        lines.append(_wrapped("used by     ", ", ".join(ops)))
    if optimizers:
        lines.append(_wrapped("optimizers  ", ", ".join(optimizers)))
    return "\n".join(lines)


def _all_kernels(op: type[Op]) -> tuple[Any, ...]:
    return kernels_of(op.forward) + (kernels_of(op.backward) if "backward" in dir(op) else ())


# functions and layers


def _function_page(entry: Entry, seconds: float, large: bool, shown: set[Any]) -> str:
    function = entry.thing
    ran = watch.calls_of(entry.name, function) if seconds and large else []
    ops = list(dict.fromkeys([*ops_of(function), *(call.op for call in ran)]))
    lines = [_title("function", entry.name, function), "", _doc(function), ""]
    if sources(_doc(function)):
        lines.append(_wrapped("source      ", "; ".join(sources(_doc(function)))))
    return "\n".join([*lines, *_ops_part(ops, seconds, large, shown, entry.name)])


def _ops_part(
    ops: Sequence[Any], seconds: float, large: bool, shown: set[Any], user: str = ""
) -> list[str]:
    if not ops:
        return ["ops         none of its own: NumPy, or tensor methods"]
    lines = [f"ops         {op.__name__}  {where(op)}" for op in ops]
    new = [op for op in ops if op not in shown]
    if len(ops) <= _FEW:
        for op in new:
            page = _op_page(Entry("op", op.__name__, user, op), seconds, large, shown)
            lines += ["", page]
    return lines


def _layer_page(entry: Entry, seconds: float, large: bool, shown: set[Any]) -> str:
    layer = entry.thing
    lines = [_title(entry.kind, f"nn.{entry.name}", layer), "", _doc(layer), ""]
    if sources(_doc(layer)):
        lines.append(_wrapped("source      ", "; ".join(sources(_doc(layer)))))
    if "forward" in dir(layer):
        lines.append(f"forward     {where(layer.forward)}")
    ran = layers.example(layer)
    ops: Sequence[Any] = ops_of(layer.forward) if "forward" in dir(layer) else ()
    if isinstance(ran, str):
        lines.append(f"example     none: {ran}")
    else:
        module, inputs, output, calls = ran
        lines.append(_wrapped("example     ", f"{' '.join(repr(module).split())}"))
        lines.append(_wrapped("  takes     ", _shape(inputs)))
        lines.append(_wrapped("  gives     ", _shape(output)))
        for name, value in module.named_parameters():
            lines.append(f"  parameter {name} {value.shape}")
        for name, value in module.named_buffers():
            lines.append(f"  buffer    {name} {value.shape}")
        count = Counter(call.op.__name__ for call in calls)
        if count:
            text = ", ".join(f"{n} x {name}" if n > 1 else name for name, n in count.items())
            lines.append(_wrapped("  ran       ", text))
        ops = list(dict.fromkeys(call.op for call in calls))
        if seconds:
            with np.errstate(all="ignore"):
                time_ = watch.seconds_of(lambda: module(*inputs), seconds)
            lines.append(f"  time      {_time(time_)} forward")
    return "\n".join([*lines, *_ops_part(ops, 0, large, shown | set(ops))])


def _optimizer_page(entry: Entry, seconds: float, large: bool, shown: set[Any]) -> str:
    optimizer = entry.thing
    lines = [_title("optimizer", f"optim.{entry.name}", optimizer), "", _doc(optimizer), ""]
    if sources(_doc(optimizer)):
        lines.append(_wrapped("source      ", "; ".join(sources(_doc(optimizer)))))
    for name in ("step", "_update", "_update_rows", "_step_table"):
        if name in dir(optimizer):
            lines.append(f"{name.strip('_'):11} {where(getattr(optimizer, name))}")
    for kernel in _step_kernels(optimizer):
        lines.append(
            f"kernel      {kernel.name}  {where(kernel)}  (reference {where(kernel.reference)})"
        )
    step = layers.optimizer_step(optimizer) if seconds else None
    if step is not None:
        per_step = _time(watch.seconds_of(step, seconds))
        what = "512 of 10,000 rows of 64" if entry.name == "SparseAdam" else "12 of 256 x 256"
        lines.append(f"measured    {per_step} a step, {what} parameters, float32")
    return "\n".join(lines)


def _step_kernels(optimizer: type) -> list[Any]:
    found: list[Any] = []
    for name in dir(optimizer):
        method = getattr(optimizer, name)
        if inspect.isfunction(method) and method.__module__.startswith("minidl.optim"):
            into = ("minidl.optim", "minidl.kernels")
            found += [k for k in kernels_of(method, into) if k not in found]
    return found


def _schedule_page(entry: Entry, seconds: float, large: bool, shown: set[Any]) -> str:
    title = _title("schedule", f"optim.lr_scheduler.{entry.name}", entry.thing)
    return f"{title}\n\n{_doc(entry.thing)}"


_PAGES = {
    "function": _function_page,
    "kernel": _kernel_page,
    "layer": _layer_page,
    "loss": _layer_page,
    "op": _op_page,
    "optimizer": _optimizer_page,
    "schedule": _schedule_page,
}
