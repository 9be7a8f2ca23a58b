"""Adam and AdamW, and SparseAdam for tables of which a step reads few rows."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minidl import kernels
from minidl.optim.optimizer import Optimizer, check_range, zeros
from minidl.sparse import group_rows


def check_adam(name: str, group: Mapping[str, Any]) -> None:
    """Raise for a rate, eps or betas out of range."""
    check_range(name, "lr", group["lr"], 0.0, None)
    check_range(name, "eps", group["eps"], 0.0, None)
    for i, beta in enumerate(group["betas"]):
        check_range(name, f"betas[{i}]", beta, 0.0, 1.0)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1).

        g = grad + weight_decay param                       (-grad if maximize)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        param = param - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    t counts the parameter's steps from 1. amsgrad (Reddi, Kale & Kumar 2018): the largest v so far
    in place of v. decoupled_weight_decay: AdamW. As in torch, the decay of the paper's time joins
    g, and so is scaled by 1 / sqrt(v) too.

    A RowSparse gradient takes the exact dense step: rows without a gradient move as well, by their
    momentum. `SparseAdam` leaves them alone.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    _kernel = "adam"

    def _check(self, group: Mapping[str, Any]) -> None:
        check_adam(type(self).__name__, group)
        check_range(type(self).__name__, "weight_decay", group["weight_decay"], 0.0, None)

    def _numbers(self, group):
        beta1, beta2 = group["betas"]
        return (
            float(group["lr"]),
            float(beta1),
            float(beta2),
            float(group["eps"]),
            float(group["weight_decay"]),
            bool(group["decoupled_weight_decay"]),
            bool(group["amsgrad"]),
            -1.0 if group["maximize"] else 1.0,
        )

    def _prepare(self, p, state, group):
        if "exp_avg" not in state:
            state.update(step=0, exp_avg=zeros(p), exp_avg_sq=zeros(p))
        top = None
        if group["amsgrad"]:
            if "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = zeros(p)
            top = state["max_exp_avg_sq"].array
        state["step"] += 1
        return (state["exp_avg"].array, state["exp_avg_sq"].array, top), (state["step"],)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2).

        param = (1 - lr weight_decay) param,  then Adam's step without decay

    As in torch, the decay is scaled by lr; the paper's schedule multiplier is lr's schedule here.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )


class SparseAdam(Optimizer):
    """Adam that touches only the rows which a RowSparse gradient names, as torch.optim.SparseAdam.

    For the rows in the gradient, t counting the optimizer's steps (not the row's):

        m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
        row = row - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)

    This is not Adam on the dense gradient: the moments of other rows do not decay, and the other
    rows do not move. So a step costs what the batch costs, however long the table. eps is not
    divided by sqrt(1 - beta2^t), as in section 2 of the paper. There is no weight decay: it would
    have to touch all rows.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def _check(self, group: Mapping[str, Any]) -> None:
        check_adam("SparseAdam", group)
        if group.get("weight_decay"):
            raise ValueError(
                "SparseAdam: weight_decay would touch every row; leave it out, or use AdamW"
            )

    def _numbers(self, group):
        beta1, beta2 = group["betas"]
        sign = -1.0 if group["maximize"] else 1.0
        return float(group["lr"]), float(beta1), float(beta2), float(group["eps"]), sign

    def _update(self, p, grad, param, state, group, numbers):
        raise RuntimeError(
            f"SparseAdam: the parameter {p.shape} has a dense gradient; use Embedding(sparse=True) "
            "as the table's only use, or give the parameter to Adam"
        )

    def _step_table(self, p, grad, target, state, group, numbers):
        if not state:
            state.update(step=0, exp_avg=zeros(p), exp_avg_sq=zeros(p))
        state["step"] += 1
        width = math.prod(p.shape[1:])
        table, m, v = (
            array.reshape(len(target), width)
            for array in (target, state["exp_avg"].array, state["exp_avg_sq"].array)
        )
        values = np.ascontiguousarray(grad.values, target.dtype).reshape(-1, width)
        rows, order, starts = group_rows(grad.rows)
        kernels.sparse_adam_rows(
            values, order, starts, rows, state["step"], *numbers, table, m, v
        )
