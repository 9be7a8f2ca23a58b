"""The ten best items of every user, without what he has taken, from given vectors."""

import itertools
import os

import numpy as np

from benchmarks.speed.bpr import Purchases


class Top10(Purchases):
    k = 10
    checked = True  # the sum of all codes
    settle = 0.1
    unit = "users"

    @property
    def units(self):
        return self.users

    def vectors(self):
        rng = np.random.default_rng(3)
        users = rng.standard_normal((self.users, self.dim), np.float32)
        return users, rng.standard_normal((self.items, self.dim), np.float32)

    def minidl(self):
        from ecommerce.recommend import BPR

        model = BPR(dim=self.dim, epochs=1).fit(self.interactions())
        users, items = self.vectors()
        learned = {**model._arrays(), "users": users, "items": items}
        model._restore({**learned, "bias": np.zeros(self.items, np.float32)})

        def run():
            total = 0
            for start in range(0, self.users, model.block_rows()):
                codes = np.arange(start, min(start + model.block_rows(), self.users))
                total += int(model.rank_codes(codes, self.k, model.seen(codes))[0].sum())
            return total

        return run

    def implicit(self):
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        model = BayesianPersonalizedRanking(factors=self.dim, num_threads=os.cpu_count())
        model.user_factors, model.item_factors = self.vectors()
        matrix, codes = self.matrix(), np.arange(self.users)
        return lambda: int(model.recommend(codes, matrix, N=self.k)[0].sum())

    def torch(self):
        import torch

        users, items = map(torch.from_numpy, self.vectors())
        user, item = map(torch.from_numpy, self.pairs())
        block = 1_024
        bounds = torch.searchsorted(user, torch.arange(0, self.users + block, block)).tolist()

        def run():
            total = 0
            for n, (low, high) in enumerate(itertools.pairwise(bounds)):
                scores = users[n * block : (n + 1) * block] @ items.T
                scores[user[low:high] - n * block, item[low:high]] = -torch.inf
                total += int(scores.topk(self.k).indices.sum())
            return total

        return run
