"""TF-IDF against scikit-learn, and a case by hand."""

import math

import numpy as np
import pytest

from ecommerce.reviews.text import clean_text, guess_language
from ecommerce.reviews.tfidf import Tfidf

TEXTS = [
    "The battery died after two days, two days only!",
    "Great battery, great price",
    "",
    "price is right; the screen_size is great",
    "Battery 电池 great great great",
]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ngram": (1, 2)},
        {"ngram": (2, 3), "sublinear": True},
        {"min_df": 2},
        {"min_df": 0.3, "max_df": 0.7},
        {"max_features": 4},
    ],
)
def test_equals_scikit_learn(settings):
    sklearn = pytest.importorskip("sklearn.feature_extraction.text")
    names = {"ngram": "ngram_range", "sublinear": "sublinear_tf"}
    theirs = sklearn.TfidfVectorizer(**{names.get(k, k): v for k, v in settings.items()})
    expected = theirs.fit_transform(TEXTS).toarray()
    ours = Tfidf(**settings)
    np.testing.assert_allclose(ours.fit_transform(TEXTS).to_dense(), expected, atol=1e-14)
    assert ours.terms() == list(theirs.get_feature_names_out())
    again = theirs.transform(["great new battery"]).toarray()
    np.testing.assert_allclose(ours.transform(["great new battery"]).to_dense(), again, atol=1e-14)


def test_by_hand():
    matrix = Tfidf().fit_transform(["aa bb", "aa aa"]).to_dense()
    idf = math.log(3 / 2) + 1
    np.testing.assert_allclose(matrix[0], np.array([1, idf]) / math.hypot(1, idf))
    np.testing.assert_allclose(matrix[1], [1, 0])


def test_chinese_terms_are_characters_and_their_runs():
    terms = Tfidf(ngram=(1, 2), lang="zh").fit(["电池好 OK", "电池坏"]).terms()
    assert set(terms) == {"电", "池", "好", "坏", "ok", "电池", "池好", "池坏", "好ok"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Tfidf().fit(["", "!"]), "none of the 2 texts has a term"),
        (lambda: Tfidf(min_df=3).fit(["aa bb", "aa"]), "lower min_df"),
        (lambda: Tfidf().transform(["aa"]), "call fit first"),
        (lambda: Tfidf().fit("one text"), "a list of texts"),
        (lambda: Tfidf().fit(["aa", None]), "text 1 is NoneType"),
        (lambda: Tfidf(lang="fr"), "'en' or 'zh'"),
        (lambda: Tfidf(ngram=(2, 1)), "shortest <= longest"),
    ],
)
def test_bad_input_names_cause_and_fix(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_cleaning_and_language():
    assert clean_text("<b>Soooooo</b> good &amp; ＡＢＣ") == "Sooo good & ABC"
    assert guess_language(["质量很好", "a"]) == "zh"
    assert guess_language(["very good", "好"]) == "en"
