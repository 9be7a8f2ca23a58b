"""GRU and LSTM over sequences: the last step's state gives the class."""

import numpy as np

from benchmarks.speed._step import Step


class GRU(Step):
    rows = 64
    time = 50
    width = 128
    hidden = 128
    classes = 2
    repeats = 3
    layer, gates = "GRU", 3

    def shapes(self):
        wide = self.gates * self.hidden
        return {
            "layer.weight_ih_l0": (wide, self.width),
            "layer.weight_hh_l0": (wide, self.hidden),
            "layer.bias_ih_l0": (wide,),
            "layer.bias_hh_l0": (wide,),
            "out.weight": (self.classes, self.hidden),
            "out.bias": (self.classes,),
        }

    def batch(self, rng):
        x = rng.standard_normal((self.rows, self.time, self.width), np.float32)
        return x, rng.integers(0, self.classes, self.rows)

    def model(self, lib, nn, F):
        work = self

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                layer = getattr(nn, work.layer)
                self.layer = layer(work.width, work.hidden, batch_first=True)
                self.out = nn.Linear(work.hidden, work.classes)

            def forward(self, x):
                states, _ = self.layer(x)  # (B, T, H)
                return self.out(states[:, -1])

        return Net()

    def loss(self, F, model, x, classes):
        return F.cross_entropy(model(x), classes)

    def flops(self):
        each = 2 * self.rows * self.time * self.gates * self.hidden
        return each * (2 * self.width + 3 * self.hidden)  # x needs no gradient


class LSTM(GRU):
    layer, gates = "LSTM", 4
