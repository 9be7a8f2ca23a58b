"""A run's state as values that `minidl.save` takes, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minidl import random
from minidl.train.callbacks import Callback

if TYPE_CHECKING:
    from minidl.train.loop import Run

_KIND = "minidl.train"


def snapshot(run: "Run") -> dict[str, Any]:
    """Everything that going on exactly needs; arrays are not copied."""
    return {
        "kind": _KIND,
        "made_of": _made_of(run),
        "epoch": run.epoch,
        "step": run.step,
        "batch": run.batch,
        "model": dict(run.model.state_dict()),
        "optimizer": run.optimizer.state_dict(),
        "scheduler": _state(run.scheduler),
        "loader": _state(run.loader),
        "valid": _state(run.valid),
        "rng": random.get_rng_state(),
        "mean_loss": run.mean_loss.state_dict(),
        "metrics": {name: metric.state_dict() for name, metric in run.metrics.items()},
        "history": run.history.rows,
        "callbacks": [callback.state_dict() for callback in _with_state(run)],
    }


def restore(run: "Run", state: Any, path: Any) -> None:
    """Bring a run to where `snapshot` was taken; ValueError, before any change, if it cannot be."""
    if not isinstance(state, Mapping) or state.get("kind") != _KIND:
        raise ValueError(f"resume: {path} is no checkpoint of train.fit")
    here, there = _made_of(run), state["made_of"]
    for part, now in here.items():
        if there[part] != now:
            raise ValueError(
                f"resume: {path} was saved with {part} {_said(there[part])}, this run has "
                f"{_said(now)}; give the same, or another checkpoint folder"
            )
    if state["epoch"] > run.epochs:
        raise ValueError(
            f"resume: {path} has {state['epoch']} epochs done, more than epochs={run.epochs}"
        )
    try:
        run.model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ValueError(f"resume: {path} is of another model: {error}") from None
    run.optimizer.load_state_dict(state["optimizer"])
    for part, name in ((run.scheduler, "scheduler"), (run.loader, "loader"), (run.valid, "valid")):
        if state[name] is not None:
            part.load_state_dict(state[name])
    random.set_rng_state(state["rng"])
    run.mean_loss.load_state_dict(state["mean_loss"])
    for name, metric in run.metrics.items():
        metric.load_state_dict(state["metrics"][name])
    for callback, saved in zip(_with_state(run), state["callbacks"]):
        callback.load_state_dict(saved)
    run.history.rows = state["history"]
    run.epoch, run.step, run.batch = state["epoch"], state["step"], state["batch"]


def _state(part: Any) -> Any:
    return part.state_dict() if _keeps_state(part) else None


def _keeps_state(part: Any) -> bool:
    return hasattr(part, "state_dict") and hasattr(part, "load_state_dict")


def _made_of(run: "Run") -> dict[str, Any]:
    """The kinds of a run's parts, which must be the same when it goes on."""
    return {
        "model": type(run.model).__name__,
        "optimizer": type(run.optimizer).__name__,
        "scheduler": type(run.scheduler).__name__ if run.scheduler is not None else None,
        "loader": type(run.loader).__name__,
        "metrics": sorted(run.metrics),
        "callbacks": [type(callback).__name__ for callback in _with_state(run)],
    }


def _with_state(run: "Run") -> list[Callback]:
    """The callbacks that have something to remember."""
    return [c for c in run.callbacks if type(c).state_dict is not Callback.state_dict]


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return "none" if value is None else str(value)
