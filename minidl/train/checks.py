"""What `fit` checks before it begins, and of each loss."""

import os
from typing import Any

from minidl._tensor import Tensor
from minidl.nn.module import Module
from minidl.train.callbacks import Callback


def check_arguments(
    model: Any,
    loader: Any,
    loss: Any,
    optimizer: Any,
    epochs: Any,
    schedule: str,
    step: Any,
    clip_norm: float | None,
    resume: Any,
) -> None:
    """One clear line for an argument that cannot work."""
    if not isinstance(model, Module):
        raise TypeError(f"fit: the model must be an nn.Module, got {type(model).__name__}")
    if not hasattr(loader, "__iter__"):
        raise TypeError(
            f"fit: the loader must give batches, {type(loader).__name__} cannot be iterated; "
            "give a data.DataLoader"
        )
    if loss is None and step is None:
        raise ValueError("fit: give a loss(output, target), or a step(model, batch)")
    if loss is not None and step is not None:
        raise ValueError("fit: step computes the loss itself; leave out loss")
    for name, function in (("loss", loss), ("step", step)):
        if function is not None and not callable(function):
            raise TypeError(f"fit: {name} must be a function, got {type(function).__name__}")
    for name in ("step", "zero_grad"):
        if not hasattr(optimizer, name):
            raise TypeError(
                f"fit: the optimizer must have step and zero_grad, got {type(optimizer).__name__}; "
                "give for example optim.Adam(model.parameters())"
            )
    own = {id(p) for p in model.parameters()}
    stepped = [p for g in getattr(optimizer, "param_groups", []) for p in g["params"]]
    if stepped and not any(id(p) in own for p in stepped):
        raise ValueError(
            "fit: the optimizer steps none of this model's parameters; make it with "
            "model.parameters() of this very model"
        )
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise ValueError(f"fit: epochs must be a whole number of 0 or more, got {epochs!r}")
    if schedule not in ("epoch", "step"):
        raise ValueError(f"fit: schedule must be 'epoch' or 'step', got {schedule!r}")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"fit: clip_norm must be more than 0, or None, got {clip_norm}")
    if not isinstance(resume, (bool, str, os.PathLike)):
        raise TypeError(f"fit: resume must be True, False or a path, got {type(resume).__name__}")


def check_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks as a list."""
    listed = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    for callback in listed:
        if not isinstance(callback, Callback):
            what = callback.__name__ if isinstance(callback, type) else type(callback).__name__
            raise TypeError(
                f"fit: callbacks must be objects of subclasses of train.Callback, got {what}"
            )
    return listed


def check_loss_tensor(value: Any) -> float:
    """The loss as a number."""
    if not isinstance(value, Tensor):
        raise TypeError(f"fit: the loss must be a Tensor, got {type(value).__name__}")
    if value.array.size != 1:
        raise ValueError(
            f"fit: the loss must be one number, got shape {value.shape}; use reduction='mean'"
        )
    if not value.requires_grad:
        raise ValueError(
            "fit: the loss depends on no parameter that is learned; is the output detached, or "
            "every parameter frozen?"
        )
    return float(value.item())
