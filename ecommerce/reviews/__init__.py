"""Reviews: words, TF-IDF, sentiment, similar comments.

    from ecommerce import reviews
    table = reviews.read("reviews.jsonl")
    labels = reviews.labels_of_stars(table["rating"])
    model = reviews.Sentiment().fit(table["text"][labels != ""], labels[labels != ""])
    model.explain("lovely, but it arrived broken")
"""

from ecommerce.data import read_reviews as read
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
    "read",
    "score",
]
