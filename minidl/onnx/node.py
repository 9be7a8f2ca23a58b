"""A node of a graph as the operators see it, and the table of those operators.

    @operator("LeakyRelu")
    def leaky_relu(node, x):
        return F.leaky_relu(x, node.get("alpha", 0.01))

An operator gets its node and one Tensor an input (None where an optional one is left out), and
returns one Tensor, or a tuple of them if the node has several outputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl._apply import apply, cast
from minidl._tensor import Tensor
from minidl.ops.elementwise import Alias
from minidl.typing import Array

OPERATORS: dict[str, Callable[..., Any]] = {}
"""The function that runs each ONNX operator, by the operator's name."""


def operator(*names: str) -> Callable[[Any], Any]:
    """Note a function as the meaning of these operators."""

    def note(function: Any) -> Any:
        for name in names:
            OPERATORS[name] = function
        return function

    return note


def need_onnx() -> Any:
    """The package `onnx`, or ImportError with the way to get it."""
    try:
        import onnx
    except ImportError:
        raise ImportError("minidl.onnx needs the package onnx: pip install minidl[onnx]") from None
    return onnx


class NodeView:
    """One node: operator, attributes as plain values, how many outputs, the version of opset."""

    __slots__ = ("attributes", "inputs", "name", "op", "outputs", "version")

    def __init__(self, proto: Any, version: int):
        from onnx import helper

        self.op: str = proto.op_type
        self.name: str = proto.name
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self.version = version
        self.attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in proto.attribute}

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        return self.attributes.get(name, default)

    def wants(self, index: int) -> bool:
        """Whether output number `index` is asked for."""
        return len(self.outputs) > index and self.outputs[index] != ""

    def __repr__(self) -> str:
        return f"{self.op} {self.name!r}" if self.name else f"{self.op} of {self.outputs[0]!r}"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if type(value).__name__ == "TensorProto":
        return to_array(value)
    if isinstance(value, (list, tuple)) or type(value).__name__.startswith("Repeated"):
        return [_plain(v) for v in value]
    return value


def to_array(proto: Any) -> Array:
    """The array of a TensorProto; TypeError for what NumPy itself has no dtype for."""
    from onnx import numpy_helper

    array = numpy_helper.to_array(proto)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"onnx: tensor {proto.name!r} holds {array.dtype}, which is not supported")
    return array


def dtype_of(number: int) -> np.dtype:
    """NumPy's dtype for ONNX's number of one."""
    from onnx import TensorProto, helper

    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(number))
    if dtype.kind not in "biuf" or dtype.type.__module__ != "numpy":
        name = TensorProto.DataType.Name(number)
        raise TypeError(f"onnx: element type {name} is not supported; use one that NumPy has")
    return dtype


def is_float(*tensors: Tensor | None) -> bool:
    """Whether the first tensor is of floating point: only then there are gradients to record."""
    return tensors[0] is not None and tensors[0].dtype.kind == "f"


def numbers(x: Any) -> list[int]:
    """A tensor of whole numbers, or a list, as plain integers."""
    values = x.array if isinstance(x, Tensor) else np.asarray(x)
    return [int(v) for v in values.reshape(-1)]


def constant(array: Any, dtype: Any = None) -> Tensor:
    """A tensor off the tape."""
    return Tensor(np.asarray(array, dtype))


def to_dtype(x: Tensor, dtype: Any) -> Tensor:
    """x in another dtype."""
    return cast(x, np.dtype(dtype))


def same(x: Tensor) -> Tensor:
    """x itself, as a tensor of its own."""
    return apply(Alias, x)


def axis_of(axis: int, ndim: int, node: NodeView) -> int:
    """An axis from 0 on."""
    if not -ndim <= axis < max(ndim, 1):
        raise ValueError(f"{node.op}: axis {axis} is outside a tensor of {ndim} axes")
    return axis % ndim if ndim else 0


def axes_of(axes: Sequence[int], ndim: int, node: NodeView) -> tuple[int, ...]:
    """Axes from 0 on, ascending."""
    return tuple(sorted({axis_of(int(a), ndim, node) for a in axes}))
