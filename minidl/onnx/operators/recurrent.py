"""RNN, GRU and LSTM as ONNX defines them.

What PyTorch has too runs as one op (`minidl.ops.recurrent`), with the gates in its order; other
activations, peepholes, limits and lengths of their own go one step after another.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl.functional as F
from minidl._tensor import Tensor
from minidl.functional import activation as nnf
from minidl.functional.recurrent import one_direction
from minidl.onnx.node import NodeView, constant, operator

_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_TAKES = {  # activation: default alpha and beta, None where it takes none
    "affine": (1.0, 0.0), "elu": (1.0, None), "hardsigmoid": (0.2, 0.5), "leakyrelu": (0.01, None),
    "scaledtanh": (1.0, 1.0), "thresholdedrelu": (1.0, None),
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "affine": lambda x, a, b: x * a + b,
    "elu": lambda x, a, b: nnf.elu(x, a),
    "hardsigmoid": lambda x, a, b: F.clamp(x * a + b, 0.0, 1.0),
    "leakyrelu": lambda x, a, b: nnf.leaky_relu(x, a),
    "relu": lambda x, a, b: nnf.relu(x),
    "scaledtanh": lambda x, a, b: F.tanh(x * b) * a,
    "sigmoid": lambda x, a, b: F.sigmoid(x),
    "softplus": lambda x, a, b: nnf.softplus(x),
    "softsign": lambda x, a, b: nnf.softsign(x),
    "tanh": lambda x, a, b: F.tanh(x),
    "thresholdedrelu": lambda x, a, b: nnf.threshold(x, a, 0.0),
}


def _activations(node: NodeView, directions: int) -> list[Callable[[Tensor], Tensor]]:
    """The functions of all directions; alphas and betas go to those that take one, in order."""
    names = node.get("activations") or _DEFAULTS[node.op] * directions
    alphas = list(node.get("activation_alpha") or [])
    betas = list(node.get("activation_beta") or [])
    out: list[Callable[[Tensor], Tensor]] = []
    for name in names:
        alpha, beta = _TAKES.get(name.lower(), (None, None))
        alpha = alphas.pop(0) if alpha is not None and alphas else alpha
        beta = betas.pop(0) if beta is not None and betas else beta
        # of an LSTM's three, the last is the cell's: as in onnxruntime it is not limited
        clip = None if node.op == "LSTM" and len(out) % 3 == 2 else node.get("clip")
        out.append(_bound(_FUNCTIONS[name.lower()], alpha, beta, clip))
    return out


def _bound(function: Any, alpha: Any, beta: Any, clip: float | None) -> Callable[[Tensor], Tensor]:
    if clip is None:
        return lambda x: function(x, alpha, beta)
    return lambda x: function(F.clamp(x, -clip, clip), alpha, beta)


@operator("RNN", "GRU", "LSTM")
def recurrent(node, x, w, r, b=None, lengths=None, h=None, c=None, peep=None):
    """x (T, B, D), or (B, T, D) with layout 1; one sweep a direction."""
    swapped = node.get("layout", 0)
    x = x.swapaxes(0, 1) if swapped else x
    count, size = w.shape[0], r.shape[-1]
    functions = _activations(node, count)
    each = len(functions) // count
    batch, dtype = x.shape[1], x.dtype
    zeros = constant(np.zeros((count, batch, size)), dtype)
    h, c = [zeros if s is None else (s.swapaxes(0, 1) if swapped else s) for s in (h, c)]
    if b is None:
        b = constant(np.zeros((count, 2 * _GATES[node.op] * size)), dtype)
    sweeps = []
    fused = _mode(node) if lengths is None and peep is None else None
    for d in range(count):
        backwards = node.get("direction", "forward") == "reverse" or d == 1
        if fused:
            sweeps.append(_fused(fused, x, h[d], c[d], w[d], r[d], b[d], backwards))
            continue
        cell = _CELLS[node.op](
            node, w[d], r[d], b[d], None if peep is None else peep[d],
            functions[d * each : (d + 1) * each],
        )  # fmt: skip
        sweeps.append(_sweep(cell, x, h[d], c[d], lengths, backwards))
    y = F.stack([s[0] for s in sweeps], 1)  # (T, directions, B, H)
    states = [F.stack([s[k] for s in sweeps], 0) for k in (1, 2)]
    if swapped:
        y, states = y.permute(2, 0, 1, 3), [s.swapaxes(0, 1) for s in states]
    return (y, *states) if node.op == "LSTM" else (y, states[0])


def _mode(node: NodeView) -> str | None:
    """The name of what `minidl.ops.recurrent` would do for this node, None where it cannot."""
    names = [n.lower() for n in node.get("activations") or []]
    wanted = [n.lower() for n in _DEFAULTS[node.op]]
    other = any(names[i : i + len(wanted)] != wanted for i in range(0, len(names), len(wanted)))
    if node.get("clip") is not None or node.get("input_forget", 0):
        return None
    if node.op == "RNN":
        return "RNN_RELU" if names and set(names) == {"relu"} else None if other else "RNN_TANH"
    if other or (node.op == "GRU" and not node.get("linear_before_reset", 0)):
        return None
    return node.op


_ORDER = {"RNN_TANH": (0,), "RNN_RELU": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}


def _fused(mode, x, h, c, w, r, b, backwards):
    """A sweep as one op: ONNX's blocks of gates come into PyTorch's order."""
    steps, batch = x.shape[:2]
    size = r.shape[-1]

    def turned(t: Tensor) -> Tensor:
        blocks = [t[g * size : (g + 1) * size] for g in _ORDER[mode]]
        return F.cat(blocks) if len(blocks) > 1 else blocks[0]

    half = b.shape[0] // 2
    weights = (turned(w), turned(r), turned(b[:half]), turned(b[half:]), None)
    states = (h, c) if mode == "LSTM" else (h,)
    sizes = np.full(steps, batch)
    out, *last = one_direction(mode, x, states, weights, sizes, backwards)
    return out, last[0], last[1] if mode == "LSTM" else c


def _sweep(cell, x, h, c, lengths, backwards):
    """Steps through time; past a sequence's own length its state stays and its output is 0."""
    steps = range(x.shape[0])
    outs: list[Any] = [None] * x.shape[0]
    for t in reversed(steps) if backwards else steps:
        new_h, new_c = cell(x[t], h, c)
        if lengths is None:
            h, c = new_h, new_c
            outs[t] = h
        else:
            alive = Tensor((lengths.array > t)[:, None])
            h, c = F.where(alive, new_h, h), F.where(alive, new_c, c)
            outs[t] = F.where(alive, new_h, constant(0, x.dtype))
    return F.stack(outs, 0), h, c


def _rnn(node, w, r, b, peep, functions):
    size = r.shape[-1]
    bias = b[:size] + b[size:]
    (f,) = functions
    return lambda x, h, c: (f(x @ w.t() + h @ r.t() + bias), c)


def _gru(node, w, r, b, peep, functions):
    size = r.shape[-1]
    f, g = functions
    wb, rb = b[: 3 * size], b[3 * size :]
    late = node.get("linear_before_reset", 0)

    def cell(x, h, c):
        given = x @ w.t() + wb  # (B, 3H): update, reset, candidate
        part = h @ r[: 2 * size].t() + rb[: 2 * size]
        z = f(given[:, :size] + part[:, :size])
        reset = f(given[:, size : 2 * size] + part[:, size:])
        last = r[2 * size :].t()
        if late:
            old = reset * (h @ last + rb[2 * size :])
        else:
            old = (reset * h) @ last + rb[2 * size :]
        new = g(given[:, 2 * size :] + old)
        return (1.0 - z) * new + z * h, c

    return cell


def _lstm(node, w, r, b, peep, functions):
    size = r.shape[-1]
    f, g, k = functions
    bias = b[: 4 * size] + b[4 * size :]
    coupled = node.get("input_forget", 0)

    def cell(x, h, c):
        gates = x @ w.t() + h @ r.t() + bias  # (B, 4H): input, output, forget, cell
        i, o, forget, new = F.split(gates, size, 1)
        if peep is not None:
            i, forget = i + peep[:size] * c, forget + peep[2 * size :] * c
        i = f(i)
        forget = 1.0 - i if coupled else f(forget)
        c = forget * c + i * g(new)
        if peep is not None:
            o = o + peep[size : 2 * size] * c
        return f(o) * k(c), c

    return cell


_CELLS = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
