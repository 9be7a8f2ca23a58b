"""Metrics, fed batch by batch, against scikit-learn on the whole."""

import numpy as np
import pytest

import minidl
from minidl.train import AUC, F1, MAE, MSE, R2, RMSE, Accuracy, Mean, Precision, Recall
from minidl.train.metrics import Metric, named

sklearn = pytest.importorskip("sklearn.metrics")


def fed(metric, output, target, size=7, through_state=True):
    """The metric's value over batches; its state is taken out and put back in the middle."""
    for i, start in enumerate(range(0, len(target), size)):
        metric.update(minidl.tensor(output[start : start + size]), target[start : start + size])
        if through_state and i == 2:
            state = metric.state_dict()
            metric.reset()
            metric.load_state_dict(state)
    return metric.compute()


@pytest.fixture
def classes(rng):
    scores = rng.standard_normal((60, 4)).astype("f4")
    target = rng.integers(0, 4, 60)
    target[target == 2] = 0  # a class that is predicted but never a target
    return scores, target


@pytest.fixture
def binary(rng):
    return rng.random(80).round(1), rng.integers(0, 2, 80)


def test_accuracy(classes, binary):
    scores, target = classes
    assert fed(Accuracy(), scores, target) == sklearn.accuracy_score(target, scores.argmax(1))
    expected = sklearn.top_k_accuracy_score(target, scores, k=2, labels=range(4))
    assert fed(Accuracy(top_k=2), scores, target) == pytest.approx(expected)
    p, y = binary
    assert fed(Accuracy(), p, y) == sklearn.accuracy_score(y, p > 0.5)
    assert fed(Accuracy(threshold=0.2), p[:, None], y) == sklearn.accuracy_score(y, p > 0.2)
    assert fed(Accuracy(), p[:, None], y[:, None]) == sklearn.accuracy_score(y, p > 0.5)
    tokens, words = scores.reshape(12, 5, 4), target.reshape(12, 5)
    expected = sklearn.accuracy_score(target[target != 3], scores.argmax(1)[target != 3])
    assert fed(Accuracy(dim=-1, ignore_index=3), tokens, words) == expected
    assert fed(Accuracy(dim=-1, ignore_index=3, top_k=4), tokens, words) == 1
    swapped = np.moveaxis(tokens, -1, 1)
    assert fed(Accuracy(ignore_index=3), swapped, words) == expected


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize(("metric", "oracle"), [
    (Precision, "precision_score"), (Recall, "recall_score"), (F1, "f1_score")])  # fmt: skip
def test_precision_recall_f1(classes, binary, metric, oracle, average):
    scores, target = classes
    judge = getattr(sklearn, oracle)
    expected = judge(target, scores.argmax(1), average=average, zero_division=0)
    assert fed(metric(average), scores, target) == pytest.approx(expected, abs=1e-12)
    p, y = binary
    assert fed(metric(), p, y) == pytest.approx(judge(y, p > 0.5), abs=1e-12)
    assert fed(metric(), np.zeros(9), np.ones(9, int)) == 0


def test_auc(binary):
    p, y = binary  # scores of one decimal: many ties
    assert fed(AUC(), p, y) == pytest.approx(sklearn.roc_auc_score(y, p), abs=1e-12)
    assert fed(AUC(), -p * 1e6, y) == pytest.approx(sklearn.roc_auc_score(y, -p), abs=1e-12)
    both = np.stack([1 - p, p], 1)
    assert fed(AUC(), both, y) == pytest.approx(sklearn.roc_auc_score(y, p), abs=1e-12)
    fine = np.random.default_rng(1).random(4000)
    label = (fine + np.random.default_rng(2).random(4000) > 1).astype(int)
    expected = sklearn.roc_auc_score(label, fine)
    assert fed(AUC(), fine, label, 100) == pytest.approx(expected, abs=1e-12)
    assert fed(AUC(bins=500), fine, label, 100) == pytest.approx(expected, abs=2e-3)
    assert np.isnan(fed(AUC(), p, np.ones(80)))


def test_errors(rng):
    output, target = rng.standard_normal((50, 3)) + 1e4, rng.standard_normal((50, 3)) + 1e4
    for metric, expected in [
        (MSE(), sklearn.mean_squared_error(target, output)),
        (RMSE(), sklearn.mean_squared_error(target, output) ** 0.5),
        (MAE(), sklearn.mean_absolute_error(target, output)),
        (R2(), sklearn.r2_score(target.reshape(-1), output.reshape(-1))),
    ]:
        metric.update(output[:0], target[:0])
        got = fed(metric, output, target)
        assert got == pytest.approx(expected, rel=2e-4), metric.name  # tensor() made float32
    assert fed(MSE(), target[:, 0], target[:, :1]) < 1e-6


def test_mean():
    mean = Mean()
    mean.update(2.0)
    mean.update(5.0, 3)
    assert mean.compute() == 17 / 4

    def gap(output, target):
        return (output - minidl.tensor(target)).abs()

    mean = Mean(gap)
    assert mean.name == "gap"
    assert fed(mean, np.arange(10.0), np.zeros(10), 4) == 4.5
    whole = Mean(lambda output, target: 3.0 if len(output) == 4 else 6.0, name="x")
    assert fed(whole, np.arange(10.0), np.zeros(10), 4) == (3 * 8 + 6 * 2) / 10


def test_nothing_yet_is_nan():
    for metric in (Mean(), Accuracy(), F1(), AUC(), AUC(bins=5), RMSE(), R2()):
        assert np.isnan(metric.compute())


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Accuracy(top_k=0), "top_k"),
    (lambda: F1("mean"), "'macro'"),
    (lambda: AUC(bins=1), "bins"),
    (lambda: Accuracy().update(np.ones((3, 2)), np.ones(4)), r"\(3,?.*\(4,\)"),
    (lambda: Accuracy(top_k=2).update(np.ones((3, 2)), np.ones(4)), r"\(4,\)"),
    (lambda: F1().update(np.eye(3), np.arange(3)), "more than two classes"),
    (lambda: F1("macro").update(np.eye(3), np.array([0, -1, 1])), "0 or more"),
    (lambda: AUC().update(np.ones(3), np.ones(4)), "do not fit"),
    (lambda: AUC().update(np.ones(3), np.array([0, 1, 2])), "0 or 1"),
    (lambda: AUC(bins=9).update(np.array([-1.0, 2]), np.array([0, 1])), "sigmoid"),
    (lambda: MSE().update(np.ones((3, 1)), np.ones(4)), "do not fit"),
    (lambda: named([Accuracy(), Accuracy()]), "two are called 'accuracy'"),
    (lambda: named({"loss": Accuracy()}), "taken by the loss"),
])  # fmt: skip
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_what_is_no_metric():
    with pytest.raises(TypeError, match=r"train.Mean\(function\)"):
        named([len])
    with pytest.raises(NotImplementedError, match="Metric needs update"):
        Metric().update(1, 2)
    assert list(named(Accuracy())) == ["accuracy"]
