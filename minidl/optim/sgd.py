"""Stochastic gradient descent."""

from collections.abc import Iterable, Mapping
from typing import Any

from minidl import kernels
from minidl.optim.optimizer import Optimizer, check_range, zeros


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins & Monro 1951), with momentum and decay if wanted.

        g = grad + weight_decay param                       (-grad if maximize)
        b = momentum b + (1 - dampening) g                  at the first step: b = g
        param = param - lr (g + momentum b   with nesterov, else b)

    Without momentum b is g. Momentum: Polyak 1964; Nesterov's: Sutskever et al. 2013, as in
    torch: lr multiplies the velocity when it is used, not when it is gathered.

    A RowSparse gradient without momentum and decay changes only its rows, which is exactly the
    dense step; else the dense step is taken.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    _kernel = "sgd"

    def _check(self, group: Mapping[str, Any]) -> None:
        for setting in ("lr", "momentum", "weight_decay"):
            check_range("SGD", setting, group[setting], 0.0, None)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and no dampening, got "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def _numbers(self, group):
        return (
            float(group["lr"]),
            float(group["momentum"]),
            float(group["dampening"]),
            float(group["weight_decay"]),
            bool(group["nesterov"]),
            -1.0 if group["maximize"] else 1.0,
        )

    def _prepare(self, p, state, group):
        if not group["momentum"]:
            return (None,), (1.0,)
        first = state.get("momentum_buffer") is None
        if first:
            state["momentum_buffer"] = zeros(p)
        return (state["momentum_buffer"].array,), (1.0 if first else 0.0,)

    def _update_rows(self, p, rows, values, table, state, group, numbers):
        lr, momentum, _, weight_decay, _, sign = numbers
        if momentum or weight_decay:
            return False
        kernels.sgd_rows(values, rows, lr, sign, table)
        return True
