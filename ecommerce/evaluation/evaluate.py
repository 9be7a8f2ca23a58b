"""evaluate(): models, and trivial baselines beside them, under one stated protocol."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ecommerce import metrics as formulas
from ecommerce.data.errors import require_whole
from ecommerce.evaluation.intervals import paired_difference
from ecommerce.evaluation.measure import measure
from ecommerce.evaluation.protocol import Mask
from ecommerce.evaluation.result import Entry, Result
from ecommerce.evaluation.task import SplitLike, Task, fitted_on, state_protocol
from ecommerce.recommend import ItemKNN, Popular, Random, Recommender

METRICS = ("recall", "ndcg", "mrr", "map", "hr", "coverage", "gini", "novelty")
KNOWN_METRICS = (*formulas.USER_METRICS, "mrr_full", *formulas.LIST_METRICS)


def evaluate(
    models: Recommender | Sequence[Recommender] | Mapping[str, Recommender],
    split: SplitLike,
    *,
    k: int | Iterable[int] = (5, 10, 20),
    metrics: str | Iterable[str] = METRICS,
    protocol: Literal["full", "sampled"] = "full",
    part: Literal["test", "valid"] = "test",
    mask: Mask = "history",
    history: Literal["auto", "train", "train+valid"] = "auto",
    ndcg_ideal: Literal["cut", "full"] = "cut",
    baselines: Literal["auto"] | Iterable[Recommender] = "auto",
    ci: float = 0.95,
    compare_to: str | None = None,
    negatives: int = 99,
    seed: int = 0,
) -> Result:
    """Rank the whole catalogue for every user with test events, and measure the lists.

    models: one fitted model, several, or name -> model. metrics: recall, precision, hr, ndcg
    (its ideal cut at k, or with ndcg_ideal="full" ndcg_full), mrr (cut), mrr_full, map, coverage,
    gini, novelty; see ecommerce.metrics.

    part: "valid" to choose settings: then only train is history. mask: what is not recommended
    again: "history" (train, and valid when the test part is predicted), "train", or "none" for
    repeat purchases. Test events of masked items are left out, and counted in the protocol.
    history: what models that read histories are given; "auto" is train+valid unless mask is
    "train". protocol "sampled" also ranks each test item among `negatives` random ones, as older
    papers do, beside the full values and with a warning.

    baselines: "auto" fits Popular, Random and ItemKNN on train (and ItemKNN with decay .7 where
    there are times); or your own, unfitted. ci: level of the intervals. compare_to: name of the
    model that the others are compared with, user by user.

    Users are handled in blocks of bounded memory. Raises ValueError for names that are unknown,
    models that are not fitted or know other ids; warns where a model has seen test events.
    """
    cuts = _cuts(k)
    columns = _columns((metrics,) if isinstance(metrics, str) else tuple(metrics), cuts, ndcg_ideal)
    require_whole("evaluate", 0, seed=seed)
    require_whole("evaluate", 1, negatives=negatives)
    _check_choices(protocol=(protocol, ("full", "sampled")), part=(part, ("test", "valid")),
                   mask=(mask, ("history", "train", "none")),
                   history=(history, ("auto", "train", "train+valid")))
    given = _named(models)
    if compare_to is not None and compare_to not in given:
        raise ValueError(f"evaluate: compare_to={compare_to!r} is none of {', '.join(given)}")
    sampled = negatives if protocol == "sampled" else 0
    if sampled:
        warnings.warn(
            f"sampled evaluation: ranks among {negatives} random items are several times higher "
            "than in the catalogue and can reverse the order of models (Krichene & Rendle 2020); "
            "compare the full values beside them",
            stacklevel=2,
        )
    if history == "auto":
        history = "train" if mask == "train" or part == "valid" else "train+valid"
    task = Task(split, part, mask, history)
    stated = state_protocol(split, task, part, mask, history, ndcg_ideal, sampled, seed)

    entries: dict[str, Entry] = {}
    for name, model in given.items():
        learned_from = fitted_on(name, model, task)
        entries[name] = measure(model, task, columns, cuts, sampled, seed, ci)
        entries[name].fitted_on = learned_from
    for model in _baselines(baselines, given, entries, split, seed):
        started = time.perf_counter()
        model.fit(split.train)
        fit_seconds = time.perf_counter() - started
        entry = measure(model, task, columns, cuts, sampled, seed, ci)
        entry.baseline, entry.fitted_on, entry.fit_seconds = True, "train", fit_seconds
        entries[_free_name(repr(model), entries)] = entry
    for entry in entries.values():
        entry.fingerprint = stated.fingerprint(entry.fitted_on)

    result = Result(stated, entries, task.train.user_ids[task.users], ci, compare_to)
    if compare_to is not None:
        base = entries[compare_to].per_user
        result.compared = {
            name: {m: paired_difference(v, base[m], ci) for m, v in entry.per_user.items()}
            for name, entry in entries.items()
            if name != compare_to
        }
    return result


def _cuts(k: Any) -> tuple[int, ...]:
    """One cut-off or several, in order and each once."""
    cuts = [k] if isinstance(k, (int, float, str, np.number)) else list(k)
    if not cuts:
        raise ValueError("evaluate: k is empty; give one cut-off or more, such as k=10")
    for one in cuts:
        require_whole("evaluate", 1, k=one)
    return tuple(sorted({int(one) for one in cuts}))


def _columns(
    metrics: Sequence[str], cuts: Sequence[int], ideal: str
) -> list[tuple[str, str, int]]:
    """(column, metric, k) of everything asked for."""
    if ideal not in ("cut", "full"):
        raise ValueError(f"evaluate: ndcg_ideal={ideal!r}; choose 'cut' or 'full'")
    columns: list[tuple[str, str, int]] = []
    for metric in dict.fromkeys(metrics):
        if metric not in KNOWN_METRICS:
            raise ValueError(
                f"evaluate: unknown metric {metric!r}; choose from {', '.join(KNOWN_METRICS)}"
            )
        if metric == "mrr_full":
            columns.append((metric, metric, 0))
            continue
        formula = "ndcg_full" if metric == "ndcg" and ideal == "full" else metric
        columns += [(f"{formula}@{k}", formula, k) for k in cuts]
    return list(dict.fromkeys(columns))


def _check_choices(**choices: tuple[str, tuple[str, ...]]) -> None:
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise ValueError(f"evaluate: {name}={value!r}; choose from {', '.join(allowed)}")


def _named(
    models: Recommender | Sequence[Recommender] | Mapping[str, Recommender],
) -> dict[str, Recommender]:
    if isinstance(models, Recommender):
        models = [models]
    if not isinstance(models, Mapping):
        named: dict[str, Recommender] = {}
        for model in models:
            named[_free_name(type(model).__name__, named)] = model
        models = named
    for name, model in models.items():
        if not isinstance(model, Recommender):
            raise TypeError(f"evaluate: {name!r} is a {type(model).__name__}, not a Recommender")
        model._require_fit()
    return dict(models)


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return free


def _baselines(
    baselines: Literal["auto"] | Iterable[Recommender], given: Mapping[str, Recommender],
    entries: Mapping[str, Entry], split: SplitLike, seed: int,
) -> list[Recommender]:
    """Unfitted baselines, without those that a given model is already."""
    if isinstance(baselines, str):
        if baselines != "auto":
            raise ValueError(f"evaluate: baselines={baselines!r}; give 'auto' or a list of models")
        chosen: list[Recommender] = [Popular(), Random(seed), ItemKNN()]
        if split.train.times is not None:
            chosen.append(ItemKNN(decay=0.7))
    else:
        chosen = list(baselines)
    same = {repr(m) for name, m in given.items() if entries[name].fitted_on == "train"}
    return [model for model in chosen if repr(model) not in same]
