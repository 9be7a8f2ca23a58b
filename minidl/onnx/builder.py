"""The graph in the making: names, constants, sizes as tensors, and the steps of several runs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.onnx.symbols import Size, Symbols, Unknown
from minidl.onnx.trace import Trace, Value
from minidl.typing import Array

EXPORTS: dict[str, Callable[..., Any]] = {}
"""What writes each op's ONNX nodes, by the name of the op's class."""

NO_ONNX: dict[str, str] = {}
"""Why an op has none."""


class ExportError(ValueError):
    """A model that cannot be written as an ONNX graph: which op or axis stands in the way."""


def exports(*names: str) -> Callable[[Any], Any]:
    """Note a function(graph, call) -> name (or names) of the result as the export of these ops."""

    def note(function: Any) -> Any:
        for name in names:
            EXPORTS[name] = function
        return function

    return note


class Call:
    """One step, seen in all runs at once."""

    def __init__(self, graph: "Graph", index: int):
        self.graph = graph
        self.steps = [t.steps[index] for t in graph.traces]
        self.op = self.steps[0].op
        self.count = len(self.steps[0].inputs)

    def __getattr__(self, name: str) -> Any:
        """A setting of the op, one for all runs."""
        if name not in self.steps[0].settings:
            raise AttributeError(f"op {self.op} has no setting {name!r}")
        return self.graph.symbols.merged([s.settings[name] for s in self.steps])

    def has(self, i: int) -> bool:
        """Whether input i is there: it may have been None."""
        return i < self.count and self.steps[0].inputs[i] is not None

    def values(self, i: int) -> list[Any]:
        """Input i of each run: Values, or constants."""
        values = [step.inputs[i] for step in self.steps]
        if isinstance(values[0], Value) and values[0].id in self.graph.traces[0].fixed:
            arrays = [t.arrays[v.id] for t, v in zip(self.graph.traces, values)]
            if _alike(arrays):
                return arrays
        return values

    def name(self, i: int, dtype: Any = None) -> str:
        """The graph's name of input i; a number becomes a constant of the other input's dtype."""
        values = self.values(i)
        if isinstance(values[0], Value):
            return self.graph.name_of(values[0].id)
        if not isinstance(values[0], (np.ndarray, np.generic)):
            dtype = dtype or self.dtype(0 if i else 1)
        return self.graph.constants(values, dtype, self.op)

    def names(self) -> list[str]:
        return [self.name(i) for i in range(self.count)]

    def constant(self, i: int) -> Array:
        """Input i, which must not depend on the inputs or their sizes."""
        values = self.values(i)
        if isinstance(values[0], Value) or not _alike(values):
            raise ExportError(f"export: {self.op} needs its input {i} to be a constant")
        return np.asarray(values[0])

    def dtype(self, i: int = 0) -> np.dtype:
        value = self.steps[0].inputs[i]
        trace = self.graph.traces[0]
        return trace.dtype(value) if isinstance(value, Value) else np.asarray(value).dtype

    def shape(self, i: int = 0) -> tuple[Any, ...]:
        """The shape of input i: numbers, and Sizes where they depend on the inputs'."""
        return self.graph.symbols.merged([
            t.shape(v) if isinstance(v, Value) else np.shape(v)
            for t, v in zip(self.graph.traces, self.values(i))
        ])  # fmt: skip

    def out_shape(self, i: int = 0) -> tuple[Any, ...]:
        return self.graph.symbols.merged(
            [t.shape(s.outputs[i]) for t, s in zip(self.graph.traces, self.steps)]
        )

    def out_dtype(self, i: int = 0) -> np.dtype:
        return self.graph.traces[0].dtype(self.steps[0].outputs[i])

    def ndim(self, i: int = 0) -> int:
        return len(self.shape(i))


class Graph:
    """Nodes and constants of a graph that is being written."""

    def __init__(
        self, traces: Sequence[Trace], symbols: Symbols, weights: dict[int, str], opset: int
    ):
        self.traces, self.symbols, self.opset = list(traces), symbols, opset
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self.names: dict[int, str] = {}  # by Value.id
        self.where: dict[str, tuple[str, int]] = {}  # a dynamic size: an input and its axis
        self._weights = weights  # a parameter's name by the id of its array
        self._made: dict[Any, str] = {}
        self._count = 0

    def write(self, index: int) -> None:
        """Write step number `index`, if it has not been written."""
        call = Call(self, index)
        outputs = call.steps[0].outputs
        if outputs[0].id in self.names:
            return
        if call.op not in EXPORTS:
            why = NO_ONNX.get(call.op, "an op of your own: add it to minidl.onnx.EXPORTS")
            raise ExportError(f"export: {call.op} cannot be written: {why}")
        names = EXPORTS[call.op](self, call)
        for value, name in zip(outputs, names if isinstance(names, tuple) else (names,)):
            self.names.setdefault(value.id, name)

    def name_of(self, id: int) -> str:
        """The name of a value; one that was made of sizes alone is written when it is needed."""
        if id not in self.names:
            arrays = [t.arrays[id] for t in self.traces]
            shape = self.symbols.merged([a.shape for a in arrays])
            name = None if _unknown(shape) else self._pattern(arrays, shape)
            if name is None:
                steps = self.traces[0].steps
                self.write(next(i for i, s in enumerate(steps) if Value(id) in s.outputs))
            else:
                self.names[id] = name
        return self.names[id]

    def fresh(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"

    def add(self, op: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """A node; inputs are names, arrays, or None. Gives its output's name, or a tuple."""
        from onnx import helper

        named = ["" if x is None else x if isinstance(x, str) else self.keep(x) for x in inputs]
        while named and not named[-1]:
            named.pop()
        outs = [self.fresh(op.lower()) for _ in range(outputs)]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(op, named, outs, name=self.fresh(op), **given))
        return outs[0] if outputs == 1 else tuple(outs)

    # constants

    def keep(self, array: Any, dtype: Any = None) -> str:
        """An array as an initializer: a weight under its own name; equal small ones once."""
        if isinstance(array, np.ndarray) and id(array) in self._weights and dtype is None:
            name = self._weights[id(array)]
            self.initializers.setdefault(name, array)
            return name
        array = np.asarray(array, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._made:
            self._made[key] = self.fresh("constant")
            self.initializers[self._made[key]] = np.ascontiguousarray(array).reshape(array.shape)
        return self._made[key]

    def constants(self, values: list[Any], dtype: Any, op: str) -> str:
        """A constant of each run as one tensor: equal ones, or of a pattern that sizes decide."""
        if _alike(values):
            return self.keep(values[0], None if isinstance(values[0], np.ndarray) else dtype)
        merged = self.symbols.merged([_number(v) for v in values])
        if isinstance(merged, Size):
            name = self.add("Squeeze", self.size(merged), np.array([0]))
            return self.cast(name, np.asarray(values[0]).dtype if dtype is None else dtype)
        arrays = [np.asarray(v) for v in values]
        shape = self.symbols.merged([a.shape for a in arrays])
        if isinstance(shape, tuple) and not _unknown(shape) and any(
            isinstance(n, Size) for n in shape
        ):  # fmt: skip
            name = self._pattern(arrays, shape)
            if name is not None:
                return name
        raise ExportError(
            f"export: {op} takes a tensor that changes with the inputs, but was not made from them "
            "by recorded ops (NumPy code, or a function that picks by value, like sort); or that "
            "depends on a dynamic axis in a way ONNX export does not know: leave that axis fixed"
        )

    def _pattern(self, arrays: list[Array], shape: tuple[Any, ...]) -> str | None:
        """One number everywhere, or 0, 1, 2 … along an axis, or a lower or upper triangle."""
        dtype = arrays[0].dtype
        first = [a.reshape(-1)[:1] for a in arrays]
        if all((a == first[0]).all() for a in arrays):
            value = np.full(1, first[0][0] if first[0].size else 0, dtype)
            return self.add("Expand", value, self.sizes(shape))
        long = [i for i, n in enumerate(shape) if n != 1]
        if len(long) == 1 and all(
            (a.reshape(-1) == np.arange(a.size)).all() for a in arrays
        ):  # fmt: skip
            line = self.cast(self.line(shape[long[0]]), dtype)
            return self.add("Reshape", line, self.sizes(shape))
        if len(long) == 2 and long[1] == long[0] + 1:
            return self._triangle([a.reshape(a.shape[long[0]], -1) for a in arrays], shape, long)
        return None

    def _triangle(self, arrays: list[Array], shape: tuple[Any, ...], long: list[int]) -> str | None:
        """Two numbers, parted by a diagonal: masks against looking ahead."""
        big = max(arrays, key=lambda a: a.size)
        inner, outer = big[-1, 0], big[0, -1]
        for k in (-1, 0):
            if all(
                np.array_equal(
                    a, np.where(np.tri(a.shape[0], a.shape[1], k, dtype=bool), inner, outer)
                )
                for a in arrays
            ):
                rows, columns = self.line(shape[long[0]]), self.line(shape[long[1]])
                rows = self.add("Unsqueeze", rows, np.array([1]))
                test = self.add("LessOrEqual" if k == 0 else "Less", columns, rows)
                if inner.dtype.kind == "b":
                    name = test if inner else self.add("Not", test)
                else:
                    name = self.add("Where", test, np.asarray(inner), np.asarray(outer))
                return self.add("Reshape", name, self.sizes(shape))
        return None

    # sizes as tensors

    def size(self, size: Any) -> str:
        """A number or Size as an int64 tensor (1,)."""
        if isinstance(size, Unknown):
            raise ExportError(
                f"export: a size that is {size.values} in runs with the dynamic axes "
                f"{self.symbols.sizes} is no simple function of them; leave an axis fixed"
            )
        if not isinstance(size, Size):
            return self.keep(np.array([size], np.int64))
        key = ("size", *size[:-1])
        if key not in self._made:
            name = ""
            for axis_name in size.names:
                source, axis = self.where[axis_name]
                part = self._once("Shape", source, start=axis, end=axis + 1)
                name = self.add("Mul", name, part) if name else part
            steps = [("Mul", size.factor, 1), ("Add", size.shift, 0)]
            steps += [("Div", size.divisor, 1), ("Add", size.offset, 0)]
            for op, number, nothing in steps:
                if number != nothing:
                    name = self.add(op, name, np.array([number], np.int64))
            self._made[key] = name
        return self._made[key]

    def _once(self, op: str, source: str, **attributes: int) -> str:
        key = (op, source, *sorted(attributes.items()))
        if key not in self._made:
            self._made[key] = self.add(op, source, **attributes)
        return self._made[key]

    def sizes(self, sizes: Sequence[Any]) -> str:
        """Numbers and Sizes as an int64 tensor."""
        if not any(isinstance(n, (Size, Unknown)) for n in sizes):
            return self.keep(np.array(sizes, np.int64))
        parts = [self.size(n) for n in sizes]
        return self.add("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]

    def line(self, count: Any) -> str:
        """0, 1, 2 … as int64."""
        if not isinstance(count, Size):
            return self.keep(np.arange(count))
        end = self.add("Squeeze", self.size(count), np.array([0]))
        return self.add("Range", np.int64(0), end, np.int64(1))

    def reshape(self, x: str, sizes: Sequence[Any]) -> str:
        """Reshape to sizes of which one may be unknown; it is what is left."""
        sizes = list(sizes)
        unknown = [i for i, n in enumerate(sizes) if isinstance(n, Unknown)]
        moving = [i for i, n in enumerate(sizes) if isinstance(n, Size)]
        if len(unknown) == 1:
            sizes[unknown[0]] = -1
        elif not unknown and len(moving) == 1 and 0 not in sizes:
            sizes[moving[0]] = -1  # spares a computation
        return self.add("Reshape", x, self.sizes(sizes), allowzero=1 if 0 in sizes else None)

    # often needed

    def cast(self, x: str, dtype: Any) -> str:
        from onnx import helper

        return self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reduce(self, op: str, x: str, axes: Sequence[int] | None, keepdims: int = 0) -> str:
        """A reduction over axes, all for None: an input from opset 18 on, an attribute before."""
        if axes is None:
            return self.add(op, x, keepdims=keepdims)
        if self.opset >= 18 or op == "ReduceSum":
            return self.add(op, x, np.array(list(axes), np.int64), keepdims=keepdims)
        return self.add(op, x, axes=list(axes), keepdims=keepdims)

    def transpose(self, x: str, axes: Sequence[int]) -> str:
        return x if list(axes) == sorted(axes) else self.add("Transpose", x, perm=list(axes))


def _alike(values: list[Any]) -> bool:
    """Whether a constant is the same in all runs."""
    first = values[0]
    if all(v is first for v in values):
        return True
    arrays = [np.asarray(v) for v in values]
    return all(
        a.dtype == arrays[0].dtype
        and np.array_equal(a, arrays[0], equal_nan=a.dtype.kind == "f")
        for a in arrays
    )  # fmt: skip


def _number(v: Any) -> Any:
    """A single number that is whole as an int, else as it is."""
    if isinstance(v, (int, float, np.generic)) or (isinstance(v, np.ndarray) and v.ndim == 0):
        value = v.item() if isinstance(v, (np.generic, np.ndarray)) else v
        return int(value) if float(value).is_integer() else value
    return None


def _unknown(shape: tuple[Any, ...]) -> bool:
    return any(isinstance(n, Unknown) for n in shape)
