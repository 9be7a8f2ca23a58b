"""Contrastive losses against loops from their definitions, and torch."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import Tensor, nn


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_info_nce_with_the_batch(rng):
    q, p = rng.standard_normal((2, 5, 4))
    scores = np.exp(unit(q) @ unit(p).T / 0.2)
    known = -np.log(np.diag(scores) / scores.sum(1))
    loss = F.info_nce_loss(Tensor(q), Tensor(p), temperature=0.2, reduction="none")
    np.testing.assert_allclose(loss.numpy(), known, rtol=1e-12)
    back = -np.log(np.diag(scores) / scores.sum(0))
    both = nn.InfoNCELoss(0.2, symmetric=True)(Tensor(q), Tensor(p))
    assert both.item() == pytest.approx((known.mean() + back.mean()) / 2)


def test_info_nce_with_negatives(rng):
    q, p = rng.standard_normal((2, 5, 4))
    shared, own = rng.standard_normal((7, 4)), rng.standard_normal((5, 3, 4))
    for negatives in (shared, own):
        loss = F.info_nce_loss(Tensor(q), Tensor(p), Tensor(negatives), reduction="none").numpy()
        for i in range(5):
            bad = negatives if negatives.ndim == 2 else negatives[i]
            right = np.exp(unit(q[i]) @ unit(p[i]) / 0.1)
            wrong = np.exp(unit(bad) @ unit(q[i]) / 0.1).sum()
            assert loss[i] == pytest.approx(-np.log(right / (right + wrong)))


def test_nt_xent(rng):
    a, b = rng.standard_normal((2, 3, 4))
    z = unit(np.concatenate([a, b]))
    known = []
    for i in range(6):
        scores = [np.exp(z[i] @ z[k] / 0.5) for k in range(6)]
        known.append(-np.log(scores[(i + 3) % 6] / (sum(scores) - scores[i])))
    loss = F.nt_xent_loss(Tensor(a), Tensor(b), reduction="none")
    np.testing.assert_allclose(loss.numpy(), known, rtol=1e-12)
    x = Tensor(a, requires_grad=True)
    nn.NTXentLoss()(x, Tensor(b)).backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_contrastive_loss(rng):
    a, b = rng.standard_normal((2, 4, 3))
    t = np.array([1, 0, 1, 0])
    d = np.linalg.norm(a - b, axis=1)
    known = np.where(t == 1, d**2, np.maximum(0, 3 - d) ** 2) / 2
    loss = F.contrastive_loss(Tensor(a), Tensor(b), Tensor(t), margin=3.0, reduction="none")
    np.testing.assert_allclose(loss.numpy(), known, rtol=1e-12)
    x = Tensor(a, requires_grad=True)  # equal rows have a distance without a slope
    nn.ContrastiveLoss(1.0)(x, Tensor(a.copy()), Tensor(t)).backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("swap", [False, True])
def test_triplet_with_a_distance(swap, rng):
    a, p, n = rng.standard_normal((3, 5, 4))

    def manhattan(x, y):
        return (x - y).abs().sum(1)

    def loop(x, y):
        return np.abs(x - y).sum()

    known = []
    for i in range(5):
        far = loop(a[i], n[i])
        far = min(far, loop(p[i], n[i])) if swap else far
        known.append(max(0, loop(a[i], p[i]) - far + 0.5))
    options = {"distance_function": manhattan, "margin": 0.5, "swap": swap}
    loss = nn.TripletMarginWithDistanceLoss(**options, reduction="none")(*map(Tensor, (a, p, n)))
    np.testing.assert_allclose(loss.numpy(), known, rtol=1e-12)
    torch = pytest.importorskip("torch")
    for settings in (options, {}):
        mine = [Tensor(x, requires_grad=True) for x in (a, p, n)]
        theirs = [torch.tensor(x, requires_grad=True) for x in (a, p, n)]
        F.triplet_margin_with_distance_loss(*mine, **settings).backward()
        torch.nn.functional.triplet_margin_with_distance_loss(*theirs, **settings).backward()
        for x, y in zip(mine, theirs):
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.info_nce_loss(x, x, temperature=0),
        lambda x: F.info_nce_loss(x, x, x, symmetric=True),
        lambda x: F.info_nce_loss(x, x, minidl.ones(2, 9)),
        lambda x: F.nt_xent_loss(x, x[1:]),
        lambda x: F.contrastive_loss(x, x, minidl.ones(9)),
        lambda x: F.triplet_margin_with_distance_loss(x, x, x, margin=0),
    ],
)
def test_mistakes_are_named(call):
    with pytest.raises(ValueError, match=r"got|needs"):
        call(minidl.ones(3, 4))
