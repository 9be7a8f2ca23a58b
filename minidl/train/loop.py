"""fit: the training loop; Run: its state, which a checkpoint saves and a resumed run takes over."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from minidl import random
from minidl._tensor import Tensor
from minidl.io import load
from minidl.nn.module import Module
from minidl.nn.utils import clip_grad_norm_
from minidl.train.callbacks import Callback, ProgressBar
from minidl.train.checkpoint import Checkpoint
from minidl.train.checks import check_arguments, check_callbacks, check_loss_tensor
from minidl.train.guard import NonFiniteError, bad_gradient, bad_input, bad_weight
from minidl.train.inference import batch_size, default_step, evaluate, parts
from minidl.train.logs import History, JSONLog
from minidl.train.metrics import Mean, Metric, named
from minidl.train.state import restore, snapshot


def fit(
    model: Module,
    loader: Iterable[Any],
    *,
    loss: Callable[..., Tensor] | None = None,
    optimizer: Any,
    epochs: int = 1,
    valid: Any = None,
    metrics: Any = None,
    scheduler: Any = None,
    schedule: str = "epoch",
    step: Callable[[Any, Any], Any] | None = None,
    callbacks: Iterable[Callback] = (),
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    resume: bool | str | os.PathLike[str] = False,
    log: JSONLog | str | os.PathLike[str] | None = None,
    clip_norm: float | None = None,
    seed: int | None = None,
    progress: bool = True,
    check_gradients: bool = True,
) -> History:
    """Train `model` and return the History: one row an epoch.

    loader: batches (inputs ..., target), from a DataLoader or any iterable that can be read once an
    epoch; the model gets the inputs, `loss(output, target)` gives one number. step: for any other
    kind of batch or loss: `step(model, batch)` returns the loss, or (loss, output, target).
    valid: a loader, evaluated after each epoch, or a function(model) giving numbers by name; their
    columns begin with "valid_". metrics: Metric objects, or a dictionary of them, for training and
    validation. scheduler: stepped after each epoch, or each step with schedule="step"; one whose
    step takes `metrics` gets valid_loss (or loss). clip_norm: the largest norm of all gradients
    together. seed: given to `minidl.manual_seed` where the run begins.

    checkpoint: a folder, or a Checkpoint with settings. resume=True goes on from the checkpoint
    there, if any, resume=path from that file. Model, optimizer, scheduler, loader position, random
    state, history, metrics and callbacks are restored, so the end is bit-equal to a run that was
    never stopped, given the same arguments (epochs may be more). log: a file of JSON lines, or a
    JSONLog. progress: a bar on a terminal.

    NaN or inf in the loss or a gradient raises NonFiniteError, naming it, before the weights are
    touched; in the weights, before they are saved. check_gradients=False saves a dot product a
    parameter and finds bad gradients at the next loss instead.
    """
    check_arguments(model, loader, loss, optimizer, epochs, schedule, step, clip_norm, resume)
    callbacks = check_callbacks(callbacks)
    kept = Checkpoint(checkpoint) if isinstance(checkpoint, (str, os.PathLike)) else checkpoint
    lines = JSONLog(log) if isinstance(log, (str, os.PathLike)) else log
    extra = [ProgressBar()] if progress else []
    hooks = [*callbacks, *filter(None, [lines]), *extra, *filter(None, [kept])]
    run = Run(model, loader, optimizer, scheduler, epochs, valid, named(metrics), hooks, kept)
    if kept is None and resume is True:
        raise ValueError("fit: resume=True needs a checkpoint folder to look in; give checkpoint=")
    if kept is not None:
        run.begin_from(kept.prepare(resume), kept.last if isinstance(resume, bool) else resume)
    elif resume:
        run.begin_from(load(resume), resume)
    if seed is not None and not run.resumed:
        random.manual_seed(seed)
    compute = step or default_step(loss)
    with ExitStack() as stack:
        for hook in hooks:
            stack.callback(hook.close)
        model.train()
        run.tell("on_fit_start")
        while run.epoch < epochs and not run.stop_reason:
            if run.batch == 0:
                run.start_epoch()
            for batch in run.batches():
                optimizer.zero_grad()
                value, output, target = parts(compute(model, batch))
                run.check_loss(value, batch)
                value.backward()
                if check_gradients:
                    run.check_gradients(batch)
                if clip_norm is not None:
                    clip_grad_norm_(model.parameters(), clip_norm)
                optimizer.step()
                if scheduler is not None and schedule == "step":
                    run.step_scheduler()
                run.end_step(batch, output, target)
                if run.stop_reason:
                    break
            else:
                run.validate(loss, step)
                if scheduler is not None and schedule == "epoch":
                    run.step_scheduler()
                run.end_epoch()
        if kept is not None:
            kept.save(run)  # before early stopping brings the best weights back
        run.tell("on_fit_end")
    run.history.stop_reason, run.history.steps = run.stop_reason, run.step
    return run.history


class Run:
    """The state of a training run, as callbacks see it.

    epoch: finished epochs; step: optimizer steps; batch: those of the epoch that is under way;
    loss_value: the last batch's loss; row: the epoch's row of the history, in on_epoch_end;
    history; model, optimizer, scheduler, loader; metrics by name. `stop(reason)` ends the run
    after the step or epoch.
    """

    def __init__(
        self,
        model: Module,
        loader: Any,
        optimizer: Any,
        scheduler: Any,
        epochs: int,
        valid: Any,
        metrics: dict[str, Metric],
        callbacks: list[Any],
        checkpoint: Checkpoint | None,
    ):
        self.model, self.loader, self.valid = model, loader, valid
        self.optimizer, self.scheduler = optimizer, scheduler
        self.epochs, self.metrics, self.callbacks = epochs, metrics, callbacks
        self.checkpoint = checkpoint
        self.epoch = self.step = self.batch = 0
        self.loss_value = float("nan")
        self.mean_loss = Mean()
        self.history = History()
        self.row: dict[str, Any] = {}
        self.stop_reason: str | None = None
        self.resumed = False
        self._began = time.monotonic()
        self._skip = 0
        for metric in metrics.values():
            metric.reset()

    # the parts of the loop

    def begin_from(self, state: Mapping[str, Any] | None, path: Any) -> None:
        """Take over a checkpoint's state, if there is one."""
        if state is not None:
            restore(self, state, path)
            self.resumed = True
            self._skip = self.batch

    def start_epoch(self) -> None:
        """Nothing gathered yet."""
        self._began = time.monotonic()
        self.mean_loss.reset()
        for metric in self.metrics.values():
            metric.reset()
        self.tell("on_epoch_start")

    def batches(self) -> Iterator[Any]:
        """The batches of this epoch that are still to come."""
        skip, self._skip = self._skip, 0
        begins = self.batch == 0
        if hasattr(self.loader, "load_state_dict"):  # it knows itself where it is
            skip = 0
        yield from itertools.islice(self.loader, skip, None)
        if begins and self.batch == 0:
            raise ValueError(
                "fit: the loader gave no batches; the data set is empty, or smaller than "
                "batch_size with drop_last=True, or an iterator that was read before"
            )

    def end_step(self, batch: Any, output: Any, target: Any) -> None:
        """Count the step, and tell of it."""
        self.step += 1
        self.batch += 1
        self.mean_loss.add(self.loss_value, batch_size(batch))
        if self.metrics and output is None:
            raise TypeError("fit: for metrics, step must return (loss, output, target)")
        for metric in self.metrics.values():
            metric.update(output, target)
        self.tell("on_step_end")

    def validate(self, loss: Any, step: Any) -> None:
        """The epoch's row: training's numbers, then validation's."""
        row: dict[str, Any] = {"epoch": self.epoch + 1, "step": self.step}
        row["loss"] = self.mean_loss.compute()
        row |= {name: metric.compute() for name, metric in self.metrics.items()}
        if callable(self.valid) and not hasattr(self.valid, "__iter__"):
            row |= {f"valid_{k}": float(v) for k, v in self.valid(self.model).items()}
        elif self.valid is not None:
            before = {name: metric.state_dict() for name, metric in self.metrics.items()}
            found = evaluate(self.model, self.valid, loss, self.metrics, step)
            for name, metric in self.metrics.items():
                metric.load_state_dict(before[name])
            row |= {f"valid_{name}": value for name, value in found.items()}
        self.row = {**row, "lr": self.lr(), "seconds": time.monotonic() - self._began}

    def step_scheduler(self) -> None:
        """The scheduler's step; ReduceLROnPlateau and its like get the monitored number."""
        code = getattr(type(self.scheduler).step, "__code__", None)
        if code is not None and "metrics" in code.co_varnames[: code.co_argcount]:
            self.scheduler.step(self.row[self.default_monitor])
        else:
            self.scheduler.step()

    def end_epoch(self) -> None:
        """Write the row down, and tell of it."""
        self.check_weights()
        self.history.rows.append(self.row)
        self.epoch += 1
        self.batch = 0
        self.tell("on_epoch_end")

    # for callbacks

    def tell(self, hook: str) -> None:
        """Call a hook of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(self)

    def stop(self, reason: str) -> None:
        """End the run, after this step or epoch."""
        self.stop_reason = self.stop_reason or reason

    def lr(self) -> float:
        """The first parameter group's learning rate."""
        groups = getattr(self.optimizer, "param_groups", None) or [{}]
        return float(groups[0].get("lr", float("nan")))

    @property
    def default_monitor(self) -> str:
        """What decides if nothing was named."""
        return "valid_loss" if "valid_loss" in self.row else "loss"

    def monitored(self, who: str, name: str | None) -> tuple[str, float]:
        """The name and this epoch's number of what a callback monitors."""
        name = name or self.default_monitor
        if name not in self.row:
            raise ValueError(
                f"{who}: there is no {name!r} to monitor; the epoch has {', '.join(self.row)}"
            )
        return name, float(self.row[name])

    def mode(self, name: str, mode: str) -> str:
        """ "min" or "max": as given, or for "auto" as the metric of that name says."""
        if mode != "auto":
            return mode
        metric = self.metrics.get(name.removeprefix("valid_"))
        if metric is None and not name.endswith("loss"):
            raise ValueError(
                f"fit: whether {name!r} should fall or rise is not known; give mode='min' or 'max'"
            )
        return "max" if getattr(metric, "higher_is_better", False) else "min"

    def state_dict(self) -> dict[str, Any]:
        """Everything that going on exactly needs."""
        return snapshot(self)

    # not a number

    def check_loss(self, value: Tensor, batch: Any) -> None:
        """Note the loss; raise if it is not finite, naming what was so first."""
        self.loss_value = check_loss_tensor(value)
        if abs(self.loss_value) < float("inf"):
            return
        weight = bad_weight(self.model)
        name, what = weight or ("loss", f"the loss is {self.loss_value}")
        fed = bad_input(batch) if weight is None else None
        if fed:
            name, what = "batch", f"{what} because {fed}"
        elif weight is None:
            what += ", with finite weights and inputs"
        raise self._not_finite(name, what, batch)

    def check_gradients(self, batch: Any) -> None:
        """Raise if a gradient is not finite, naming the first."""
        found = bad_gradient(self.model)
        if found:
            raise self._not_finite(*found, batch)

    def check_weights(self) -> None:
        """Raise if a weight is not finite, naming the first."""
        found = bad_weight(self.model)
        if found:
            raise self._not_finite(*found, None)

    def _not_finite(self, name: str, what: str, batch: Any) -> NonFiniteError:
        good = "no checkpoint was kept"
        if self.checkpoint is not None and self.checkpoint.last.exists():
            good = f"the last good checkpoint is {self.checkpoint.last}"
        return NonFiniteError(
            f"fit: at step {self.step + (batch is not None)} (epoch {self.epoch + 1}) {what}; "
            f"{good}. Look at the data, lower the learning rate, or give clip_norm",
            name,
            batch,
        )
