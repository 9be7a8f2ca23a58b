"""Optimizers that go by the gradient's sign: Rprop and Lion."""

from collections.abc import Iterable, Mapping
from typing import Any

from minidl.optim.optimizer import Optimizer, check_range, zeros


class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller & Braun 1993), for whole batches.

        g = grad                                            (-grad if maximize)
        size = clip(size * c, step_sizes),  c = etas[1] if g and the last g agree in sign,
                                                etas[0] if they differ, 1 if one of them is 0
        g = 0 where they differ
        param = param - sign(g) size

    Each element has a step size of its own, lr at first. After a change of sign the element waits
    one step; as in torch it is not set back. A RowSparse gradient takes the exact dense step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
    ):
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        super().__init__(params, defaults)

    _kernel = "rprop"

    def _check(self, group: Mapping[str, Any]) -> None:
        check_range("Rprop", "lr", group["lr"], 0.0, None)
        less, more = group["etas"]
        if not 0 < less < 1 < more:
            raise ValueError(
                f"Rprop: etas must be a factor below 1 and one above it, got {group['etas']}"
            )

    def _numbers(self, group):
        pairs = (float(number) for name in ("etas", "step_sizes") for number in group[name])
        return *pairs, -1.0 if group["maximize"] else 1.0

    def _prepare(self, p, state, group):
        if "prev" not in state:
            state.update(step=0, prev=zeros(p), step_size=zeros(p, float(group["lr"])))
        state["step"] += 1
        return (state["prev"].array, state["step_size"].array), ()


class Lion(Optimizer):
    """Lion (Chen et al. 2023, arXiv:2302.06675, algorithm 2): every element moves by lr.

        param = (1 - lr weight_decay) param
        param = param - lr sign(beta1 m + (1 - beta1) g)
        m = beta2 m + (1 - beta2) g                         g = grad (-grad if maximize)

    One state instead of Adam's two. As every step is of full size, lr wants to be 3 to 10 times
    smaller than AdamW's, and weight_decay as much larger. torch has no Lion; the state's name is
    that of torch's momenta, "exp_avg". A RowSparse gradient takes the exact dense step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    _kernel = "lion"

    def _check(self, group: Mapping[str, Any]) -> None:
        check_range("Lion", "lr", group["lr"], 0.0, None)
        check_range("Lion", "weight_decay", group["weight_decay"], 0.0, None)
        for i, beta in enumerate(group["betas"]):
            check_range("Lion", f"betas[{i}]", beta, 0.0, 1.0)

    def _numbers(self, group):
        lr, (beta1, beta2) = float(group["lr"]), group["betas"]
        shrink = 1.0 - lr * float(group["weight_decay"])
        return lr, float(beta1), float(beta2), shrink, -1.0 if group["maximize"] else 1.0

    def _prepare(self, p, state, group):
        if "exp_avg" not in state:
            state["exp_avg"] = zeros(p)
        return (state["exp_avg"].array,), ()
