"""Focal losses and the multi-label margin loss: loops, torch, and special cases."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import Tensor, nn


def test_focal_loss_is_weighted_cross_entropy(rng):
    x, target = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    p = p[np.arange(6), target]
    for gamma in (0.0, 0.5, 2.0):
        loss = F.focal_loss(Tensor(x), Tensor(target), gamma=gamma, reduction="none")
        np.testing.assert_allclose(loss.numpy(), -((1 - p) ** gamma) * np.log(p), rtol=1e-12)
    plain = F.cross_entropy(Tensor(x), Tensor(target))
    assert F.focal_loss(Tensor(x), Tensor(target), gamma=0).item() == pytest.approx(plain.item())
    ignored = np.where(np.arange(6) < 2, -100, target)
    kept = F.focal_loss(Tensor(x[2:]), Tensor(target[2:])).item()
    assert F.focal_loss(Tensor(x), Tensor(ignored)).item() == pytest.approx(kept)
    weight = rng.uniform(1, 2, 4)
    loss = nn.FocalLoss(Tensor(weight), gamma=2.0, reduction="sum")(Tensor(x), Tensor(target))
    assert loss.item() == pytest.approx((weight[target] * -((1 - p) ** 2) * np.log(p)).sum())
    image = rng.standard_normal((2, 4, 3, 5))
    loss = F.focal_loss(Tensor(image), Tensor(rng.integers(0, 4, (2, 3, 5))), reduction="none")
    assert loss.shape == (2, 3, 5)


def test_focal_loss_of_certain_rows_is_finite():
    x = minidl.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = F.focal_loss(x, minidl.tensor([0, 0]), reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), [0, 2e4])
    loss.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_sigmoid_focal_loss(rng):
    x, t = rng.standard_normal((5, 3)), rng.integers(0, 2, (5, 3)).astype(float)
    p = 1 / (1 + np.exp(-x))
    p_t = np.where(t == 1, p, 1 - p)
    known = -((1 - p_t) ** 2) * np.log(p_t)
    weighted = known * np.where(t == 1, 0.25, 0.75)
    np.testing.assert_allclose(F.sigmoid_focal_loss(Tensor(x), Tensor(t)).numpy(), weighted, 1e-12)
    unweighted = F.sigmoid_focal_loss(Tensor(x), Tensor(t), alpha=-1)
    np.testing.assert_allclose(unweighted.numpy(), known, 1e-12)
    assert nn.SigmoidFocalLoss()(Tensor(x), Tensor(t)).item() == pytest.approx(weighted.mean())


def test_multilabel_margin_loss(rng):
    x = rng.standard_normal((4, 5))
    target = np.array([[3, 0, -1, 1, 1], [-1, 2, 2, 2, 2], [0, 1, 2, 3, 4], [2, 2, -1, 0, 0]])
    known = np.zeros(4)
    for n, row in enumerate(target):
        labels = row[: np.argmax(row < 0)] if (row < 0).any() else row
        for j in labels:
            known[n] += sum(
                max(0, 1 - (x[n, j] - x[n, k])) for k in range(5) if k not in labels
            ) / 5  # fmt: skip
    loss = F.multilabel_margin_loss(Tensor(x), Tensor(target), reduction="none")
    np.testing.assert_allclose(loss.numpy(), known, rtol=1e-12)
    one = F.multilabel_margin_loss(Tensor(x[0]), Tensor(target[0]), reduction="none")
    assert one.shape == ()
    mean = nn.MultiLabelMarginLoss()(Tensor(x), Tensor(target))
    assert mean.item() == pytest.approx(known.mean())
    torch = pytest.importorskip("torch")
    mine, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    F.multilabel_margin_loss(mine, Tensor(target)).backward()
    torch.nn.functional.multilabel_margin_loss(theirs, torch.tensor(target)).backward()
    np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: F.multilabel_margin_loss(minidl.ones(2, 3), minidl.ones(2, 3)), TypeError),
        (lambda: F.multilabel_margin_loss(minidl.ones(3), minidl.tensor([3, -1, 0])), IndexError),
        (lambda: F.multilabel_margin_loss(minidl.ones(3), minidl.tensor([1])), ValueError),
        (lambda: F.focal_loss(minidl.ones(1, 3), minidl.tensor([0]), gamma=-1), ValueError),
        (lambda: F.sigmoid_focal_loss(minidl.ones(3), minidl.ones(2)), ValueError),
    ],
)
def test_mistakes_are_named(call, error):
    with pytest.raises(error):
        call()
