"""Sentiment: from a review's words to what its writer thinks, with each word's share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

import minidl
from ecommerce.recommend import store
from ecommerce.reviews.text import guess_language
from ecommerce.reviews.tfidf import Tfidf
from minidl import functional as F
from minidl.sparse import CSR

NEGATIVE, POSITIVE = "negative", "positive"
POWER_STEPS = 30
"""Steps of the power iteration that finds the step length; its error is covered by MARGIN."""
MARGIN = 1.1


def labels_of_stars(stars: ArrayLike, low: float = 2, high: float = 4) -> NDArray[np.str_]:
    """"negative" up to `low` stars, "positive" from `high` on, "" between (no clear opinion)."""
    given = np.asarray(stars, np.float64)
    if given.ndim != 1 or not np.isfinite(given).all():
        raise ValueError(
            "labels_of_stars: stars must be one finite number a text; drop texts without stars"
        )
    if not low < high:
        raise ValueError(f"labels_of_stars: low={low} must be below high={high}")
    return np.where(given <= low, NEGATIVE, np.where(given >= high, POSITIVE, ""))


@dataclass(frozen=True)
class Explanation:
    """Why a text got its label: `bias` and the terms' shares add up to `score`.

    score: the log odds of `label` against the other class (two classes), or its logit. terms:
    (term, share), the weightiest first.
    """

    text: str
    label: Any
    score: float
    bias: float
    terms: list[tuple[str, float]]


class Sentiment:
    """A linear classifier over TF-IDF terms.

        two classes   min_w,b  1/N Σ_n s_n log(1 + exp(-y_n (w·x_n + b))) + |w|² / (2 C N)
        more          the softmax of one (w, b) a class, with the cross-entropy

    x_n: TF-IDF of text n; s_n: 1, or with class_weight="balanced" N / (classes · texts of its
    class). This is scikit-learn's LogisticRegression on the same vectors. It is convex and solved
    with Nesterov's accelerated gradient, whose step and momentum follow from the curvature, until
    the gradient is `tol` of what it was at the start or `max_iter` steps are taken.

    model: "linear"; ngram, min_df, max_features, sublinear: as in Tfidf; lang: "en" takes words,
    "zh" characters as terms, "auto" looks at the texts; C: the larger, the weaker the penalty.
    `seed` is kept for models that draw random numbers: this one does not.

    Source of the method: Nesterov 1983; Sutskever et al. 2013 for the form as momentum.
    """

    def __init__(
        self,
        model: Literal["linear"] = "linear",
        ngram: tuple[int, int] = (1, 2),
        min_df: float = 1,
        max_features: int | None = None,
        sublinear: bool = True,
        lang: str = "auto",
        C: float = 10.0,
        class_weight: Literal["balanced"] | None = None,
        max_iter: int = 1000,
        tol: float = 1e-3,
        seed: int = 0,
    ):
        if model != "linear":
            raise ValueError(f"Sentiment: model={model!r} is not known; there is 'linear'")
        if lang not in ("auto", "en", "zh"):
            raise ValueError(f"Sentiment: lang={lang!r} is not known; give 'auto', 'en' or 'zh'")
        if not (np.isfinite(C) and C > 0):
            raise ValueError(f"Sentiment: C={C}; it must be above 0")
        if class_weight not in (None, "balanced"):
            raise ValueError(f"Sentiment: class_weight={class_weight!r}; give None or 'balanced'")
        if max_iter < 1 or not tol > 0:
            raise ValueError(f"Sentiment: max_iter={max_iter} and tol={tol} must be above 0")
        self.model = model
        self.ngram = (int(ngram[0]), int(ngram[1]))
        self.min_df = min_df
        self.max_features = max_features
        self.sublinear = sublinear
        self.lang = lang
        self.C = C
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol
        self.seed = seed
        self.classes: NDArray[Any] = np.zeros(0, np.str_)
        self.losses: list[float] = []  # of each step of the last fit
        self._vectors(lang if lang != "auto" else "en")

    def _vectors(self, lang: str) -> None:
        self.tfidf = Tfidf(
            self.ngram, self.min_df, max_features=self.max_features,
            sublinear=self.sublinear, lang=lang,
        )

    def get_params(self) -> dict[str, Any]:
        """The settings, as __init__ takes them."""
        names = (
            "model", "ngram", "min_df", "max_features", "sublinear", "lang", "C", "class_weight",
            "max_iter", "tol", "seed",
        )
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"Sentiment({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"

    # ------------------------------------------------------------------ learning

    def fit(self, texts: Sequence[str], labels: ArrayLike) -> Sentiment:
        """Learn from texts (N,) and a label each: strings or whole numbers, two or more kinds.

        Star ratings become labels with `labels_of_stars`; leave out the texts whose label is "".
        """
        given = _checked_labels(labels, len(texts))
        self.classes, codes = np.unique(given, return_inverse=True)
        if len(self.classes) < 2:
            raise ValueError(
                f"Sentiment.fit: every text is labelled {self.classes[0]!s}; a classifier needs "
                "texts of two labels or more"
            )
        self._vectors(guess_language(texts) if self.lang == "auto" else self.lang)
        vectors = self.tfidf.fit_transform(texts)
        matrix = CSR(
            vectors.indptr, vectors.indices, vectors.data.astype(np.float32), vectors.shape
        )
        self._solve(matrix, codes)
        return self

    def _solve(self, matrix: CSR, codes: NDArray[np.int64]) -> None:
        from minidl import optim

        n, terms = matrix.shape
        binary = len(self.classes) == 2
        columns = 1 if binary else len(self.classes)
        counts = np.bincount(codes)
        shares = np.ones(len(counts))
        if self.class_weight == "balanced":
            shares = n / (len(counts) * counts)
        shape = (n, 1) if binary else (n,)
        each = minidl.tensor(shares[codes].astype(np.float32).reshape(shape))
        target = minidl.tensor(codes.astype(np.float32 if binary else np.int64).reshape(shape))

        # The curvature is at most `bend` times that of the least squares problem. Halving the
        # steps of weights and bias makes them safe together (two blocks of one matrix).
        bend = (0.25 if binary else 0.5) * float(shares.max())
        penalty = 1 / (self.C * n)
        steepest = 2 * bend * MARGIN * _largest_eigenvalue(matrix) + penalty
        root = np.sqrt(penalty / steepest)
        weight = minidl.tensor(np.zeros((terms, columns), np.float32), requires_grad=True)
        bias = minidl.tensor(np.zeros(columns, np.float32), requires_grad=True)
        optimizer = optim.SGD(
            [
                {"params": [weight], "lr": float(1 / steepest)},
                {"params": [bias], "lr": 1 / (2 * bend)},
            ],
            lr=1.0,
            momentum=float((1 - root) / (1 + root)),
            nesterov=True,
        )
        first = None
        self.losses = []
        for _ in range(self.max_iter):
            logits = matrix @ weight + bias  # (N, columns)
            if binary:
                cost = F.binary_cross_entropy_with_logits(logits, target, each, reduction="none")
            else:
                cost = F.cross_entropy(logits, target, reduction="none") * each
            loss = cost.sum() * (1 / n) + (weight * weight).sum() * (penalty / 2)
            optimizer.zero_grad()
            loss.backward()
            self.losses.append(loss.item())
            assert weight.grad is not None
            assert bias.grad is not None
            slope = np.sqrt((weight.grad.numpy() ** 2).sum() + (bias.grad.numpy() ** 2).sum())
            first = slope if first is None else first
            if slope <= self.tol * first:
                break
            optimizer.step()
        self._weight = weight.detach().numpy().astype(np.float64)
        self._bias = bias.detach().numpy().astype(np.float64)

    # ------------------------------------------------------------------ use

    def decision(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log odds of the second class, (N,), or with more than two classes their logits (N, K)."""
        self._require_fit()
        vectors = self.tfidf.transform(texts)
        rows = np.repeat(np.arange(len(vectors)), np.diff(vectors.indptr))
        logits = np.stack(
            [
                np.bincount(rows, vectors.data * column[vectors.indices], minlength=len(vectors))
                for column in self._weight.T
            ],
            axis=1,
        ) + self._bias  # (N, columns)
        return logits[:, 0] if len(self.classes) == 2 else logits

    def predict(self, texts: Sequence[str], proba: bool = False) -> NDArray[Any]:
        """The label of each text, (N,); with proba=True the probabilities of `classes`, (N, K)."""
        logits = self.decision(texts)
        if len(self.classes) == 2:
            logits = np.stack([np.zeros(len(logits)), logits], axis=1)
        if not proba:
            return self.classes[logits.argmax(axis=1)]
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    def explain(self, text: str, label: Any = None) -> Explanation:
        """What each term of the text adds for `label`; for the predicted one if none is given."""
        self._require_fit()
        label = self.predict([text])[0] if label is None else label
        weights, bias = self._toward(label)
        vector = self.tfidf.transform([text])
        shares = vector.data * weights[vector.indices]
        names = self._terms
        order = np.argsort(-np.abs(shares), kind="stable")
        terms = [(names[vector.indices[i]], float(shares[i])) for i in order]
        return Explanation(text, label, float(shares.sum() + bias), bias, terms)

    def top_words(self, k: int = 10) -> dict[Any, list[tuple[str, float]]]:
        """For each class the k terms that speak most for it, with their weights."""
        self._require_fit()
        names, found = self._terms, {}
        for label in self.classes.tolist():
            weights, _ = self._toward(label)
            best = np.argsort(-weights, kind="stable")[:k]
            found[label] = [(names[i], float(weights[i])) for i in best if weights[i] > 0]
        return found

    def _toward(self, label: Any) -> tuple[NDArray[np.float64], float]:
        """Weights (terms,) and bias of one class."""
        place = np.flatnonzero(self.classes == label)
        if not len(place):
            raise ValueError(
                f"Sentiment: no class {label!r}; it knows {', '.join(map(str, self.classes))}"
            )
        if len(self.classes) > 2:
            return self._weight[:, place[0]], float(self._bias[place[0]])
        sign = 1.0 if place[0] else -1.0
        return sign * self._weight[:, 0], sign * float(self._bias[0])

    @property
    def _terms(self) -> list[str]:
        return self.tfidf.terms()

    def _require_fit(self) -> None:
        if not len(self.classes):
            raise ValueError("Sentiment is not fitted; call fit(texts, labels) or load a saved one")

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write settings, vocabulary and weights to one file, whole or not at all. No pickle."""
        self._require_fit()
        arrays = {
            **store.pack_ids("terms", np.array(self._terms, np.str_)),
            "idf": self.tfidf.idf, "weight": self._weight, "bias": self._bias,
        }
        about = {
            "model": "Sentiment", "params": self.get_params(), "fitted_lang": self.tfidf.lang,
            "classes": self.classes.tolist(), "package": minidl.__version__,
        }
        store.write(path, arrays, about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sentiment:
        """A classifier from `save`'s file; ValueError where it is damaged or of another kind."""
        arrays, about = store.read(path)
        if about["model"] != "Sentiment":
            raise ValueError(
                f"{os.fspath(path)} holds a {about['model']}, not a sentiment classifier; "
                "use ecommerce.recommend.load_model"
            )
        made = cls(**about["params"])
        made._vectors(about["fitted_lang"])
        terms = store.unpack_ids("terms", arrays).tolist()
        made.tfidf.vocabulary = {term: column for column, term in enumerate(terms)}
        made.tfidf.idf = arrays["idf"]
        made._weight, made._bias = arrays["weight"], arrays["bias"]
        made.classes = np.array(about["classes"])
        return made


def _checked_labels(labels: ArrayLike, n: int) -> NDArray[Any]:
    given = np.asarray(labels)
    if given.dtype.kind == "O":
        given = given.astype(np.str_)
    if given.shape != (n,):
        raise ValueError(f"Sentiment.fit: {n} texts need {n} labels, got shape {given.shape}")
    if given.dtype.kind == "f":
        if not np.isfinite(given).all() or (given != np.rint(given)).any():
            raise ValueError(
                "Sentiment.fit: labels are numbers with fractions or NaN; give strings or whole "
                "numbers (stars become labels with labels_of_stars)"
            )
        given = given.astype(np.int64)
    if given.dtype.kind == "U" and (given == "").any():
        raise ValueError(
            f"Sentiment.fit: text {int(np.flatnonzero(given == '')[0])} has an empty label; "
            "leave such texts out"
        )
    return given


def _largest_eigenvalue(matrix: CSR) -> float:
    """Of XᵀX / N, for X (N, V) with no negative entry, by power iteration."""
    with minidl.no_grad():
        vector = minidl.tensor(np.ones((matrix.shape[1], 1), matrix.data.dtype))
        length = 0.0
        for _ in range(POWER_STEPS):
            vector = matrix.T @ (matrix @ vector)
            length = float(np.sqrt((vector.numpy() ** 2).sum()))
            if not length:
                return 0.0
            vector = vector / length
    return length / matrix.shape[0]
