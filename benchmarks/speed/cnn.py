"""A small convolutional network on pictures of one channel: cross-entropy."""

import itertools
from typing import ClassVar

import numpy as np

from benchmarks.speed._step import Step, between


class CNN(Step):
    """Convolution, ReLU and max pool 2 for each width, then a hidden layer and the classes."""

    rows = 64
    size = 28
    channels = (1, 32, 64)
    kernel = 3
    hidden = 128
    classes = 10
    repeats = 3

    small: ClassVar = {"rows": 4, "size": 8, "channels": (1, 3, 4), "hidden": 5}

    @staticmethod
    def drawn(rng):
        channels = (int(rng.choice([1, 3])), between(rng, 16, 48), between(rng, 32, 96))
        return {
            "rows": between(rng, 16, 256), "size": between(rng, 16, 48, 4), "channels": channels,
            "kernel": int(rng.choice([3, 5])), "hidden": between(rng, 64, 256),
        }  # fmt: skip

    def pairs(self):
        return list(itertools.pairwise(self.channels))

    def flat(self):
        return self.channels[-1] * (self.size // 2 ** len(self.pairs())) ** 2

    def shapes(self):
        shapes = {}
        for i, (few, many) in enumerate(self.pairs()):
            shapes[f"{3 * i}.weight"] = (many, few, self.kernel, self.kernel)
            shapes[f"{3 * i}.bias"] = (many,)
        after = 3 * len(self.pairs()) + 1
        shapes[f"{after}.weight"] = (self.hidden, self.flat())
        shapes[f"{after}.bias"] = (self.hidden,)
        shapes[f"{after + 2}.weight"] = (self.classes, self.hidden)
        shapes[f"{after + 2}.bias"] = (self.classes,)
        return shapes

    def batch(self, rng):
        shape = (self.rows, self.channels[0], self.size, self.size)
        return rng.standard_normal(shape, np.float32), rng.integers(0, self.classes, self.rows)

    def model(self, lib, nn, F):
        layers = []
        for few, many in self.pairs():
            layers += [nn.Conv2d(few, many, self.kernel, padding=self.kernel // 2), nn.ReLU(),
                       nn.MaxPool2d(2)]  # fmt: skip
        layers += [nn.Flatten(), nn.Linear(self.flat(), self.hidden), nn.ReLU(),
                   nn.Linear(self.hidden, self.classes)]  # fmt: skip
        return nn.Sequential(*layers)

    def loss(self, F, model, x, classes):
        return F.cross_entropy(model(x), classes)

    def jax_loss(self, jax, p, x, classes):
        from benchmarks.speed._jax import cross_entropy, linear

        for i in range(len(self.pairs())):
            name = f"{3 * i}"
            x = jax.lax.conv_general_dilated(x, p[name + ".weight"], (1, 1), "SAME")
            x = jax.nn.relu(x + p[name + ".bias"][:, None, None])
            window = (1, 1, 2, 2)
            x = jax.lax.reduce_window(x, -jax.numpy.inf, jax.lax.max, window, window, "VALID")
        after = 3 * len(self.pairs()) + 1
        x = jax.nn.relu(linear(p, f"{after}", x.reshape(len(x), -1)))
        return cross_entropy(jax, linear(p, f"{after + 2}", x), classes)

    def flops(self):
        size, products = self.size, []
        for few, many in self.pairs():
            products.append(2 * self.rows * size**2 * few * many * self.kernel**2)
            size //= 2
        products += [2 * self.rows * self.flat() * self.hidden,
                     2 * self.rows * self.hidden * self.classes]  # fmt: skip
        return 3 * sum(products) - products[0]  # the picture needs no gradient
