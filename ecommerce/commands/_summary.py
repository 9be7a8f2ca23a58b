"""Figures of several draws as one, bars to clear, and the tables that show them."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecommerce.commands._errors import UsageError, nearest
from ecommerce.evaluation import Estimate, Result, mean_interval
from ecommerce.recommend import MODELS
from ecommerce.report import text_table

METRICS = ["ndcg", "recall", "precision", "hr", "mrr", "map", "coverage", "gini", "novelty"]
_BAR = re.compile(r"([A-Za-z_0-9@]+)\s*(>=|<=|>|<)\s*([-+.\deE]+)$")


@dataclass(frozen=True)
class Bar:
    """What --require asks for: a metric, a comparison, a value."""

    metric: str
    sign: str
    value: float

    @classmethod
    def parse(cls, given: str, known: Iterable[str]) -> Bar:
        found = _BAR.match(given.strip())
        try:
            value = float(found[3]) if found else math.nan
        except ValueError:
            value = math.nan
        if not found or not math.isfinite(value):
            raise UsageError(f'--require {given}: write it as "ndcg@10>=0.05", with quotes')
        name, at, cut = found[1].lower().partition("@")
        if name not in known:
            raise UsageError(f"--require {given}: no metric {name!r}{nearest(name, known)}")
        if at and (not cut.isdigit() or int(cut) < 1):
            raise UsageError(f"--require {given}: @{cut} is no cut-off of 1 or more")
        return cls(found[1].lower(), found[2], value)

    @property
    def cut(self) -> int | None:
        return int(self.metric.partition("@")[2]) if "@" in self.metric else None

    def met(self, value: float) -> bool:
        return {
            ">=": value >= self.value, "<=": value <= self.value,
            ">": value > self.value, "<": value < self.value,
        }[self.sign]

    def line(self, value: float) -> str:
        verdict = "met" if self.met(value) else "MISSED"
        return f"{self.metric} = {value:.4f}, wanted {self.sign} {self.value:g}: {verdict}"


@dataclass
class Figures:
    """One model over all draws. metrics: the mean over users of each user's mean over draws, with
    its interval; spread: the standard deviation between draws; draws: the value of each."""

    config: str
    baseline: bool
    fitted_on: str
    metrics: dict[str, Estimate]
    spread: dict[str, float]
    draws: dict[str, list[float]]
    fingerprints: list[str]
    fit_seconds: float | None
    seconds: float


@dataclass
class Summary:
    """All models over all draws."""

    models: dict[str, Figures]
    protocol: str
    level: float
    n_draws: int

    @property
    def ours(self) -> Figures:
        """The first model that is no baseline."""
        return next(m for m in self.models.values() if not m.baseline)

    @property
    def columns(self) -> list[str]:
        return list(next(iter(self.models.values())).metrics)

    def cuts(self) -> dict[str, list[str]]:
        """The columns of each cut-off, "" for those without one."""
        found: dict[str, list[str]] = {}
        for column in self.columns:
            found.setdefault(column.partition("@")[2], []).append(column)
        return found

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol, "level": self.level, "draws": self.n_draws,
            "models": {
                name: {
                    "config": m.config, "baseline": m.baseline, "fitted_on": m.fitted_on,
                    "fit_seconds": m.fit_seconds, "seconds": m.seconds,
                    "fingerprints": m.fingerprints,
                    "metrics": {
                        metric: {
                            **e.to_dict(), "sd_between_draws": m.spread[metric],
                            "draws": m.draws[metric],
                        }
                        for metric, e in m.metrics.items()
                    },
                }
                for name, m in self.models.items()
            },
        }

    def rows(self, columns: Sequence[str], around: bool = True) -> list[list[Any]]:
        """A row a model: its name, its figures (the first metric with ±), seconds to fit."""
        rows = []
        for name, m in self.models.items():
            cells: list[Any] = []
            for column in columns:
                e = m.metrics[column]
                half = (e.high - e.low) / 2
                wide = around and column == columns[0] and not math.isnan(half)
                cells.append(f"{e.mean:.4f} ±{half:.4f}" if wide else e.mean)
            fit = "" if m.fit_seconds is None else f"{m.fit_seconds:.2f} s"
            rows.append([f"({name})" if m.baseline else name, *cells, fit])
        return rows

    def tables(self) -> str:
        """A table for each cut-off, and the protocol, as text."""
        parts = []
        for cut, columns in self.cuts().items():
            heads = [column.partition("@")[0] for column in columns]
            where = f"of the first {cut} products" if cut else "of whole rankings"
            table = text_table(["model", *heads, "fit"], self.rows(columns))
            parts.append(f"{where}:\n{table}")
        over = f", mean of {self.n_draws} draws" if self.n_draws > 1 else ""
        parts.append(f"± half of the {self.level:.0%} interval over users{over}; (baselines); "
                     f"{self.fitted_on()}\nprotocol: {self.protocol}")
        return "\n\n".join(parts)

    def fitted_on(self) -> str:
        """What the models learned from, in a few words."""
        by_part: dict[str, list[str]] = {}
        for name, m in self.models.items():
            by_part.setdefault(m.fitted_on, []).append(name)
        if len(by_part) == 1:
            return f"all fitted on {next(iter(by_part))}"
        return ", ".join(f"{', '.join(n)} fitted on {part}" for part, n in by_part.items())


def summarize(results: Sequence[Result], fit_seconds: Sequence[float] | None) -> Summary:
    """One summary of the results of all draws. fit_seconds: of the model that is no baseline, each
    draw's; None: as the results say."""
    first = results[0]
    models: dict[str, Figures] = {}
    for name, entry in first.models.items():
        entries = [result.models[name] for result in results]
        draws = {m: [e.metrics[m].mean for e in entries] for m in entry.metrics}
        fits = [e.fit_seconds for e in entries]
        if fit_seconds is not None and not entry.baseline:
            fits = list(fit_seconds)
        known = [f for f in fits if f is not None]
        label = short(entry.config)
        if label in models:
            label = f"{label} on {entry.fitted_on}"
        models[label] = Figures(
            config=entry.config, baseline=entry.baseline, fitted_on=entry.fitted_on,
            metrics={m: _over_draws(results, name, m) for m in entry.metrics},
            spread={m: float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for m, v in draws.items()},
            draws=draws, fingerprints=[e.fingerprint for e in entries],
            fit_seconds=float(np.mean(known)) if known else None,
            seconds=float(np.mean([e.seconds for e in entries])),
        )
    return Summary(models, first.protocol.line(), first.level, len(results))


def _over_draws(results: Sequence[Result], name: str, metric: str) -> Estimate:
    """Users, not draws, are the sample: a user's values of several draws count as one, their mean,
    or five draws of the same users would look like five times as many users."""
    entries = [result.models[name] for result in results]
    if len(results) == 1:
        return entries[0].metrics[metric]
    mean = float(np.mean([e.metrics[metric].mean for e in entries]))
    if any(metric not in e.per_user for e in entries):
        return Estimate(mean)
    users = np.concatenate([result.users for result in results])
    values = np.concatenate([e.per_user[metric] for e in entries])
    known = ~np.isnan(values)
    _, place = np.unique(users[known], return_inverse=True)
    sums = np.bincount(place, values[known]) / np.maximum(np.bincount(place), 1)
    around = mean_interval(sums, results[0].level)
    return Estimate(mean, mean + around.low - around.mean, mean + around.high - around.mean)


def short(config: str) -> str:
    """"ItemKNN(neighbours=None, shrink=10.0, decay=0.7)" -> "ItemKNN(decay=0.7)"."""
    try:
        call = ast.parse(config, mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        given = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        defaults = MODELS[call.func.id]().get_params()
    except (SyntaxError, ValueError, AssertionError, KeyError):
        return config
    changed = [f"{k}={v!r}" for k, v in given.items() if v != defaults.get(k) and k != "seed"]
    return f"{call.func.id}({', '.join(changed)})" if changed else call.func.id
