"""A schedule that waits for a metric to stop improving."""

import math
from collections.abc import Sequence
from typing import Any

from minidl.optim.lr_scheduler.base import LRScheduler
from minidl.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """lr times `factor` when a metric has not improved for more than `patience` steps.

    step(metric). mode: "min" or "max", what is better. An improvement is one by more than
    threshold, of the best so far ("rel") or as it stands ("abs"). cooldown: steps after a change in
    which nothing counts. min_lr: one limit, or one a group. A change of less than eps is left out.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ):
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                "ReduceLROnPlateau: mode must be 'min' or 'max' and threshold_mode 'rel' or "
                f"'abs', got {mode!r} and {threshold_mode!r}"
            )
        count = len(optimizer.param_groups)
        limits = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * count
        if len(limits) != count:
            raise ValueError(f"ReduceLROnPlateau: {len(limits)} min_lr for {count} groups")
        self.optimizer = optimizer
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lrs, self.eps = cooldown, limits, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = self._now()

    def is_better(self, a: float, best: float) -> bool:
        """Whether metric a is an improvement on `best`."""
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "abs":
            return sign * a < sign * best - self.threshold
        return sign * a < sign * best * (1 - sign * self.threshold)

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        current = float(metrics)
        self.last_epoch += 1
        if self.is_better(current, self.best):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, limit in zip(self.optimizer.param_groups, self.min_lrs):
                lr = max(group["lr"] * self.factor, limit)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._now()
