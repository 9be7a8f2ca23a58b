"""One model's lists for a task, block by block, and the figures that follow from them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecommerce import metrics as formulas
from ecommerce.evaluation.intervals import Estimate, mean_interval
from ecommerce.evaluation.ranks import sample_negatives, sampled_ranks, target_ranks
from ecommerce.evaluation.result import Entry
from ecommerce.evaluation.task import Task
from ecommerce.recommend import Recommender
from ecommerce.recommend.lists import Lists, best

SAMPLED_METRICS = ("hr", "ndcg", "mrr")
DRAW_ROWS = 256
"""Users whose negatives are drawn together."""


def measure(
    model: Recommender, task: Task, columns: Sequence[tuple[str, str, int]],
    cuts: Sequence[int], sampled: int, seed: int, level: float,
) -> Entry:
    """Rank, block by block, and turn lists into figures."""
    started = time.perf_counter()
    users, depth = task.users, min(max(cuts), task.n_items)
    wants_ranks = any(metric == "mrr_full" for _, metric, _ in columns)
    ranked = np.empty((len(users), depth), np.int64)
    targets = task.targets.take(users)
    ranks = np.zeros(len(targets.items), np.int64)
    among = np.zeros(len(targets.items), np.int64)
    for start in range(0, len(users), model.block_rows()):
        block = users[start : start + model.block_rows()]
        seen, history = task.seen.take(block), task.history.take(block)
        part = slice(start, start + len(block))
        if not (wants_ranks or sampled):
            ranked[part] = model.rank_codes(block, depth, seen, history)[0]
            continue
        scores = model.scores_of(block, history)
        scores[seen.rows(), seen.items] = -np.inf
        ranked[part] = best(scores, depth)[0]
        mine = task.targets.take(block)
        place = slice(targets.indptr[start], targets.indptr[start] + len(mine.items))
        target_ranks(scores, mine.indptr, mine.items, ranks[place])
        if sampled:
            among[place] = _among(block, scores, mine, seen, sampled, seed)
    per_user, lists = _values(model, task, ranked, targets, ranks, columns)
    if sampled:
        per_user |= _sampled_values(among, targets, cuts, sampled)
    estimates = {name: mean_interval(v, level) for name, v in per_user.items()} | lists
    ordered = [name for name, _, _ in columns]
    ordered += [name for name in estimates if name not in ordered]
    return Entry(
        config=repr(model), baseline=False, fitted_on="", fingerprint="", fit_seconds=None,
        seconds=time.perf_counter() - started,
        metrics={name: estimates[name] for name in ordered}, per_user=per_user,
    )


def _values(
    model: Recommender, task: Task, ranked: NDArray[np.int64], targets: Lists,
    ranks: NDArray[np.int64], columns: Sequence[tuple[str, str, int]],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Estimate]]:
    """Values of users, and figures of all lists together, by column name."""
    found, relevant = formulas.hits(ranked, targets.indptr, targets.items)
    per_user: dict[str, NDArray[np.float64]] = {}
    lists: dict[str, Estimate] = {}
    for name, metric, k in columns:
        if metric == "mrr_full":
            per_user[name] = formulas.mrr_full(_first(ranks, targets))
        elif metric == "novelty":
            n_users = task.train.n_users
            per_user[name] = formulas.novelty(ranked, task.item_users, n_users, k)
        elif metric in ("coverage", "gini"):
            shown = formulas.exposure(ranked, task.n_items, k)
            lists[name] = Estimate(getattr(formulas, metric)(shown))
        else:
            per_user[name] = formulas.USER_METRICS[metric](found, relevant, k)
    return per_user, lists


def _first(ranks: NDArray[np.int64], targets: Lists) -> NDArray[np.int64]:
    """Each user's best place, (U,); 0 where no target is ranked."""
    none = np.iinfo(np.int64).max
    first = np.minimum.reduceat(np.where(ranks > 0, ranks, none), targets.indptr[:-1])
    return np.where(first == none, 0, first)


def _among(
    block: NDArray[np.int64], scores: NDArray[np.floating], targets: Lists, seen: Lists,
    n: int, seed: int,
) -> NDArray[np.int64]:
    """Places of the block's targets among n negatives each, a few users at a time."""
    parts = []
    for start in range(0, len(block), DRAW_ROWS):
        rows = np.arange(start, min(start + DRAW_ROWS, len(block)))
        mine = targets.take(rows)
        drawn = sample_negatives(
            block[rows], mine, seen.take(rows), scores.shape[1], n, seed
        )
        parts.append(sampled_ranks(scores[rows], mine, drawn))
    return np.concatenate(parts)


def _sampled_values(
    ranks: NDArray[np.int64], targets: Lists, cuts: Sequence[int], n: int
) -> dict[str, NDArray[np.float64]]:
    """hr, ndcg and mrr of each target alone among its negatives, averaged over a user's targets."""
    one = np.ones(len(ranks), np.int64)
    values = {}
    for k in cuts:
        found = ranks[:, None] == np.arange(1, k + 1)  # (N, k)
        for metric in SAMPLED_METRICS:
            each = formulas.USER_METRICS[metric](found, one, k)
            mean = np.add.reduceat(each, targets.indptr[:-1]) / targets.lengths
            values[f"{metric}@{k} (sampled {n})"] = mean
    return values
