"""TF-IDF: how often a term is in a text, against in how many texts it is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ecommerce.reviews.text import analyzer
from minidl.sparse import CSR


class Tfidf:
    """Weighted term counts of texts, as sparse unit vectors.

        tfidf(t, d) = tf(t, d) * (ln((1 + N) / (1 + df(t))) + 1),   then each row is divided by
                                                                    its Euclidean length
        tf = the count of t in d, or 1 + ln(count) if `sublinear`

    N texts, df(t) of which have the term t (Sparck Jones 1972; the smoothed form and all defaults
    are scikit-learn's TfidfVectorizer's, whose numbers and vocabulary come out).

    ngram: shortest and longest run of words (lang="en") or characters (lang="zh") that is a term;
    min_df, max_df: in how many texts a term must, and may, be, as a count or a share;
    max_features: only so many of the most frequent terms.
    """

    def __init__(
        self,
        ngram: tuple[int, int] = (1, 1),
        min_df: float = 1,
        max_df: float = 1.0,
        max_features: int | None = None,
        sublinear: bool = False,
        lang: str = "en",
    ):
        self.ngram = tuple(ngram)
        self.min_df = min_df
        self.max_df = max_df
        self.max_features = max_features
        self.sublinear = sublinear
        self.lang = lang
        self.vocabulary: dict[str, int] = {}
        self.idf = np.zeros(0)
        self._terms_of = analyzer(lang, ngram)

    def get_params(self) -> dict[str, Any]:
        """The settings, as __init__ takes them."""
        names = ("ngram", "min_df", "max_df", "max_features", "sublinear", "lang")
        return {name: getattr(self, name) for name in names}

    def terms(self) -> list[str]:
        """The vocabulary in the order of the columns."""
        return sorted(self.vocabulary, key=self.vocabulary.__getitem__)

    def fit(self, texts: Sequence[str]) -> "Tfidf":
        """Learn vocabulary and idf."""
        self.fit_transform(texts)
        return self

    def fit_transform(self, texts: Sequence[str]) -> CSR:
        """`fit` and `transform` of the same texts, reading them once."""
        known: dict[str, int] = {}
        rows = []
        for text in _checked(texts):
            rows.append([known.setdefault(term, len(known)) for term in self._terms_of(text)])
        if not known:
            raise ValueError(
                f"Tfidf.fit: none of the {len(rows)} texts has a term of lang={self.lang!r}: "
                "are they empty, or in another language?"
            )
        counts = _counted(rows, len(known))
        in_texts = np.bincount(counts.indices, minlength=len(known))
        low = self.min_df if isinstance(self.min_df, int) else self.min_df * len(rows)
        high = self.max_df if isinstance(self.max_df, int) else self.max_df * len(rows)
        keep = (in_texts >= low) & (in_texts <= high)
        if not keep.any():
            raise ValueError(
                f"Tfidf.fit: no term is in {self.min_df} to {self.max_df} of the {len(rows)} "
                "texts: lower min_df or raise max_df"
            )
        if self.max_features is not None and keep.sum() > self.max_features:
            totals = np.bincount(counts.indices, counts.data, minlength=len(known))
            # of equally frequent terms the first of the alphabet stay, as in scikit-learn
            alphabet = np.argsort(np.array(list(known), dtype=object), kind="stable")
            ranked = alphabet[np.argsort(-totals[alphabet] * keep[alphabet], kind="stable")]
            keep[ranked[self.max_features :]] = False
        kept = sorted(term for term, old in known.items() if keep[old])
        self.vocabulary = {term: new for new, term in enumerate(kept)}
        old = np.array([known[term] for term in kept])
        column = np.full(len(known), -1)
        column[old] = np.arange(len(kept))
        self.idf = np.log((1 + len(rows)) / (1 + in_texts[old])) + 1
        return self._weighted(_in_columns(counts, column, len(kept)))

    def transform(self, texts: Sequence[str]) -> CSR:
        """The vectors of texts, (texts, vocabulary); terms that `fit` did not see are left out."""
        if not self.vocabulary:
            raise ValueError("Tfidf.transform: call fit first")
        find = self.vocabulary.get
        rows = [
            [c for term in self._terms_of(text) if (c := find(term)) is not None]
            for text in _checked(texts)
        ]
        return self._weighted(_counted(rows, len(self.vocabulary)))

    def _weighted(self, counts: CSR) -> CSR:
        data = counts.data
        if self.sublinear:
            data = 1 + np.log(data)
        data = data * self.idf[counts.indices]
        row = np.repeat(np.arange(len(counts)), np.diff(counts.indptr))
        lengths = np.sqrt(np.bincount(row, data * data, minlength=len(counts)))
        return CSR(counts.indptr, counts.indices, data / lengths[row], counts.shape)


def _checked(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise TypeError("texts: give a list of texts, not one text")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"texts: text {i} is {type(text).__name__}, not a string; "
                "replace missing reviews by ''"
            )
    return texts


def _counted(rows: list[list[int]], columns: int) -> CSR:
    """Term numbers of each text -> counts, columns ascending in each row."""
    lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
    flat = np.fromiter((c for row in rows for c in row), np.int64, int(lengths.sum()))
    keys = np.repeat(np.arange(len(rows)), lengths) * columns + flat
    distinct, counts = np.unique(keys, return_counts=True)
    row = distinct // columns if columns else distinct
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(rows)))])
    indices = distinct - row * columns
    return CSR(indptr, indices, counts.astype(np.float64), (len(rows), columns))


def _in_columns(counts: CSR, column: np.ndarray, columns: int) -> CSR:
    """Columns renumbered, those with number -1 left out."""
    new = column[counts.indices]
    row = np.repeat(np.arange(len(counts)), np.diff(counts.indptr))
    stay = new >= 0
    row, new, data = row[stay], new[stay], counts.data[stay]
    order = np.lexsort((new, row))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(counts)))])
    return CSR(indptr, new[order], data[order], (len(counts), columns))
