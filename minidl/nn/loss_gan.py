"""The losses of generative adversarial networks as layers."""

from minidl._tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.loss import _Loss

__all__ = ["GANDiscriminatorLoss", "GANGeneratorLoss"]


class _GANLoss(_Loss):
    def __init__(self, kind: str = "non_saturating", reduction: str = "mean"):
        super().__init__(reduction=reduction)
        if kind not in F.GAN_KINDS:
            raise ValueError(
                f"{type(self).__name__}: kind must be one of {', '.join(F.GAN_KINDS)}, got {kind!r}"
            )
        self.kind = kind

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}"


class GANDiscriminatorLoss(_GANLoss):
    """The discriminator's loss of a kind; forward(outputs on real, outputs on generated).

    Kinds and equations: `minidl.functional.losses_gan`.
    """

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.gan_discriminator_loss(real, fake, self.kind, self.reduction)


class GANGeneratorLoss(_GANLoss):
    """The generator's loss of a kind; forward(the discriminator's outputs on its examples)."""

    def forward(self, fake: Tensor) -> Tensor:
        return F.gan_generator_loss(fake, self.kind, self.reduction)
