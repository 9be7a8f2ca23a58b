"""Convolutions over words (Kim 2014): filters of several widths, max over time, cross-entropy."""

from typing import ClassVar

import numpy as np

from benchmarks.speed._step import Step, between, skewed


class TextCNN(Step):
    vocabulary = 20_000
    dim = 128
    rows = 64
    time = 50
    filters = 100
    kernels = (3, 4, 5)
    classes = 2
    repeats = 2

    small: ClassVar = {"vocabulary": 100, "dim": 8, "rows": 4, "time": 9, "filters": 5}

    @staticmethod
    def drawn(rng):
        return {
            "vocabulary": between(rng, 5_000, 50_000), "dim": between(rng, 50, 300),
            "rows": between(rng, 32, 128), "time": between(rng, 20, 120),
            "filters": between(rng, 50, 200), "classes": int(rng.integers(2, 20)),
            "kernels": sorted(rng.choice(np.arange(2, 8), 3, replace=False).tolist()),
        }  # fmt: skip

    def shapes(self):
        shapes = {"words.weight": (self.vocabulary, self.dim)}
        for i, k in enumerate(self.kernels):
            shapes[f"convs.{i}.weight"] = (self.filters, self.dim, k)
            shapes[f"convs.{i}.bias"] = (self.filters,)
        shapes["out.weight"] = (self.classes, self.filters * len(self.kernels))
        shapes["out.bias"] = (self.classes,)
        return shapes

    def batch(self, rng):
        words = skewed(rng, self.vocabulary, (self.rows, self.time))
        return words, rng.integers(0, self.classes, self.rows)

    def model(self, lib, nn, F):
        work = self

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.words = nn.Embedding(work.vocabulary, work.dim)
                self.convs = nn.ModuleList(
                    [nn.Conv1d(work.dim, work.filters, k) for k in work.kernels]
                )
                self.out = nn.Linear(work.filters * len(work.kernels), work.classes)

            def forward(self, words):
                x = self.words(words).transpose(1, 2)  # (B, D, T)
                best = [F.relu(conv(x)).amax(2) for conv in self.convs]  # (B, filters) each
                return self.out(lib.cat(best, 1))

        return Net()

    def loss(self, F, model, words, classes):
        return F.cross_entropy(model(words), classes)

    def jax_loss(self, jax, p, words, classes):
        from benchmarks.speed._jax import cross_entropy, linear

        x = p["words.weight"][words].swapaxes(1, 2)  # (B, D, T)
        best = []
        for i in range(len(self.kernels)):
            y = jax.lax.conv_general_dilated(x, p[f"convs.{i}.weight"], (1,), "VALID")
            best.append(jax.nn.relu(y + p[f"convs.{i}.bias"][:, None]).max(2))
        return cross_entropy(jax, linear(p, "out", jax.numpy.concatenate(best, 1)), classes)

    def flops(self):
        each = 2 * self.rows * self.dim * self.filters
        return 3 * sum(each * k * (self.time - k + 1) for k in self.kernels)
