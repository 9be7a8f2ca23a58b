"""Adam's relatives: Adamax, NAdam and RAdam."""

from collections.abc import Iterable, Mapping
from typing import Any

from minidl.optim.adam import check_adam
from minidl.optim.optimizer import Optimizer, check_range, zeros


class Adamax(Optimizer):
    """Adamax (Kingma & Ba 2015, arXiv:1412.6980, algorithm 2): Adam with the largest |g| for scale.

        g = grad + weight_decay param                       (-grad if maximize)
        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        param = param - lr / (1 - beta1^t) m / u

    As in torch, eps is added to |g|. A RowSparse gradient takes the exact dense step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    _kernel = "adamax"

    def _check(self, group: Mapping[str, Any]) -> None:
        check_adam("Adamax", group)
        check_range("Adamax", "weight_decay", group["weight_decay"], 0.0, None)

    def _numbers(self, group):
        beta1, beta2 = group["betas"]
        sign = -1.0 if group["maximize"] else 1.0
        lr, eps, decay = (float(group[name]) for name in ("lr", "eps", "weight_decay"))
        return lr, float(beta1), float(beta2), eps, decay, sign

    def _prepare(self, p, state, group):
        if "exp_avg" not in state:
            state.update(step=0, exp_avg=zeros(p), exp_inf=zeros(p))
        state["step"] += 1
        return (state["exp_avg"].array, state["exp_inf"].array), (state["step"],)


class _Mixed(Optimizer):
    """What NAdam and RAdam share: Adam's moments, and a decay of either kind."""

    _kernel = "adam_mixed"

    def _check(self, group: Mapping[str, Any]) -> None:
        check_adam(type(self).__name__, group)
        check_range(type(self).__name__, "weight_decay", group["weight_decay"], 0.0, None)

    def _numbers(self, group):
        beta1, beta2 = (float(beta) for beta in group["betas"])
        decay, decoupled = float(group["weight_decay"]), group["decoupled_weight_decay"]
        shrink = 1.0 - float(group["lr"]) * decay if decoupled else 1.0
        sign = -1.0 if group["maximize"] else 1.0
        return beta1, beta2, float(group["eps"]), 0.0 if decoupled else decay, shrink, sign

    def _rates(self, state: dict[str, Any], group: Mapping[str, Any]) -> tuple[float, ...]:
        """now, ahead, plain, root of `kernels.adam_mixed`."""
        raise NotImplementedError

    def _prepare(self, p, state, group):
        if "exp_avg" not in state:
            state.update(self._first(), exp_avg=zeros(p), exp_avg_sq=zeros(p))
        state["step"] += 1
        return (state["exp_avg"].array, state["exp_avg_sq"].array), self._rates(state, group)

    def _first(self) -> dict[str, Any]:
        return {"step": 0}


class NAdam(_Mixed):
    """NAdam: Adam with Nesterov's momentum (Dozat 2016, ICLR workshop).

        g = grad + weight_decay param                       (-grad if maximize)
        mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)
        m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
        w = (1 - mu_t) g / (1 - mu_1 ... mu_t) + mu_{t+1} m / (1 - mu_1 ... mu_{t+1})
        param = param - lr w / (sqrt(v / (1 - beta2^t)) + eps)

    decoupled_weight_decay: param is shrunk by lr weight_decay first and the decay does not join g.
    A RowSparse gradient takes the exact dense step.
    """

    _scalars = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        check_range("NAdam", "momentum_decay", group["momentum_decay"], 0.0, None)

    def _first(self) -> dict[str, Any]:
        return {"step": 0, "mu_product": 1.0}

    def _rates(self, state, group):
        t, (beta1, beta2) = state["step"], group["betas"]
        mu, following = (
            beta1 * (1 - 0.96 ** (s * group["momentum_decay"]) / 2) for s in (t, t + 1)
        )
        state["mu_product"] *= mu
        product, lr = state["mu_product"], float(group["lr"])
        now = lr * (1 - mu) / (1 - product)
        ahead = lr * following / (1 - product * following)
        return now, ahead, 0.0, (1 - beta2**t) ** -0.5


class RAdam(_Mixed):
    """RAdam: Adam that waits with its scaling (Liu et al. 2020, arXiv:1908.03265, algorithm 2).

        g = grad + weight_decay param                       (-grad if maximize)
        m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
        rho_inf = 2 / (1 - beta2) - 1;   rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
        r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        param = param - lr m / (1 - beta1^t) r sqrt(1 - beta2^t) / (sqrt(v) + eps)   if rho > 5
        param = param - lr m / (1 - beta1^t)                                         else

    In the first steps v is the mean of too few squares to divide by. As in torch, the limit is 5
    and not the paper's 4. decoupled_weight_decay: param is shrunk by lr weight_decay first and the
    decay does not join g. A RowSparse gradient takes the exact dense step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _rates(self, state, group):
        t, (beta1, beta2) = state["step"], group["betas"]
        plain, left = float(group["lr"]) / (1 - beta1**t), 1 - beta2**t
        limit = 2 / (1 - beta2) - 1
        rho = limit - 2 * t * beta2**t / left
        if rho <= 5:
            return 0.0, 0.0, plain, 1.0
        share = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        return 0.0, plain * (share * left) ** 0.5, 0.0, 1.0
