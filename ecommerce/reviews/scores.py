"""How right a classifier is: accuracy, macro F1, AUC, confusion, on texts that it did not learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecommerce.evaluation import Estimate, mean_interval


@dataclass(frozen=True)
class Scores:
    """What `score` and `cross_validate` return.

    accuracy with Wilson's 95 % interval; f1: macro, the mean over classes of 2 P R / (P + R), 0 for
    a class never predicted; auc: the chance that a text of a class gets a higher probability of it
    than one of another class, ties count half, mean over classes where there are more than two;
    majority: accuracy of always saying the most frequent class. confusion (K, K): rows are the
    true classes, columns the predicted ones.
    """

    classes: list[Any]
    accuracy: Estimate
    f1: float
    auc: float
    majority: float
    precision: list[float]
    recall: list[float]
    confusion: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "accuracy": self.accuracy.to_dict(), "f1": self.f1, "auc": self.auc,
            "majority": self.majority, "classes": self.classes, "precision": self.precision,
            "recall": self.recall, "confusion": self.confusion.tolist(),
        }


def score(truth: ArrayLike, proba: NDArray[np.floating], classes: Sequence[Any]) -> Scores:
    """Scores of probabilities (N, K) against true labels (N,), each of `classes`."""
    names = np.asarray(classes)
    given = np.asarray(truth)
    if len(given) != len(proba) or proba.shape[1:] != (len(names),) or not len(given):
        raise ValueError(
            f"score: {given.shape} labels and {len(names)} classes need probabilities "
            f"({len(given)}, {len(names)}), got {proba.shape}; give one text or more"
        )
    codes = np.argmax(given[:, None] == names, axis=1)
    if (names[codes] != given).any():
        strange = given[names[codes] != given][0]
        raise ValueError(f"score: label {strange!s} is none of the classes {list(classes)}")
    guesses = proba.argmax(axis=1)
    k = len(names)
    confusion = np.bincount(codes * k + guesses, minlength=k * k).reshape(k, k)
    right = np.diag(confusion)
    precision = right / np.maximum(confusion.sum(axis=0), 1)
    recall = right / np.maximum(confusion.sum(axis=1), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    places = [1] if k == 2 else range(k)
    aucs = [_auc(codes == c, proba[:, c]) for c in places]
    return Scores(
        classes=names.tolist(), accuracy=mean_interval((codes == guesses).astype(np.float64)),
        f1=float(f1.mean()), auc=float(np.mean(aucs)),
        majority=float(confusion.sum(axis=1).max() / len(codes)),
        precision=precision.tolist(), recall=recall.tolist(), confusion=confusion,
    )


def _auc(positive: NDArray[np.bool_], value: NDArray[np.floating]) -> float:
    """Mann-Whitney's U over its largest value; NaN where one of the two sides is empty."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    _, place, counts = np.unique(value, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]  # of equal values the mean rank
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def folds_of(labels: ArrayLike, folds: int, seed: int = 0) -> NDArray[np.int64]:
    """A fold number for each label, (N,): each class is dealt out evenly, in an order by seed."""
    given = np.asarray(labels)
    classes, codes, counts = np.unique(given, return_inverse=True, return_counts=True)
    if not folds >= 2:
        raise ValueError(f"folds={folds}: give 2 or more")
    if len(counts) and counts.min() < folds:
        rare = classes[counts.argmin()]
        raise ValueError(
            f"{folds} folds need {folds} texts of each class, {rare!s} has {counts.min()}; "
            "use fewer folds or leave the class out"
        )
    order = np.random.default_rng(seed).permutation(len(given))
    order = order[np.argsort(codes[order], kind="stable")]
    fold = np.empty(len(given), np.int64)
    fold[order] = np.arange(len(given)) % folds
    return fold


def held_out(labels: ArrayLike, share: float, seed: int = 0) -> NDArray[np.bool_]:
    """True for the texts held out, (N,): `share` of each class, one at least."""
    given = np.asarray(labels)
    if not 0 < share < 1:
        raise ValueError(f"test={share}: the share held out must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    out = np.zeros(len(given), bool)
    for label in np.unique(given):
        rows = rng.permutation(np.flatnonzero(given == label))
        if len(rows) < 2:
            raise ValueError(f"only one text has the label {label!s}; leave the class out")
        out[rows[: min(len(rows) - 1, max(1, round(share * len(rows))))]] = True
    return out


def cross_validate(
    make: Callable[[], Any], texts: Sequence[str], labels: ArrayLike, folds: int = 5, seed: int = 0,
    each: Callable[[int, Scores], None] | None = None,
) -> Scores:
    """Scores over all texts, each predicted by a classifier that learned the other folds.

    make() gives an unfitted classifier, with vocabulary and idf learned anew in every fold, so
    nothing of the held-out texts leaks in. each(fold, scores) is called after every fold.
    """
    given = np.asarray(labels)
    fold = folds_of(given, folds, seed)
    classes = np.unique(given)
    proba = np.zeros((len(given), len(classes)))
    for f in range(folds):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        model = make().fit([texts[i] for i in train.tolist()], given[train])
        proba[test] = model.predict([texts[i] for i in test.tolist()], proba=True)
        if each is not None:
            each(f, score(given[test], proba[test], classes.tolist()))
    return score(given, proba, classes.tolist())
