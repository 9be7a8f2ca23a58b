"""The linear classifier against scikit-learn, its explanations, files and errors."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from ecommerce.reviews import Sentiment, labels_of_stars

SENTENCES = Path(os.environ.get("SHARED", Path(__file__).parents[4] / "shared")) / "data/sent-conv"
GOOD, BAD = ("great", "lovely", "solid", "fast"), ("broken", "awful", "slow", "cheap")
PLAIN = ("the", "box", "came", "with", "a", "cable", "and", "it", "was", "on", "monday")


def reviews(n=300, classes=2, seed=3):
    """Texts whose opinion words follow the label, most of the time."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    texts = []
    for label in labels:
        good = rng.random() < (0.15, 0.85, 0.5)[label]
        said = rng.choice(GOOD if good else BAD, 2 if label < 2 else 1)
        texts.append(" ".join(rng.permutation([*said, *rng.choice(PLAIN, 6)])))
    return texts, labels


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_equals_scikit_learn(classes, class_weight):
    linear = pytest.importorskip("sklearn.linear_model")
    vectors = pytest.importorskip("sklearn.feature_extraction.text")
    texts, labels = reviews(classes=classes)
    theirs = linear.LogisticRegression(C=5.0, class_weight=class_weight, tol=1e-9, max_iter=5000)
    tfidf = vectors.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    theirs.fit(tfidf.fit_transform(texts[:200]), labels[:200])
    ours = Sentiment(C=5.0, class_weight=class_weight, tol=1e-6, max_iter=5000)
    ours.fit(texts[:200], labels[:200])
    expected = theirs.predict_proba(tfidf.transform(texts[200:]))
    np.testing.assert_allclose(ours.predict(texts[200:], proba=True), expected, atol=2e-4)
    assert (ours.predict(texts[200:]) == theirs.predict(tfidf.transform(texts[200:]))).mean() > 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("custrev", 0.80), ("rt-polarity", 0.77)])
def test_real_sentences_within_half_a_point_of_scikit_learn(name, least):
    linear = pytest.importorskip("sklearn.linear_model")
    vectors = pytest.importorskip("sklearn.feature_extraction.text")
    path = SENTENCES / f"{name}.all.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    with gzip.open(path, "rt", encoding="latin-1") as file:
        lines = [line.rstrip("\n").split(" ", 1) for line in file]
    labels = np.array([int(label) for label, _ in lines])
    texts = [text for _, text in lines]
    test = np.random.default_rng(0).random(len(texts)) < 0.2
    train_texts = [t for t, out in zip(texts, test) if not out]
    test_texts = [t for t, out in zip(texts, test) if out]
    ours = Sentiment(C=10.0).fit(train_texts, labels[~test])
    tfidf = vectors.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    theirs = linear.LogisticRegression(C=10.0, max_iter=2000)
    theirs.fit(tfidf.fit_transform(train_texts), labels[~test])
    accuracy = (ours.predict(test_texts) == labels[test]).mean()
    expected = (theirs.predict(tfidf.transform(test_texts)) == labels[test]).mean()
    assert accuracy >= expected - 0.005
    assert accuracy >= least


def test_explanation_adds_up_to_the_log_odds():
    texts, labels = reviews()
    model = Sentiment().fit(texts, labels)
    found = model.explain("great cable, but the box was broken")
    assert found.score == pytest.approx(found.bias + sum(share for _, share in found.terms))
    odds = model.decision([found.text])[0]
    assert found.score == pytest.approx(odds if found.label == 1 else -odds)
    shares = dict(model.explain(found.text, label=1).terms)
    assert shares["great"] > 0 > shares["broken"]


def test_explanation_with_three_classes():
    texts, labels = reviews(classes=3)
    model = Sentiment().fit(texts, np.array(["bad", "good", "so-so"])[labels])
    for place, label in enumerate(model.classes):
        found = model.explain(texts[0], label)
        assert found.score == pytest.approx(model.decision(texts[:1])[0, place])


def test_top_words_are_the_planted_ones():
    texts, labels = reviews(2000)
    words = Sentiment(ngram=(1, 1)).fit(texts, labels).top_words(4)
    assert {word for word, _ in words[1]} == set(GOOD)
    assert {word for word, _ in words[0]} == set(BAD)


def test_chinese_characters():
    texts = ["质量很好，喜欢", "很差，坏了", "好用，很喜欢", "太差了，退货"] * 5
    model = Sentiment(lang="auto").fit(texts, [1, 0, 1, 0] * 5)
    assert model.tfidf.lang == "zh"
    assert model.predict(["喜欢，很好", "差，退货"]).tolist() == [1, 0]


def test_balanced_weights_find_the_rare_class():
    texts, labels = reviews(600)
    rare = np.flatnonzero(labels == 0)[:25]
    rows = np.concatenate([rare, np.flatnonzero(labels == 1)])
    few, given = [texts[i] for i in rows], labels[rows]
    plain = Sentiment(C=0.1).fit(few, given).predict(texts)
    balanced = Sentiment(C=0.1, class_weight="balanced").fit(few, given).predict(texts)
    assert (plain == 0).mean() < 0.05
    assert (balanced == 0).mean() > 0.3


def test_file_and_back_to_the_last_bit(tmp_path):
    texts, labels = reviews(classes=3)
    model = Sentiment().fit(texts, np.array(["bad", "good", "so-so"])[labels])
    model.save(tmp_path / "m.ecm")
    again = Sentiment.load(tmp_path / "m.ecm")
    assert again.get_params() == model.get_params()
    first, second = (m.predict(texts, proba=True) for m in (model, again))
    np.testing.assert_array_equal(first, second)
    assert again.top_words() == model.top_words()
    again.save(tmp_path / "n.ecm")
    assert (tmp_path / "n.ecm").read_bytes() == (tmp_path / "m.ecm").read_bytes()
    (tmp_path / "m.ecm").write_bytes((tmp_path / "n.ecm").read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut short"):
        Sentiment.load(tmp_path / "m.ecm")


def test_the_same_every_time():
    texts, labels = reviews()
    first, second = (Sentiment().fit(texts, labels).predict(texts, proba=True) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_loss_falls_and_the_fit_stops_by_itself():
    texts, labels = reviews()
    model = Sentiment().fit(texts, labels)
    assert model.losses[0] == pytest.approx(np.log(2), rel=1e-5)
    assert model.losses[-1] < 0.8 * model.losses[0]
    assert len(model.losses) < model.max_iter


def test_labels_of_stars():
    assert labels_of_stars([1, 2, 3, 4, 5]).tolist() == [
        "negative", "negative", "", "positive", "positive",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sentiment("cnn2"), "model='cnn2' is not known"),
        (lambda: Sentiment(lang="fr"), "lang='fr'"),
        (lambda: Sentiment(C=0), "C=0; it must be above 0"),
        (lambda: Sentiment(C=float("nan")), "C=nan"),
        (lambda: Sentiment(class_weight="even"), "class_weight='even'"),
        (lambda: Sentiment().fit(["good", "bad"], [1, 1]), "two labels or more"),
        (lambda: Sentiment().fit(["good", "bad"], [1]), "2 texts need 2 labels"),
        (lambda: Sentiment().fit(["good", "bad"], [1.5, 0]), "fractions or NaN"),
        (lambda: Sentiment().fit(["good", "bad"], ["a", ""]), "text 1 has an empty label"),
        (lambda: Sentiment().fit(["", ""], [0, 1]), "none of the 2 texts has a term"),
        (lambda: Sentiment().predict(["good"]), "not fitted"),
        (lambda: labels_of_stars([1, float("nan")]), "finite"),
    ],
)
def test_errors_name_cause_and_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call()
