"""What a model does, op by op: recorded while it runs, by the arrays that go in and come out."""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from minidl import _tensor
from minidl._tensor import Tensor
from minidl.autograd import no_grad
from minidl.typing import Array


class Value(NamedTuple):
    """A number for each array that depends on the inputs."""

    id: int


class Step(NamedTuple):
    """One op: its name, Values and constants, settings, Values that it made, their shapes."""

    op: str
    inputs: tuple[Any, ...]
    settings: dict[str, Any]
    outputs: tuple[Value, ...]


class Trace:
    """One run of a model: steps in order, the values of inputs and outputs, every value's shape.

    Arrays are known by identity; what has not been made by a recorded op is a constant: a weight,
    or what the model itself made of shapes and numbers. `fixed` are the values made of those alone.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.inputs: list[Value] = []
        self.outputs: list[Any] = []
        self.arrays: list[Array] = []  # by Value.id; kept, so that an identity is never used again
        self.fixed: set[int] = set()
        self._known: dict[int, int] = {}

    def shape(self, value: Value) -> tuple[int, ...]:
        return self.arrays[value.id].shape

    def dtype(self, value: Value) -> np.dtype:
        return self.arrays[value.id].dtype

    def new(self, array: Array) -> Value:
        self._known[id(array)] = len(self.arrays)
        self.arrays.append(array)
        return Value(len(self.arrays) - 1)

    def seen(self, x: Any) -> Any:
        """The Value of a tensor or array, or the array (number, None) itself: a constant."""
        array = x.array if isinstance(x, Tensor) else x
        known = self._known.get(id(array))
        return array if known is None or self.arrays[known] is not array else Value(known)

    def __call__(self, op: Any, inputs: Sequence[Any], settings: dict[str, Any], outs: Any) -> None:
        seen = tuple([self.seen(x) for x in inputs])
        name = op if isinstance(op, str) else op.__name__
        made = tuple([self.new(out.array) for out in outs])
        self.steps.append(Step(name, seen, dict(settings or {}), made))
        if not any(isinstance(x, Value) and x.id not in self.fixed for x in seen):
            self.fixed.update(value.id for value in made)

    def pruned(self) -> "Trace":
        """The same without the steps that no output needs, values numbered anew."""
        wanted = {v.id for v in self.outputs if isinstance(v, Value)}
        kept = []
        for step in reversed(self.steps):
            if any(v.id in wanted for v in step.outputs):
                kept.append(step)
                wanted.update(v.id for v in step.inputs if isinstance(v, Value))
        out, numbers = Trace(), {}

        def new(v: Any) -> Any:
            if isinstance(v, Value) and v.id not in numbers:
                numbers[v.id] = len(out.arrays)
                out.arrays.append(self.arrays[v.id])
                if v.id in self.fixed:
                    out.fixed.add(numbers[v.id])
            return Value(numbers[v.id]) if isinstance(v, Value) else v

        out.inputs = [new(v) for v in self.inputs]
        for step in reversed(kept):
            inputs = tuple([new(v) for v in step.inputs])
            out.steps.append(
                step._replace(inputs=inputs, outputs=tuple([new(v) for v in step.outputs]))
            )
        out.outputs = [new(v) for v in self.outputs]
        return out


def trace(model: Any, args: Sequence[Array]) -> Trace:
    """Run `model` on arrays, without gradients, and note every op."""
    record = Trace()
    inputs = [Tensor(np.array(a)) for a in args]
    record.inputs = [record.new(x.array) for x in inputs]
    with no_grad(), _listening(record):
        out = model(*inputs)
    for y in flat(out):
        record.outputs.append(record.seen(y))
    return record.pruned()


@contextmanager
def _listening(recorder: Any) -> Any:
    _tensor.recorders.append(recorder)
    try:
        yield
    finally:
        _tensor.recorders.remove(recorder)


def flat(out: Any) -> list[Tensor]:
    """The tensors of a nest of tuples, lists and dictionaries, in order; None is left out."""
    if isinstance(out, Tensor):
        return [out]
    if out is None:
        return []
    if isinstance(out, dict):
        out = list(out.values())
    if isinstance(out, (tuple, list)):
        return [t for part in out for t in flat(part)]
    raise TypeError(f"export: the model returns {type(out).__name__}; tensors are needed")
