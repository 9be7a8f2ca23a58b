"""Adadelta."""

from collections.abc import Iterable, Mapping
from typing import Any

from minidl.optim.optimizer import Optimizer, check_range, zeros


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012, arXiv:1212.5701, algorithm 1).

        g = grad + weight_decay param                       (-grad if maximize)
        s = rho s + (1 - rho) g^2
        d = sqrt(a + eps) / sqrt(s + eps) g
        a = rho a + (1 - rho) d^2
        param = param - lr d

    The ratio of the two roots gives the step the parameter's own unit, so the paper has no
    learning rate: lr = 1. A RowSparse gradient takes the exact dense step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    _kernel = "adadelta"

    def _check(self, group: Mapping[str, Any]) -> None:
        for setting in ("lr", "eps", "weight_decay"):
            check_range("Adadelta", setting, group[setting], 0.0, None)
        if not 0 <= float(group["rho"]) <= 1:
            raise ValueError(f"Adadelta: rho must be from 0 to 1, got {group['rho']}")

    def _numbers(self, group):
        sign = -1.0 if group["maximize"] else 1.0
        return *(float(group[name]) for name in ("lr", "rho", "eps", "weight_decay")), sign

    def _prepare(self, p, state, group):
        if "square_avg" not in state:
            state.update(step=0, square_avg=zeros(p), acc_delta=zeros(p))
        state["step"] += 1
        return (state["square_avg"].array, state["acc_delta"].array), ()
