"""What a run leaves to read: its history in memory, and a line a step in a file."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.io import write_atomic
from minidl.train.callbacks import Callback

if TYPE_CHECKING:
    from minidl.train.loop import Run


class History:
    """One row a finished epoch: `history["loss"]` is a column, `history[-1]` a row.

    stop_reason: why the run ended before its last epoch, or None. steps: optimizer steps done.
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None):
        self.rows = rows or []
        self.stop_reason: str | None = None
        self.steps = 0

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            if key not in self.names():
                raise KeyError(f"history has no {key!r}, only {', '.join(self.names())}")
            return [row.get(key) for row in self.rows]
        return self.rows[key]

    def __len__(self) -> int:
        return len(self.rows)

    def names(self) -> list[str]:
        """The columns."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def best(self, name: str = "valid_loss", mode: str = "min") -> dict[str, Any]:
        """The row with the least (mode="max": the greatest) value of a column."""
        rows = [row for row in self.rows if row.get(name) is not None and row[name] == row[name]]
        if not rows:
            raise ValueError(f"history: no epoch has a number for {name!r}")
        return (min if mode == "min" else max)(rows, key=lambda row: row[name])

    def __repr__(self) -> str:
        why = f", stopped: {self.stop_reason}" if self.stop_reason else ""
        last = ", ".join(f"{k} {v:.4g}" for k, v in self.rows[-1].items()) if self.rows else ""
        return f"History({len(self)} epochs, {self.steps} steps{why}; {last})"


class JSONLog(Callback):
    """One JSON object a line: every `every` steps {"event": "step", ...}, and each epoch's row.

    Lines are appended and flushed as they come. A run that is resumed first cuts off what the
    killed one wrote behind its checkpoint, so no step stands there twice. NaN and inf are null.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1):
        if every < 1:
            raise ValueError(f"JSONLog: every must be 1 or more steps, got {every}")
        self.path, self.every = Path(path), every
        self.lines: int | None = None  # how many the file has; None: as many as it has now
        self._file: Any = None

    def state_dict(self) -> dict[str, Any]:
        return {"lines": self.lines}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.lines = state["lines"]

    def on_fit_start(self, run: "Run") -> None:
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"log: the folder {self.path.parent} does not exist; make it first"
            )
        kept = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        whole = [line for line in kept if line.endswith(b"\n")][: self.lines]
        if whole != kept:
            write_atomic(self.path, b"".join(whole))
        self.lines = len(whole)
        try:
            self._file = open(self.path, "ab")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise type(error)(f"log: {self.path} cannot be written: {error.strerror}") from None

    def on_step_end(self, run: "Run") -> None:
        if run.step % self.every == 0:
            values = {"epoch": run.epoch + 1, "loss": run.loss_value, "lr": run.lr()}
            self._write({"event": "step", "step": run.step, **values})

    def on_epoch_end(self, run: "Run") -> None:
        self._write({"event": "epoch", **run.row})

    def _write(self, values: dict[str, Any]) -> None:
        safe = {k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in values.items()}  # fmt: skip
        self._file.write(json.dumps(safe).encode() + b"\n")
        self._file.flush()
        assert self.lines is not None
        self.lines += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
