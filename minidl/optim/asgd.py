"""Averaged stochastic gradient descent."""

from collections.abc import Iterable, Mapping
from typing import Any

from minidl.optim._tables import move_averages, plain_step
from minidl.optim.optimizer import Optimizer, check_range, zeros


class ASGD(Optimizer):
    """Averaged SGD (Polyak & Juditsky 1992), with a rate that falls as in Bottou 2012.

        g = grad + weight_decay param                       (-grad if maximize)
        param = (1 - lambd eta) param - eta g
        ax = ax + mu (param - ax)
        eta = lr / (1 + lambd lr t)^alpha;   mu = 1 / max(1, t - t0)     from the next step on

    state[p]["ax"] is the average, of the steps from t0 on; before it is the parameter itself. As
    in torch, the average is not put in the parameter's place. A RowSparse gradient takes the
    exact dense step.
    """

    _scalars = ("step", "eta", "mu")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        check_range("ASGD", "lr", group["lr"], 0.0, None)
        check_range("ASGD", "weight_decay", group["weight_decay"], 0.0, None)

    def _numbers(self, group):
        sign = -1.0 if group["maximize"] else 1.0
        names = "lr", "lambd", "alpha", "t0", "weight_decay"
        return *(float(group[name]) for name in names), sign

    def _update(self, p, grad, param, state, group, numbers):
        lr, lambd, alpha, t0, weight_decay, sign = numbers
        if "ax" not in state:
            state.update(step=0, eta=lr, mu=1.0, ax=zeros(p))
        state["step"] += 1
        eta = state["eta"]
        # (1 - lambd eta) param - eta (sign grad + weight_decay param), as a plain step with decay
        decay = weight_decay + lambd
        plain_step(param, grad, sign * eta, sign * decay)
        move_averages([state["ax"].array], [param], state["mu"])
        state["eta"] = lr / (1 + lambd * lr * state["step"]) ** alpha
        state["mu"] = 1 / max(1.0, state["step"] - t0)
