"""Matrix factorisation by Bayesian personalised ranking (Rendle et al. 2009).

`BPRStep` is one step on drawn triples, the same source for minidl and torch. `BPREpochs` is what
a shop runs: whole epochs with the sampling of unseen items, ecommerce's BPR against implicit's.
"""

from typing import ClassVar

import numpy as np

from benchmarks.alternate import Work
from benchmarks.speed._step import Step, between, skewed


class BPRStep(Step):
    """Gradients and the optimizer's step touch only the rows of the batch."""

    users = 6_040
    items = 3_706
    dim = 64
    rows = 4_096
    repeats = 5
    batches = 8
    compiled = None  # inductor takes no sparse gradients
    jax = None  # jax.grad gives dense gradients
    unit = "samples"
    small: ClassVar = {"users": 50, "items": 40, "dim": 8, "rows": 64}

    @staticmethod
    def drawn(rng):
        return {
            "users": between(rng, 1_000, 50_000), "items": between(rng, 1_000, 50_000),
            "dim": between(rng, 16, 128), "rows": between(rng, 1_024, 16_384),
        }  # fmt: skip

    @property
    def units(self):
        return self.rows

    def shapes(self):
        return {"user.weight": (self.users, self.dim), "item.weight": (self.items, self.dim)}

    def batch(self, rng):
        return (
            rng.integers(0, self.users, self.rows),
            skewed(rng, self.items + 1, (self.rows,)) - 1,
            rng.integers(0, self.items, self.rows),
        )

    def model(self, lib, nn, F):
        return nn.ModuleDict({
            "user": nn.Embedding(self.users, self.dim, sparse=True),
            "item": nn.Embedding(self.items, self.dim, sparse=True),
        })

    def loss(self, F, model, u, i, j):
        user = model["user"](u)
        liked = (user * model["item"](i)).sum(-1)
        other = (user * model["item"](j)).sum(-1)
        return -F.logsigmoid(liked - other).mean()

    def optimizer(self, optim, model):
        import warnings

        warnings.filterwarnings("ignore", "Sparse invariant checks")  # torch's own note
        return optim.SparseAdam(list(model.parameters()), lr=self.lr)

    def flops(self):
        return 0.0


class Purchases(Work):
    """Users and items of a synthetic shop, each pair once; popularity by a power law."""

    users = 6_040
    items = 3_706
    each = 165  # events drawn a user
    dim = 64
    checked = False
    small: ClassVar = {"users": 60, "items": 50, "each": 5, "dim": 8}

    @staticmethod
    def drawn(rng):
        return {
            "users": between(rng, 2_000, 20_000), "items": between(rng, 1_000, 20_000),
            "each": between(rng, 20, 200), "dim": between(rng, 16, 128),
        }  # fmt: skip

    def pairs(self):
        rng = np.random.default_rng(2)
        user = np.repeat(np.arange(self.users), self.each)
        item = skewed(rng, self.items + 1, user.shape) - 1
        return np.divmod(np.unique(user * self.items + item), self.items)

    def interactions(self):
        from ecommerce.data import Interactions

        user, item = self.pairs()
        names = [np.arange(n).astype(np.str_) for n in (self.users, self.items)]
        return Interactions(user, item, user_ids=names[0], item_ids=names[1])

    def matrix(self):
        from scipy.sparse import csr_matrix

        user, item = self.pairs()
        ones = np.ones(len(user), np.float32)
        return csr_matrix((ones, (user, item)), (self.users, self.items))


class BPREpochs(Purchases):
    """fit() of a few epochs of single steps, sampling included; neither draws what was taken.

    Settings: those of `benchmarks quality recommend ml-1m-r3`, which has the NDCG@10 of both. A
    sample of implicit counts also where its draw is refused, which is no step.
    """

    epochs = 10
    batch = 4_096
    most_rounds = 5
    warm = 0
    unit = "samples"

    @property
    def units(self):
        return self.epochs * len(self.pairs()[0])

    def minidl(self):
        from ecommerce.recommend import BPR

        train = self.interactions()
        single = {"optimizer": "sgd", "batch_size": 1, "lr": 0.02, "reg": 0.01}

        def run():
            BPR(dim=self.dim, epochs=self.epochs, **single).fit(train)

        return run

    def implicit(self):
        import os

        from implicit.cpu.bpr import BayesianPersonalizedRanking

        matrix = self.matrix()

        def run():
            model = BayesianPersonalizedRanking(
                factors=self.dim, iterations=self.epochs, num_threads=os.cpu_count(),
                verify_negative_samples=True, random_state=0,
            )  # fmt: skip
            model.fit(matrix, show_progress=False)

        return run

    def torch(self):
        """A plain loop; its negatives are drawn without a look at what the user has taken."""
        import torch
        import torch.nn.functional as F
        from torch import nn, optim

        step = BPRStep(users=self.users, items=self.items, dim=self.dim, rows=self.batch)
        users, items = map(torch.from_numpy, self.pairs())

        def run():
            model = step.model(torch, nn, F)
            optimizer = step.optimizer(optim, model)
            for _ in range(self.epochs):
                order = torch.randperm(len(users))
                drawn = torch.randint(self.items, (len(users),))
                for part in range(0, len(users), self.batch):
                    each = order[part : part + self.batch]
                    optimizer.zero_grad()
                    j = drawn[part : part + self.batch]
                    step.loss(F, model, users[each], items[each], j).backward()
                    optimizer.step()

        return run
