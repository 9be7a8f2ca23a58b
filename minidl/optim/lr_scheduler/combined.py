"""Several schedules on one optimizer."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from minidl.optim.lr_scheduler.base import LRScheduler
from minidl.optim.lr_scheduler.plateau import ReduceLROnPlateau
from minidl.optim.optimizer import Optimizer


class _Several(LRScheduler):
    _schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        inner = [schedule.state_dict() for schedule in self._schedulers]
        return {**super().state_dict(), "_schedulers": inner}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for schedule, state in zip(self._schedulers, state_dict["_schedulers"]):
            schedule.load_state_dict(state)


class SequentialLR(_Several):
    """One schedule after the other: the next begins, at its step 0, at each milestone."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ):
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} "
                f"milestones, got {len(milestones)}"
            )
        if any(schedule.optimizer is not optimizer for schedule in schedulers):
            raise ValueError("SequentialLR: all schedules must be of the given optimizer")
        _no_metric("SequentialLR", schedulers)
        self.optimizer = optimizer
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        self.last_epoch = last_epoch + 1
        for schedule in self._schedulers:  # each has made a step of its own when it was made
            schedule.last_epoch -= 1
        self._schedulers[0]._begin_again()
        self._last_lr = self._now()

    def step(self) -> None:
        self.last_epoch += 1
        at = bisect_right(self._milestones, self.last_epoch)
        schedule = self._schedulers[at]
        if at and self._milestones[at - 1] == self.last_epoch:
            schedule._begin_again()
        else:
            schedule.step()
        self._last_lr = self._now()


class ChainedScheduler(_Several):
    """Several schedules that step together; their factors multiply.

    optimizer: all of them must be of it; None: that of the first.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        if not schedulers:
            raise ValueError("ChainedScheduler: at least one schedule is needed")
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        if any(schedule.optimizer is not self.optimizer for schedule in schedulers):
            raise ValueError("ChainedScheduler: all schedules must be of one optimizer")
        _no_metric("ChainedScheduler", schedulers)
        self._schedulers = list(schedulers)
        self.base_lrs = self._schedulers[0].base_lrs
        self.last_epoch = self._schedulers[0].last_epoch
        self._last_lr = self._now()

    def step(self) -> None:
        for schedule in self._schedulers:
            schedule.step()
        self.last_epoch += 1
        self._last_lr = self._now()

    def _begin_again(self) -> None:
        for schedule in self._schedulers:
            schedule._begin_again()
        self.last_epoch = 0
        self._last_lr = self._now()


def _no_metric(name: str, schedulers: Sequence[LRScheduler]) -> None:
    if any(isinstance(schedule, ReduceLROnPlateau) for schedule in schedulers):
        raise ValueError(
            f"{name}: ReduceLROnPlateau needs a metric at each step; call its step(metric) apart"
        )
