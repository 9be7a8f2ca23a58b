"""The code of one run while it is written: rows of instructions, registers without numbers yet."""

from typing import Any

from minidl._capture.program import Value
from minidl.kernels import program as vm


class Emit:
    """Gathers code; places of memory and registers are numbered when all are known."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.numbers: dict[float, int] = {}
        self.once: list[list[Any]] = []
        self._known: dict[Any, Any] = {}

    def __call__(self, instruction: int, a: Any, b: Any = None, c: Any = None) -> Any:
        made = Register()
        a, b, c = [self.place(x) for x in (a, b, c)]
        self.rows.append([instruction, made, a, b, c])
        return made

    def number(self, x: float) -> Any:
        key = ("number", float(x))
        if key not in self._known:
            made = self._known[key] = Register()
            self.once.append([vm.NUMBER, made, len(self.numbers), 0, 0])
            self.numbers[float(x)] = len(self.numbers)
        return self._known[key]

    def place(self, x: Any) -> Any:
        return self.number(x) if type(x) in (int, float) else x

    def element(self, value: Value) -> Any:
        key = ("element", value)
        if key not in self._known:
            made = self._known[key] = Register()
            self.once.append([vm.ELEMENT, made, value, 0, 0])
        return self._known[key]

    def repeat(self, value: Value, inner: int, period: int) -> Any:
        key = ("repeat", value)
        if key not in self._known:
            made = self._known[key] = Register()
            self.rows.append([vm.REPEAT, made, value, inner, period])
        return self._known[key]


class Register:
    __slots__ = ("last", "number")

    def __init__(self) -> None:
        self.number = self.last = -1
