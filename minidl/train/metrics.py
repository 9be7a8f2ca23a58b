"""Metrics that are fed batch by batch and equal scikit-learn's on the whole.

Sums are kept in float64. A metric's state can be saved and restored in the middle of an epoch.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from minidl._tensor import Tensor
from minidl.typing import Array


class Metric:
    """Base: `update(output, target)` takes a batch, `compute()` gives the number so far.

    A subclass names in `state` the attributes that `reset` sets and a checkpoint keeps: numbers,
    arrays, or lists of them. higher_is_better: which way early stopping looks.
    """

    state: ClassVar[tuple[str, ...]] = ()
    higher_is_better: ClassVar[bool] = True

    def __init__(self, name: str | None = None):
        self.name = type(self).__name__.lower() if name is None else name
        self.reset()

    def reset(self) -> None:
        """Begin anew."""

    def update(self, output: Any, target: Any) -> None:
        """Take a batch in."""
        raise NotImplementedError(f"{type(self).__name__} needs update(output, target)")

    def compute(self) -> float:
        """The value over all batches since `reset`; NaN where there were none."""
        raise NotImplementedError(f"{type(self).__name__} needs compute()")

    def state_dict(self) -> dict[str, Any]:
        """What has been gathered."""
        return {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name in self.state:
            setattr(self, name, state[name])


class Mean(Metric):
    """The mean of numbers, each with a weight: update(value, weight).

    With `function`, the mean over samples of function(output, target), which gives a number for
    the batch, or one a sample.
    """

    state = ("total", "weight")
    higher_is_better = False

    def __init__(self, function: Callable[[Any, Any], Any] | None = None, name: str | None = None):
        self.function = function
        super().__init__(name or getattr(function, "__name__", None))

    def reset(self) -> None:
        self.total = self.weight = 0.0

    def update(self, output: Any, target: Any = 1.0) -> None:
        if self.function is None:
            self.add(float(output), float(target))
            return
        values = _array(self.function(output, target)).astype(np.float64)
        if values.ndim:
            self.add(float(values.mean()) if values.size else 0.0, float(values.size))
        else:
            self.add(float(values), float(len(_array(output))))

    def add(self, value: float, weight: float) -> None:
        """One number more."""
        self.total += value * weight
        self.weight += weight

    def compute(self) -> float:
        return self.total / self.weight if self.weight else float("nan")


class Accuracy(Metric):
    """The share of right classes.

    Scores (N, K, ...) with the classes along `dim`, as for cross_entropy, or for two classes
    scores (N,) or (N, 1), class 1 above `threshold` (0.5 for probabilities, 0 for logits). target:
    classes (N, ...). top_k: right if among the k highest scores. ignore_index: a target that does
    not count.
    """

    state = ("right", "count")

    def __init__(
        self,
        top_k: int = 1,
        threshold: float = 0.5,
        dim: int = 1,
        ignore_index: int | None = None,
        name: str | None = None,
    ):
        if top_k < 1:
            raise ValueError(f"Accuracy: top_k must be 1 or more, got {top_k}")
        self.top_k, self.threshold, self.dim = top_k, threshold, dim
        self.ignore_index = ignore_index
        super().__init__(name or ("accuracy" if top_k == 1 else f"top_{top_k}_accuracy"))

    def reset(self) -> None:
        self.right = self.count = 0

    def update(self, output: Any, target: Any) -> None:
        scores, classes = _array(output), _array(target)
        if self.top_k == 1:
            right = _classes(scores, classes, self.threshold, self.dim) == _flat(scores, classes)
        else:
            scores = np.moveaxis(scores, self.dim, -1)
            if scores.shape[:-1] != classes.shape:
                raise _mismatch(scores, classes)
            k = min(self.top_k, scores.shape[-1])
            top = np.argsort(-scores, -1, kind="stable")[..., :k]
            right = (top == classes[..., None]).any(-1)
            classes = classes.reshape(right.shape)
        if self.ignore_index is not None:
            right = right[classes.reshape(right.shape) != self.ignore_index]
        self.right += int(np.count_nonzero(right))
        self.count += right.size

    def compute(self) -> float:
        return self.right / self.count if self.count else float("nan")


class _Counts(Metric):
    """Base of precision, recall and F1: for each class its hits, predictions and targets.

    average: "binary" (class 1), "macro" (mean over the classes that occur), "weighted" (by how
    often they are targets), "micro" (all together). A class that is never predicted, or never a
    target, counts 0, as in scikit-learn.
    """

    state = ("hits", "predicted", "actual")

    def __init__(
        self,
        average: str = "binary",
        threshold: float = 0.5,
        dim: int = 1,
        name: str | None = None,
    ):
        if average not in ("binary", "macro", "micro", "weighted"):
            raise ValueError(
                f"{type(self).__name__}: average={average!r} is not known; give 'binary', "
                "'macro', 'micro' or 'weighted'"
            )
        self.average, self.threshold, self.dim = average, threshold, dim
        super().__init__(name)

    def reset(self) -> None:
        self.hits = self.predicted = self.actual = np.zeros(2, np.int64)

    def update(self, output: Any, target: Any) -> None:
        scores, classes = _array(output), _array(target)
        found = _classes(scores, classes, self.threshold, self.dim).reshape(-1)
        truth = _flat(scores, classes).astype(np.int64).reshape(-1)
        if truth.size and min(truth.min(), found.min()) < 0:
            raise ValueError(f"{type(self).__name__}: classes must be 0 or more")
        if self.average == "binary" and truth.size and max(truth.max(), found.max()) > 1:
            raise ValueError(
                f"{type(self).__name__}: there are more than two classes; give average='macro', "
                "'micro' or 'weighted'"
            )
        size = max(len(self.hits), int(max(truth.max(), found.max())) + 1 if truth.size else 0)
        parts = (found[found == truth], found, truth)
        self.hits, self.predicted, self.actual = (
            np.bincount(part, minlength=size) + np.pad(before, (0, size - len(before)))
            for part, before in zip(parts, (self.hits, self.predicted, self.actual))
        )

    def compute(self) -> float:
        if not self.actual.sum():
            return float("nan")
        hits, predicted, actual = self.hits, self.predicted, self.actual
        if self.average == "micro":
            hits, predicted, actual = (a.sum(keepdims=True) for a in (hits, predicted, actual))
        elif self.average == "binary":
            hits, predicted, actual = hits[1:2], predicted[1:2], actual[1:2]
        else:
            there = (predicted + actual) > 0
            hits, predicted, actual = hits[there], predicted[there], actual[there]
        top, bottom = self._ratio(hits, predicted, actual)
        values = np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)
        return float(np.average(values, weights=actual if self.average == "weighted" else None))

    def _ratio(self, hits: Array, predicted: Array, actual: Array) -> tuple[Array, Array]:
        raise NotImplementedError


class Precision(_Counts):
    """Of what was called a class, the share that is: hits / predicted."""

    def _ratio(self, hits: Array, predicted: Array, actual: Array) -> tuple[Array, Array]:
        return hits, predicted


class Recall(_Counts):
    """Of what is a class, the share that was called so: hits / actual."""

    def _ratio(self, hits: Array, predicted: Array, actual: Array) -> tuple[Array, Array]:
        return hits, actual


class F1(_Counts):
    """The harmonic mean of precision and recall: 2 hits / (predicted + actual)."""

    def _ratio(self, hits: Array, predicted: Array, actual: Array) -> tuple[Array, Array]:
        return 2 * hits, predicted + actual


class AUC(Metric):
    """The chance that a positive sample has a higher score than a negative one; a tie is half.

    output: scores (N,) or (N, 1), or (N, 2) of which the second column counts; target (N,) 0 or 1.
    Exact, keeping all scores; or, with `bins`, from counts of probabilities in that many equal
    steps of 0 to 1, where scores of one step count as tied: memory does not grow.
    """

    state = ("scores", "labels", "counts")

    def __init__(self, bins: int | None = None, name: str | None = None):
        if bins is not None and bins < 2:
            raise ValueError(f"AUC: bins must be 2 or more, got {bins}")
        self.bins = bins
        super().__init__(name)

    def reset(self) -> None:
        self.scores: list[Array] = []
        self.labels: list[Array] = []
        self.counts = np.zeros((2, self.bins or 0), np.int64)

    def update(self, output: Any, target: Any) -> None:
        scores, labels = _array(output), _array(target)
        if scores.ndim == 2 and scores.shape[1] == 2 and labels.ndim == 1:
            scores = scores[:, 1]
        if scores.size != labels.size:
            raise _mismatch(scores, labels)
        scores, labels = scores.reshape(-1), labels.reshape(-1)
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("AUC: targets must be 0 or 1")
        if self.bins is None:
            self.scores.append(scores.copy())
            self.labels.append(labels.astype(np.bool_))
            return
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):
            raise ValueError("AUC: with bins, scores must be from 0 to 1; apply a sigmoid")
        steps = (scores * self.bins).astype(np.int64).clip(max=self.bins - 1)
        counts = [np.bincount(steps[labels == k], minlength=self.bins) for k in (0, 1)]
        self.counts = self.counts + np.array(counts)

    def compute(self) -> float:
        if self.bins is None:
            if not self.scores:
                return float("nan")
            scores, labels = np.concatenate(self.scores), np.concatenate(self.labels)
            _, steps = np.unique(scores, return_inverse=True)
            size = int(steps.max()) + 1 if steps.size else 1
            negative, positive = (np.bincount(steps[labels == k], minlength=size) for k in (0, 1))
        else:
            negative, positive = self.counts
        pairs = float(negative.sum()) * float(positive.sum())
        if not pairs:
            return float("nan")
        below = np.cumsum(negative) - negative
        return float((positive * (below + negative / 2)).sum() / pairs)


class _Errors(Metric):
    """Base of the means over errors."""

    state = ("total", "count")
    higher_is_better = False

    def reset(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, output: Any, target: Any) -> None:
        found, truth = _pair(output, target)
        self.total += float(self._error(found - truth).sum())
        self.count += found.size

    def compute(self) -> float:
        return self.total / self.count if self.count else float("nan")

    def _error(self, difference: Array) -> Array:
        return difference * difference


class MSE(_Errors):
    """The mean of (output - target)^2."""


class RMSE(_Errors):
    """The square root of the mean of (output - target)^2."""

    def compute(self) -> float:
        return float(np.sqrt(super().compute()))


class MAE(_Errors):
    """The mean of |output - target|."""

    def _error(self, difference: Array) -> Array:
        return np.abs(difference)


class R2(Metric):
    """1 - sum (target - output)^2 / sum (target - mean target)^2, over all elements.

    The spread of batches is merged as in Chan, Golub & LeVeque 1979, so a large mean does no harm.
    """

    state = ("total", "mean", "spread", "count")

    def reset(self) -> None:
        self.total = self.mean = self.spread = 0.0
        self.count = 0

    def update(self, output: Any, target: Any) -> None:
        found, truth = _pair(output, target)
        if not truth.size:
            return
        size, mean = truth.size, float(truth.mean())
        gap = mean - self.mean
        both = self.count + size
        self.spread += float(((truth - mean) ** 2).sum()) + gap * gap * self.count * size / both
        self.mean += gap * size / both
        self.count = both
        self.total += float(((found - truth) ** 2).sum())

    def compute(self) -> float:
        return 1 - self.total / self.spread if self.spread else float("nan")


def named(metrics: Any) -> dict[str, Metric]:
    """Metrics by name, from a dictionary, a list, one metric or None."""
    if metrics is None:
        return {}
    if isinstance(metrics, Mapping):
        table = dict(metrics)
    else:
        several: Iterable[Any] = [metrics] if isinstance(metrics, Metric) else metrics
        table = {}
        for metric in several:
            name = getattr(metric, "name", type(metric).__name__)
            if name in table:
                raise ValueError(f"metrics: two are called {name!r}; give one of them a name=")
            table[name] = metric
    for name, metric in table.items():
        if not isinstance(metric, Metric):
            raise TypeError(
                f"metrics: {name!r} is {type(metric).__name__}, not a Metric; for a function give "
                "train.Mean(function)"
            )
    if "loss" in table:
        raise ValueError("metrics: the name 'loss' is taken by the loss itself")
    return table


def _array(x: Any) -> Array:
    return x.array if isinstance(x, Tensor) else np.asarray(x)


def _flat(scores: Array, classes: Array) -> Array:
    """Classes (N, 1) as (N,), where the scores are (N,) or (N, 1)."""
    return classes[:, 0] if classes.ndim == 2 and classes.shape[1] == 1 else classes


def _classes(scores: Array, classes: Array, threshold: float, dim: int) -> Array:
    """The class that each sample's scores say."""
    classes = _flat(scores, classes)
    if scores.ndim == classes.ndim + 1 and scores.shape[dim] > 1:
        found = scores.argmax(dim)
    else:
        scores = scores[..., 0] if scores.ndim == classes.ndim + 1 else scores
        found = (scores > threshold).astype(np.int64) if scores.dtype.kind == "f" else scores
    if found.shape != classes.shape:
        raise _mismatch(scores, classes)
    return found.astype(np.int64)


def _pair(output: Any, target: Any) -> tuple[Array, Array]:
    """Both in float64 and one shape."""
    found, truth = _array(output).astype(np.float64), _array(target).astype(np.float64)
    if found.shape != truth.shape:
        if found.size != truth.size:
            raise _mismatch(found, truth)
        found = found.reshape(truth.shape)
    return found, truth


def _mismatch(output: Array, target: Array) -> ValueError:
    return ValueError(
        f"metric: output {output.shape} and target {target.shape} do not fit; classes need "
        "scores (N, K) for targets (N,), errors one shape"
    )
