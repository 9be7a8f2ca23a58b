"""What all schedules share."""

from typing import Any

from minidl.optim.optimizer import Optimizer


class LRScheduler:
    """Base: counts steps and writes each group's "lr".

    A subclass gives `get_lr`: the groups' rates at step `last_epoch`, from those one step before.
    last_epoch: the step to go on from; -1 starts at each group's "lr", and notes it as
    "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: an optimizer is needed, got {type(optimizer).__name__}"
            )
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: to go on from last_epoch={last_epoch} group {i} "
                    "needs its 'initial_lr'; load the optimizer's state first"
                )
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def get_lr(self) -> list[float]:
        """The groups' rates at this step."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The groups' rates as the last step set them."""
        return self._last_lr

    def step(self) -> None:
        """Go to the next step and set the rates."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
            group["lr"] = lr
        self._last_lr = self._now()

    def _now(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _begin_again(self) -> None:
        """Step 0, from the rates at the start."""
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs):
            group["lr"] = lr
        self.last_epoch = -1
        self.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer: plain numbers, lists and dicts."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; the optimizer's own state holds the rates."""
        self.__dict__.update(state_dict)
