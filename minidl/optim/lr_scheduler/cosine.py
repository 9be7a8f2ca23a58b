"""Schedules along a cosine."""

import math

from minidl.optim.lr_scheduler.base import LRScheduler
from minidl.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial lr down to eta_min at step T_max, and up again after it.

        lr = eta_min + (initial_lr - eta_min) (1 + cos(pi t / T_max)) / 2

    Loshchilov & Hutter 2017, SGDR, arXiv:1608.03983 (without restarts).
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ):
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be 1 or more, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, low = self.last_epoch, self.eta_min
        if t == 0:
            return self._now()
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:  # the cosine before was -1
            lift = (1 - math.cos(math.pi / self.T_max)) / 2
            return [lr + (base - low) * lift for lr, base in zip(self._now(), self.base_lrs)]
        share = (1 + math.cos(math.pi * t / self.T_max)) / (
            1 + math.cos(math.pi * (t - 1) / self.T_max)
        )
        return [low + share * (lr - low) for lr in self._now()]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial lr down to eta_min, again and again (SGDR).

        lr = eta_min + (initial_lr - eta_min) (1 + cos(pi c / T)) / 2

    c counts from the last restart; the first cycle has T = T_0 steps, each later one T_mult times
    as many. step(epoch) goes to any step, which may be a fraction: epoch + batch / batches.
    Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ):
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"CosineAnnealingWarmRestarts: {name} must be a whole number of 1 or more, "
                    f"got {value}"
                )
        self.T_0, self.T_i, self.T_mult, self.eta_min = T_0, T_0, T_mult, eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            self.last_epoch += 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        else:
            if epoch < 0:
                raise ValueError(
                    f"CosineAnnealingWarmRestarts: step must be 0 or more, got {epoch}"
                )
            self._go_to(epoch)
        for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
            group["lr"] = lr
        self._last_lr = self._now()

    def _go_to(self, epoch: float) -> None:
        self.last_epoch = math.floor(epoch)
        self.T_i, start = self.T_0, 0
        if self.T_mult == 1:
            start = int(epoch // self.T_0) * self.T_0
        else:
            while epoch >= start + self.T_i:
                start += self.T_i
                self.T_i *= self.T_mult
        self.T_cur = epoch - start
