"""BPR and implicit's on `ml-1m-r3`: settings and epochs of both chosen on the validation part."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ecommerce.data import read_interactions, split
from ecommerce.evaluation import evaluate
from ecommerce.recommend import BPR, Recommender

OURS = {"lr": (0.02, 0.05), "reg": (0.0075, 0.01, 0.015)}
PEERS = {"learning_rate": (0.003, 0.01, 0.03), "regularization": (0.001, 0.01, 0.03, 0.1)}
"""Settings that are tried, each with each."""

DIM = 64
EPOCHS = 400  # at most
PATIENCE = 80  # epochs without a rise
LOOK = 10  # epochs of implicit between two looks at the validation part; ours looks every 4


def ml_1m_r3(data: Path, draws: int, seed: int) -> dict[str, Any]:
    """The given split; train alone is learned from, and alone is masked.

    ours: BPR with optimizer "sgd" and batch_size 1. implicit: BayesianPersonalizedRanking with
    verify_negative_samples and two threads, its training continued from look to look.
    """
    parts = split(read_interactions(data / "ml-1m-r3"), "given")
    found: dict[str, Recommender] = {}
    tried: list[dict[str, Any]] = []
    for name, trials in (("ours", _ours(parts, seed)), ("implicit", _implicit(parts, seed))):
        best = -1.0
        try:
            for settings, model, epochs in trials:
                score = _ndcg(model, parts, "valid")
                tried.append({"model": name, **settings, "epochs": epochs, "valid": score})
                print(f"{name}: {settings} epoch {epochs}, NDCG@10 on valid {score:.4f}",
                      flush=True)
                if score > best:
                    best, found[name] = score, model
        except ImportError:
            print(f"{name}: not installed")
    result = evaluate(found, parts, k=10, metrics=("ndcg", "recall"), mask="train", baselines=[])
    figures = {name: {"ndcg@10": result[name, "ndcg@10"], "recall@10": result[name, "recall@10"]}
               for name in found}
    if "implicit" in figures:
        figures["ours"]["ndcg@10 above implicit's"] = (
            figures["ours"]["ndcg@10"] - figures["implicit"]["ndcg@10"]
        )
    return {"protocol": result.protocol.line(), "figures": figures, "tried": tried,
            "of the bars": "ours"}


def _ndcg(model: Recommender, parts: Any, part: Any) -> float:
    result = evaluate(
        {"it": model}, parts, k=10, metrics=("ndcg",), part=part, mask="train", baselines=[]
    )
    return result["it", "ndcg@10"]


def _ours(parts: Any, seed: int) -> Iterator[tuple[dict[str, float], Recommender, int]]:
    for values in product(*OURS.values()):
        settings = dict(zip(OURS, values))
        model = BPR(DIM, EPOCHS, batch_size=1, optimizer="sgd", patience=PATIENCE, seed=seed,
                    **settings)
        model.fit(parts.train, valid=parts.valid)
        yield settings, model, model.best_epoch


class ImplicitBPR(Recommender):
    """implicit's BPR, ranked and measured as every other model."""

    def __init__(self, learning_rate: float, regularization: float, seed: int = 0) -> None:
        super().__init__()
        self.learning_rate, self.regularization = learning_rate, regularization
        self.seed = seed

    def fit_with(self, parts: Any) -> ImplicitBPR:
        """Learn from parts.train, stopped by parts.valid under the protocol of the bar."""
        self._parts = parts
        self.fit(parts.train)
        return self

    def _fit(self, train: Any, items: Any, valid: Any) -> None:
        from implicit.cpu.bpr import BayesianPersonalizedRanking
        from scipy.sparse import csr_matrix

        indptr, taken = self.history.distinct()
        ones = np.ones(len(taken), np.float32)
        matrix = csr_matrix((ones, taken, indptr), (self.n_users, self.n_items))
        look = LOOK
        peer = BayesianPersonalizedRanking(
            factors=DIM, learning_rate=self.learning_rate, regularization=self.regularization,
            iterations=look, num_threads=2, verify_negative_samples=True,
        )  # fmt: skip
        highest, self.best_epoch, epochs = -1.0, 0, 0
        kept: Any = None
        while epochs < EPOCHS and epochs - self.best_epoch < PATIENCE:
            peer.random_state = self.seed + epochs  # else it would draw the same again
            peer.fit(matrix, show_progress=False)
            epochs += look
            self._vectors, self._fitted = (peer.user_factors, peer.item_factors), True
            score = _ndcg(self, self._parts, "valid")
            if score > highest:
                highest, self.best_epoch = score, epochs
                kept = peer.user_factors.copy(), peer.item_factors.copy()
        self._vectors = kept

    def score_block(self, user_codes: Any, history: Any = None) -> Any:
        users, items = self._vectors
        return users[user_codes] @ items.T


def _implicit(parts: Any, seed: int) -> Iterator[tuple[dict[str, float], Recommender, int]]:
    import implicit  # noqa: F401

    for values in product(*PEERS.values()):
        settings = dict(zip(PEERS, values))
        model = ImplicitBPR(seed=seed, **settings)
        yield settings, model.fit_with(parts), model.best_epoch
