"""A softmax over very many classes, of which few are frequent."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from minidl._tensor import Tensor
from minidl.functional import cat
from minidl.nn.container import ModuleList, Sequential
from minidl.nn.linear import Linear, check_sizes
from minidl.nn.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class OutputAndLoss(NamedTuple):
    """output: the log-probability of each row's target; loss: its negative mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Adaptive softmax (Grave et al. 2017, arXiv:1609.04309): log p of a target, and the mean loss.

    Classes are numbered by falling frequency. The first cutoffs[0] of them stand in the head, with
    one more place for each cluster of the rarer ones, cutoffs[i] to cutoffs[i + 1] - 1:

        log p(k) = log softmax(head(x))_k                                      of a frequent class,
        log p(k) = log softmax(head(x))_cluster + log softmax(tail(x))_k       of one in a cluster

    The tail of cluster i first maps x to in_features / div_value^(i + 1) numbers, and is computed
    for the rows whose target lies in it alone. forward(input (N, D) or (D,), target (N,) or ())
    gives the named tuple (output, loss).
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        name = "AdaptiveLogSoftmaxWithLoss"
        check_sizes(name, in_features=in_features, n_classes=n_classes)
        known = [int(c) for c in cutoffs]
        bounds = [0, *known, n_classes]
        if not known or known != list(cutoffs) or any(a >= b for a, b in pairwise(bounds)):
            raise ValueError(
                f"{name}: cutoffs must be whole numbers that rise, from 1 to {n_classes - 1}, "
                f"got {list(cutoffs)}"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*known, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = known[0], len(known)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i, (start, stop) in enumerate(pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, width, False, device, dtype),
                    Linear(width, stop - start, False, device, dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> OutputAndLoss:
        if target.ndim > 1 or input.ndim != target.ndim + 1 or len(input) != (
            len(target) if target.ndim else self.in_features
        ):  # fmt: skip
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: input (N, D) needs a target (N,), and (D,) one (), "
                f"got {input.shape} and {target.shape}"
            )
        x = input if target.ndim else input.unsqueeze(0)
        classes = target.array.reshape(-1).astype(np.int64)
        if classes.size and (classes.min() < 0 or classes.max() >= self.n_classes):
            raise IndexError(
                f"AdaptiveLogSoftmaxWithLoss: targets must be 0 to {self.n_classes - 1}, got "
                f"{classes.min()} to {classes.max()}"
            )
        cluster = np.searchsorted(self.cutoffs, classes, side="right")  # 0: in the head
        place = np.where(cluster > 0, self.shortlist_size + cluster - 1, classes)
        count = len(classes)
        head = self.head(x).log_softmax(1)
        output = head.take_flat(np.arange(count) * self.head_size + place)
        for i in range(self.n_clusters):
            rows = np.flatnonzero(cluster == i + 1)
            if len(rows):
                inside = self.tail[i](x.take_rows(rows, 0)).log_softmax(1)
                own = classes[rows] - self.cutoffs[i]
                part = inside.take_flat(np.arange(len(rows)) * inside.shape[1] + own)
                output = output + part.add_rows(rows, 0, (count,))
        loss = -output.mean()
        return OutputAndLoss(output if target.ndim else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, D) -> (N, n_classes)."""
        head = self.head(input).log_softmax(1)
        parts = [head[:, : self.shortlist_size]]
        for i in range(self.n_clusters):
            place = self.shortlist_size + i
            parts.append(self.tail[i](input).log_softmax(1) + head[:, place : place + 1])
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row: (N, D) -> (N,).

        Tails are computed only for the rows whose best place in the head is a cluster's: no class
        is more probable than its cluster.
        """
        best = self.head(input).array.argmax(axis=1)
        rows = np.flatnonzero(best >= self.shortlist_size)
        if len(rows):
            best[rows] = self.log_prob(input.take_rows(rows, 0)).array.argmax(axis=1)
        return Tensor(best)
