"""RNN, GRU, LSTM: the same equations in ONNX's order of gates, over whole sequences."""

from typing import Any

import numpy as np

from minidl.onnx.builder import ExportError, exports

_ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}  # of PyTorch's gates, in ONNX's


@exports("RNN", "GRU", "LSTM")
def recurrent(graph, call):
    """Packed rows (T * B, D) become (T, B, D) where all sequences have one length."""
    states = 2 if call.op == "LSTM" else 1
    first = 1 + states  # the place of w_ih
    sizes = _steps(call)
    if call.op == "LSTM" and call.has(7):
        raise ExportError("export: an LSTM with a projection has no ONNX operator")
    size = call.shape(1)[1]
    x = graph.reshape(call.name(0), [sizes, call.shape(1)[0], call.shape(0)[-1]])
    weights = [_gates(call, first + i, size) for i in range(2)]
    bias = None
    if call.has(first + 2):
        bias = np.concatenate([_gates(call, first + i, size) for i in (2, 3)])[None]
    given: dict[str, Any] = {"hidden_size": size}
    if call.op == "GRU":
        given["linear_before_reset"] = 1
    if call.op == "RNN" and call.relu:
        given["activations"] = ["Relu"]
    if call.reverse:
        given["direction"] = "reverse"
    start = [graph.add("Unsqueeze", call.name(1 + i), np.array([0])) for i in range(states)]
    out = graph.add(
        call.op, x, weights[0][None], weights[1][None], bias, None, *start,
        outputs=1 + states, **given,
    )  # fmt: skip
    rows = graph.reshape(out[0], [*call.out_shape()[:-1], size])
    return (rows, *[graph.add("Squeeze", y, np.array([0])) for y in out[1:]])


def _steps(call) -> Any:
    """The number of time steps; their sizes must be the batch's, all of them."""
    values = call.values(call.count - 1)
    batches = [
        t.shape(s.inputs[1]) if hasattr(s.inputs[1], "id") else np.shape(s.inputs[1])
        for t, s in zip(call.graph.traces, call.steps)
    ]
    for sizes, batch in zip(values, batches):
        if not isinstance(sizes, np.ndarray) or (sizes != batch[0]).any():
            raise ExportError("export: packed sequences of several lengths; pad them instead")
    return call.graph.symbols.merged([len(v) for v in values])


def _gates(call, i: int, size: int):
    """A weight with its blocks of rows, one a gate, in ONNX's order."""
    weight = call.constant(i)
    parts = weight.reshape(-1, size, *weight.shape[1:])
    return parts[list(_ORDER[call.op])].reshape(weight.shape)
