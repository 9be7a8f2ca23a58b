"""evaluate: measure a saved model on the split of its run, or on other data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ecommerce import runs
from ecommerce.commands import _config
from ecommerce.commands import _options as kinds
from ecommerce.commands._data import DATA, SPLIT, Loaded, load, make_split
from ecommerce.commands._errors import BadData, UsageError, bad_data, one_line
from ecommerce.commands._options import Option, Settings, say
from ecommerce.commands._plots import data_section, metrics_sections
from ecommerce.commands._summary import METRICS, Bar, Summary, summarize
from ecommerce.commands.train import MEASURE, RUN, check, measure, report_bars
from ecommerce.recommend import Recommender, load_model
from ecommerce.report import Section, write_report

SOURCE = [
    Option("run", kinds.text, None, "a folder that `train` wrote; its data and split are used",
           "FOLDER"),
    Option("model_file", kinds.text, None, "a saved model; needs --data", "FILE"),
]
OPTIONS = [*SOURCE, *DATA, *SPLIT, *MEASURE, *RUN]
EXAMPLE = "python -m ecommerce evaluate --run runs/20260101-120000-bpr --k 5,20"


def run(name: str, argv: Sequence[str]) -> int:
    parser = kinds.build("python -m ecommerce evaluate", "Measure a saved model again.", EXAMPLE,
                         OPTIONS)
    settings = kinds.read(name, parser, OPTIONS, argv)
    bars = [Bar.parse(text, (*METRICS, "mrr_full")) for text in settings.require]
    model, folder = open_model(settings)
    if folder is not None:
        _take_over(settings, folder)
    if settings.out is None:
        return _evaluate(settings, bars, model, folder, None)
    path = Path(settings.out)
    with runs.NewRun(path, settings.overwrite) as new:
        code = _evaluate(settings, bars, model, folder, new)
    print(f"run folder: {path}\nreport: {path / runs.REPORT}")
    return code


def open_model(settings: Settings) -> tuple[Recommender, runs.Run | None]:
    """The model of --run or --model-file."""
    if (settings.run is None) == (settings.model_file is None):
        raise UsageError(f"{settings.command}: give either --run FOLDER or --model-file FILE")
    folder = None
    path = Path(settings.model_file or "")
    with bad_data():
        if settings.run is not None:
            folder = runs.Run(settings.run)
            path = folder.model_file
            if folder.config.get("command") == "reviews":
                raise BadData(f"{folder.path} is a run of `reviews`; give one of `train`")
        try:
            return load_model(path), folder
        except (ValueError, TypeError, KeyError) as error:
            raise BadData(
                one_line(error) if str(path) in str(error) else f"{path}: {one_line(error)}"
            ) from error


def _take_over(settings: Settings, folder: runs.Run) -> None:
    """What the command line does not say is as in the run."""
    if folder.config.get("command") == "demo" and settings.data is None:
        raise UsageError(
            f"{folder.path} is a run of `demo`; train on its files: python -m ecommerce train "
            f"--data {folder.path / 'shop'} --clean"
        )
    names = {option.name: option for option in [*DATA, *SPLIT, *MEASURE]}
    for name, value in folder.config.items():
        if name in names and name not in settings.given and name != "require":
            with bad_data(f"{folder.path / runs.CONFIG}: {name}"):
                settings.values[name] = names[name].kind(value)


def _evaluate(
    settings: Settings, bars: Sequence[Bar], model: Recommender, folder: runs.Run | None,
    new: runs.NewRun | None,
) -> int:
    loaded = load(settings)
    data_hash = loaded.inter.data_hash()
    if folder is not None and "data" not in settings.given:
        was = folder.metrics.get("data_hash")
        if was != data_hash:
            say(f"warning: {settings.data} has changed since the run: hash {data_hash[:12]}, "
                f"then {str(was)[:12]}")
    split = make_split(loaded.inter, settings)
    with bad_data():
        result = measure(model, split, settings, bars)
    summary = summarize([result], [])
    print(f"{model!r}\n\n{summary.tables()}")
    print(f"fingerprint: {summary.ours.fingerprints[0]}")
    verdicts = check(summary, bars)
    if new is not None:
        _write(new, settings, summary, data_hash, repr(model), loaded)
    sys.stdout.flush()
    return report_bars(verdicts)


def _write(
    new: runs.NewRun, settings: Settings, summary: Summary, data_hash: str, model: str,
    loaded: Loaded,
) -> None:
    new.log("measured", model=model, data_hash=data_hash)
    new.write(runs.CONFIG, _config.write(settings.stored(OPTIONS)))
    new.write_json(runs.METRICS, {**summary.to_dict(), "model": model, "data_hash": data_hash})
    sections = [Section("Run", f"{model} on {settings.data}"), *metrics_sections(summary),
                data_section(loaded.inter),
                Section("Protocol", summary.protocol)]
    write_report(new.file(runs.REPORT), f"{model.split('(')[0]} evaluated", sections)
