"""Result: figures of several models under one protocol, with their intervals and baselines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecommerce.evaluation.intervals import Difference, Estimate
from ecommerce.evaluation.protocol import Protocol
from ecommerce.recommend.frames import make_frame


@dataclass
class Entry:
    """One model's figures. fitted_on: "train", "train+valid" or what else it learned from."""

    config: str
    baseline: bool
    fitted_on: str
    fingerprint: str
    fit_seconds: float | None
    seconds: float
    metrics: dict[str, Estimate]
    per_user: dict[str, NDArray[np.float64]]


@dataclass
class Result:
    """What `evaluate` returns.

    models: name -> Entry, the given ones first, then the baselines. users: the ids of the users
    evaluated, (U,), in the order of the per-user values. compared: name -> metric -> paired
    difference to the model `compared_to`.
    """

    protocol: Protocol
    models: dict[str, Entry]
    users: NDArray[np.str_]
    level: float
    compared_to: str | None = None
    compared: dict[str, dict[str, Difference]] = field(default_factory=dict)

    def __getitem__(self, key: tuple[str, str]) -> float:
        """result["ItemKNN", "ndcg@10"]: the mean."""
        name, metric = key
        if name not in self.models or metric not in self.models[name].metrics:
            raise KeyError(
                f"no {metric!r} of {name!r}; models: {', '.join(self.models)}; "
                f"metrics: {', '.join(self.columns)}"
            )
        return self.models[name].metrics[metric].mean

    @property
    def columns(self) -> list[str]:
        """The metrics' names, such as ndcg@10."""
        return list(next(iter(self.models.values())).metrics)

    @property
    def per_user(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """name -> metric -> values of the users, (U,)."""
        return {name: entry.per_user for name, entry in self.models.items()}

    def table(self, ci: bool = False) -> Any:
        """A frame with one row a model: model, config, baseline, fitted_on, fingerprint, metrics.

        ci: with columns metric_low and metric_high.
        """
        entries = list(self.models.values())
        columns: dict[str, NDArray[Any]] = {
            "model": np.array(list(self.models)),
            "config": np.array([e.config for e in entries]),
            "baseline": np.array([e.baseline for e in entries]),
            "fitted_on": np.array([e.fitted_on for e in entries]),
            "fingerprint": np.array([e.fingerprint for e in entries]),
        }
        for metric in self.columns:
            columns[metric] = np.array([e.metrics[metric].mean for e in entries])
            if ci:
                columns[f"{metric}_low"] = np.array([e.metrics[metric].low for e in entries])
                columns[f"{metric}_high"] = np.array([e.metrics[metric].high for e in entries])
        columns["seconds"] = np.array([e.seconds for e in entries])
        columns["users_per_second"] = len(self.users) / np.maximum(columns["seconds"], 1e-9)
        return make_frame(columns)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the per-user values, as JSON values."""
        return {
            "protocol": {**self.protocol.to_dict(), "line": self.protocol.line()},
            "level": self.level,
            "models": {
                name: {
                    "config": e.config, "baseline": e.baseline, "fitted_on": e.fitted_on,
                    "fingerprint": e.fingerprint, "fit_seconds": e.fit_seconds,
                    "seconds": e.seconds,
                    "metrics": {metric: v.to_dict() for metric, v in e.metrics.items()},
                }
                for name, e in self.models.items()
            },
            "compared_to": self.compared_to,
            "compared": {
                name: {metric: d.to_dict() for metric, d in row.items()}
                for name, row in self.compared.items()
            },
        }

    def __str__(self) -> str:
        """Table and protocol as text; * marks a difference with p < .01 to `compared_to`."""
        head = ["model", *self.columns, "fitted on"]
        lines = [head]
        for name, e in self.models.items():
            cells = []
            for metric, value in e.metrics.items():
                p = self.compared.get(name, {}).get(metric, Difference(0.0)).p
                half = (value.high - value.low) / 2
                around = "" if np.isnan(half) else f" ±{half:.4f}"
                cells.append(f"{value.mean:.4f}{around}{'*' if p < 0.01 else ''}")
            label = f"({e.config})" if e.baseline else f"{name}: {e.config}"
            lines.append([label, *cells, e.fitted_on])
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in lines
        ]
        star = f"* differs from {self.compared_to}, paired, p < .01\n" if self.compared_to else ""
        return "\n".join(text) + f"\n{star}baselines in brackets; {self.protocol.line()}"
