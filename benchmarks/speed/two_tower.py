"""Two models of a shop with large tables: row-sparse gradients of the tables, dense ones of layers.

`TwoTower` finds candidates (Yi et al. 2019, RecSys, Sampling-bias-corrected neural modeling):
each user's item among all of the batch. `NeuMF` scores pairs (He et al. 2017, arXiv:1708.05031).
Both take SparseAdam for the tables and Adam for the layers.
"""

import itertools
import warnings
from typing import ClassVar

import numpy as np

from benchmarks.speed._step import Step, between, skewed


class Tables(Step):
    """A step whose gradients and optimizers touch only the tables' rows of the batch."""

    users = 100_000
    items = 50_000
    dim = 64
    repeats = 4
    compiled = None  # inductor takes no sparse gradients
    jax = None  # jax.grad gives dense gradients
    unit = "samples"
    tables: tuple[str, ...] = ()

    @property
    def units(self):
        return self.rows

    def step(self, lib, F, optim, model):
        warnings.filterwarnings("ignore", "Sparse invariant checks")  # torch's own note
        tables = [model[name].weight for name in self.tables]
        layers = [p for p in model.parameters() if all(p is not table for table in tables)]
        sparse = optim.SparseAdam(tables, lr=self.lr)
        dense = optim.Adam(layers, lr=self.lr)

        def step(*batch):
            sparse.zero_grad()
            dense.zero_grad()
            loss = self.loss(F, model, *batch)
            loss.backward()
            sparse.step()
            dense.step()
            return loss

        return step

    def ids(self, rng):
        """Users evenly, items by a power law."""
        return rng.integers(0, self.users, self.rows), skewed(rng, self.items + 1, (self.rows,)) - 1


def linear_shapes(name, narrow, wide):
    return {f"{name}.weight": (wide, narrow), f"{name}.bias": (wide,)}


class TwoTower(Tables):
    """rows pairs of user and item; each tower a table, Linear, ReLU, Linear and a unit length."""

    rows = 1_024
    hidden = 128
    temperature = 0.1
    tables = ("user", "item")
    small: ClassVar = {"users": 50, "items": 40, "dim": 8, "hidden": 8, "rows": 16}

    @staticmethod
    def drawn(rng):
        return {
            "users": between(rng, 10_000, 200_000), "items": between(rng, 5_000, 100_000),
            "dim": between(rng, 16, 128), "hidden": between(rng, 32, 256),
            "rows": between(rng, 256, 2_048),
        }  # fmt: skip

    def shapes(self):
        shapes = {"user.weight": (self.users, self.dim), "item.weight": (self.items, self.dim)}
        for tower in ("of_user", "of_item"):
            shapes |= linear_shapes(f"{tower}.0", self.dim, self.hidden)
            shapes |= linear_shapes(f"{tower}.2", self.hidden, self.dim)
        return shapes

    def batch(self, rng):
        return (*self.ids(rng), np.arange(self.rows))

    def model(self, lib, nn, F):
        def tower():
            return nn.Sequential(
                nn.Linear(self.dim, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.dim)
            )

        return nn.ModuleDict({
            "user": nn.Embedding(self.users, self.dim, sparse=True),
            "item": nn.Embedding(self.items, self.dim, sparse=True),
            "of_user": tower(),
            "of_item": tower(),
        })

    def loss(self, F, model, user, item, own):
        asked = F.normalize(model["of_user"](model["user"](user)), dim=-1)
        found = F.normalize(model["of_item"](model["item"](item)), dim=-1)
        return F.cross_entropy(asked @ found.T / self.temperature, own)

    def flops(self):
        towers = 2 * 2 * 2 * self.rows * self.dim * self.hidden
        return 3.0 * (towers + 2 * self.rows**2 * self.dim)


class NeuMF(Tables):
    """rows pairs, one in five bought: a product of two tables beside an MLP on two others."""

    rows = 4_096
    widths = (128, 64, 32)
    tables = ("user", "item", "user_mlp", "item_mlp")
    small: ClassVar = {"users": 50, "items": 40, "dim": 8, "widths": (8, 4), "rows": 32}

    @staticmethod
    def drawn(rng):
        first = between(rng, 32, 256)
        return {
            "users": between(rng, 10_000, 200_000), "items": between(rng, 5_000, 100_000),
            "dim": between(rng, 16, 128), "widths": (first, max(8, first // 2)),
            "rows": between(rng, 1_024, 16_384),
        }  # fmt: skip

    def shapes(self):
        shapes = {}
        for name, count in (("user", self.users), ("item", self.items)):
            shapes |= {f"{name}{end}.weight": (count, self.dim) for end in ("", "_mlp")}
        narrow = 2 * self.dim
        for i, wide in enumerate(self.widths):
            shapes |= linear_shapes(f"mlp.{2 * i}", narrow, wide)
            narrow = wide
        return shapes | linear_shapes("score", self.dim + narrow, 1)

    def batch(self, rng):
        return (*self.ids(rng), (rng.random((self.rows, 1)) < 0.2).astype(np.float32))

    def model(self, lib, nn, F):
        layers, narrow = [], 2 * self.dim
        for wide in self.widths:
            layers += [nn.Linear(narrow, wide), nn.ReLU()]
            narrow = wide
        counts = {"user": self.users, "item": self.items}
        return nn.ModuleDict({
            **{name: nn.Embedding(counts[name.split("_")[0]], self.dim, sparse=True)
               for name in self.tables},
            "mlp": nn.Sequential(*layers),
            "score": nn.Linear(self.dim + narrow, 1),
        })  # fmt: skip

    def loss(self, F, model, user, item, bought):
        product = model["user"](user) * model["item"](item)
        pair = self.lib.cat([model["user_mlp"](user), model["item_mlp"](item)], -1)
        scores = model["score"](self.lib.cat([product, model["mlp"](pair)], -1))
        return F.binary_cross_entropy_with_logits(scores, bought)

    def step(self, lib, F, optim, model):
        self.lib = lib
        return super().step(lib, F, optim, model)

    def flops(self):
        widths = (2 * self.dim, *self.widths)
        products = sum(a * b for a, b in itertools.pairwise(widths)) + self.dim + widths[-1]
        return 6.0 * self.rows * products
