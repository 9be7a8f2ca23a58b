"""Reviews: words, TF-IDF, sentiment, similar comments."""

from ecommerce.reviews.scores import Scores, cross_validate, folds_of, held_out, score
from ecommerce.reviews.sentiment import Explanation, Sentiment, labels_of_stars
from ecommerce.reviews.similar import Match, SimilarTexts
from ecommerce.reviews.text import clean_text, guess_language
from ecommerce.reviews.tfidf import Tfidf

__all__ = [
    "Explanation",
    "Match",
    "Scores",
    "Sentiment",
    "SimilarTexts",
    "Tfidf",
    "clean_text",
    "cross_validate",
    "folds_of",
    "guess_language",
    "held_out",
    "labels_of_stars",
    "score",
]
