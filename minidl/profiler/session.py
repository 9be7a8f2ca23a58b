"""`profile`: exchange what is to be timed, and put it back."""

import gzip
import importlib
import json
import os
import pkgutil
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minidl import _tensor, _walk, kernels, nn, ops, optim
from minidl._tensor import Node
from minidl.io.files import write_atomic
from minidl.ops._op import Op
from minidl.profiler.events import Event, Row, clock, costs_of, rows_of, step_bytes
from minidl.profiler.report import table, trace

_running: "profile | None" = None
_turn = threading.Lock()


class _Thread(threading.local):
    """What runs in a Python thread."""

    def __init__(self) -> None:
        self.tid = threading.get_native_id()
        self.now: Event | None = None
        self.last: Any = None  # (op, signature, settings) of the op that ran last, for its Node


class profile:
    """A context that measures what runs inside it; see the top of `minidl.profiler`.

    After it: `rows`, `table()`, `export_chrome_trace(path)`, `seconds` (the whole time).
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._thread = _Thread()
        self._costs: dict[int, Any] = {}  # of the op that made a node, by the node's number
        self._paths: dict[int, str] = {}
        self._roots: list[Any] = []  # kept alive, for their ids are keys
        self._undo: list[Callable[[], None]] = []
        self._state = "new"
        self._rows: list[Row] = []
        self._begun = 0
        self.seconds = 0.0

    def __enter__(self) -> "profile":
        global _running
        if self._state != "new":
            raise RuntimeError("profile: a profile runs once; make another with minidl.profile()")
        with _turn:
            if _running is not None:
                raise RuntimeError(
                    "profile: another profile is running, and two would time each other; leave "
                    "its with block first"
                )
            _running = self
            self._state = "running"
            self._exchange()
        self._begun = clock()
        return self

    def __exit__(self, *_: Any) -> None:
        global _running
        self.seconds = (clock() - self._begun) * 1e-9
        with _turn:
            self._state = "done"
            while self._undo:
                self._undo.pop()()
            _running = None
        for event in self._events:
            event.stop = event.stop or clock()  # another thread is still in it
        self._count()
        self._rows = rows_of(self._events, self.seconds)
        self._roots.clear()
        self._costs.clear()

    # what is exchanged while it runs

    def _exchange(self) -> None:
        for module in pkgutil.iter_modules(ops.__path__, "minidl.ops."):
            importlib.import_module(module.name)
        for op in _below(Op):
            if "forward" in op.__dict__ and op is not _tensor.Pick:
                self._swap(op, "forward", staticmethod(self._timed_forward(op)))
        for form in (kernels.Kernel, *_below(kernels.Kernel)):
            if "__call__" in form.__dict__:
                self._swap(form, "__call__", self._timed_kernel(form.__dict__["__call__"]))
        for layer in (nn.Module, *_below(nn.Module)):
            if "__call__" in layer.__dict__:
                self._swap(layer, "__call__", self._timed_module(layer.__dict__["__call__"]))
        for optimizer in (optim.Optimizer, *_below(optim.Optimizer)):
            if "step" in optimizer.__dict__:
                self._swap(optimizer, "step", self._timed_optimizer(optimizer.__dict__["step"]))
        self._swap(_walk, "_walk", self._timed_walk(_walk._walk))
        self._swap(_walk, "_step", self._timed_step(_walk._step))
        self._swap(_walk, "_reachable", _through_step(_walk._reachable))
        _tensor.observers.append(self._note)
        self._undo.append(lambda: _tensor.observers.remove(self._note))

    def _swap(self, owner: Any, name: str, value: Any) -> None:
        before = owner.__dict__[name]
        setattr(owner, name, value)
        self._undo.append(lambda: setattr(owner, name, before))

    def _enter(self, kind: str, name: str, phase: str) -> Event:
        thread = self._thread
        event = thread.now = Event(kind, name, phase, thread.tid, thread.now)
        return event

    def _leave(self, event: Event) -> None:
        event.stop = clock()
        self._thread.now = event.parent
        self._events.append(event)

    def _timed_forward(self, op: type[Op]) -> Callable[..., Any]:
        forward, name = op.forward, op.__name__

        def run(*arrays: Any, **settings: Any) -> Any:
            if self._state == "done":  # somebody kept the function: a captured step, say
                return forward(*arrays, **settings)
            event = self._enter("op", name, "forward")
            try:
                return forward(*arrays, **settings)
            finally:
                self._leave(event)
                known = [(a.shape, a.dtype) if hasattr(a, "dtype") else None for a in arrays]
                event.cost = self._thread.last = (op, tuple(known), settings)

        return run

    def _note(self, node: Node) -> None:
        """Remember of what shapes a new node is."""
        last = self._thread.last
        if last is not None and last[0] is node.op:
            self._costs[node.seq] = last

    def _timed_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(node: Node, part: Any, keep: bool, create_graph: bool) -> Any:
            event = self._enter("op", node.op.__name__, "backward")
            try:
                return step(node, part, keep, create_graph)
            finally:
                self._leave(event)
                known = self._costs.get(node.seq)
                event.cost = None if known is None else (*known, node.needs)

        return run

    def _timed_walk(self, walk: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            event = self._enter("walk", "backward", "backward")
            try:
                return walk(*args, **kwargs)
            finally:
                self._leave(event)

        return run

    def _timed_kernel(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(kernel: Any, *args: Any) -> None:
            now = self._thread.now
            event = self._enter("kernel", kernel.name, now.phase if now else "forward")
            try:
                call(kernel, *args)
            finally:
                self._leave(event)
                event.size = sum([a.nbytes for a in args if isinstance(a, np.ndarray)])

        return run

    def _timed_module(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(module: Any, *args: Any, **kwargs: Any) -> Any:
            event = self._enter("module", self._path(module), "forward")
            try:
                return call(module, *args, **kwargs)
            finally:
                self._leave(event)

        return run

    def _path(self, module: Any) -> str:
        """The module's place in the one that was called first."""
        now = self._thread.now
        while now is not None and now.kind != "module":
            now = now.parent
        if now is None or id(module) not in self._paths:
            self._roots.append(module)
            for path, part in module.named_modules():
                name = type(part).__name__
                self._paths[id(part)] = f"{path} ({name})" if path else name
        return self._paths[id(module)]

    def _timed_optimizer(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            event = self._enter("optimizer", type(optimizer).__name__, "step")
            try:
                return step(optimizer, *args, **kwargs)
            finally:
                self._leave(event)
                event.size = step_bytes(optimizer)

        return run

    # what was found

    def _count(self) -> None:
        """Fill in bytes and FLOPs, each signature once."""
        known: dict[Any, tuple[int | None, int | None]] = {}
        for event in self._events:
            if event.cost is None:
                continue
            op, signature, settings, *needs = event.cost
            settings = {k: v for k, v in settings.items() if k != "keep"}
            key = op, signature, tuple(settings.items()), tuple(needs)
            try:
                if key not in known:
                    known[key] = costs_of(op, signature, settings, *needs)
                event.size, event.flops = known[key]
            except TypeError:  # a user's op with a setting that cannot be hashed
                event.size, event.flops = costs_of(op, signature, settings, *needs)
            event.cost = None

    @property
    def rows(self) -> list[Row]:
        """One Row for each kind, name and phase; the most time first."""
        self._need_end("rows")
        return self._rows

    def table(
        self,
        sort_by: str = "time",
        row_limit: int | None = None,
        kinds: Sequence[str] = ("op", "kernel", "optimizer"),
    ) -> str:
        """The rows as text. sort_by: time, own, calls, size, flops or name.

        kinds: which rows; also "module" and "walk". The last line is the time outside of them all:
        Python, data, the program's own NumPy.
        """
        self._need_end("table")
        return table(self._rows, self.seconds, sort_by, row_limit, kinds)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write all calls, nested, for chrome://tracing and ui.perfetto.dev; .gz is compressed.

        The file is written whole or not at all.
        """
        self._need_end("export_chrome_trace")
        data = json.dumps(trace(self._events, self._begun)).encode()
        write_atomic(path, gzip.compress(data) if str(path).endswith(".gz") else data)

    def _need_end(self, what: str) -> None:
        if self._state != "done":
            raise RuntimeError(
                f"{what}: the profile has not ended; ask after its with block, not inside"
            )


def _below(base: type) -> Iterator[Any]:
    """All subclasses, each once."""
    seen: set[type] = set()
    waiting = [base]
    while waiting:
        cls: type
        for cls in waiting.pop().__subclasses__():
            if cls not in seen:
                seen.add(cls)
                waiting.append(cls)
                yield cls


def _through_step(reachable: Callable[..., Any]) -> Callable[..., Any]:
    """Let the walk use `_step` for the simplest nodes too: it does where there are settings."""

    def run(*args: Any) -> Any:
        nodes = reachable(*args)
        for node in nodes:
            if node.settings is None:
                node.settings = {}
        return nodes

    return run
