"""Writing a model as an ONNX graph: run it, note its ops, write each as ONNX nodes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.io.files import write_atomic
from minidl.nn.module import Module
from minidl.onnx import exports  # noqa: F401  # fills EXPORTS and NO_ONNX
from minidl.onnx.builder import ExportError, Graph
from minidl.onnx.model import load
from minidl.onnx.node import need_onnx
from minidl.onnx.symbols import Symbols
from minidl.onnx.trace import Trace, Value, flat, trace
from minidl.typing import Array

OPSETS = range(17, 24)


def export(
    model: Any,
    args: Any,
    f: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_axes: Mapping[str, Any] | None = None,
    opset_version: int = 20,
) -> Any:
    """Write `model` as an ONNX file `f` (a path, or a binary file; None: only return the graph).

    model: a Module in eval mode, or a function of tensors. args: example inputs, a tensor or a
    tuple. dynamic_axes: {input: {axis: name}} or {input: [axes]}, the axes whose size may change;
    axes of one name have one size. Weights keep their names. Returns the ModelProto.

    The model is run on the examples and on others of the same and of other sizes, and the graph
    must give the same as the model for all of them (relative error 1e-4), so what is written is
    right for more than the examples. ExportError says which op or axis stands in the way.

    What cannot be written: losses and other ops of `minidl.onnx.NO_ONNX`, which says why; values
    that were taken to NumPy; branches by value; writes into a part of a tensor. What needs a fixed
    axis: Python loops over it, interpolation and adaptive pooling to several places, tables as long
    as the input (but for 0, 1, 2 …, triangles and equal numbers), sizes that are not a product of
    dynamic sizes times a number, or (size + a) // b + c. Packed sequences must have one length. A
    graph with its weights is at most 2 GB, protobuf's limit.
    """
    onnx = need_onnx()
    _check(model, opset_version)
    single = isinstance(args, (Tensor, np.ndarray))
    arrays = [
        np.asarray(a.array if isinstance(a, Tensor) else a) for a in ([args] if single else args)
    ]
    inputs = list(input_names or [f"input_{i}" if i else "input" for i in range(len(arrays))])
    if len(inputs) != len(arrays):
        raise ValueError(f"export: {len(inputs)} input_names for {len(arrays)} inputs")
    axes = _axes(dynamic_axes or {}, inputs, output_names or (), arrays)
    *runs, unseen = _examples(arrays, axes)
    traces = [_traced(model, run, index) for index, run in enumerate(runs)]
    _check_same_steps(traces)
    sizes = {}
    for (place, axis), name in axes.items():
        sizes[name] = tuple([run[place].shape[axis] for run in runs])
    graph = Graph(traces, Symbols(sizes), _weights(model), opset_version)
    for value, name in zip(traces[0].inputs, inputs):
        graph.names[value.id] = name
    for (place, axis), name in axes.items():
        graph.where.setdefault(name, (inputs[place], axis))
    for index, step in enumerate(traces[0].steps):
        if any(value.id not in traces[0].fixed for value in step.outputs):
            graph.write(index)  # fixed ones are written where they are used
    proto = _model(graph, inputs, list(output_names or ()), arrays, axes, opset_version)
    onnx.checker.check_model(proto)
    _compare(model, load(proto), [runs[0], runs[-1], unseen])
    if f is not None:
        write_atomic(f if hasattr(f, "write") else Path(f), proto.SerializeToString())
    return proto


def _check(model: Any, opset: int) -> None:
    if opset not in OPSETS:
        raise ValueError(f"export: opset_version must be {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    if isinstance(model, Module) and model.training:
        raise ValueError("export: the model is in training mode; call model.eval() first")


def _axes(dynamic: Mapping[str, Any], inputs: list[str], outputs: Any, arrays: list[Array]) -> dict:
    """{(input's number, axis): name}."""
    out: dict[tuple[int, int], str] = {}
    for name, axes in dynamic.items():
        if name in outputs and name not in inputs:
            continue  # what changes in an output follows from the inputs
        if name not in inputs:
            raise ValueError(f"export: dynamic_axes names {name!r}; the inputs are {inputs}")
        place = inputs.index(name)
        named = axes if isinstance(axes, Mapping) else {a: f"{name}_{a}" for a in axes}
        for axis, label in named.items():
            if not -arrays[place].ndim <= axis < arrays[place].ndim:
                raise ValueError(f"export: input {name!r} has no axis {axis}")
            out[place, axis % arrays[place].ndim] = str(label)
    for label in set(out.values()):
        found = {arrays[place].shape[axis] for (place, axis), name in out.items() if name == label}
        if len(found) > 1:
            raise ValueError(f"export: axes named {label!r} have sizes {sorted(found)}")
    return out


def _examples(arrays: list[Array], axes: dict[tuple[int, int], str]) -> list[list[Array]]:
    """The arguments, and more sets: their values in another order, dynamic axes longer.

    The last is for the test of what was found from the others.
    """
    rng = np.random.default_rng(0)
    names = sorted(set(axes.values()))
    runs = [arrays]
    longer = ((3, 2), (6, 7), (10, 3), (13, 11), (8, 5)) if axes else ((0, 0),) * 3
    for step, gap in longer:
        run = []
        for place, array in enumerate(arrays):
            shape = list(array.shape)
            for axis in range(array.ndim):
                if (place, axis) in axes:
                    shape[axis] += step + gap * names.index(axes[place, axis])
            run.append(np.resize(_shuffled(array.reshape(-1), rng), shape))
        runs.append(run)
    return runs


def _shuffled(values: Array, rng: np.random.Generator) -> Array:
    """The values in another order, by which a choice by value would show."""
    for _ in range(20):
        other = rng.permutation(values)
        if not np.array_equal(other, values):
            return other
    return values


def _traced(model: Any, run: list[Array], index: int) -> Trace:
    try:
        return trace(model, run)
    except Exception as error:
        if not index or isinstance(error, ExportError):
            raise
        shapes = ", ".join(str(a.shape) for a in run)
        raise ExportError(
            f"export: the model fails on inputs of shapes {shapes}, values of the examples in "
            f"another order, with which dynamic axes are tried: {error}"
        ) from error


def _check_same_steps(traces: list[Trace]) -> None:
    first = [s.op for s in traces[0].steps]
    for other in traces[1:]:
        ops = [s.op for s in other.steps]
        if ops != first:
            raise ExportError(
                f"export: the model ran {len(first)} ops on the examples and {len(ops)} on other "
                "inputs: a loop over a dynamic axis, or a branch by value; leave that axis fixed"
            )
        same = [a.inputs == b.inputs for a, b in _pairs(traces[0], other)]
        if not all(same):
            raise ExportError(
                f"export: {first[same.index(False)]} takes another value on other inputs: a branch "
                "by value; use where"
            )


def _pairs(one: Trace, other: Trace) -> Any:
    """Steps with only their Values, so that they can be compared."""
    for a, b in zip(one.steps, other.steps):
        yield tuple(
            s._replace(inputs=tuple(x if isinstance(x, Value) else None for x in s.inputs))
            for s in (a, b)
        )


def _weights(model: Any) -> dict[int, str]:
    if not isinstance(model, Module):
        return {}
    named = [*model.named_parameters(), *model.named_buffers()]
    return {id(t.array): name for name, t in reversed(named)}


def _model(graph, inputs, output_names, arrays, axes, opset) -> Any:
    """The ModelProto of a finished graph."""
    from onnx import helper, numpy_helper

    outputs = graph.traces[0].outputs
    names = output_names or [f"output_{i}" if i else "output" for i in range(len(outputs))]
    if len(names) != len(outputs):
        raise ValueError(f"export: {len(names)} output_names for {len(outputs)} outputs")
    infos = []
    for index, (value, name) in enumerate(zip(outputs, names)):
        if not isinstance(value, Value) or value.id in graph.traces[0].fixed:
            raise ExportError(
                f"export: output {name!r} was not made from the inputs by recorded ops: it is a "
                "constant, or comes from NumPy code or from a function that is not recorded"
            )
        graph.nodes.append(helper.make_node("Identity", [graph.names[value.id]], [name]))
        runs = [t.shape(t.outputs[index]) for t in graph.traces]
        shape = [_label(n, f"{name}_{i}") for i, n in enumerate(graph.symbols.merged(runs))]
        infos.append(_info(name, graph.traces[0].dtype(value), shape))
    given = [
        _info(name, a.dtype, [axes.get((place, i), n) for i, n in enumerate(a.shape)])
        for place, (name, a) in enumerate(zip(inputs, arrays))
    ]
    weights = [numpy_helper.from_array(a, name) for name, a in graph.initializers.items()]
    made = helper.make_graph(graph.nodes, "minidl", given, infos, weights)
    made = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", opset)], producer_name="minidl"
    )
    made.ir_version = min(made.ir_version, 9)  # of opset 20; runtimes refuse a newer one
    return made


def _info(name: str, dtype: np.dtype, shape: list[Any]) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


def _label(n: Any, otherwise: str) -> Any:
    if isinstance(n, int):
        return n
    plain = getattr(n, "names", ()) and n[1:5] == (1, 0, 1, 0)
    return n.names[0] if plain and len(n.names) == 1 else otherwise


def _compare(model: Any, graph: Any, runs: list[list[Array]]) -> None:
    """The graph, run by minidl's own importer, must give what the model gives."""
    for run in runs:
        wanted = flat(model(*[Tensor(a.copy()) for a in run]))
        for mine, theirs in zip(flat(graph(*run)), wanted):
            a, b = mine.array, theirs.array
            scale = float(np.abs(b[np.isfinite(b)]).max(initial=0)) if b.dtype.kind == "f" else 0
            if a.shape != b.shape or not np.allclose(a, b, 1e-4, 1e-5 * scale, equal_nan=True):
                shapes = ", ".join(str(x.shape) for x in run)
                raise ExportError(
                    f"export: the graph and the model differ on inputs of shapes {shapes}: the "
                    "model does something that is no recorded op, such as a write into a part"
                )
