"""BPR: matrix factorisation that learns to rank what a user took above what he did not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecommerce import metrics
from ecommerce.data.interactions import Interactions
from ecommerce.recommend import store
from ecommerce.recommend.base import Codes, Recommender, Scores
from ecommerce.recommend.factors import draw_unseen, factor_scores, nearest_taken
from ecommerce.recommend.lists import Lists, best
from minidl import Tensor, nn, optim
from minidl.kernels import csr_matmul
from minidl.nn import functional as F

OPTIMIZERS = {"adagrad": optim.Adagrad, "adam": optim.SparseAdam, "sgd": optim.SGD}
"""Optimizers that step only the rows a batch has used."""

CHECK_EVERY = 4
"""Epochs between two looks at the validation part."""

FOLD_IN_RIDGE = 1.0
"""Added to the diagonal of the fold-in's normal equations: a user counts 1, the prior as much."""


class BPR(Recommender):
    """Matrix factorisation with the Bayesian personalised ranking loss.

    A user u and an item i are vectors p_u, q_i of `dim` numbers, an item has a bias b_i too:

        score(u, i) = p_u · q_i + b_i

    For every pair (u, i) of the training part, items j are drawn that u has not taken, uniformly,
    `negatives` of them. The model maximises the probability that u prefers i to j, so with
    x = score(u, i) - score(u, j) it minimises

        -log sigmoid(x) + reg/2 (|p_u|² + |q_i|² + |q_j|²)

    over mini-batches; its derivative is (sigmoid(x) - 1) dx plus reg times the vectors. Repeated
    purchases count once. Only the rows of a batch have gradients (RowSparse), so a step does not
    grow with the catalogue. The bias is not regularised: it is the item's popularity.

    optimizer: "adagrad", "adam" (SparseAdam) or "sgd", with rate `lr`. "sgd" with batch_size=1 and
    one negative is the paper's own algorithm, a step for every pair: those steps run as one
    compiled loop (`minidl.optim.BPRSGD`), by far the quickest way. With a validation part
    `fit` measures NDCG@10 on it every 4 epochs, stops when it has not risen for `patience` epochs,
    and keeps the best epoch's vectors; else it runs all `epochs`. best_epoch and progress (rows
    epoch, mean loss, NDCG@10) tell what happened. Equal seeds give equal bits on any number of
    threads.

    A new user is folded in without training: users' vectors are regressed once, at the end of
    `fit`, on the mean vectors m_u of what they took,

        p_u ≈ W m_u + c,   W, c by ridge regression over all users of the training part,

    and `score_history` gives a history's mean the vector that this line gives it. Similar items
    are those with the largest cosine of q.

    Source: Rendle, Freudenthaler, Gantner & Schmidt-Thieme 2009, BPR: Bayesian personalized
    ranking from implicit feedback (UAI; arXiv:1205.2618). There every step takes one triple drawn
    with replacement, by SGD; here a batch of pairs in shuffled order, each once an epoch, and
    Adagrad (Duchi et al. 2011), whose steps suit rows of very different frequency.
    """

    def __init__(
        self,
        dim: int = 64,
        epochs: int = 200,
        lr: float = 0.05,
        reg: float = 0.025,
        batch_size: int = 4096,
        negatives: int = 1,
        optimizer: str = "adagrad",
        patience: int = 80,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("epochs", epochs), ("batch_size", batch_size),
                            ("negatives", negatives), ("patience", patience)):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"BPR: {name}={value!r}; give a whole number of 1 or more")
        if not 0 < lr < np.inf:
            raise ValueError(f"BPR: lr={lr}; the learning rate must be above 0 and finite")
        if not 0 <= reg < np.inf:
            raise ValueError(f"BPR: reg={reg}; the regularisation must be 0 or more, and finite")
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"BPR: optimizer={optimizer!r}; choose from {', '.join(OPTIMIZERS)}")
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"BPR: seed={seed!r}; give a whole number of 0 or more")
        self.dim, self.epochs, self.lr, self.reg = dim, epochs, lr, reg
        self.batch_size, self.negatives = batch_size, negatives
        self.optimizer, self.patience, self.seed = optimizer, patience, seed

    # ------------------------------------------------------------------ training

    def _fit(self, train: Interactions, items: Any, valid: Interactions | None) -> None:
        rng = np.random.default_rng(self.seed)
        taken = self.history.distinct()
        counts = taken.lengths
        users = taken.rows()
        pairs = counts[users] < self.n_items  # who has taken everything has nothing to compare
        if not pairs.any():
            raise ValueError(
                "BPR.fit: every user of train has taken every item, so there is nothing to rank "
                "below; train on more items, or use Popular"
            )
        users, positives = users[pairs], taken.items[pairs]
        model = _Factors(self.n_users, self.n_items, self.dim, rng)
        epoch_of = self._epochs(model, users, positives, taken, rng)
        watch = _Watch(valid, taken, self.n_items)
        self.progress: list[tuple[int, float, float]] = []
        self.best_epoch = self.epochs
        highest, kept = -1.0, None
        for epoch in range(1, self.epochs + 1):
            loss = epoch_of()
            if not np.isfinite(loss):
                raise ValueError(
                    f"BPR.fit: the loss became {loss} in epoch {epoch}; give a smaller lr than "
                    f"{self.lr}"
                )
            if not watch or (epoch % CHECK_EVERY and epoch < self.epochs):
                continue
            self._take(model)
            score = watch.ndcg(self)
            self.progress.append((epoch, loss, score))
            if score > highest:
                highest, kept, self.best_epoch = score, self._vectors(), epoch
            elif epoch - self.best_epoch >= self.patience:
                break
        if kept is None:
            self._take(model)
        else:
            self._users, self._items, self._bias = kept
        self._finish(taken)

    def _epochs(
        self, model: _Factors, users: Codes, positives: Codes, taken: Lists,
        rng: np.random.Generator,
    ) -> Callable[[], float]:
        """What runs an epoch, every pair once, and returns the mean loss of a pair."""
        if self.optimizer == "sgd" and self.batch_size == self.negatives == 1:
            return optim.BPRSGD(
                model.users.weight, model.items.weight, model.bias.weight, *taken,
                lr=self.lr, reg=self.reg, generator=rng,
            ).epoch  # fmt: skip
        stepper = OPTIMIZERS[self.optimizer](model.parameters(), lr=self.lr)
        return lambda: self._epoch(model, stepper, users, positives, taken, rng)

    def _epoch(
        self, model: _Factors, stepper: optim.Optimizer, users: Codes, positives: Codes,
        taken: Lists, rng: np.random.Generator,
    ) -> float:
        """Every pair once, in batches; the mean loss of a pair."""
        order = rng.permutation(len(users))
        u, i = users[order], positives[order]
        repeated = np.repeat(u, self.negatives)
        drawn = np.empty(len(repeated), np.int64)
        draw_unseen(repeated, rng.random(len(repeated)), *taken, self.n_items, drawn)
        j = drawn.reshape(len(u), self.negatives)
        total = 0.0
        for start in range(0, len(u), self.batch_size):
            part = slice(start, start + self.batch_size)
            loss = model(u[part], i[part], j[part], self.reg)
            stepper.zero_grad()
            loss.backward()
            stepper.step()
            total += float(loss.item())
        return total / len(u)

    def _take(self, model: _Factors) -> None:
        """The vectors as the model has them now: views, not copies."""
        self._users = model.users.weight.detach().numpy()
        self._items = model.items.weight.detach().numpy()
        self._bias = model.bias.weight.detach().numpy().reshape(-1)
        self._by_dim = np.ascontiguousarray(self._items.T)  # (D, V), as factor_scores wants it

    def _vectors(self) -> tuple[NDArray[np.float32], ...]:
        return self._users.copy(), self._items.copy(), self._bias.copy()

    def _finish(self, taken: Lists) -> None:
        """What follows from the vectors: layouts, lengths and the line of the fold-in."""
        self._by_dim = np.ascontiguousarray(self._items.T)
        known = np.flatnonzero(taken.lengths)
        means = np.concatenate(
            [self._means(taken.take(known)), np.ones((len(known), 1), np.float32)], axis=1
        ).astype(np.float64)  # (U, D+1), the last for c
        square = means.T @ means
        square[np.diag_indices(self.dim)] += FOLD_IN_RIDGE
        line = np.linalg.solve(square, means.T @ self._users[known])  # (D+1, D)
        self._fold = line.astype(np.float32)
        self._index_vectors()

    def _index_vectors(self) -> None:
        length = np.sqrt((self._items.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        unit = np.divide(self._items, length, out=np.zeros_like(self._items), where=length > 0)
        self._unit = unit
        self._unit_by_dim = np.ascontiguousarray(unit.T)

    # ------------------------------------------------------------------ scores

    def score_block(self, user_codes: Codes, history: Lists | None = None) -> Scores:
        return self._scores(self._users[user_codes], self._by_dim, self._bias)

    def score_history(self, history: Lists) -> Scores:
        return self._scores(self._fold_in(history), self._by_dim, self._bias)

    def similar_block(self, item_codes: Codes) -> Scores | None:
        none = np.zeros(self.n_items, np.float32)
        return self._scores(self._unit[item_codes], self._unit_by_dim, none)

    def reasons(self, history: Lists, ids: NDArray[np.int64]) -> NDArray[np.str_]:
        because = np.empty(ids.shape, np.int64)
        nearest_taken(*history, self._unit, ids, because)
        return np.strings.add("like ", self.item_ids[because])

    def _scores(
        self, vectors: NDArray[np.float32], factors: NDArray[np.float32],
        bias: NDArray[np.float32],
    ) -> Scores:
        scores = np.empty((len(vectors), factors.shape[1]), np.float32)
        factor_scores(np.ascontiguousarray(vectors), factors, bias, scores)
        return scores

    def _means(self, history: Lists) -> NDArray[np.float32]:
        """Mean vectors of histories, (B, D); 0 for an empty one."""
        sums = np.empty((len(history.lengths), self.dim), np.float32)
        ones = np.ones(len(history.items), np.float32)
        csr_matmul(*history, ones, self._items, sums)
        return sums / np.maximum(history.lengths, 1).astype(np.float32)[:, None]

    def _fold_in(self, history: Lists) -> NDArray[np.float32]:
        """Vectors (B, D) of users who are known by their histories alone."""
        weight, constant = self._fold[:-1], self._fold[-1]
        return self._scores(self._means(history), np.ascontiguousarray(weight), constant)

    # ------------------------------------------------------------------ files

    def _arrays(self) -> store.Arrays:
        return {"users": self._users, "items": self._items, "bias": self._bias,
                "fold": self._fold, "best_epoch": np.array([self.best_epoch]),
                "progress": np.array(self.progress, np.float64).reshape(-1, 3)}

    def _restore(self, arrays: store.Arrays) -> None:
        self._users, self._items = arrays["users"], arrays["items"]
        self._bias, self._fold = arrays["bias"], arrays["fold"]
        self._by_dim = np.ascontiguousarray(self._items.T)
        self.best_epoch = int(arrays["best_epoch"][0])
        self.progress = [(int(e), loss, score) for e, loss, score in arrays["progress"].tolist()]
        self._index_vectors()


class _Factors(nn.Module):
    """The vectors as a minidl module; its output is the loss of a batch of triples."""

    def __init__(self, n_users: int, n_items: int, dim: int, rng: np.random.Generator):
        super().__init__()
        self.users = _table(n_users, dim, 0.01, rng)
        self.items = _table(n_items, dim, 0.01, rng)
        self.bias = _table(n_items, 1, 0.0, rng)

    def forward(self, u: Codes, i: Codes, j: Codes, reg: float) -> Tensor:
        """u, i (B,), j (B, n) -> the loss, summed over pairs so that lr is a pair's, as in SGD."""
        users = self.users(Tensor(u))  # (B, D)
        liked, drawn = self.items(Tensor(i)), self.items(Tensor(j))  # (B, D), (B, n, D)
        positive = (users * liked).sum(-1) + self.bias(Tensor(i)).sum(-1)  # (B,)
        negative = (users.reshape(len(u), 1, -1) * drawn).sum(-1) + self.bias(Tensor(j)).sum(-1)
        each = 1.0 / j.shape[1]
        loss = F.bpr_loss(positive.reshape(-1, 1), negative, reduction="sum") * each
        if reg:
            squares = (users * users).sum() + (liked * liked).sum() + (drawn * drawn).sum() * each
            loss = loss + squares * (0.5 * reg)
        return loss


def _table(rows: int, width: int, spread: float, rng: np.random.Generator) -> nn.Embedding:
    start = rng.standard_normal((rows, width), np.float32) * np.float32(spread)
    return nn.Embedding(rows, width, sparse=True, _weight=Tensor(start))


class _Watch:
    """NDCG@10 on a validation part, among what each user has not taken in training."""

    def __init__(self, valid: Interactions | None, taken: Lists, n_items: int):
        self.users: Codes = np.empty(0, np.int64)
        if valid is None or not len(valid):
            return
        pairs = np.unique(valid.users.astype(np.int64) * n_items + valid.items)
        pairs = np.setdiff1d(pairs, taken.rows() * n_items + taken.items)
        counts = np.bincount(pairs // n_items, minlength=len(taken.lengths))
        counts[taken.lengths == 0] = 0  # a user without history has no vector of his own
        pairs = pairs[counts[pairs // n_items] > 0]
        self.users = np.flatnonzero(counts)
        indptr = np.concatenate([[0], np.cumsum(counts[self.users], dtype=np.int64)])
        self.targets, self.taken = Lists(indptr, pairs % n_items), taken

    def __bool__(self) -> bool:
        return len(self.users) > 0

    def ndcg(self, model: Recommender) -> float:
        """The mean over the users of the validation part."""
        total, step = 0.0, model.block_rows()
        for start in range(0, len(self.users), step):
            rows = np.arange(start, min(start + step, len(self.users)))
            users = self.users[rows]
            ids, _ = best(model.score_block(users), 10, self.taken.take(users))
            targets = self.targets.take(rows)
            found, relevant = metrics.hits(ids, targets.indptr, targets.items)
            total += float(metrics.ndcg(found, relevant, 10).sum())
        return total / len(self.users)
