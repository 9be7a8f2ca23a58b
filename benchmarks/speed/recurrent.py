"""GRU and LSTM over sequences: the last step's state gives the class."""

from typing import ClassVar

import numpy as np

from benchmarks.speed._step import Step, between


class GRU(Step):
    rows = 64
    time = 50
    width = 128
    hidden = 128
    classes = 2
    repeats = 3
    layer, gates = "GRU", 3

    small: ClassVar = {"rows": 4, "time": 5, "width": 6, "hidden": 7}

    @staticmethod
    def drawn(rng):
        return {
            "rows": between(rng, 16, 256), "time": between(rng, 10, 100),
            "width": between(rng, 16, 256), "hidden": between(rng, 32, 256),
        }  # fmt: skip

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

    def jax_loss(self, jax, p, x, classes):
        from benchmarks.speed._jax import cross_entropy, linear

        x = x.swapaxes(0, 1)  # (T, B, in)
        inputs = x @ p["layer.weight_ih_l0"].T + p["layer.bias_ih_l0"]  # (T, B, G*H)
        zeros = jax.numpy.zeros((x.shape[1], self.hidden), x.dtype)

        def walk(state, each):
            return self.cell(jax, p, state, each), None

        state, _ = jax.lax.scan(walk, (zeros, zeros), inputs)
        return cross_entropy(jax, linear(p, "out", state[0]), classes)

    def cell(self, jax, p, state, inputs):
        h = state[0]
        hidden = h @ p["layer.weight_hh_l0"].T + p["layer.bias_hh_l0"]
        (r, z, n), (hr, hz, hn) = (jax.numpy.split(a, 3, 1) for a in (inputs, hidden))
        r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
        n = jax.numpy.tanh(n + r * hn)
        return (1 - z) * n + z * h, state[1]

    def flops(self):
        each = 2 * self.rows * self.time * self.gates * self.hidden
        return each * (2 * self.width + 3 * self.hidden)  # x needs no gradient


class LSTM(GRU):
    layer, gates = "LSTM", 4

    def cell(self, jax, p, state, inputs):
        h, c = state
        hidden = h @ p["layer.weight_hh_l0"].T + p["layer.bias_hh_l0"]
        i, f, g, o = jax.numpy.split(inputs + hidden, 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jax.numpy.tanh(g)
        return jax.nn.sigmoid(o) * jax.numpy.tanh(c), c
