"""A multilayer perceptron on numbers: BCE with logits."""

import itertools
from typing import ClassVar

import numpy as np

from benchmarks.speed._step import Step, between


class MLP(Step):
    """batch rows through Linear + ReLU of the widths, the last of one logit."""

    rows = 1024
    widths = (128, 256, 128, 64, 1)
    repeats = 6

    small: ClassVar = {"rows": 32, "widths": (8, 16, 1), "repeats": 1}  # for --smoke

    @staticmethod
    def drawn(rng):
        """Another shape, as `settings`."""
        hidden = [between(rng, 64, 512) for _ in range(rng.integers(2, 4))]
        return {"rows": between(rng, 256, 4096), "widths": (between(rng, 32, 256), *hidden, 1)}

    def pairs(self):
        return list(itertools.pairwise(self.widths))

    def shapes(self):
        shapes = {}
        for i, (narrow, wide) in enumerate(self.pairs()):
            shapes[f"{2 * i}.weight"] = (wide, narrow)
            shapes[f"{2 * i}.bias"] = (wide,)
        return shapes

    def batch(self, rng):
        x = rng.standard_normal((self.rows, self.widths[0]), np.float32)
        y = rng.integers(0, 2, (self.rows, 1)).astype(np.float32)
        return x, y

    def model(self, lib, nn, F):
        layers = []
        for narrow, wide in self.pairs():
            layers += [nn.Linear(narrow, wide), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def loss(self, F, model, x, y):
        return F.binary_cross_entropy_with_logits(model(x), y)

    def jax_loss(self, jax, p, x, y):
        from benchmarks.speed._jax import linear, logit_loss

        last = 2 * (len(self.pairs()) - 1)
        for i in range(0, last, 2):
            x = jax.nn.relu(linear(p, f"{i}", x))
        return logit_loss(jax, linear(p, f"{last}", x), y)

    def flops(self):
        forward = [2 * self.rows * narrow * wide for narrow, wide in self.pairs()]
        return 3 * sum(forward) - forward[0]  # x needs no gradient
