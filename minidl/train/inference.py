"""What a trained model gives, and how good that is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.autograd import no_grad
from minidl.train.metrics import Mean, named


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """eval() without gradients, and every module's mode as it was afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def default_step(loss: Callable[..., Any] | None) -> Callable[[Any, Any], Any]:
    """The step for batches (inputs ..., target): (loss, output, target)."""

    def step(model: Any, batch: Any) -> Any:
        if not isinstance(batch, (list, tuple)) or len(batch) < 2:
            what = (
                f"{len(batch)} part" if isinstance(batch, (list, tuple)) else type(batch).__name__
            )
            raise TypeError(
                f"fit: a batch must be (inputs ..., target), got {what}; give "
                "step=function(model, batch) that returns the loss, or (loss, output, target)"
            )
        output = model(*batch[:-1])
        return (None if loss is None else loss(output, batch[-1])), output, batch[-1]

    return step


def parts(result: Any) -> tuple[Any, Any, Any]:
    """(loss, output, target) of what a step returned; the last two None if it gave a loss only."""
    if isinstance(result, tuple) and len(result) == 3:
        return result
    if isinstance(result, Tensor):
        return result, None, None
    raise TypeError(
        f"fit: step must return the loss (a Tensor) or (loss, output, target), "
        f"got {type(result).__name__}"
    )


def batch_size(batch: Any) -> int:
    """How many samples a batch has: the length of its first part."""
    while isinstance(batch, (list, tuple, dict)) and len(batch):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch) if getattr(batch, "ndim", 0) else 1


def evaluate(
    model: Any,
    loader: Any,
    loss: Callable[..., Any] | None = None,
    metrics: Any = None,
    step: Callable[[Any, Any], Any] | None = None,
) -> dict[str, float]:
    """The mean loss (if there is one) and the metrics over all batches, in eval mode.

    Batches are (inputs ..., target), unless `step(model, batch)` says what to do with them; the
    mean weighs batches by their size. The modes of the model's modules are as before afterwards.
    """
    if loss is None and not metrics and step is None:
        raise ValueError("evaluate: give a loss, metrics, or both")
    run, table, mean = step or default_step(loss), named(metrics), Mean()
    for metric in table.values():
        metric.reset()
    with evaluating(model):
        for batch in loader:
            value, output, target = parts(run(model, batch))
            if value is not None:
                mean.add(float(value), batch_size(batch))
            for metric in table.values():
                metric.update(output, target)
    found = {"loss": mean.compute()} if mean.weight else {}
    return found | {name: metric.compute() for name, metric in table.items()}


def predict(model: Any, loader: Any, inputs: int | None = None) -> Any:
    """The model's outputs for all batches, joined along the first axis, in eval mode.

    inputs: how many parts of a batch the model takes; None: all but the last, which is taken to be
    the target, or the only one. A model with several outputs gives a tuple of tensors.
    """
    found: list[tuple[Any, ...]] = []
    several = False
    with evaluating(model):
        for batch in loader:
            given = list(batch) if isinstance(batch, (list, tuple)) else [batch]
            count = max(1, len(given) - 1) if inputs is None else inputs
            if not 1 <= count <= len(given):
                raise ValueError(f"predict: inputs={count}, but the batch has {len(given)} parts")
            output = model(*given[:count])
            several = isinstance(output, (list, tuple))
            found.append(tuple(output) if several else (output,))
    if not found:
        raise ValueError("predict: the loader gave no batches; is the data set empty?")
    joined = tuple([Tensor(np.concatenate([t.array for t in column])) for column in zip(*found)])
    return joined if several else joined[0]
