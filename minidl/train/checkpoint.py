"""Checkpoint: the whole state of a run in one file, written so that a kill cannot hurt it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl._tensor import Tensor
from minidl.io import load, save, save_safetensors
from minidl.io.files import leftovers
from minidl.train.callbacks import Callback, check_mode

if TYPE_CHECKING:
    from minidl.train.loop import Run


class Checkpoint(Callback):
    """Keep in `folder` the last state of the run, and the weights of its best epoch.

    last.safetensors is everything that going on exactly needs, written every `every_epochs` epochs
    and, if given, every `every_steps` steps, and at the end; `minidl.load` opens it.
    best.safetensors is a plain state dict of the epoch with the best `monitor` (None: "valid_loss",
    or "loss" without validation), for load_safetensors here or in torch (for `load` if a module
    has extra state). Weights that are not finite are never written. The folder is made if its
    parent is there.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every_steps: int | None = None,
        every_epochs: int | None = 1,
        monitor: str | None = None,
        mode: str = "auto",
        keep_best: bool = True,
    ):
        for name, value in (("every_steps", every_steps), ("every_epochs", every_epochs)):
            if value is not None and value < 1:
                raise ValueError(f"Checkpoint: {name} must be 1 or more, or None, got {value}")
        self.folder = Path(folder)
        self.every_steps, self.every_epochs = every_steps, every_epochs
        self.monitor, self.mode = monitor, check_mode("Checkpoint", mode)
        self.keep_best = keep_best
        self.best: float | None = None
        self.saved: tuple[int, int, int] | None = None  # (epoch, step, batch) in the file

    @property
    def last(self) -> Path:
        """The file with the whole state."""
        return self.folder / "last.safetensors"

    @property
    def best_path(self) -> Path:
        """The file with the best weights."""
        return self.folder / "best.safetensors"

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = state["best"]

    def prepare(self, resume: bool | str | os.PathLike[str]) -> dict[str, Any] | None:
        """The state to go on from, or None for a fresh run."""
        if not isinstance(resume, bool):
            self._make()
            return load(resume)
        if resume:
            for file in (*leftovers(self.last), *leftovers(self.best_path)):
                file.unlink(missing_ok=True)
        if resume and self.last.exists():
            return load(self.last)
        if not resume and self.last.exists():
            raise FileExistsError(
                f"checkpoint: {self.last} is there from another run; give resume=True to go on "
                "with it, or another folder"
            )
        self._make()
        return None

    def _make(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"checkpoint: the folder {self.folder.parent} does not exist; make it first"
            ) from None
        except OSError as error:
            raise type(error)(
                f"checkpoint: {self.folder} cannot be made: {error.strerror}; choose another folder"
            ) from None

    def on_fit_start(self, run: "Run") -> None:
        if not self.last.exists():  # from here on a kill has something to go on from
            self.save(run)

    def on_step_end(self, run: "Run") -> None:
        if self.every_steps is not None and run.step % self.every_steps == 0:
            self.save(run)

    def on_epoch_end(self, run: "Run") -> None:
        if self.keep_best:
            name, value = run.monitored("Checkpoint", self.monitor)
            sign = 1 if run.mode(name, self.mode) == "max" else -1
            if value == value and (self.best is None or sign * (value - self.best) > 0):
                self.best = value
                run.check_weights()
                about = {"epoch": str(run.row["epoch"]), name: repr(value)}
                state = run.model.state_dict()
                if all(isinstance(v, (Tensor, np.ndarray)) for v in state.values()):
                    save_safetensors(state, self.best_path, about)
                else:  # a module's extra state: weights under the same names, the rest beside them
                    save(state, self.best_path)
        if self.every_epochs is not None and run.row["epoch"] % self.every_epochs == 0:
            self.save(run)

    def save(self, run: "Run") -> None:
        """Write the last state, unless that very state is in the file."""
        place = (run.epoch, run.step, run.batch)
        if place != self.saved:
            run.check_weights()
            save(run.state_dict(), self.last)
            self.saved = place
