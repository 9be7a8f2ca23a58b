"""RMSprop."""

from collections.abc import Iterable, Mapping
from typing import Any

from minidl.optim.optimizer import Optimizer, check_range, zeros


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012, Neural networks for machine learning, lecture 6e).

        g = grad + weight_decay param                       (-grad if maximize)
        s = alpha s + (1 - alpha) g^2
        a = alpha a + (1 - alpha) g;   s' = s - a^2         if centered (Graves 2013), else s' = s
        u = g / (sqrt(s') + eps)
        b = momentum b + u                                  with momentum, else b = u
        param = param - lr b

    As in torch, eps stands outside the root. A RowSparse gradient takes the exact dense step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    _kernel = "rmsprop"

    def _check(self, group: Mapping[str, Any]) -> None:
        for setting in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            check_range("RMSprop", setting, group[setting], 0.0, None)

    def _numbers(self, group):
        names = "lr", "alpha", "eps", "weight_decay", "momentum"
        sign = -1.0 if group["maximize"] else 1.0
        return *[float(group[name]) for name in names], bool(group["centered"]), sign

    def _prepare(self, p, state, group):
        if "square_avg" not in state:
            state.update(step=0, square_avg=zeros(p))
        mean = buffer = None
        if group["centered"]:
            if "grad_avg" not in state:
                state["grad_avg"] = zeros(p)
            mean = state["grad_avg"].array
        if group["momentum"]:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = zeros(p)
            buffer = state["momentum_buffer"].array
        state["step"] += 1
        return (state["square_avg"].array, mean, buffer), ()
