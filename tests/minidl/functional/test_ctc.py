"""ctc_loss against all paths one by one, against torch, and the gradient by differences."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import Tensor, nn


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def over_all_paths(log_probs, target, blank=0):
    """-log of the summed probability of every path that spells the target: log_probs (T, C)."""
    steps, classes = log_probs.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        merged = [k for k, _ in itertools.groupby(path)]
        if [k for k in merged if k != blank] == list(target):
            total += np.exp(sum(log_probs[t, k] for t, k in enumerate(path)))
    return -np.log(total) if total else np.inf


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_sum_over_all_paths(data):
    """And padding or permuting the batch changes nothing."""
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    count, blank = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
    steps = [data.draw(st.integers(1, 4)) for _ in range(count)]
    others = [k for k in range(3) if k != blank]
    words = [data.draw(st.lists(st.sampled_from(others), max_size=3)) for _ in range(count)]
    x = log_softmax(rng.standard_normal((max(steps) + 1, count, 3)))
    targets = np.full((count, 4), 7)  # what stands behind a target is not looked at
    for row, word in zip(targets, words):
        row[: len(word)] = word
    lengths = [len(w) for w in words]
    loss = F.ctc_loss(Tensor(x), Tensor(targets), steps, lengths, blank, "none").numpy()
    known = [over_all_paths(x[:n, i], w, blank) for i, (n, w) in enumerate(zip(steps, words))]
    np.testing.assert_allclose(loss, known, rtol=1e-12, atol=1e-12)
    order = rng.permutation(count)
    turned = F.ctc_loss(
        Tensor(x[:, order]), Tensor(targets[order]), np.array(steps)[order],
        np.array(lengths)[order], blank, "none",
    )  # fmt: skip
    np.testing.assert_array_equal(turned.numpy(), loss[order])
    chained = minidl.tensor(np.array(list(itertools.chain(*words)), np.int64))
    again = F.ctc_loss(Tensor(x), chained, steps, lengths, blank, "none")
    np.testing.assert_array_equal(again.numpy(), loss)


def test_gradient_by_differences(rng):
    """Of logits: what ctc_loss adds to the gradient of log_probs is gone behind log_softmax."""
    x = rng.standard_normal((6, 2, 4))
    targets, steps, lengths = np.array([[1, 1, 3], [2, 1, 0]]), [6, 4], [3, 2]

    def loss(array):
        return F.ctc_loss(Tensor(array).log_softmax(2), Tensor(targets), steps, lengths).item()

    logits = Tensor(x.copy(), requires_grad=True)
    F.ctc_loss(logits.log_softmax(2), Tensor(targets), steps, lengths).backward()
    v = rng.standard_normal(x.shape)
    numeric = (loss(x + 1e-6 * v) - loss(x - 1e-6 * v)) / 2e-6
    assert (logits.grad.numpy() * v).sum() == pytest.approx(numeric, rel=1e-7)
    assert not logits.grad.numpy()[4:, 1].any()  # behind the second sample's end


def both(x, targets, steps, lengths, **options):
    torch = pytest.importorskip("torch")
    results = []
    for library in (minidl, torch):
        log_probs = library.tensor(x, requires_grad=True)
        loss = library.nn.functional.ctc_loss(
            log_probs, library.tensor(targets), library.tensor(steps), library.tensor(lengths),
            **options,
        )  # fmt: skip
        (loss * library.arange(1, 1 + np.prod(loss.shape, dtype=int)).reshape(loss.shape)).sum(
        ).backward()  # fmt: skip
        results.append((loss.detach().numpy(), log_probs.grad.numpy()))
    return results


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_torch(reduction, dtype, rng):
    x = log_softmax(rng.standard_normal((30, 4, 6))).astype(dtype)
    targets = rng.integers(1, 6, (4, 9))
    steps, lengths = [30, 12, 20, 5], [9, 6, 0, 2]
    for given_targets in (targets, np.concatenate([t[:n] for t, n in zip(targets, lengths)])):
        (loss, dx), (known, known_dx) = both(
            x, given_targets, steps, lengths, reduction=reduction
        )
        tolerance = 1e-10 if dtype == np.float64 else 1e-4
        assert loss.dtype == dtype
        np.testing.assert_allclose(loss, known, rtol=tolerance)
        np.testing.assert_allclose(dx, known_dx, rtol=tolerance, atol=tolerance)


def test_impossible_targets(rng):
    x = log_softmax(rng.standard_normal((3, 2, 4)))
    targets, steps, lengths = np.array([[1, 1, 2], [1, 2, 3]]), [3, 3], [3, 3]  # 1 1 needs a blank
    for zero_infinity in (False, True):
        options = {"reduction": "none", "zero_infinity": zero_infinity}
        (loss, dx), (known, known_dx) = both(x, targets, steps, lengths, **options)
        np.testing.assert_allclose(loss, known)
        np.testing.assert_allclose(dx, known_dx, atol=1e-12)
        assert loss[0] == (0 if zero_infinity else np.inf)
    alone = F.ctc_loss(Tensor(x[:, 1]), Tensor(targets[1]), 3, 3, reduction="none")
    assert alone.shape == ()
    assert alone.item() == pytest.approx(loss[1])


def test_long_inputs_stay_exact_in_float32(rng):
    """Probabilities near e^-3000 would underflow; their logarithms do not."""
    x = log_softmax(rng.standard_normal((2000, 2, 30)))
    targets = rng.integers(1, 30, (2, 150))
    arguments = (Tensor(targets), [2000, 1800], [150, 100])
    exact = F.ctc_loss(Tensor(x), *arguments, reduction="none").numpy()
    single = F.ctc_loss(Tensor(x.astype(np.float32)), *arguments, reduction="none").numpy()
    assert (exact > 3000).all()
    np.testing.assert_allclose(single, exact, rtol=1e-5)


def test_the_layer(rng):
    x = log_softmax(rng.standard_normal((5, 1, 3)))
    layer = nn.CTCLoss(blank=2, reduction="sum", zero_infinity=True)
    loss = layer(Tensor(x), Tensor(np.array([[0, 1]])), [5], [2])
    assert loss.item() == pytest.approx(over_all_paths(x[:, 0], [0, 1], 2))


@pytest.mark.parametrize(
    ("targets", "steps", "lengths", "message"),
    [
        ([[1, 2]], [9], [2], "input_lengths must be 0 to 4"),
        ([[1, 2]], [4], [3], "target_lengths must be 0 to 2"),
        ([[1, 2]], [4, 4], [2], "1 samples need as many input_lengths"),
        ([[1, 0]], [4], [2], "other than the blank"),
        ([[1, 5]], [4], [2], "from 0 to 2"),
        ([1, 2, 1], [4], [2], r"\(2,\) as target_lengths add up"),
    ],
)
def test_mistakes_are_named(targets, steps, lengths, message):
    with pytest.raises(ValueError, match=message):
        F.ctc_loss(minidl.zeros(4, 1, 3), minidl.tensor(targets), steps, lengths)
