"""Plots and tables of a run, as sections of its report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecommerce.commands._summary import Summary
from ecommerce.data import CleanReport, Interactions
from ecommerce.recommend import Recommender
from ecommerce.report import Section, plot

OURS, THEIRS, SECOND = "#1f6fb2", "#b8c4cf", "#d1762b"


def data_section(inter: Interactions, title: str = "Data") -> Section:
    """Rows, users, items and how many events each item has."""
    facts = inter.summary()
    rows: list[list[Any]] = [
        ["rows", f"{facts['rows']:,}"], ["users", f"{facts['users']:,}"],
        ["items", f"{facts['items']:,}"], ["density", f"{facts['density']:.2%}"],
        ["rows that repeat a user and item", f"{facts['repeats']:.1%}"],
    ]
    if "value" in facts:
        low, high = facts["value"]
        rows.append(["values", f"{low:g} to {high:g}"])
    return Section(title, columns=["", ""], rows=rows, image=popularity_plot(inter))


def popularity_plot(inter: Interactions) -> str:
    counts = np.sort(np.bincount(inter.items[inter.items >= 0], minlength=inter.n_items))[::-1]
    counts = counts[counts > 0]
    shares = np.cumsum(counts) / counts.sum()
    top = shares[max(0, math.ceil(0.2 * len(counts)) - 1)]

    def draw(axes: Any) -> None:
        axes.plot(np.arange(1, len(counts) + 1), counts, color=OURS)
        axes.set(xscale="log", yscale="log", xlabel="items, most popular first", ylabel="events",
                 title=f"Popularity: a fifth of the items has {top:.0%} of the events")

    return plot(draw)


def clean_section(report: CleanReport) -> Section:
    rows: list[list[Any]] = [["read", report.n_input, "100.00%"]]
    rows += [[f"dropped: {why}", n, f"{n / max(1, report.n_input):.2%}"]
             for why, n in report.counts.items()]
    rows.append(["kept", report.n_kept, f"{report.n_kept / max(1, report.n_input):.2%}"])
    return Section("Cleaning", "Every dropped row has a reason.", ["", "rows", "share"], rows)


def audit_section(audit: Any, protocol: str) -> Section:
    """How the parts were made and measured, and what of the test part may have leaked."""
    rows = [[f.level, f.kind, f.count, f.text] for f in audit.findings]
    verdict = "The split audit found no leak." if audit.ok else "THE SPLIT LEAKS: see below."
    return Section("Protocol", f"{protocol}. {verdict}", ["level", "found", "count", ""], rows)


def metrics_sections(summary: Summary) -> list[Section]:
    columns = summary.columns
    found = []
    for cut, group in summary.cuts().items():
        heads = ["model", *(column.partition("@")[0] for column in group), "fit"]
        found.append(Section(
            f"Models, first {cut} products" if cut else "Models, whole rankings",
            f"± half of the {summary.level:.0%} interval over users. Baselines in brackets: what "
            f"costs nothing to run. {summary.fitted_on().capitalize()}.",
            heads, summary.rows(group), image=bars_plot(summary, group[0]),
        ))
    if any(c.startswith("coverage") for c in columns):
        found.append(Section("Coverage and accuracy", "A model that shows everybody the same few "
                             "products stands on the left.", image=coverage_plot(summary)))
    if summary.n_draws > 1:
        ours = summary.ours
        rows = [
            [metric, ours.metrics[metric].mean, ours.spread[metric], *ours.draws[metric]]
            for metric in columns
        ]
        heads = [f"draw {i + 1}" for i in range(summary.n_draws)]
        found.append(Section("Draws", "The model in each draw of the split.",
                             ["metric", "mean", "sd", *heads], rows))
    return found


def bars_plot(summary: Summary, metric: str) -> str:
    names = list(summary.models)[::-1]
    values = [summary.models[name].metrics[metric] for name in names]
    errors = [[max(0.0, v.mean - v.low) if v.low == v.low else 0 for v in values],
              [max(0.0, v.high - v.mean) if v.high == v.high else 0 for v in values]]

    def draw(axes: Any) -> None:
        colours = [THEIRS if summary.models[name].baseline else OURS for name in names]
        axes.barh(names, [v.mean for v in values], xerr=errors, color=colours,
                  error_kw={"ecolor": "#555", "capsize": 3})
        axes.set(xlabel=metric)

    return plot(draw, height=0.8 + 0.4 * len(names))


def coverage_plot(summary: Summary) -> str:
    main = summary.columns[0]
    coverage = next(c for c in summary.columns if c.startswith("coverage"))

    def draw(axes: Any) -> None:
        for name, m in summary.models.items():
            x, y = m.metrics[coverage].mean, m.metrics[main].mean
            axes.scatter(x, y, color=THEIRS if m.baseline else OURS, s=60, edgecolor="#555")
            axes.annotate(name, (x, y), xytext=(6, 5), textcoords="offset points", fontsize=9)
        axes.set(xlabel=f"{coverage}: share of the catalogue shown to somebody", ylabel=main)
        axes.margins(x=0.15, y=0.15)

    return plot(draw)


def training_section(curves: Mapping[str, Sequence[float]], title: str = "Training") -> Section:
    """Curves over "epoch" (or steps from 1 on); the loss to the left, the others to the right."""
    steps = curves.get("epoch") or range(1, 1 + len(next(iter(curves.values()))))
    names = [name for name in curves if name != "epoch"]

    def draw(axes: Any) -> None:
        axes.plot(steps, curves[names[0]], color=OURS)
        axes.set_xlabel("epoch" if "epoch" in curves else "step")
        axes.set_ylabel(names[0], color=OURS)
        for name in names[1:]:
            other = axes.twinx()
            other.plot(steps, curves[name], color=SECOND)
            other.set_ylabel(name, color=SECOND)
            best = int(np.nanargmax(curves[name]))
            other.plot(steps[best], curves[name][best], "o", color=SECOND)
            axes.set_title(f"best {name}: {curves[name][best]:.4f} in epoch {steps[best]}")

    return Section(title, image=plot(draw))


def curves_of(model: Recommender) -> dict[str, list[float]]:
    """Epochs, losses and validation NDCG that a model noted in `fit`; {} if it noted none."""
    rows = list(getattr(model, "progress", None) or [])
    if not rows:
        return {}
    names = ("epoch", "loss", "validation ndcg@10")
    curves = {name: list(values) for name, values in zip(names, zip(*rows))}
    return {n: v for n, v in curves.items() if n == "epoch" or np.isfinite(v).any()}


def lists_section(model: Recommender, titles: Mapping[str, str], k: int, users: int = 3) -> Section:
    """Recommendations of a few users, the one with the median history first."""
    order = np.argsort(model.history.lengths, kind="stable")
    places = [len(order) // 2, int(len(order) * 0.9), int(len(order) * 0.1)][:users]
    chosen = list(dict.fromkeys(model.user_ids[order[places]].tolist()))
    rows = list_rows(model.recommend(chosen, k=k), titles)
    heads = ["user", "rank", "item", "title", "score", "source", "reason"]
    if not titles:
        heads.remove("title")
    return Section("Recommendations", "Some users of the training part.", heads, rows)


def list_rows(frame: Any, titles: Mapping[str, str], first: str = "user") -> list[list[Any]]:
    """Rows of `recommend`'s or `similar_items`' frame, with titles where there are some."""
    item = "similar" if first == "item" else "item"
    rows = []
    for key, rank, code, score, source, reason in zip(
        *(list(frame[name]) for name in (first, "rank", item, "score", "source", "reason"))
    ):
        title = [titles.get(code, "")] if titles else []
        why = with_titles(str(reason), titles)
        rows.append([str(key), int(rank), str(code), *title, float(score), str(source), why])
    return rows


def with_titles(reason: str, titles: Mapping[str, str]) -> str:
    """"bought with 50" -> "bought with 50 (Star Wars)"."""
    start = "bought with "
    if reason.startswith(start):
        item = reason[len(start):].split(";")[0]
        if item in titles:
            return reason.replace(item, f"{titles[item]}", 1)
    return reason
