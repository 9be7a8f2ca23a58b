"""Convolutions over words (Kim 2014): filters of several widths, max over time, cross-entropy."""

from benchmarks.speed._step import Step, skewed


class TextCNN(Step):
    vocabulary = 20_000
    dim = 128
    rows = 64
    time = 50
    filters = 100
    kernels = (3, 4, 5)
    classes = 2
    repeats = 2

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

    def flops(self):
        each = 2 * self.rows * self.dim * self.filters
        return 3 * sum(each * k * (self.time - k + 1) for k in self.kernels)
