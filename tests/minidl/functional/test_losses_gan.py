"""GAN losses by their formulas; the gradient penalty's second derivative by differences."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import Tensor, nn


def log_sigmoid(x):
    return -np.log1p(np.exp(-x))


def test_the_formulas(rng):
    real, fake = rng.standard_normal((2, 6, 1)) * 2
    known = {
        "minimax": (-(log_sigmoid(real) + log_sigmoid(-fake)), log_sigmoid(-fake)),
        "non_saturating": (-(log_sigmoid(real) + log_sigmoid(-fake)), -log_sigmoid(fake)),
        "least_squares": (((real - 1) ** 2 + fake**2) / 2, (fake - 1) ** 2 / 2),
        "wasserstein": (fake - real, -fake),
        "hinge": (np.maximum(0, 1 - real) + np.maximum(0, 1 + fake), -fake),
    }
    assert set(known) == set(F.GAN_KINDS)
    for kind, (d, g) in known.items():
        given = Tensor(real), Tensor(fake)
        got = F.gan_discriminator_loss(*given, kind, "none").numpy()
        np.testing.assert_allclose(got, d, rtol=1e-12)
        np.testing.assert_allclose(F.gan_generator_loss(given[1], kind, "none").numpy(), g, 1e-12)
        assert nn.GANDiscriminatorLoss(kind)(*given).item() == pytest.approx(d.mean())
        assert nn.GANGeneratorLoss(kind, "sum")(given[1]).item() == pytest.approx(g.sum())


def test_generators_climb_where_discriminators_descend(rng):
    """Every generator's gradient raises the output on its examples; saturation is minimax's."""
    for kind in F.GAN_KINDS:
        fake = Tensor(np.array([-8.0, -0.5]), requires_grad=True)
        F.gan_generator_loss(fake, kind, "sum").backward()
        assert (fake.grad.numpy() < 0).all()
        if kind == "minimax":
            assert abs(fake.grad.numpy()[0]) < 1e-3
        elif kind == "non_saturating":
            assert abs(fake.grad.numpy()[0]) > 0.99


def critic(weights):
    first, second = weights

    def score(x):
        return (x.reshape(len(x), -1) @ first).tanh() @ second

    return score


def test_gradient_penalty_of_a_linear_critic():
    """A critic w x has the slope |w| everywhere: the penalty is (|w| - 1)^2."""
    w = minidl.tensor([[3.0], [4.0]], requires_grad=True)
    real, fake = minidl.randn(5, 2), minidl.randn(5, 2)
    penalty = F.gradient_penalty(lambda x: x @ w, real, fake)
    assert penalty.item() == pytest.approx(16.0)
    penalty.backward()  # 2 (|w| - 1) w / |w|
    np.testing.assert_allclose(w.grad.numpy().ravel(), [4.8, 6.4], rtol=1e-5)
    flat = F.gradient_penalty(lambda x: (x * 0).sum(1), real, fake, target=0.0)
    assert flat.item() == 0
    assert real.grad is None


def test_second_derivative_by_differences(rng):
    """WGAN-GP's critic loss in its weights, against central differences along a direction."""
    real, fake = Tensor(rng.standard_normal((4, 2, 3))), Tensor(rng.standard_normal((4, 2, 3)))
    shapes = (6, 5), (5, 1)
    start = [rng.standard_normal(s) for s in shapes]
    way = [rng.standard_normal(s) for s in shapes]

    def loss(arrays, requires_grad=False):
        weights = [Tensor(a, requires_grad=True) for a in arrays]
        minidl.manual_seed(3)  # the same points between real and fake
        score = critic(weights)
        total = F.gan_discriminator_loss(score(real), score(fake), "wasserstein")
        total = total + 10 * F.gradient_penalty(score, real, fake)
        return total, weights

    total, weights = loss(start)
    total.backward()
    along = sum((w.grad.numpy() * v).sum() for w, v in zip(weights, way))
    pair = [loss([a + h * v for a, v in zip(start, way)])[0].item() for h in (1e-5, -1e-5)]
    assert along == pytest.approx((pair[0] - pair[1]) / 2e-5, rel=1e-6)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="not known"):
        F.gan_generator_loss(minidl.ones(3), "vanilla")
    with pytest.raises(ValueError, match="one of"):
        nn.GANGeneratorLoss("vanilla")
    with pytest.raises(ValueError, match="one shape"):
        F.gradient_penalty(lambda x: x, minidl.ones(3, 2), minidl.ones(2, 2))
    with pytest.raises(ValueError, match="as many real as"):
        F.gan_discriminator_loss(minidl.ones(3), minidl.ones(2), reduction="none")
