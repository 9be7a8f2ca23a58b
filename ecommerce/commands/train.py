"""train: fit a model on one or more draws of a split, measure it, write a run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecommerce import runs
from ecommerce.commands import _config, _errors
from ecommerce.commands import _options as kinds
from ecommerce.commands._data import (
    DATA,
    SPLIT,
    Loaded,
    fit,
    load,
    make_model,
    make_split,
    refitted,
)
from ecommerce.commands._options import Option, Settings, say
from ecommerce.commands._plots import (
    audit_section,
    clean_section,
    curves_of,
    data_section,
    lists_section,
    metrics_sections,
    training_section,
)
from ecommerce.commands._summary import METRICS, Bar, Summary, summarize
from ecommerce.evaluation import Result, evaluate
from ecommerce.recommend import MODELS, Recommender
from ecommerce.report import Section, write_report

MEASURE = [
    Option("k", kinds.list_of(kinds.whole(1)), [10], "lengths of the lists", "K,..."),
    Option("metrics", kinds.list_of(kinds.one_of(*METRICS, "mrr_full")), METRICS,
           "what to measure", "NAME,..."),
    Option("require", kinds.requirements, [], 'exit 1 unless met, such as "ndcg@10>=0.05"; may be '
           "repeated", "BAR"),
    Option("baselines", kinds.switch, True, "measure Popular, Random and ItemKNN too"),
]
RUN = [
    Option("out", kinds.text, None, "the run folder (default runs/<time>-<name>)", "FOLDER"),
    Option("overwrite", kinds.switch, False, "replace an older run folder", config=False),
]
OPTIONS = [
    *DATA,
    Option("model", kinds.text, "itemknn", "one of " + ", ".join(sorted(MODELS))),
    Option("set", kinds.pairs, {}, "a parameter of the model, such as dim=64; may be repeated"),
    *SPLIT,
    Option("draws", kinds.whole(1), 1, "splits with new seeds; figures are their means", "N"),
    *MEASURE,
    Option("refit", kinds.switch, False, "fit again on train and validation, with the number of "
           "epochs that was best on the validation part"),
    Option("final", kinds.switch, False, "save a model that is fitted again on all rows"),
    *RUN,
]
EXAMPLE = (
    "python -m ecommerce train --data ml-100k --model bpr --set dim=64 --draws 5 "
    '--require "ndcg@10>=0.4"'
)


def run(name: str, argv: Sequence[str]) -> int:
    parser = kinds.build("python -m ecommerce train", "Fit a model, measure it beside baselines, "
                         "write a run folder.", EXAMPLE, OPTIONS)
    settings = kinds.read(name, parser, OPTIONS, argv)
    bars = [Bar.parse(text, (*METRICS, "mrr_full")) for text in settings.require]
    model = make_model(settings.model, settings.set, settings.seed)
    path = Path(settings.out) if settings.out else runs.default_path(type(model).__name__.lower())
    with runs.NewRun(path, settings.overwrite) as new:
        code = _train(settings, bars, new)
    print(f"run folder: {path}\nreport: {path / runs.REPORT}")
    return code


def _train(settings: Settings, bars: Sequence[Bar], new: runs.NewRun) -> int:
    loaded = load(settings)
    inter = loaded.inter
    data_hash = inter.data_hash()
    new.log("read", data=settings.data, data_hash=data_hash, **inter.summary())
    print(inter)
    if loaded.report is not None:
        print(loaded.report)
        new.log("cleaned", **loaded.report.to_dict())

    results: list[Result] = []
    seconds: list[float] = []
    curves: dict[str, list[float]] = {}
    first: Recommender | None = None
    first_audit: Any = None
    for draw in range(settings.draws):
        split = make_split(inter, settings, draw)
        audit = split.audit()
        new.log("split", draw=draw, rows=[len(split.train), len(split.valid), len(split.test)],
                audit=audit.to_dict())
        first_audit = first_audit or audit
        model = make_model(settings.model, settings.set, settings.seed + draw)
        started = time.perf_counter()
        fit(model, split, loaded.items)
        curves = curves or curves_of(model)
        if settings.refit:
            model = refitted(model, split, loaded)
        seconds.append(time.perf_counter() - started)
        new.log("fitted", draw=draw, model=repr(model), fit_seconds=seconds[-1])
        result = measure(model, split, settings, bars)
        results.append(result)
        main = result.columns[0]
        value = result[type(model).__name__, main]
        new.log("measured", draw=draw, **{main: value})
        if settings.draws > 1:
            print(f"draw {draw + 1} of {settings.draws}: {main} {value:.4f}, "
                  f"fitted in {seconds[-1]:.1f} s", flush=True)
        first = first or model
    assert first is not None
    if not first_audit.ok:
        say("warning: " + str(first_audit).replace("\n", "\nwarning: "))
    summary = summarize(results, seconds)
    print("\n" + summary.tables())
    verdicts = check(summary, bars)
    served = first
    if settings.final:
        served = refitted(first, None, loaded)
    _write(new, settings, loaded, summary, first, served, verdicts, data_hash,
           first_audit, curves)
    return report_bars(verdicts)


def measure(
    model: Recommender, split: Any, settings: Settings, bars: Sequence[Bar]
) -> Result:
    """evaluate() with the metrics and cut-offs of the settings and of the bars."""
    names = list(settings.metrics)
    names += [b.metric.partition("@")[0] for b in bars]
    cuts = {*settings.k, *(b.cut for b in bars if b.cut is not None)}
    return evaluate(
        {type(model).__name__: model}, split, k=cuts, metrics=dict.fromkeys(names),
        baselines="auto" if settings.baselines else [], seed=settings.seed,
    )


def check(summary: Summary, bars: Sequence[Bar]) -> list[tuple[Bar, float]]:
    """Each bar with the model's value; without a cut-off a bar means the first --k."""
    found = summary.ours.metrics
    pairs = []
    for bar in bars:
        column = bar.metric
        if column not in found:
            column = next(c for c in found if c.partition("@")[0] == bar.metric)
        pairs.append((Bar(column, bar.sign, bar.value), found[column].mean))
    return pairs


def report_bars(verdicts: Sequence[tuple[Bar, float]]) -> int:
    """Print each bar; the exit code."""
    for bar, value in verdicts:
        print(f"require {bar.line(value)}")
    missed = [bar for bar, value in verdicts if not bar.met(value)]
    if missed:
        say(f"{len(missed)} of {len(verdicts)} bars missed: "
            + "; ".join(f"{b.line(v)}" for b, v in verdicts if not b.met(v)))
    return _errors.MISSED if missed else _errors.DONE


def _write(
    new: runs.NewRun, settings: Settings, loaded: Loaded, summary: Summary, model: Recommender,
    served: Recommender, verdicts: Sequence[tuple[Bar, float]], data_hash: str,
    audit: Any, curves: dict[str, list[float]],
) -> None:
    new.write(runs.CONFIG, _config.write(settings.stored(OPTIONS)))
    served.save(new.file(runs.MODEL))
    if loaded.titles:
        new.write_json(runs.TITLES, loaded.titles)
    new.write_json(runs.METRICS, {
        **summary.to_dict(), "model": repr(model), "data_hash": data_hash,
        "fitted_on": "all rows" if settings.final else "draw 1",
        "require": [{"bar": f"{b.metric}{b.sign}{b.value:g}", "value": v, "met": b.met(v)}
                    for b, v in verdicts],
        "training": curves, "protocol_fingerprints": summary.ours.fingerprints,
    })
    sections = [Section(
        "Run", f"{model!r} on {settings.data}", ["bar", "measured", ""],
        [[f"{b.metric} {b.sign} {b.value:g}", v, "met" if b.met(v) else "missed"]
         for b, v in verdicts],
    )]
    if not verdicts:
        sections[0].columns = ()
    sections += metrics_sections(summary)
    if curves:
        sections.append(training_section(curves))
    sections.append(lists_section(served, loaded.titles, 5))
    sections.append(data_section(loaded.inter))
    if loaded.report is not None:
        sections.append(clean_section(loaded.report))
    sections.append(audit_section(audit, summary.protocol))
    title = f"{type(model).__name__} on {Path(settings.data).name}"
    write_report(new.file(runs.REPORT), title, sections)
