"""Recurrent layers and their cells. The equations stand with the ops (`minidl.ops.recurrent`).

Truncated backpropagation through time (Williams & Peng 1990): carry the state from one piece of a
long sequence to the next, but cut its history, so that gradients reach back one piece only:

    state = None
    for piece in x.split(50):
        out, state = rnn(piece, state)
        loss(out).backward()
        state = state.detach()          # an LSTM's: tuple(s.detach() for s in state)
"""

import warnings
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.functional import recurrent as F
from minidl.nn.linear import check_sizes, new_parameter
from minidl.nn.module import Module
from minidl.nn.recurrent_cells import draw_parameters
from minidl.nn.utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


class RNNBase(Module):
    """What RNN, LSTM and GRU share: parameters, layouts, packed and unbatched input.

    Parameters of layer k: weight_ih_l{k} (gates * H, D), weight_hh_l{k} (gates * H, H),
    bias_ih_l{k} and bias_hh_l{k} (gates * H,), weight_hr_l{k} (proj_size, H) of an LSTM with
    projection; with _reverse behind the name those of the backward direction. All first uniform on
    (-1, 1) / sqrt(H).
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        name = type(self).__name__
        check_sizes(
            name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers,
            proj_size=proj_size,
        )  # fmt: skip
        if not hidden_size or not num_layers:
            raise ValueError(
                f"{name}: hidden_size and num_layers must be 1 or more, got {hidden_size} and "
                f"{num_layers}"
            )
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout must be a number from 0 to 1, got {dropout!r}")
        if proj_size and (mode != "LSTM" or proj_size >= hidden_size):
            raise ValueError(
                f"{name}: proj_size is for LSTM, and smaller than hidden_size {hidden_size}; "
                f"got {proj_size}"
            )
        if dropout and num_layers == 1:
            warnings.warn(
                f"{name}: dropout acts between layers, so dropout={dropout} does nothing with "
                "num_layers=1",
                stacklevel=3,
            )
        self.mode, self.input_size, self.hidden_size = mode, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = float(dropout), bidirectional, proj_size
        rows, out = _GATES[mode] * hidden_size, proj_size or hidden_size
        self._names: list[list[str]] = []
        for layer in range(num_layers):
            width = out * (2 if bidirectional else 1) if layer else input_size
            for end in ("", "_reverse") if bidirectional else ("",):
                shapes: dict[str, Any] = {"weight_ih": (rows, width), "weight_hh": (rows, out)}
                if bias:
                    shapes |= {"bias_ih": rows, "bias_hh": rows}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for title, shape in shapes.items():
                    parameter = new_parameter(shape, device, dtype)
                    setattr(self, f"{title}_l{layer}{end}", parameter)
                self._names.append([f"{title}_l{layer}{end}" for title in shapes])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        draw_parameters(self, self.hidden_size)

    def flatten_parameters(self) -> None:
        """Nothing, as in PyTorch on a CPU: the layers need their weights in no common memory."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each direction of each layer."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def _weights(self) -> list[F.Weights]:
        sets = []
        for parts in self.all_weights:
            w_hr = parts.pop() if self.proj_size else None
            b_ih, b_hh = parts[2:] if self.bias else (None, None)
            sets.append((parts[0], parts[1], b_ih, b_hh, w_hr))
        return sets

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        name = type(self).__name__
        given = self._given_states(hx)
        packed = input if isinstance(input, PackedSequence) else None
        unbatched = packed is None and input.ndim == 2
        x: Tensor = input if packed is None else packed.data
        if packed is None:
            if input.ndim not in (2, 3):
                raise ValueError(f"{name}: input must have 2 or 3 axes, got {input.shape}")
            if unbatched:
                x = x.unsqueeze(1)
                given = None if given is None else [self._batched(s) for s in given]
            elif self.batch_first:
                x = x.transpose(0, 1)
            steps, batch = x.shape[:2]
            if not steps:
                raise ValueError(f"{name}: at least one time step is needed, got {input.shape}")
            sizes = np.full(steps, batch)
        else:
            sizes = packed.batch_sizes.array
            batch = int(sizes[0])
        self._check_input(x)
        states = self._states(given, batch, x)
        order, back = (None, None) if packed is None else packed[2:]
        if given is not None and order is not None:
            states = [s.take_rows(order.array, 1) for s in states]
        dropout = self.dropout if self.training else 0.0
        out, ends = F.recurrent_layers(
            self.mode, x, sizes, states, self._weights(), self.bidirectional, dropout
        )  # fmt: skip
        if packed is not None:
            result: Any = PackedSequence(out, *packed[1:])
            if back is not None:
                ends = [s.take_rows(back.array, 1) for s in ends]
        elif unbatched:
            result, ends = out.squeeze(1), [s.squeeze(1) for s in ends]
        else:
            result = out.transpose(0, 1) if self.batch_first else out
        return result, (ends[0] if len(ends) == 1 else tuple(ends))

    def _given_states(self, hx: Any) -> list[Tensor] | None:
        if hx is None:
            return None
        if self.mode != "LSTM":
            if not isinstance(hx, Tensor):
                raise TypeError(f"{type(self).__name__}: hx must be a tensor h_0, got {type(hx)}")
            return [hx]
        if isinstance(hx, Tensor) or len(hx) != 2:
            raise TypeError(f"LSTM: hx must be a pair (h_0, c_0), got {type(hx).__name__}")
        return list(hx)

    def _batched(self, state: Tensor) -> Tensor:
        if state.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}: with an input of 2 axes (no batch) a state has 2 axes as "
                f"well, got {state.shape}"
            )
        return state.unsqueeze(1)

    def _check_input(self, x: Tensor) -> None:
        name, weight = type(self).__name__, getattr(self, self._names[0][0])
        if x.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input_size is {self.input_size}, but the last axis of the input has "
                f"{x.shape[-1]}"
            )
        if x.dtype != weight.dtype:
            raise TypeError(
                f"{name}: input {x.dtype} and weights {weight.dtype} differ; bring both to one "
                "dtype, for example with .float() or model.double()"
            )

    def _states(self, given: list[Tensor] | None, batch: int, x: Tensor) -> list[Any]:
        """The first states, (layers * directions, B, H), checked; zeros by default."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        widths = [self.proj_size or self.hidden_size, self.hidden_size]
        shapes = [(count, batch, n) for n in widths[: 2 if self.mode == "LSTM" else 1]]
        if given is None:
            return [np.zeros(shape, x.dtype) for shape in shapes]
        for title, state, shape in zip(("h_0", "c_0"), given, shapes):
            if state.shape != shape:
                raise ValueError(
                    f"{type(self).__name__}: {title} must be (layers * directions, B, H) = "
                    f"{shape}, got {state.shape}"
                )
            if state.dtype != x.dtype:
                raise TypeError(
                    f"{type(self).__name__}: {title} is {state.dtype}, the input {x.dtype}; "
                    "bring both to one dtype"
                )
        return list(given)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional:
            text += f", bidirectional={self.bidirectional}"
        return text


class RNN(RNNBase):
    """h_t = act(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh), act tanh or relu (`nonlinearity`).

    forward(input, h_0=None) -> output, h_n. input (T, B, D), (B, T, D) if batch_first, (T, D)
    without batch, or a PackedSequence; h_0 and h_n (layers * directions, B, H); output as input,
    with directions * H in the place of D. dropout: between layers, in training.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        options = (bias, batch_first, dropout, bidirectional, 0, device, dtype)
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, *options
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory; gates i, f, g, o. See RNN for shapes.

    forward(input, (h_0, c_0)=None) -> output, (h_n, c_n). proj_size P: h is W_hr (o tanh(c)), of P
    numbers, while c has H.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ):
        options = (bias, batch_first, dropout, bidirectional, proj_size, device, dtype)
        super().__init__("LSTM", input_size, hidden_size, num_layers, *options)


class GRU(RNNBase):
    """Gated recurrent unit; gates r, z, n. See RNN for shapes.

    forward(input, h_0=None) -> output, h_n.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        options = (bias, batch_first, dropout, bidirectional, 0, device, dtype)
        super().__init__("GRU", input_size, hidden_size, num_layers, *options)
