"""What is recorded in this thread, and how a NaN in backward is found."""

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

from minidl import _tensor as engine
from minidl import _walk
from minidl._tensor import Node, _mode


def is_grad_enabled() -> bool:
    """Whether ops are recorded in this thread."""
    return _mode.grad


class _Modal:
    """A mode for a block, or for each call of a function it decorates."""

    def __init__(self, mode: bool):
        self._wanted = mode
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_mode.grad)
        _mode.grad = self._wanted

    def __exit__(self, *_: Any) -> None:
        _mode.grad = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):
            return self._of_generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _Modal(self._wanted):
                return function(*args, **kwargs)

        return wrapped

    def _of_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The mode holds while the generator runs, and not where its values are used."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **kwargs)
            go_on, given = generator.send, None
            while True:
                try:
                    with _Modal(self._wanted):
                        value = go_on(given)
                except StopIteration as end:
                    return end.value
                try:
                    given = yield value
                    go_on = generator.send
                except GeneratorExit:
                    with _Modal(self._wanted):
                        generator.close()
                    raise
                except BaseException as error:
                    go_on, given = generator.throw, error

        return wrapped


class set_grad_enabled(_Modal):
    """Record ops, or not: from now on, for a block with `with`, or as a decorator of a function."""

    def __init__(self, mode: bool):
        super().__init__(mode)
        self._made_in, _mode.grad = _mode.grad, mode

    def __enter__(self) -> None:
        self._before.append(self._made_in)
        self._made_in = _mode.grad = self._wanted

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        _mode.grad = self._made_in
        return super().__call__(function)


class _Switch(_Modal):
    """A mode without an argument: `no_grad()`, and as a decorator also plain `@no_grad`."""

    wanted: bool

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self, function: Callable[..., Any] | None = None):
        super().__init__(self.wanted)


class no_grad(_Switch):
    """Record nothing in this thread."""

    wanted = False


class enable_grad(_Switch):
    """Record again, inside no_grad."""

    wanted = True


class inference_mode(_Modal):
    """Record nothing in this thread; the same as no_grad here, for tensors carry no other cost."""

    def __new__(cls, mode: Any = True) -> Any:  # @inference_mode without brackets
        return cls()(mode) if callable(mode) else super().__new__(cls)

    def __init__(self, mode: bool = True):
        super().__init__(not mode)


class detect_anomaly:
    """Within it, a backward that makes a NaN raises, naming the op and the line that called it."""

    def __init__(self, check_nan: bool = True):
        self._wanted = (True, check_nan)

    def __enter__(self) -> None:
        self._before = (_note_line in engine.observers, _walk.check_for_nan)
        _set_anomaly(*self._wanted)

    def __exit__(self, *_: Any) -> None:
        _set_anomaly(*self._before)


class set_detect_anomaly(detect_anomaly):
    """`detect_anomaly` switched on or off: from now on, or for a block with `with`."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self._wanted = (mode, mode and check_nan)
        super().__enter__()

    def __enter__(self) -> None:
        pass  # it holds already


def _set_anomaly(note_lines: bool, check: bool) -> None:
    if note_lines and _note_line not in engine.observers:
        engine.observers.append(_note_line)
    elif not note_lines and _note_line in engine.observers:
        engine.observers.remove(_note_line)
    _walk.check_for_nan = check


_OWN_FILES = __file__.rsplit("autograd", 1)[0]


def _note_line(node: Node) -> None:
    import traceback

    for frame in reversed(traceback.extract_stack(limit=24)):
        if not frame.filename.startswith(_OWN_FILES):
            node.where = f"{frame.filename}:{frame.lineno}: {frame.line}"
            return
