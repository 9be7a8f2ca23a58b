"""Accuracy, F1, AUC against scikit-learn; folds; similar comments."""

import numpy as np
import pytest

from ecommerce.reviews import SimilarTexts, cross_validate, folds_of, held_out, score


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_equal_scikit_learn(classes):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    truth = rng.integers(0, classes, 500)
    proba = rng.dirichlet(np.ones(classes), 500).round(1)  # ties
    proba = proba / proba.sum(axis=1, keepdims=True)
    found = score(truth, proba, range(classes))
    guess = proba.argmax(axis=1)
    assert found.accuracy.mean == metrics.accuracy_score(truth, guess)
    assert found.f1 == pytest.approx(metrics.f1_score(truth, guess, average="macro"))
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(truth, guess))
    np.testing.assert_allclose(found.recall, metrics.recall_score(truth, guess, average=None))
    given = proba[:, 1] if classes == 2 else proba
    assert found.auc == pytest.approx(metrics.roc_auc_score(truth, given, multi_class="ovr"))
    assert found.accuracy.low < found.accuracy.mean < found.accuracy.high


def test_by_hand():
    proba = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    found = score(["bad", "bad", "good", "good"], proba, ["bad", "good"])
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert (found.accuracy.mean, found.f1, found.auc, found.majority) == (0.5, 0.5, 0.75, 0.5)
    with pytest.raises(ValueError, match="none of the classes"):
        score(["bad", "odd"], proba[:2], ["bad", "good"])


def test_folds_deal_each_class_evenly():
    labels = np.array(["a"] * 23 + ["b"] * 7)
    fold = folds_of(labels, 5, seed=4)
    for label, few, many in (("a", 4, 5), ("b", 1, 2)):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert (counts.min(), counts.max()) == (few, many)
    np.testing.assert_array_equal(fold, folds_of(labels, 5, seed=4))
    assert (fold != folds_of(labels, 5, seed=5)).any()
    with pytest.raises(ValueError, match="b has 7"):
        folds_of(labels, 8)


def test_held_out_takes_a_share_of_each_class():
    labels = np.array([0] * 40 + [1] * 4)
    out = held_out(labels, 0.25, seed=1)
    assert [int(out[labels == c].sum()) for c in (0, 1)] == [10, 1]
    with pytest.raises(ValueError, match="between 0 and 1"):
        held_out(labels, 1.0)


def test_cross_validation_never_shows_the_held_out_texts():
    texts, labels = [f"word{i}" for i in range(20)], np.arange(20) % 2
    shown = []

    class Spy:
        def fit(self, texts, labels):
            self.known = set(texts)
            return self

        def predict(self, texts, proba):
            assert proba
            assert not self.known & set(texts)
            shown.extend(texts)
            return np.full((len(texts), 2), 0.5)

    found = cross_validate(Spy, texts, labels, folds=5)
    assert sorted(shown) == sorted(texts)
    assert found.auc == 0.5


def test_similar_comments():
    texts = [
        "the battery died after two days", "arrived broken, the box was open",
        "lovely colour and soft wool", "the battery died", "arrived broken, the box was open",
    ]  # fmt: skip
    found = SimilarTexts().fit(texts).query("box arrived broken", k=3)
    assert found[0].place == 1  # the equal text 4 is not shown again
    assert [m.text for m in found].count(texts[1]) == 1
    assert SimilarTexts().fit(texts).query("battery died", 1)[0].text == "the battery died"
    assert SimilarTexts().fit(texts).query("the battery died", 1)[0].score == pytest.approx(1)
    assert SimilarTexts().fit(texts).query("zebra") == []
