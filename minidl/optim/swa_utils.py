"""Averages of weights: EMA and SWA, under the names of torch.optim.swa_utils.

    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    for batch in loader:
        ...optimizer.step()...
        ema.update_parameters(model)
    ema.eval()(x)                       # predict with the average

Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407) is the plain mean of the
weights after each of the last epochs, at a constant rate that SWALR leads to:

    swa, schedule = AveragedModel(model), SWALR(optimizer, swa_lr=0.05)
    for epoch in range(start, epochs):
        ...train an epoch...
        swa.update_parameters(model); schedule.step()
    update_bn(loader, swa)
"""

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.autograd import no_grad
from minidl.functional.creation import check_device
from minidl.nn.batchnorm import BatchNorm1d, BatchNorm2d
from minidl.nn.module import Module
from minidl.optim._tables import move_averages
from minidl.optim.lr_scheduler.base import LRScheduler
from minidl.optim.optimizer import Optimizer

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip

MultiAverage = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """The exponential moving average of all parameters, in one pass over each.

    average = decay average + (1 - decay) parameter
    """
    _check_decay(decay)

    def ema_update(averages: Sequence[Tensor], current: Sequence[Tensor], n: Any) -> None:
        _move(averages, current, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> MultiAverage:
    """The mean of all values so far, in one pass over each parameter.

    average = average + (parameter - average) / (n + 1),   n averaged before
    """

    def swa_update(averages: Sequence[Tensor], current: Sequence[Tensor], n: Any) -> None:
        _move(averages, current, 1 / (int(n) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """`get_ema_multi_avg_fn` for one parameter, as a new tensor."""
    _check_decay(decay)

    def ema_update(average: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return decay * average + (1 - decay) * current

    return ema_update


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """`get_swa_multi_avg_fn` for one parameter, as a new tensor."""

    def swa_update(average: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return average + (current - average) / (int(num_averaged) + 1)

    return swa_update


def _check_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ValueError(f"get_ema_avg_fn: decay must be from 0 to 1, got {decay}")


def _move(averages: Sequence[Tensor], current: Sequence[Tensor], weight: float) -> None:
    """average += weight (p - average) for all, in place, in one call for each dtype."""
    together: dict[Any, tuple[list[Any], list[Any]]] = {np.float32: ([], []), np.float64: ([], [])}
    for average, p in zip(averages, current):
        mean, values = average.array, p.array
        average.version[0] += 1
        pair = together.get(mean.dtype.type)
        if pair is not None and mean.flags.carray and mean.dtype == values.dtype:
            pair[0].append(mean)
            pair[1].append(np.require(values, mean.dtype, ["C", "A"]))
        else:  # halves, and counts among the buffers
            mean[...] = (mean + weight * (values - np.asarray(mean, np.float64))).astype(mean.dtype)
    for means, news in together.values():
        move_averages(means, news, float(weight))


class AveragedModel(Module):
    """A copy of a model whose weights are an average of the model's over time.

    update_parameters(model) takes the weights in; the first call copies them. The average is the
    mean of all (SWA), unless avg_fn(average, current, n) gives the new value of one tensor, or
    multi_avg_fn(averages, currents, n) writes into all of them. use_buffers: average buffers too,
    else they are copied. state_dict: "n_averaged", and the copy's own under "module.".

    A table with row-sparse gradients is averaged as any other parameter: the whole table, for the
    average of a row goes on moving after the row has changed.
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        check_device(device)
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: give avg_fn or multi_avg_fn, not both")
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", Tensor(np.asarray(0)))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the model's weights into the average."""
        averages: list[Tensor] = list(self.module.parameters())
        current: list[Tensor] = list(model.parameters())
        buffers, latest = list(self.module.buffers()), list(model.buffers())
        if [p.shape for p in chain(averages, buffers)] != [p.shape for p in chain(current, latest)]:
            raise ValueError(
                "update_parameters: the model's parameters are not those of the averaged copy; "
                "average the model that AveragedModel was made of"
            )
        if self.use_buffers:
            averages, current, buffers, latest = averages + buffers, current + latest, [], []
        count = int(self.n_averaged)
        if count == 0:
            buffers, latest = averages + buffers, current + latest
        elif self.avg_fn is not None:
            for average, p in zip(averages, current):
                mean = self.avg_fn(average.detach(), p.detach(), count)
                average.array[...] = mean.array
                average.version[0] += 1
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            update([a.detach() for a in averages], [p.detach() for p in current], count)
        for target, source in zip(buffers, latest):
            target.array[...] = source.array
            target.version[0] += 1
        self.n_averaged.array[...] = count + 1


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch norms anew, as means over the loader's batches.

    Averaged weights have other activations than the weights they were averaged from. A batch is a
    tensor, or a tuple whose first element is the model's input.
    """
    check_device(device)
    norms: list[Any] = [m for m in model.modules() if isinstance(m, (BatchNorm1d, BatchNorm2d))]
    if not norms:
        return
    before, training = [m.momentum for m in norms], model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
    model.train()
    try:
        for batch in loader:
            model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    finally:
        for norm, momentum in zip(norms, before):
            norm.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """lr from where it is to swa_lr in anneal_epochs steps, then constant.

        lr = a swa_lr + (1 - a) start,   a = (1 - cos(pi t / anneal_epochs)) / 2   or, "linear",
                                         a = t / anneal_epochs

    swa_lr: one rate, or one a group.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"SWALR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(
                f"SWALR: anneal_epochs must be a whole number of 0 or more, got {anneal_epochs}"
            )
        count = len(optimizer.param_groups)
        rates = list(swa_lr) if isinstance(swa_lr, (list, tuple)) else [swa_lr] * count
        if len(rates) != count:
            raise ValueError(f"SWALR: {len(rates)} swa_lr for {count} groups: give one a group")
        for group, rate in zip(optimizer.param_groups, rates):
            group["swa_lr"] = rate
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _share(self, t: int) -> float:
        part = max(0.0, min(1.0, t / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * part)) / 2 if self.anneal_strategy == "cos" else part

    def get_lr(self) -> list[float]:
        t = self.last_epoch if self.anneal_epochs else max(1, self.last_epoch)
        before, share = self._share(t - 1), self._share(t)
        rates = []
        for group in self.optimizer.param_groups:
            lr, aim = group["lr"], group["swa_lr"]
            start = aim if before == 1 else (lr - before * aim) / (1 - before)
            rates.append(aim * share + start * (1 - share))
        return rates
