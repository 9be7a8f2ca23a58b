"""Metrics of ranked lists and of forecasts, on plain arrays.

A model's lists are `ranked` (B, K): item codes, best first, -1 where a list ends early. What the B
users really took is a CSR pair `indptr` (B + 1,), `items` (N,): `items[indptr[b]:indptr[b + 1]]`
belongs to user b. `hits` compares the two once; the metrics of users read its answer:

    found, relevant = hits(ranked, indptr, items)      # (B, K) bool, (B,) int
    ndcg(found, relevant, k=10)                        # (B,) float64

Notation of the equations: rel(j) is 1 where place j = 1 … K holds a relevant item, R the number of
the user's relevant items, k the cut-off. Relevance is binary. A user with R = 0 has no value: NaN.
Every metric of users lies in [0, 1], and more is better.

Two papers' "NDCG@10" or "MRR" are often not the same number (ecommerce.md 2.0); each variant has
a name of its own here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


# ------------------------------------------------------------------------ which places are hits


def hits(ranked: Ints, indptr: Ints, items: Ints) -> tuple[Bools, NDArray[np.int64]]:
    """Which places hold a relevant item, (B, K) bool, and each user's R, (B,).

    An item that a user's test part names twice counts once. Raises ValueError where the shapes do
    not fit or a list names an item twice: it would be paid for twice.
    """
    ranked = np.asarray(ranked)
    if ranked.ndim != 2 or len(indptr) != len(ranked) + 1:
        raise ValueError(
            f"hits: ranked has shape {ranked.shape}, indptr {np.shape(indptr)}; "
            "ranked must be (B, K) and indptr (B + 1,), one list of test items a row"
        )
    width = 1 + max(int(ranked.max(initial=0)), int(np.max(items, initial=0)))
    rows = np.arange(len(ranked), dtype=np.int64)
    wanted = np.unique(np.repeat(rows, np.diff(indptr)) * width + np.asarray(items, np.int64))
    relevant = np.bincount(wanted // width, minlength=len(ranked))
    _refuse_repeats(ranked)
    keys = rows[:, None] * width + ranked  # (B, K)
    if not len(wanted):
        return np.zeros(ranked.shape, bool), relevant
    places = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return (wanted[places] == keys) & (ranked >= 0), relevant


def _refuse_repeats(ranked: Ints) -> None:
    ordered = np.sort(ranked, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        row = int(np.argmax(twice))
        raise ValueError(
            f"hits: the list of row {row} names an item twice: {ranked[row].tolist()}; "
            "rank each item once"
        )


def _per_user(total: ArrayLike, divisor: ArrayLike, relevant: Ints) -> Floats:
    """total / divisor, NaN where the user has nothing relevant."""
    value = np.full(len(relevant), np.nan)
    return np.divide(total, divisor, out=value, where=relevant > 0)


def _cut(found: Bools, k: int) -> Bools:
    if k < 1:
        raise ValueError(f"metric at k={k}: the cut-off must be 1 or more")
    return found[:, :k]


# ----------------------------------------------------------------------------- metrics of users


def recall(found: Bools, relevant: Ints, k: int) -> Floats:
    """Recall@k = (relevant items in the first k places) / R. (B,)

    With one test item a user (leave-last-out) it equals HR@k. Source: Manning, Raghavan &
    Schütze 2008, Introduction to Information Retrieval, 8.3.
    """
    return _per_user(_cut(found, k).sum(axis=1), relevant, relevant)


def precision(found: Bools, relevant: Ints, k: int) -> Floats:
    """Precision@k = (relevant items in the first k places) / k. (B,)

    The divisor is k even where a list is shorter: empty places are misses. Source: as `recall`.
    """
    return _per_user(_cut(found, k).sum(axis=1), float(k), relevant)


def hr(found: Bools, relevant: Ints, k: int) -> Floats:
    """Hit rate: 1 where the first k places hold any relevant item, else 0. (B,)

    Source: Deshpande & Karypis 2004, Item-based top-N recommendation algorithms, 6.1.
    """
    return _per_user(_cut(found, k).any(axis=1), 1.0, relevant)


def ndcg(found: Bools, relevant: Ints, k: int) -> Floats:
    """NDCG@k with the ideal list cut at k. (B,)

        DCG@k = Σ_{j ≤ k} rel(j) / log2(j + 1),   NDCG = DCG@k / Σ_{j ≤ min(k, R)} 1 / log2(j + 1)

    A perfect first k scores 1. scikit-learn's `ndcg_score(k=k)` and most recommender libraries.
    Source: Järvelin & Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques.
    """
    return _ndcg(found, relevant, k, np.minimum(relevant, k))


def ndcg_full(found: Bools, relevant: Ints, k: int) -> Floats:
    """NDCG@k with the ideal over all R test items, not cut at k. (B,)

        NDCG = DCG@k / Σ_{j ≤ R} 1 / log2(j + 1)

    With R > k no list of k reaches 1, so it is never above `ndcg`: 0.2925 against 0.4474 for the
    same lists (EASE on ML-100k, ecommerce.md 2.0). The definition behind the tables of Ferrari
    Dacrema et al. 2021, A troubling analysis of reproducibility (TOIS).
    """
    return _ndcg(found, relevant, k, relevant)


def _ndcg(found: Bools, relevant: Ints, k: int, ideal_length: Ints) -> Floats:
    cut = _cut(found, k)
    longest = max(cut.shape[1], int(np.max(ideal_length, initial=1)))
    discount = 1.0 / np.log2(np.arange(2, longest + 2))  # place j = 1 … : 1 / log2(j + 1)
    # both sums in one order (no BLAS, no pairwise sum), so that a perfect list scores 1 exactly
    gained = np.zeros((len(cut), 1 + cut.shape[1]))
    np.cumsum(cut * discount[: cut.shape[1]], axis=1, out=gained[:, 1:])
    dcg = gained[:, -1]
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[ideal_length]
    return _per_user(dcg, ideal, relevant)


def mrr(found: Bools, relevant: Ints, k: int) -> Floats:
    """Reciprocal rank of the first hit within k: 1 / j, and 0 where there is none. (B,)

    Its mean over users is MRR@k. Source: Voorhees 1999, The TREC-8 question answering track.
    """
    cut = _cut(found, k)
    first = np.argmax(cut, axis=1) + 1.0 if cut.shape[1] else np.ones(len(cut))
    return _per_user(np.where(cut.any(axis=1), 1.0 / first, 0.0), 1.0, relevant)


def mrr_full(first_rank: Ints) -> Floats:
    """Reciprocal rank of the first hit in the whole ranking, not cut: 1 / first_rank. (B,)

    first_rank counts from 1; 0 means that the model did not rank the item at all and gives 0;
    a negative one means a user without test items and gives NaN. Never below `mrr` at any k.
    """
    first_rank = np.asarray(first_rank)
    value = np.where(first_rank < 0, np.nan, 0.0)
    return np.divide(1.0, first_rank, out=value, where=first_rank > 0)


def average_precision(found: Bools, relevant: Ints, k: int) -> Floats:
    """Average precision at k; its mean over users is MAP@k. (B,)

        AP@k = (1 / min(k, R)) Σ_{j ≤ k} rel(j) · (hits in the first j places) / j

    Dividing by min(k, R) lets a perfect list score 1; some libraries divide by R, which is smaller
    where R > k. Source: Manning et al. 2008, 8.4.
    """
    cut = _cut(found, k)
    at_hits = cut.cumsum(axis=1) / np.arange(1, cut.shape[1] + 1) * cut
    return _per_user(at_hits.sum(axis=1), np.minimum(relevant, k), relevant)


USER_METRICS: dict[str, Callable[[Bools, Ints, int], Floats]] = {
    "recall": recall,
    "precision": precision,
    "hr": hr,
    "ndcg": ndcg,
    "ndcg_full": ndcg_full,
    "mrr": mrr,
    "map": average_precision,
}
"""Metrics with a value for each user, f(found, relevant, k)."""


# ------------------------------------------------------------------------- metrics of all lists


def exposure(ranked: Ints, n_items: int, k: int) -> NDArray[np.int64]:
    """How often each item stands in the first k places of a list, (n_items,)."""
    shown = np.asarray(ranked)[:, :k]
    return np.bincount(shown[shown >= 0], minlength=n_items)


def coverage(counts: Ints) -> float:
    """Share of the catalogue that is in anyone's first k places, in [0, 1].

    counts: `exposure(...)`. Source: Ge, Delgado-Battenfeld & Jannach 2010, Beyond accuracy.
    """
    return float(np.count_nonzero(counts) / len(counts)) if len(counts) else float("nan")


def gini(counts: Ints) -> float:
    """Gini index of the exposure: 0 where all items are shown equally often, near 1 where one is.

        G = Σ_i (2i - n - 1) c_(i) / (n Σ_i c_(i)),   c_(1) ≤ … ≤ c_(n),  n the whole catalogue

    NaN where nothing is shown. Source: Shani & Gunawardana 2011, Evaluating recommendation systems.
    """
    counts = np.sort(np.asarray(counts, np.float64))
    n, total = len(counts), counts.sum()
    if not total:
        return float("nan")
    return float(((2 * np.arange(1, n + 1) - n - 1) * counts).sum() / (n * total))


def novelty(ranked: Ints, item_users: Ints, n_users: int, k: int) -> Floats:
    """Mean self-information of a list's first k items, in bits, (B,); NaN for an empty list.

        novelty = mean_j -log2(users of item j / n_users)

    item_users (n_items,): how many users have each item in the training part; an item that none
    has counts as one user's. High: rarely bought things; a list of best-sellers is low.
    Source: Zhou et al. 2010, Solving the apparent diversity-accuracy dilemma (PNAS 107).
    """
    shown = np.asarray(ranked)[:, :k]
    bits = np.log2(max(n_users, 1)) - np.log2(np.maximum(item_users, 1))  # (n_items,)
    filled = shown >= 0
    total = np.where(filled, bits[np.where(filled, shown, 0)], 0.0).sum(axis=1)
    length = filled.sum(axis=1)
    return np.divide(total, length, out=np.full(len(shown), np.nan), where=length > 0)


LIST_METRICS = ("coverage", "gini", "novelty")
"""Metrics of what is shown, whatever the users took."""


# -------------------------------------------------------------------------- metrics of forecasts


def mase(actual: ArrayLike, forecast: ArrayLike, history: ArrayLike, season: int = 1) -> float:
    """Mean absolute scaled error of one series, as the M4 competition computes it.

        MASE = mean_h |y_h - f_h| / ( 1 / (n - m) Σ_{t > m} |y_t - y_{t-m}| )

    actual, forecast (H,); history (n,), n > m = season. 1 is what the seasonal naive forecast errs
    inside the history. NaN where the history repeats itself exactly (the scale is 0): count such
    series, do not drop them unseen. Beware: an all-zero forecast of sparse demand often scores
    below 1 (0.746 on car parts, ecommerce.md 2.0), so MASE alone cannot judge intermittent demand.
    Source: Hyndman & Koehler 2006, Another look at measures of forecast accuracy.
    """
    y, f = _forecast_pair("mase", actual, forecast)
    past = np.asarray(history, np.float64)
    if past.ndim != 1 or not 1 <= season < len(past):
        raise ValueError(
            f"mase: history of shape {past.shape} with season {season}; "
            "the history of one series, longer than a season, gives the scale"
        )
    scale = np.abs(past[season:] - past[:-season]).mean()
    return float(np.abs(y - f).mean() / scale) if scale > 0 else float("nan")


def smape(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Symmetric mean absolute percentage error, M4's: 0 … 200, in per cent.

        sMAPE = 200 · mean_h |y_h - f_h| / (|y_h| + |f_h|),   a term 0 / 0 counts 0

    Some libraries (neuralforecast) leave out the 2 and report half of it. An all-zero forecast
    scores 200 wherever anything was sold. Source: Makridakis, Spiliotis & Assimakopoulos 2020,
    The M4 competition.
    """
    y, f = _forecast_pair("smape", actual, forecast)
    size = np.abs(y) + np.abs(f)
    terms = np.divide(np.abs(y - f), size, out=np.zeros(len(y)), where=size > 0)
    return float(200.0 * terms.mean())


def _forecast_pair(name: str, actual: ArrayLike, forecast: ArrayLike) -> tuple[Floats, Floats]:
    y, f = np.asarray(actual, np.float64), np.asarray(forecast, np.float64)
    if y.ndim != 1 or y.shape != f.shape or not len(y):
        raise ValueError(
            f"{name}: actual has shape {y.shape}, forecast {f.shape}; "
            "give both for the same H ≥ 1 steps of one series"
        )
    return y, f
