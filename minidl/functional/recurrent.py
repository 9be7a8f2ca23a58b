"""Recurrent networks: a cell's single step, and stacks of layers over packed sequences.

The equations stand with the ops (`minidl.ops.recurrent`); weights have PyTorch's layouts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.functional.dropouts import dropout as drop
from minidl.functional.joining import cat, stack
from minidl.ops import recurrent as ops
from minidl.typing import IntArray

__all__ = ["gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell"]

Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
"""Of one direction of one layer: w_ih, w_hh, b_ih, b_hh, and w_hr of an LSTM with projection."""


def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of RNN: input (B, D), hx (B, H) -> (B, H)."""
    return _cell("RNN_TANH", input, (hx,), (w_ih, w_hh, b_ih, b_hh, None))[0]


def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of RNN with ReLU: input (B, D), hx (B, H) -> (B, H)."""
    return _cell("RNN_RELU", input, (hx,), (w_ih, w_hh, b_ih, b_hh, None))[0]


def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of GRU: input (B, D), hx (B, H) -> (B, H); weights (3H, ...) as r, z, n."""
    return _cell("GRU", input, (hx,), (w_ih, w_hh, b_ih, b_hh, None))[0]


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of LSTM: input (B, D), hx = (h, c) -> (h, c); weights (4H, ...) as i, f, g, o."""
    h, c = _cell("LSTM", input, tuple(hx), (w_ih, w_hh, b_ih, b_hh, None))
    return h, c


_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def _cell(mode: str, x: Tensor, states: Sequence[Tensor], weights: Weights) -> list[Tensor]:
    name = f"{mode.lower()}_cell"
    if x.ndim != 2 or any(state.ndim != 2 or len(state) != len(x) for state in states):
        shapes = " and ".join(str(state.shape) for state in states)
        raise ValueError(
            f"{name}: input must be (B, D) and a state (B, H), got {x.shape} and {shapes}"
        )
    hidden, rows = states[-1].shape[1], _GATES[mode] * states[-1].shape[1]
    wanted = [(rows, x.shape[1]), (rows, hidden), (rows,), (rows,)]
    for title, shape, weight in zip(("w_ih", "w_hh", "b_ih", "b_hh"), wanted, weights):
        if weight is not None and weight.shape != shape:
            raise ValueError(
                f"{name}: input {x.shape} and a state {states[-1].shape} need {title} {shape}, "
                f"got {weight.shape}"
            )
    if (weights[2] is None) != (weights[3] is None):
        raise ValueError(f"{name}: give both b_ih and b_hh, or neither")
    dtypes = {t.dtype for t in (x, *states, *weights) if t is not None}
    if len(dtypes) > 1:
        known = ", ".join(sorted(str(d) for d in dtypes))
        raise TypeError(f"{name}: input, states and weights must have one dtype, got {known}")
    return one_direction(mode, x, states, weights, np.array([len(x)]), False)[1:]


def one_direction(
    mode: str,
    x: Tensor,
    states: Sequence[Any],
    weights: Weights,
    sizes: IntArray,
    reverse: bool,
) -> list[Tensor]:
    """One direction of one layer over x (T, B, D), or rows packed by sizes (N, D).

    Returns out (T, B, H) or (N, H), and each last state.
    """
    if x.dtype == np.float16:  # a way to store: steps are computed in float32
        wide = [None if w is None else w.float() for w in weights]
        first = [s.float() if isinstance(s, Tensor) else s.astype(np.float32) for s in states]
        outs = one_direction(mode, x.float(), first, tuple(wide), sizes, reverse)  # type: ignore[arg-type]
        return [out.half() for out in outs]
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    if mode == "LSTM":
        outs = apply(
            ops.LSTM, x, *states, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse=reverse
        )  # fmt: skip
    elif mode == "GRU":
        outs = apply(ops.GRU, x, *states, w_ih, w_hh, b_ih, b_hh, sizes, reverse=reverse)
    else:
        relu = mode == "RNN_RELU"
        outs = apply(
            ops.RNN, x, *states, w_ih, w_hh, b_ih, b_hh, sizes, relu=relu, reverse=reverse
        )
    return list(outs)


def recurrent_layers(
    mode: str,
    x: Tensor,
    sizes: IntArray,
    states: Sequence[Any],
    weights: Sequence[Weights],
    bidirectional: bool = False,
    dropout: float = 0.0,
) -> tuple[Tensor, list[Tensor]]:
    """Layers on top of each other, over sequences of one length or packed rows.

    x (T, B, D) or packed (N, D), sizes (T,) its rows a step; each of `states` (L * directions, B,
    H); weights: for each layer the forward and, if bidirectional, the backward direction's.
    dropout: between layers.
    Returns out (..., directions * H) of the last layer, and the last states, shaped as `states`.
    """
    directions = 2 if bidirectional else 1
    last: list[list[Tensor]] = [[] for _ in states]
    for place in range(0, len(weights), directions):
        outs = []
        for turn in range(directions):
            first = [state[place + turn] for state in states]
            reverse = turn == 1
            out, *ends = one_direction(mode, x, first, weights[place + turn], sizes, reverse)
            outs.append(out)
            for ended, end in zip(last, ends):
                ended.append(end)
        x = cat(outs, -1) if bidirectional else outs[0]
        if dropout and place + directions < len(weights):
            x = drop(x, dropout)
    # one layer of one direction: a view, a third of the time of stack
    return x, [stack(ended) if len(ended) > 1 else ended[0].unsqueeze(0) for ended in last]
