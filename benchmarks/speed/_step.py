"""A training step that several libraries do alike: same source, same weights, same batches.

A workload says its parameters (name -> shape), its batches as arrays, its model and its loss; the
model and the loss are written once in PyTorch's names and run with minidl and with torch alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.alternate import Work

Arrays = dict[str, NDArray[Any]]


class Step(Work):
    """One step is zero_grad, forward, backward and Adam's step (lr 1e-3)."""

    settle = 0.1
    curve = 4
    lr = 1e-3
    batches = 4  # taken in turn
    parts = ("loss",)  # the methods that torch.compile gets
    adam: ClassVar[dict[str, Any]] = {}  # more arguments of Adam

    # ------------------------------------------------------------------ what a workload says

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The entries of the model's state dict."""
        raise NotImplementedError

    def batch(self, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        """The arrays of one batch."""
        raise NotImplementedError

    def model(self, lib: Any, nn: Any, F: Any) -> Any:
        raise NotImplementedError

    def loss(self, F: Any, model: Any, *batch: Any) -> Any:
        raise NotImplementedError

    def jax_loss(self, jax: Any, p: dict[str, Any], *batch: Any) -> Any:
        """The same loss in plain jax.numpy, of the parameters p by the names of `shapes`."""
        raise NotImplementedError

    def flops(self) -> float:
        """Of the matrix products that one step cannot do without."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the libraries

    def minidl(self) -> Callable[[], float]:
        import minidl
        import minidl.nn.functional as F
        from minidl import nn, optim

        return self._training(minidl, nn, F, optim)

    def captured(self) -> Callable[[], float]:
        import minidl
        import minidl.nn.functional as F
        from minidl import nn, optim

        if not hasattr(minidl, "capture"):
            raise ImportError("this minidl has no capture")
        return self._training(minidl, nn, F, optim, minidl.capture)

    def torch(self) -> Callable[[], float]:
        import torch
        import torch.nn.functional as F
        from torch import nn, optim

        return self._training(torch, nn, F, optim)

    def compiled(self) -> Callable[[], float]:
        """torch.compile of the loss, and torch's fused Adam."""
        import torch
        import torch.nn.functional as F
        from torch import nn, optim

        for name in self.parts:
            setattr(self, name, torch.compile(getattr(self, name)))
        self.adam = {**self.adam, "fused": True}
        return self._training(torch, nn, F, optim)

    def jax(self) -> Callable[[], float]:
        """One jitted function: loss, gradients and Adam, with donated weights and moments."""
        import jax

        from benchmarks.speed._jax import training

        return in_turn(training(jax, self), [jax.device_put(narrow(b)) for b in self.data()])

    def _training(
        self, lib: Any, nn: Any, F: Any, optim: Any, wrap: Callable[..., Any] | None = None
    ) -> Callable[[], float]:
        model = self.model(lib, nn, F)
        model.load_state_dict({name: lib.tensor(a) for name, a in self.weights().items()})
        batches = [tuple(lib.tensor(a) for a in batch) for batch in self.data()]
        step = self.step(lib, F, optim, model)
        return in_turn(step if wrap is None else wrap(step), batches)

    def step(self, lib: Any, F: Any, optim: Any, model: Any) -> Callable[..., Any]:
        optimizer = self.optimizer(optim, model)

        def step(*batch: Any) -> Any:
            optimizer.zero_grad()
            loss = self.loss(F, model, *batch)
            loss.backward()
            optimizer.step()
            return loss

        return step

    def optimizer(self, optim: Any, model: Any) -> Any:
        return optim.Adam(model.parameters(), lr=self.lr, **self.adam)

    # ------------------------------------------------------------------ weights and batches

    def weights(self) -> Arrays:
        rng = np.random.default_rng(0)
        return {name: start(name, shape, rng) for name, shape in self.shapes().items()}

    def data(self) -> list[tuple[NDArray[Any], ...]]:
        rng = np.random.default_rng(1)
        return [self.batch(rng) for _ in range(self.batches)]


def start(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """A start of which the values stay of order 1 from layer to layer."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_mean"):
        return np.zeros(shape, np.float32)
    if name.endswith("running_var"):
        return np.ones(shape, np.float32)
    drawn = rng.standard_normal(shape, np.float32)
    if len(shape) > 1:
        return drawn / np.float32(np.sqrt(np.prod(shape[1:])))
    centre = 1 if name.endswith("weight") else 0  # of a norm; of a bias
    return np.float32(centre) + np.float32(0.1) * drawn


def narrow(batch: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
    """JAX's whole numbers have 32 bits."""
    return tuple(a.astype(np.int32) if a.dtype == np.int64 else a for a in batch)


def between(rng: np.random.Generator, low: int, high: int, multiple: int = 1) -> int:
    """A whole number drawn evenly on a logarithmic scale, a multiple of `multiple`."""
    value = np.exp(rng.uniform(np.log(low), np.log(high)))
    return max(1, round(value / multiple)) * multiple


def in_turn(step: Callable[..., Any], batches: list[Any]) -> Callable[[], float]:
    """A callable that runs the step on the next batch and returns its loss."""
    turn: Iterator[Any] = itertools.cycle(batches)
    return lambda: step(*next(turn)).item()


def skewed(rng: np.random.Generator, rows: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Ids 1..rows-1 by a power law, as a shop's items and a text's words are."""
    share = 1 / np.arange(1, rows) ** 0.8
    return 1 + rng.choice(rows - 1, shape, p=share / share.sum())
