"""reviews: learn sentiment from reviews, measure it, find similar comments, read new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecommerce import runs
from ecommerce.commands import _config
from ecommerce.commands import _options as kinds
from ecommerce.commands._errors import BadData, UsageError, bad_data, nearest, usage
from ecommerce.commands._options import Option, Settings
from ecommerce.commands._plots import training_section
from ecommerce.commands._summary import Bar
from ecommerce.commands.train import RUN, report_bars
from ecommerce.report import Section, plot, text_table, write_report
from ecommerce.reviews import (
    Scores,
    Sentiment,
    SimilarTexts,
    clean_text,
    cross_validate,
    guess_language,
    held_out,
    labels_of_stars,
    score,
)

METRICS = ("accuracy", "f1", "auc")
OPTIONS = [
    Option("data", kinds.text, None, "reviews: CSV, JSON lines, parquet, gz and xz too", "PATH"),
    Option("format", kinds.text, "auto", "of the file"),
    Option("text", kinds.text, None, "column of the text", "COLUMN"),
    Option("rating", kinds.text, None, "column of the stars", "COLUMN"),
    Option("label", kinds.text, None, "column of labels, instead of stars", "COLUMN"),
    Option("encoding", kinds.codec, None, "of text files, where it is not UTF-8"),
    Option("low", kinds.number, 2.0, "stars up to which a review is negative", "STARS"),
    Option("high", kinds.number, 4.0, "stars from which it is positive; between: left out",
           "STARS"),
    Option("lang", kinds.one_of("auto", "en", "zh"), "auto", "en: words, zh: characters"),
    Option("set", kinds.pairs, {}, "a setting of the classifier, such as C=1; may be repeated"),
    Option("folds", kinds.whole(2), 5, "folds of the cross-validation", "N"),
    Option("test", kinds.share, None, "hold out this share instead of cross-validation", "SHARE"),
    Option("seed", kinds.whole(), 0, "of the folds", "N"),
    Option("top", kinds.whole(1), 10, "how many telling words to show", "N"),
    Option("similar", kinds.any_text, None, "show the comments most like this one", "TEXT"),
    Option("k", kinds.whole(1), 5, "how many of them", "K"),
    Option("require", kinds.requirements, [], 'exit 1 unless met, such as "accuracy>=0.8"', "BAR"),
    Option("run", kinds.text, None, "a folder of an earlier run, for --predict", "FOLDER",
           config=False),
    Option("predict", kinds.requirements, [], "a text to judge with --run; may be repeated",
           "TEXT", config=False),
    *RUN,
]
EXAMPLE = (
    "python -m ecommerce reviews --data reviews.csv --text comment --rating stars\n"
    '  python -m ecommerce reviews --run runs/20260101-120000-reviews --predict "arrived broken"'
)


def run(name: str, argv: Sequence[str]) -> int:
    parser = kinds.build("python -m ecommerce reviews", "Learn sentiment from reviews and measure "
                         "it, or read new texts with an earlier run.", EXAMPLE, OPTIONS)
    settings = kinds.read(name, parser, OPTIONS, argv)
    if settings.predict or settings.run is not None:
        return _predict(settings)
    if settings.data is None:
        raise UsageError("reviews: give --data PATH to learn, or --run FOLDER --predict TEXT")
    bars = [Bar.parse(text, METRICS) for text in settings.require]
    make_classifier(settings)
    path = Path(settings.out) if settings.out else runs.default_path("reviews")
    with runs.NewRun(path, settings.overwrite) as new:
        code = _learn(settings, bars, new)
    print(f"run folder: {path}\nreport: {path / runs.REPORT}")
    return code


def make_classifier(settings: Settings) -> Sentiment:
    """An unfitted classifier with the settings of --set."""
    known = Sentiment().get_params()
    for key in settings.set:
        if key not in known:
            raise UsageError(f"--set {key}: Sentiment has no such setting{nearest(key, known)}")
    with usage("--set"):
        return Sentiment(**{"lang": settings.lang, "seed": settings.seed, **settings.set})


# ------------------------------------------------------------------ reading


@dataclass
class Labelled:
    """Texts with a label each, and what was left out for which reason."""

    texts: list[str]
    labels: NDArray[Any]
    left_out: dict[str, int]


def read(settings: Settings) -> Labelled:
    """The reviews of --data with their labels."""
    from ecommerce.data import read_reviews

    with bad_data():
        found = read_reviews(
            settings.data, format=settings.format, text=settings.text, rating=settings.rating,
            label=settings.label, encoding=settings.encoding,
        )
        by_label = settings.label is not None or (
            settings.rating is None and column(found, "rating") is None
        )
        texts, given = column(found, "text"), column(found, "label" if by_label else "rating")
    if given is None:
        raise BadData(
            f"{settings.data}: no column of stars or labels was found; "
            "name it with --rating COLUMN or --label COLUMN"
        )
    with usage("--low, --high"):
        labels_of_stars([], settings.low, settings.high)
    return labelled(texts, given, by_label, settings)


def column(table: Any, name: str) -> Any:
    """A column of a frame, a dict or an object; None where there is none."""
    if hasattr(table, name) and not hasattr(table, "columns"):
        return getattr(table, name)
    return table.get(name)


def labelled(texts: Any, given: Any, by_label: bool, settings: Settings) -> Labelled:
    """Texts that can be learned from: neither empty, nor without a label, nor in the middle."""
    cleaned = [clean_text(text) if isinstance(text, str) else "" for text in list(texts)]
    empty = np.array([not text for text in cleaned], bool)
    if by_label:
        labels = np.array(["" if each is None else _plain(each) for each in given], np.str_)
        missing = (labels == "") | (labels == "nan")
    else:
        stars = np.asarray(given, np.float64)
        missing = ~np.isfinite(stars)
        labels = labels_of_stars(np.where(missing, 0, stars), settings.low, settings.high)
    middle = (labels == "") & ~missing
    keep = ~(empty | missing | middle)
    reasons = {
        "empty text": int(empty.sum()), "no label": int((missing & ~empty).sum()),
        "stars in the middle": int((middle & ~empty).sum()),
    }
    return Labelled(
        [text for text, kept in zip(cleaned, keep) if kept], labels[keep],
        {why: n for why, n in reasons.items() if n},
    )


def _plain(label: Any) -> str:
    """1.0 as "1": a column of whole numbers with gaps is read as floats."""
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        return str(int(label))
    return str(label).strip()


# ------------------------------------------------------------------ learning


def _learn(settings: Settings, bars: Sequence[Bar], new: runs.NewRun) -> int:
    data = read(settings)
    names, counts = np.unique(data.labels, return_counts=True)
    said = ", ".join(f"{n:,} {name}" for name, n in zip(names, counts))
    print(f"{len(data.texts):,} reviews: {said}")
    for why, n in data.left_out.items():
        print(f"  left out: {n:,}, {why}")
    new.log("read", data=settings.data, reviews=len(data.texts), left_out=data.left_out)
    if len(names) < 2:
        raise BadData(
            f"{settings.data}: a classifier needs texts of two labels or more, these have "
            f"{', '.join(names) or 'none'}; name another --rating or --label column"
        )
    with bad_data():
        scores, how = measured(settings, data, new)
        model = make_classifier(settings).fit(data.texts, data.labels)
    new.log("fitted", model=repr(model), steps=len(model.losses))
    print(f"\n{model.tfidf.lang}: {len(model.tfidf.vocabulary):,} terms; {how}\n")
    print(text_table(*score_table(scores)) + "\n")
    print(text_table(*confusion_table(scores)) + "\n")
    print(text_table(*words_table(model, settings.top)) + "\n")
    sections = review_sections(model, scores, how, settings.top)
    if settings.similar is not None:
        matches = SimilarTexts().fit(data.texts).query(clean_text(settings.similar), settings.k)
        rows = [[i + 1, m.score, str(data.labels[m.place]), clipped(m.text)]
                for i, m in enumerate(matches)]
        print(f"most like {settings.similar!r}:")
        print(text_table(["rank", "cosine", "label", "comment"], rows) if rows
              else "  no comment has a word of it")
        print()
        sections.append(Section("Similar comments", f"To: {settings.similar}",
                                ["rank", "cosine", "label", "comment"], rows))
    verdicts = [(bar, _value(scores, bar.metric)) for bar in bars]
    new.write(runs.CONFIG, _config.write(settings.stored(OPTIONS)))
    model.save(new.file(runs.MODEL))
    new.write_json(runs.METRICS, {
        **scores.to_dict(), "how": how, "model": repr(model), "reviews": len(data.texts),
        "left_out": data.left_out,
        "require": [{"bar": f"{b.metric}{b.sign}{b.value:g}", "value": v, "met": b.met(v)}
                    for b, v in verdicts],
    })
    facts = Section("Data", f"{settings.data}: {said}.", ["left out", "reviews"],
                    list(data.left_out.items()))
    write_report(new.file(runs.REPORT), f"Reviews of {Path(settings.data).name}",
                 [*sections, facts])
    return report_bars(verdicts)


def measured(settings: Settings, data: Labelled, new: runs.NewRun) -> tuple[Scores, str]:
    """Scores by cross-validation or on a held-out share, and how in words."""
    if settings.test is not None:
        out = held_out(data.labels, settings.test, settings.seed)
        model = make_classifier(settings).fit(
            [t for t, o in zip(data.texts, out) if not o], data.labels[~out])
        proba = model.predict([t for t, o in zip(data.texts, out) if o], proba=True)
        found = score(data.labels[out], proba, model.classes.tolist())
        return found, f"measured on {int(out.sum()):,} held-out reviews, seed {settings.seed}"
    found = cross_validate(
        lambda: make_classifier(settings), data.texts, data.labels, settings.folds, settings.seed,
        each=lambda fold, s: new.log("fold", fold=fold, accuracy=s.accuracy.mean, f1=s.f1),
    )
    return found, f"{settings.folds}-fold cross-validation, seed {settings.seed}"


def _value(scores: Scores, metric: str) -> float:
    return scores.accuracy.mean if metric == "accuracy" else float(getattr(scores, metric))


# ------------------------------------------------------------------ tables


def score_table(scores: Scores) -> tuple[list[str], list[list[Any]]]:
    a = scores.accuracy
    return ["accuracy", "95% interval", "macro F1", "AUC", "always the commonest"], [
        [a.mean, f"{a.low:.4f} to {a.high:.4f}", scores.f1, scores.auc, scores.majority]
    ]


def confusion_table(scores: Scores) -> tuple[list[str], list[list[Any]]]:
    names = list(map(str, scores.classes))
    rows = [
        [name, *map(int, counts), precision, recall]
        for name, counts, precision, recall in zip(
            names, scores.confusion, scores.precision, scores.recall)
    ]
    return ["true \\ predicted", *names, "precision", "recall"], rows


def words_table(model: Sentiment, k: int) -> tuple[list[str], list[list[Any]]]:
    words = model.top_words(k)
    depth = max(map(len, words.values()), default=0)
    rows = [
        [cell for found in words.values()
         for cell in (list(found[i]) if i < len(found) else ["", ""])]
        for i in range(depth)
    ]
    return [cell for label in words for cell in (f"speaks for {label}", "weight")], rows


def review_sections(model: Sentiment, scores: Scores, how: str, k: int) -> list[Section]:
    """Sections of a report: scores, confusion, words, the fit's curve."""
    heads, rows = confusion_table(scores)
    return [
        Section("Sentiment", f"{model!r}; {how}.", *score_table(scores)),
        Section("Confusion", "", heads, rows, image=confusion_plot(scores)),
        Section("Most telling words", "Weights of the linear classifier.", *words_table(model, k)),
        training_section({"loss": model.losses}, "Fit"),
    ]


def confusion_plot(scores: Scores) -> str:
    shares = scores.confusion / np.maximum(scores.confusion.sum(axis=1, keepdims=True), 1)
    names = list(map(str, scores.classes))

    def draw(axes: Any) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (i, j), share in np.ndenumerate(shares):
            axes.text(j, i, f"{share:.0%}", ha="center", va="center",
                      color="white" if share > 0.5 else "#222")
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="predicted", ylabel="true")

    return plot(draw, 4.0, 3.5)


def clipped(text: str, width: int = 90) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


# ------------------------------------------------------------------ reading new texts


def _predict(settings: Settings) -> int:
    if settings.run is None or not settings.predict:
        raise UsageError("reviews: --run FOLDER and --predict TEXT go together")
    with bad_data():
        models = _models_of(runs.Run(settings.run))
    rows = []
    for text in settings.predict:
        cleaned = clean_text(text)
        model = models.get(guess_language([cleaned]), next(iter(models.values())))
        proba = model.predict([cleaned], proba=True)[0]
        found = model.explain(cleaned)
        why = ", ".join(f"{term} {share:+.2f}" for term, share in found.terms[:5])
        rows.append([clipped(cleaned, 60), str(found.label), float(proba.max()),
                     why or "no known word: the commonest label"])
    print(text_table(["text", "label", "probability", "because of"], rows))
    return 0


def _models_of(folder: runs.Run) -> dict[str, Sentiment]:
    """Language -> classifier of a run of `reviews`, which has one, or of `demo`, which has two."""
    command = folder.config.get("command")
    if command == "demo":
        return {lang: Sentiment.load(folder.path / f"reviews-{lang}.ecm") for lang in ("en", "zh")}
    if command != "reviews":
        raise BadData(f"{folder.path} is a run of `{command}`; give one of `reviews` or `demo`")
    model = Sentiment.load(folder.model_file)
    return {model.tfidf.lang: model}
