"""`minidl.capture`: a training or inference step, recorded and then replayed without a tape.

A step is run as usual, twice, while a recorder writes down each op, each op's backward, each sum of
gradients, what NumPy does in between, and the calls of optimizers and schedules; both recordings
must agree. From then on a call is a replay: one generated Python function that calls the same ops
on arrays in buffers that were laid out once. Elementwise ops in a row run as one kernel.

    program.py    instructions on numbered values
    recorder.py   turns reports into a program;  listen.py: who reports;  traced.py: NumPy's part
    backward.py   the walk back, written down
    lower.py      checks first, no dead code;  fuse.py: elementwise runs;  memory.py: buffers
    replay.py     the program as a Python function
    guards.py     when a program may be used
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

from minidl._capture.guards import ModuleGuard, key_of
from minidl._capture.listen import listening
from minidl._capture.program import CaptureError, Program, mapped
from minidl._capture.recorder import Recorder
from minidl._capture.replay import MISS, Replay
from minidl._capture.same import difference
from minidl._capture.traced import active
from minidl._tensor import Tensor

__all__ = ["CaptureError", "Captured", "capture"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_TRIES = 4  # recordings of one key that may differ before we say so


@overload
def capture(step: _Function, *, fuse: bool = True, limit: int = 16) -> "Captured": ...
@overload
def capture(
    step: None = None, *, fuse: bool = True, limit: int = 16
) -> Callable[[_Function], "Captured"]: ...
def capture(step: Any = None, *, fuse: bool = True, limit: int = 16) -> Any:
    """A function that does what `step` does, quicker: recorded, then replayed without a tape.

        @minidl.capture
        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

    step: any part of a training step (forward, backward, clipping, optimizer, schedule,
    zero_grad), or inference. The first two calls run it as usual and record it; both recordings
    must agree. Later calls replay: the same ops on the same numbers, with kept buffers, and with
    runs of elementwise ops as one kernel (`fuse`). Without fusing the results are those of eager
    bit for bit; fused, exp, tanh, log and sigmoid may differ by 3 units in the last place, and what
    is computed from them accordingly.

    A program is good for its guards: shapes, dtypes and layout of the arguments, their
    requires_grad, Python values among them, grad mode, the mode and the plain settings of the
    modules that ran, requires_grad and shape of parameters, and whether gradients were there
    before. If one fails, the step is recorded anew; `limit` programs are kept. Learning rates and
    all else that an optimizer or schedule reads, step counts, parameters, buffers and the random
    state are read anew in each replay.

    The tensors that are returned are detached and own their memory. The gradients that a replay
    leaves in .grad are kept buffers: the next replay overwrites them.

    Raises CaptureError, with the line, for what a replay could not follow: Python values of tensors
    (if loss > 1, item(), numpy(), print), output shapes that depend on data (nonzero, masks as
    indices), hooks, detect_anomaly, closures given to optimizer.step, graphs that begin before
    the step, other storages for old tensors (.data =). Python values from elsewhere than the
    arguments (a global counter) are constants of a program: pass what changes as an argument, as a
    tensor if it changes at each call. Python side effects (lists, prints of numbers) happen in the
    recorded calls only. Replays of several threads take turns.
    """
    if step is None:
        return lambda function: Captured(function, fuse, limit)
    return Captured(step, fuse, limit)


class Captured:
    """A step with its programs, by the guards they need. Call it as the step."""

    def __init__(self, step: Callable[..., Any], fuse: bool = True, limit: int = 16):
        if not callable(step):
            raise TypeError(f"capture: a function is needed, got {type(step).__name__}")
        if limit < 1:
            raise ValueError(f"capture: limit must be 1 or more, got {limit}")
        functools.update_wrapper(self, step, updated=())
        self.step, self.fuse, self.limit = step, fuse, limit
        self.recordings = 0  # calls that ran the step itself
        self.replays = 0
        self._ready: dict[Any, list[tuple[ModuleGuard, Replay]]] = {}
        self._seen: dict[Any, list[Program]] = {}
        self._kept: dict[int, Tensor] = {}  # gradients of leaves, shared by all programs

    def __get__(self, owner: Any, cls: Any = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if active() is not None:  # a part of a step that is being recorded itself
            return self.step(*args, **kwargs)
        key, found = key_of(args, kwargs)
        for guard, program in self._ready.get(key, ()):
            if guard.holds():
                given = [x.array if isinstance(x, Tensor) else x for x in found]
                given.append(found)
                result = program.run(given)
                if result is not MISS:
                    self.replays += 1
                    return result
        return self._record(key, found, args, kwargs)

    def reset(self) -> None:
        """Forget all programs, and free their buffers."""
        self._ready.clear()
        self._seen.clear()
        self._kept.clear()

    @property
    def programs(self) -> list[Replay]:
        """The programs that are ready, the newest last."""
        return [program for ready in self._ready.values() for _, program in ready]

    def _record(self, key: Any, found: list[Any], args: Any, kwargs: Any) -> Any:
        recorder = Recorder()
        for number, x in enumerate(found):
            if isinstance(x, Tensor):
                if x.node is not None:
                    raise CaptureError(
                        f"capture: argument {number} of {self._name()} was computed by ops that "
                        "are on the tape; pass it detached, or capture those ops as well"
                    )
                recorder.arg_leaves[id(x)] = number
            array = x.array if isinstance(x, Tensor) else x
            known = recorder.find(array)
            value = recorder.value("arg", array)
            recorder.program.args.append(value)
            if known is not None:
                recorder.know(array, known)
        with listening(recorder):
            result = self.step(*args, **kwargs)
            program = recorder.finish(result)
        self.recordings += 1
        self._consider(key, program)
        return mapped(result, lambda x: x.detach().clone() if isinstance(x, Tensor) else x)

    def _consider(self, key: Any, program: Program) -> None:
        """Make a program ready if the step did the same before."""
        seen = self._seen.setdefault(key, [])
        why = ""
        for i, earlier in enumerate(seen):
            why = difference(earlier, program)
            if not why:
                del seen[i]
                guard = ModuleGuard(program.modules)
                ready = self._ready.setdefault(key, [])
                ready.append((guard, Replay(program, self.fuse, self._kept)))
                self._bound(key)
                return
        seen.append(program)
        if len(seen) >= _TRIES:
            seen.clear()
            raise CaptureError(
                f"capture: {self._name()} does not do the same from call to call, with equal "
                f"arguments: {why}. Pass what changes as an argument (as a tensor, if it changes "
                "at each call), or leave it out of the step"
            )

    def _bound(self, key: Any) -> None:
        self._ready[key] = self._ready.pop(key)  # the newest last
        while sum([len(ready) for ready in self._ready.values()]) > self.limit:
            oldest = next(iter(self._ready))
            self._ready[oldest].pop(0)
            if not self._ready[oldest]:
                del self._ready[oldest]

    def _name(self) -> str:
        return getattr(self.step, "__qualname__", repr(self.step))

    def __repr__(self) -> str:
        return (f"<captured {self._name()}: {self.recordings} recorded, {self.replays} replayed, "
                f"{len(self.programs)} programs>")  # fmt: skip
