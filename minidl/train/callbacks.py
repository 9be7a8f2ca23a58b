"""Callbacks: what is to happen at the start and end of a run, an epoch, a step."""

import copy
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl._tensor import Tensor

if TYPE_CHECKING:
    from minidl.train.loop import Run


class Callback:
    """Base: a subclass overrides the hooks it wants; `run` is the state of the training.

    What it must remember through a kill goes through state_dict and load_state_dict, as values that
    `minidl.save` takes. Callbacks are called in the order they were given, the checkpoint last.
    """

    def on_fit_start(self, run: "Run") -> None:
        """Before the first step, after a checkpoint was restored."""

    def on_epoch_start(self, run: "Run") -> None:
        """Before an epoch's first batch."""

    def on_step_end(self, run: "Run") -> None:
        """After an optimizer step; run.loss_value is its loss."""

    def on_epoch_end(self, run: "Run") -> None:
        """After an epoch and its validation; run.row is the epoch's row of the history."""

    def on_fit_end(self, run: "Run") -> None:
        """After the last step, if there was no error."""

    def close(self) -> None:
        """At the very end, error or not: close files."""

    def state_dict(self) -> dict[str, Any]:
        """What to remember."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""


class EarlyStopping(Callback):
    """Stop when `monitor` has not become better for `patience` epochs.

    monitor: a column of the history; None: "valid_loss", or "loss" without validation. mode:
    "min", "max" or "auto", which asks the metric. min_delta: what counts as better. restore_best:
    end with the weights of the best epoch; they are kept in memory and in the checkpoint,
    whose own weights stay the last ones, so that a run can go on.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ):
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be 1 or more epochs, got {patience}")
        if min_delta < 0:
            raise ValueError(f"EarlyStopping: min_delta must be 0 or more, got {min_delta}")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.mode, self.restore_best = check_mode("EarlyStopping", mode), restore_best
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        self.weights: dict[str, Any] | None = None
        self.watched = monitor

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited,
                "weights": self.weights, "watched": self.watched}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.waited, self.weights = state["waited"], state["weights"]
        self.watched = state["watched"]

    def on_fit_start(self, run: "Run") -> None:
        self._look(run)

    def on_epoch_end(self, run: "Run") -> None:
        name, value = run.monitored("EarlyStopping", self.monitor)
        self.watched = name
        sign = 1 if run.mode(name, self.mode) == "max" else -1
        if self.best is None or sign * (value - self.best) > self.min_delta:
            self.best, self.best_epoch, self.waited = value, run.row["epoch"], 0
            if self.restore_best:
                state = run.model.state_dict()  # deepcopy: a module's extra state
                self.weights = {
                    k: np.copy(v.array) if isinstance(v, Tensor) else copy.deepcopy(v)
                    for k, v in state.items()
                }
        else:
            self.waited += 1
        self._look(run)

    def _look(self, run: "Run") -> None:
        if self.waited >= self.patience:
            run.stop(
                f"{self.watched} has not become better than {self.best:.6g}, that of epoch "
                f"{self.best_epoch}, for {self.waited} epochs"
            )

    def on_fit_end(self, run: "Run") -> None:
        if self.restore_best and self.weights is not None:
            run.model.load_state_dict(self.weights)


class TimeBudget(Callback):
    """Stop after the step at which `seconds` have passed since this call of fit began."""

    def __init__(self, seconds: float):
        if not seconds > 0:
            raise ValueError(f"TimeBudget: seconds must be more than 0, got {seconds}")
        self.seconds = seconds

    def on_fit_start(self, run: "Run") -> None:
        self._end = time.monotonic() + self.seconds

    def on_step_end(self, run: "Run") -> None:
        if time.monotonic() >= self._end:
            run.stop(f"the time budget of {self.seconds:g} seconds is used up")


class ProgressBar(Callback):
    """A tqdm bar an epoch; silent where stderr is no terminal, or tqdm is not installed."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_epoch_start(self, run: "Run") -> None:
        self.close()
        if not sys.stderr.isatty():
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        try:
            total: int | None = len(run.loader)
        except TypeError:
            total = None
        name = f"epoch {run.epoch + 1}/{run.epochs}"
        self._bar = tqdm(total=total, desc=name, initial=run.batch, leave=False)

    def on_step_end(self, run: "Run") -> None:
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{run.loss_value:.4g}", refresh=False)
            self._bar.update()

    def on_epoch_end(self, run: "Run") -> None:
        if self._bar is not None:
            shown = " ".join(f"{k} {v:.4g}" for k, v in run.row.items() if isinstance(v, float))
            self._bar.write(f"epoch {run.row['epoch']}: {shown}", file=sys.stderr)
        self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def check_mode(name: str, mode: str) -> str:
    """One of "min", "max" and "auto"."""
    if mode not in ("min", "max", "auto"):
        raise ValueError(f"{name}: mode must be 'min', 'max' or 'auto', got {mode!r}")
    return mode
