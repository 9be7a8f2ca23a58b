"""Similar comments: texts whose words agree, rare words counting most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecommerce.reviews.text import guess_language
from ecommerce.reviews.tfidf import Tfidf


@dataclass(frozen=True)
class Match:
    """A text found: its place in the fitted texts, and the cosine of the two TF-IDF vectors."""

    place: int
    score: float
    text: str


class SimilarTexts:
    """The texts nearest to a query by the cosine of TF-IDF vectors (Salton, Wong & Yang 1975)."""

    def __init__(self, tfidf: Tfidf | None = None):
        self.tfidf = tfidf
        self.texts: list[str] = []

    def fit(self, texts: Sequence[str]) -> SimilarTexts:
        """Keep the texts and their vectors; without a Tfidf of yours: words, or characters."""
        if self.tfidf is None:
            self.tfidf = Tfidf((1, 2), sublinear=True, lang=guess_language(texts))
        self.texts = list(texts)
        self._vectors = self.tfidf.fit_transform(self.texts)
        return self

    def query(self, text: str, k: int = 5) -> list[Match]:
        """The k most similar texts, best first; equal texts once; fewer where no word agrees."""
        if self.tfidf is None or not self.texts:
            raise ValueError("SimilarTexts.query: call fit(texts) first")
        if k < 1:
            raise ValueError(f"SimilarTexts.query: k={k}; give 1 or more")
        asked = self.tfidf.transform([text])
        dense = np.zeros(self._vectors.shape[1])
        dense[asked.indices] = asked.data
        rows = np.repeat(np.arange(len(self.texts)), np.diff(self._vectors.indptr))
        parts = self._vectors.data * dense[self._vectors.indices]
        cosine = np.bincount(rows, parts, minlength=len(self.texts))
        found: dict[str, Match] = {}
        for place in np.argsort(-cosine, kind="stable"):
            if cosine[place] <= 0 or len(found) == k:
                break
            match = Match(int(place), float(cosine[place]), self.texts[place])
            found.setdefault(match.text, match)
        return list(found.values())
