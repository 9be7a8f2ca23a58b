"""The two losses of generative adversarial networks, and the gradient penalty of a critic.

A discriminator's output is a logit, positive for "real"; a critic's a score. With s(x) =
log(1 + e^x) and D the output on real or generated examples (E: mean):

    kind              discriminator                                generator
    minimax           E s(-D(real)) + E s(D(fake))                 -E s(D(fake))
    non_saturating    the same                                     E s(-D(fake))
    least_squares     (E (D(real) - 1)^2 + E D(fake)^2) / 2        E (D(fake) - 1)^2 / 2
    wasserstein       E D(fake) - E D(real)                        -E D(fake)
    hinge             E max(0, 1 - D(real)) + E max(0, 1 + D(fake))    -E D(fake)

minimax and non_saturating: Goodfellow et al. 2014, arXiv:1406.2661, eq. 1 and section 3;
least_squares: Mao et al. 2017, arXiv:1611.04076, with labels 0 and 1; wasserstein: Arjovsky et al.
2017, arXiv:1701.07875, which needs a critic of bounded slope: `gradient_penalty`; hinge: Lim & Ye
2017, arXiv:1705.02894, eq. 6 and 7.
"""

from collections.abc import Callable
from typing import Any

from minidl._tensor import Tensor
from minidl._walk import grad
from minidl.functional._losses import reduced
from minidl.functional.activation import softplus
from minidl.functional.randomness import rand

__all__ = ["GAN_KINDS", "gan_discriminator_loss", "gan_generator_loss", "gradient_penalty"]

GAN_KINDS = ("minimax", "non_saturating", "least_squares", "wasserstein", "hinge")
"""The losses known to gan_discriminator_loss and gan_generator_loss."""


def gan_discriminator_loss(
    real: Tensor, fake: Tensor, kind: str = "non_saturating", reduction: str = "mean"
) -> Tensor:
    """What a discriminator minimises, from its outputs on real and on generated examples.

    `fake` is computed from generated examples that are detached. Equations: `losses_gan`.
    """
    _check(kind)
    half = 1.0
    if kind == "least_squares":
        on_real, on_fake, half = (real - 1).pow(2), fake.pow(2), 0.5
    elif kind == "wasserstein":
        on_real, on_fake = -real, fake
    elif kind == "hinge":
        on_real, on_fake = (1 - real).clamp_min(0), (1 + fake).clamp_min(0)
    else:
        on_real, on_fake = softplus(-real), softplus(fake)
    if reduction == "none" and real.shape != fake.shape:
        raise ValueError(
            "gan_discriminator_loss: reduction='none' needs as many real as generated examples, "
            f"got {real.shape} and {fake.shape}"
        )
    return half * (reduced(on_real, reduction) + reduced(on_fake, reduction))


def gan_generator_loss(
    fake: Tensor, kind: str = "non_saturating", reduction: str = "mean"
) -> Tensor:
    """What a generator minimises, from the discriminator's outputs on its examples.

    Equations: `losses_gan`.
    """
    _check(kind)
    if kind == "minimax":
        loss = -softplus(fake)
    elif kind == "non_saturating":
        loss = softplus(-fake)
    elif kind == "least_squares":
        loss = (fake - 1).pow(2) / 2
    else:
        loss = -fake
    return reduced(loss, reduction)


def _check(kind: str) -> None:
    if kind not in GAN_KINDS:
        raise ValueError(f"GAN loss {kind!r} is not known: give one of {', '.join(GAN_KINDS)}")


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    target: float = 1.0,
    generator: Any = None,
) -> Tensor:
    """E (||d critic(x) / dx|| - target)^2 at random points x on the lines from real to fake.

    Add 10 times it to the loss of a Wasserstein critic, and differentiate: gradients of gradients
    are used. critic: any function of a batch (N, ...); its own batch must not mix examples (no
    batch norm). Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.
    """
    if real.shape != fake.shape or not real.ndim:
        raise ValueError(
            "gradient_penalty: real and fake must be batches (N, ...) of one shape, got "
            f"{real.shape} and {fake.shape}"
        )
    count = len(real)
    u = rand(count, *[1] * (real.ndim - 1), generator=generator, dtype=real.dtype)
    x = (real.detach() * u + fake.detach() * (1 - u)).requires_grad_()
    (dx,) = grad(critic(x).sum(), x, create_graph=True)
    return (dx.reshape(count, -1).norm(2, 1) - target).pow(2).mean()
