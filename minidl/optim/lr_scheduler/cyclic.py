"""Schedules that rise and fall, and let the momentum fall and rise against them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from minidl.optim.lr_scheduler.base import LRScheduler
from minidl.optim.optimizer import Optimizer


def _one_a_group(name: str, optimizer: Optimizer, value: float | Sequence[float]) -> list[float]:
    count = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ValueError(f"{name}: {len(values)} values for {count} groups: give one a group")
    return [float(v) for v in values]  # type: ignore[arg-type]


class _Cycling(LRScheduler):
    """Writes momentum as well: a group's "momentum", or the first of its "betas"."""

    cycle_momentum: bool
    use_beta1: bool

    def _prepare_momentum(self, base: Any, most: Any, last_epoch: int) -> None:
        name, optimizer = type(self).__name__, self.optimizer
        if not self.cycle_momentum:
            return
        if not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"{name}: {type(optimizer).__name__} has neither momentum nor betas to cycle; "
                "give cycle_momentum=False"
            )
        self.use_beta1 = "betas" in optimizer.defaults
        self.base_momentums = _one_a_group(f"{name}: base_momentum", optimizer, base)
        self.max_momentums = _one_a_group(f"{name}: max_momentum", optimizer, most)
        if last_epoch == -1:
            for group, low, high in zip(
                optimizer.param_groups, self.base_momentums, self.max_momentums
            ):
                group.update(base_momentum=low, max_momentum=high)
                self._set_momentum(group, high)

    def _set_momentum(self, group: dict[str, Any], value: float) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_Cycling):
    """lr up and down in straight lines between base_lr and max_lr (Smith 2017, arXiv:1506.01186).

        lr = base_lr + (max_lr - base_lr) h s

    h rises from 0 to 1 in step_size_up steps and falls in step_size_down (None: as many). s, by
    mode: "triangular" 1; "triangular2" 1 / 2^(cycle - 1); "exp_range" gamma^t; or scale_fn of the
    cycle, counted from 1, or of the step t, as scale_mode "cycle" or "iterations" says.
    cycle_momentum: momentum, or Adam's beta1, goes the other way, from max_momentum to
    base_momentum. base_lr, max_lr and the momenta: one number, or one a group.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ):
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                "CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', or give "
                f"scale_fn; got {mode!r}"
            )
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(
                f"CyclicLR: scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}"
            )
        self.optimizer = optimizer
        base_lrs = _one_a_group("CyclicLR: base_lr", optimizer, base_lr)
        self.max_lrs = _one_a_group("CyclicLR: max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs):
                group["lr"] = lr
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self.scale_mode = mode, gamma, scale_mode
        self._scale_fn = scale_fn
        self.cycle_momentum = cycle_momentum
        self._prepare_momentum(base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """s of the cycle or the step."""
        if self._scale_fn is not None:
            return self._scale_fn(x)
        if self.mode == "triangular2":
            return 1 / 2 ** (x - 1)
        return self.gamma**x if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1 + self.last_epoch / self.total_size - cycle
        rising = x <= self.step_ratio
        height = x / self.step_ratio if rising else (x - 1) / (self.step_ratio - 1)
        of_steps = self.scale_mode == "iterations"
        if self._scale_fn is None:
            of_steps = self.mode == "exp_range"
        height *= self.scale_fn(self.last_epoch if of_steps else cycle)
        if self.cycle_momentum:
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums
            ):
                self._set_momentum(group, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs)]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer and a scale_fn of your own."""
        return {k: v for k, v in super().state_dict().items() if k != "_scale_fn"}


class OneCycleLR(_Cycling):
    """One rise to max_lr and one long fall far below the start (Smith & Topin 2018).

        initial = max_lr / div_factor -> max_lr              to step pct_start total_steps - 1
        max_lr -> initial / final_div_factor                 to step total_steps - 1

    three_phase (the paper's): max_lr -> initial in as many steps as the rise, then on to the end.
    total_steps, or epochs times steps_per_epoch. anneal_strategy: "cos" or "linear" between the
    ends. cycle_momentum: momentum, or Adam's beta1, goes the other way between max_momentum and
    base_momentum. Step it after each batch; a step beyond total_steps is an error.
    arXiv:1708.07120.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ValueError(f"OneCycleLR: total_steps must be 1 or more, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be from 0 to 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.optimizer = optimizer
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        top = pct_start * total_steps - 1
        # the last step of each phase, and the group's entries it leads from and to
        rise: list[Any] = [top, "initial_lr", "max_lr", "max_momentum", "base_momentum"]
        last = total_steps - 1
        if three_phase:
            fall = [2 * top, "max_lr", "initial_lr", "base_momentum", "max_momentum"]
            rest = [last, "initial_lr", "min_lr", "max_momentum", "max_momentum"]
            self._phases: list[list[Any]] = [rise, fall, rest]
        else:
            self._phases = [rise, [last, "max_lr", "min_lr", "base_momentum", "max_momentum"]]
        if last_epoch == -1:
            highest = _one_a_group("OneCycleLR: max_lr", optimizer, max_lr)
            for group, most in zip(optimizer.param_groups, highest):
                first = most / div_factor
                group.update(initial_lr=first, max_lr=most, min_lr=first / final_div_factor)
        self.cycle_momentum = cycle_momentum
        self._prepare_momentum(base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {t} is beyond the total_steps of {self.total_steps}; make the "
                "schedule with as many steps as batches will be seen"
            )
        start, phases = 0.0, list(self._phases)
        while len(phases) > 1 and t > phases[0][0]:
            start = phases.pop(0)[0]
        end, *names = phases[0]
        share = (t - start) / (end - start) if end != start else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            lr_from, lr_to, momentum_from, momentum_to = (group.get(name) for name in names)
            rates.append(self._between(lr_from, lr_to, share))
            if self.cycle_momentum:
                self._set_momentum(group, self._between(momentum_from, momentum_to, share))
        return rates

    def _between(self, start: Any, end: Any, share: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
