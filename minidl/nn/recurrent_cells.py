"""One step of a recurrent layer, for loops of one's own. Equations: `minidl.ops.recurrent`."""

import math
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.functional import recurrent as F
from minidl.nn import init
from minidl.nn.linear import check_sizes, new_parameter
from minidl.nn.module import Module

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


def draw_parameters(module: Module, hidden_size: int) -> None:
    """All parameters anew, uniform on (-1, 1) / sqrt(hidden_size)."""
    bound = 1.0 / math.sqrt(hidden_size) if hidden_size else 0.0
    for weight in module.parameters():
        init.uniform_(weight, -bound, bound)


class RNNCellBase(Module):
    """What cells share: weight_ih (gates * H, D), weight_hh (gates * H, H), bias_ih, bias_hh.

    All are first uniform on (-1, 1) / sqrt(H).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        self.weight_ih = new_parameter((rows, input_size), device, dtype)
        self.weight_hh = new_parameter((rows, hidden_size), device, dtype)
        self.register_parameter("bias_ih", None)
        self.register_parameter("bias_hh", None)
        if bias:
            self.bias_ih = new_parameter(rows, device, dtype)
            self.bias_hh = new_parameter(rows, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        draw_parameters(self, self.hidden_size)

    def _prepared(self, input: Tensor, states: Any) -> tuple[Tensor, list[Tensor]]:
        """Input and states with a batch axis; the states zeros by default."""
        name = type(self).__name__
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input must be (B, {self.input_size}) or ({self.input_size},), "
                f"got {input.shape}"
            )
        x = input if input.ndim == 2 else input.unsqueeze(0)
        shape = (*input.shape[:-1], self.hidden_size)
        count = 2 if isinstance(self, LSTMCell) else 1
        if states is None:
            zeros = np.zeros((len(x), self.hidden_size), x.dtype)
            return x, [Tensor(zeros) for _ in range(count)]
        for state in states:
            if state.shape != shape:
                raise ValueError(
                    f"{name}: input {input.shape} needs a state {shape}, got {state.shape}"
                )
        return x, list(states) if input.ndim == 2 else [s.unsqueeze(0) for s in states]

    def _parameters_in_order(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias is True else f"{text}, bias={self.bias}"


class RNNCell(RNNCellBase):
    """One step of RNN: input (B, D) or (D,), hx (B, H) or (H,) -> h."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell: nonlinearity is 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        x, (h,) = self._prepared(input, None if hx is None else [hx])
        step = F.rnn_tanh_cell if self.nonlinearity == "tanh" else F.rnn_relu_cell
        h = step(x, h, *self._parameters_in_order())
        return h if input.ndim == 2 else h.squeeze(0)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(RNNCellBase):
    """One step of LSTM: input (B, D) or (D,), hx = (h, c) -> (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        x, states = self._prepared(input, hx)
        h, c = F.lstm_cell(x, states, *self._parameters_in_order())
        return (h, c) if input.ndim == 2 else (h.squeeze(0), c.squeeze(0))


class GRUCell(RNNCellBase):
    """One step of GRU: input (B, D) or (D,), hx (B, H) or (H,) -> h."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        x, (h,) = self._prepared(input, None if hx is None else [hx])
        h = F.gru_cell(x, h, *self._parameters_in_order())
        return h if input.ndim == 2 else h.squeeze(0)
