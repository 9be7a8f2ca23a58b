"""Reading a graph: nodes run one after another with minidl's ops, weights are parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.onnx import operators  # noqa: F401  # fills OPERATORS
from minidl.onnx.node import OPERATORS, NodeView, dtype_of, need_onnx, to_array

OLDEST = 7
_DOMAINS = ("", "ai.onnx")


def load(f: Any) -> "OnnxModel":
    """The model in an ONNX file (a path, or a ModelProto) as a Module.

    Raises FileNotFoundError where there is no file, ValueError for another format, an opset below 7
    or operators that are not supported, which it names.
    """
    return OnnxModel(_proto(f))


def _proto(f: Any) -> Any:
    onnx = need_onnx()
    if isinstance(f, onnx.ModelProto):
        return f
    path = Path(f)
    if not path.is_file():
        raise FileNotFoundError(f"onnx: there is no file {path}")
    try:
        return onnx.load(path)
    except Exception as error:
        text = " ".join(str(error).split())[:100]
        raise ValueError(f"onnx: {path} is not a whole ONNX file ({text})") from None


class OnnxModel(Module):
    """An ONNX graph as a Module: `model(*inputs)` gives its output, or a tuple of several.

    Inputs come in the graph's order, or by name as keywords; arrays are taken as they are. Weights
    (initializers of floating point) are parameters under their own names, dots making submodules as
    in a state_dict; other initializers are buffers. The gradient flows wherever minidl's ops have
    one: rounding, casts to integers and comparisons have none.
    """

    def __init__(self, proto: Any):
        super().__init__()
        self.opset = _opset(proto)
        graph = proto.graph
        self._graph_nodes = _nodes(graph, self.opset)
        self.input_names: list[str] = []
        self.output_names = [value.name for value in graph.output]
        self.input_shapes: dict[str, tuple[Any, ...]] = {}
        self._dtypes: dict[str, np.dtype] = {}
        weights = {tensor.name: to_array(tensor) for tensor in graph.initializer}
        for value in graph.input:
            if value.name in weights:
                continue  # a default: before version 4 of the format all weights were inputs too
            self.input_names.append(value.name)
            tensor = value.type.tensor_type
            if not value.type.HasField("tensor_type"):
                raise ValueError(f"onnx: input {value.name!r} is not a tensor")
            self._dtypes[value.name] = dtype_of(tensor.elem_type)
            self.input_shapes[value.name] = tuple(
                [d.dim_param or d.dim_value for d in tensor.shape.dim]
            )
        self._places: dict[str, tuple[Module, str]] = {}
        for name, array in weights.items():
            self._places[name] = _store(self, name, np.array(array))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        values = self._weights()
        values.update(self._given(args, kwargs))
        run(self._graph_nodes, values)
        outs = tuple([values[name] for name in self.output_names])
        return outs[0] if len(outs) == 1 else outs

    def _weights(self) -> dict[str, Any]:
        return {name: getattr(place, key) for name, (place, key) in self._places.items()}

    def _given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        names = self.input_names
        given = dict(zip(names, args)) | dict(kwargs)
        missing = [name for name in names if name not in given]
        unknown = [name for name in kwargs if name not in names]
        if missing or unknown or len(args) > len(names):
            raise TypeError(
                f"OnnxModel: inputs {names} are needed, got {len(args)} by place and "
                f"{sorted(kwargs)} by name"
            )
        return {name: self._input(name, value) for name, value in given.items()}

    def _input(self, name: str, value: Any) -> Tensor | None:
        if value is None:
            return None
        x = value if isinstance(value, Tensor) else Tensor(np.asarray(value))
        if x.dtype != self._dtypes[name]:
            raise TypeError(
                f"OnnxModel: input {name!r} is of {self._dtypes[name]} in the graph, got {x.dtype}"
            )
        sizes = self.input_shapes[name]
        fixed = [type(n) is str or n in (0, m) for n, m in zip(sizes, x.shape)]
        if sizes and (len(sizes) != x.ndim or not all(fixed)):
            raise ValueError(f"OnnxModel: input {name!r} must be {sizes}, got {x.shape}")
        return x

    def extra_repr(self) -> str:
        inputs = ", ".join(f"{name} {self.input_shapes[name]}" for name in self.input_names)
        return f"{inputs}; {len(self._graph_nodes)} nodes, opset {self.opset}"


def _opset(proto: Any) -> int:
    version = next((o.version for o in proto.opset_import if o.domain in _DOMAINS), 0)
    if version < OLDEST:
        raise ValueError(f"onnx: opset {version} is too old, {OLDEST} and later are supported")
    return version


def _nodes(graph: Any, version: int) -> list[NodeView]:
    unknown = {
        n.op_type if n.domain in _DOMAINS else f"{n.domain}.{n.op_type}"
        for n in graph.node
        if n.domain not in _DOMAINS or n.op_type not in OPERATORS
    }
    if unknown:
        raise ValueError(f"onnx: operators that are not supported: {', '.join(sorted(unknown))}")
    return [NodeView(node, version) for node in graph.node]


def _store(root: Module, name: str, array: Any) -> tuple[Module, str]:
    """Keep a weight under its name; each dot leads into a submodule, made if it is missing."""
    *path, key = name.split(".") if all(name.split(".")) else [name.replace(".", "_")]
    place = root
    for part in path:
        child = place._modules.get(part)
        if child is None:
            if hasattr(place, part):
                path, place, key = [], root, name.replace(".", "_")
                break
            child = Module()
            setattr(place, part, child)
        place = child
    while hasattr(place, key):  # "training" and the like, or a weight called as another's folder
        key += "_"
    if array.dtype.kind == "f":
        place.register_parameter(key, Parameter(Tensor(array)))
    else:
        place.register_buffer(key, Tensor(array))
    return place, key


def run(nodes: list[NodeView], values: dict[str, Any]) -> None:
    """Run nodes in order: read and write `values` by name."""
    for node in nodes:
        inputs = [values[name] if name else None for name in node.inputs]
        try:
            out = OPERATORS[node.op](node, *inputs)
        except (TypeError, ValueError, IndexError) as error:
            raise type(error)(f"onnx: {node!r}: {error}") from error
        outs = out if isinstance(out, tuple) else (out,)
        values.update(zip(node.outputs, outs))
