"""Adagrad."""

from collections.abc import Iterable, Mapping
from typing import Any

from minidl import kernels
from minidl.optim.optimizer import Optimizer, check_range, zeros


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011, JMLR 12, diagonal form).

        g = grad + weight_decay param                       (-grad if maximize)
        s = s + g^2
        param = param - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    s starts at initial_accumulator_value. As in torch, eps stands outside the root. A RowSparse
    gradient without decay changes only its rows, which is exactly the dense step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    _kernel = "adagrad"

    def _check(self, group: Mapping[str, Any]) -> None:
        for setting in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            check_range("Adagrad", setting, group[setting], 0.0, None)

    def _numbers(self, group):
        lr, lr_decay = float(group["lr"]), float(group["lr_decay"])
        weight_decay, eps = float(group["weight_decay"]), float(group["eps"])
        sign = -1.0 if group["maximize"] else 1.0
        return lr, lr_decay, weight_decay, eps, sign

    def _prepare(self, p, state, group):
        if "sum" not in state:
            state.update(step=0, sum=zeros(p, group["initial_accumulator_value"]))
        state["step"] += 1
        return (state["sum"].array,), (state["step"],)

    def _update_rows(self, p, rows, values, table, state, group, numbers):
        lr, lr_decay, weight_decay, eps, sign = numbers
        if weight_decay:
            return False
        (total,), (step,) = self._prepare(p, state, group)
        total = total.reshape(table.shape)
        kernels.adagrad_rows(values, rows, step, lr, lr_decay, eps, sign, table, total)
        return True
