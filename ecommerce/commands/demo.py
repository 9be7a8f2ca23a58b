"""demo: a generated shop from its raw lines to recommendations, reviews and a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecommerce import runs
from ecommerce.commands import _config
from ecommerce.commands import _options as kinds
from ecommerce.commands._data import titles_of
from ecommerce.commands._options import Option, Settings
from ecommerce.commands._plots import (
    audit_section,
    clean_section,
    curves_of,
    data_section,
    list_rows,
    metrics_sections,
    training_section,
)
from ecommerce.commands._summary import METRICS, summarize
from ecommerce.commands.reviews import OPTIONS as REVIEW_OPTIONS
from ecommerce.commands.reviews import Labelled, labelled, review_sections
from ecommerce.commands.train import RUN
from ecommerce.data import Shop, make_shop, split
from ecommerce.evaluation import evaluate
from ecommerce.recommend import BPR, ItemKNN, Popular, Random, Recommender
from ecommerce.report import Section, text_table, write_report
from ecommerce.reviews import Scores, Sentiment, SimilarTexts, cross_validate

OPTIONS = [
    Option("rows", kinds.whole(2000), 20_000, "purchases of the generated shop", "N"),
    Option("seed", kinds.whole(), 0, "of the shop and the models", "N"),
    Option("k", kinds.whole(1), 10, "length of the lists", "K"),
    Option("user", kinds.text, None, "whose recommendations to show", "ID"),
    *RUN,
]
EXAMPLE = "python -m ecommerce demo --out runs/demo"
QUERIES = {"en": "the parcel arrived late and damaged", "zh": "快递太慢，包装破了"}
NAMES = {"en": "English", "zh": "Chinese"}


def run(name: str, argv: Sequence[str]) -> int:
    parser = kinds.build("python -m ecommerce demo", "A generated shop, nothing to download: "
                         "clean, split, train, compare, recommend, read reviews, report.",
                         EXAMPLE, OPTIONS)
    settings = kinds.read(name, parser, OPTIONS, argv)
    path = Path(settings.out) if settings.out else runs.default_path("demo")
    with runs.NewRun(path, settings.overwrite) as new:
        _demo(settings, new)
    print(
        f"report: {path / runs.REPORT}\n\nnext:\n"
        f"  python -m ecommerce recommend --run {path} --history P00005,P00012 --k 5\n"
        f"  python -m ecommerce similar --run {path} --item P00005\n"
        f"  python -m ecommerce train --data {path / 'shop'} --model bpr --clean\n"
        f"  python -m ecommerce reviews --run {path} --predict \"arrived late and broken\""
    )
    return 0


def _demo(settings: Settings, new: runs.NewRun) -> None:
    started = time.perf_counter()
    shop = make_shop(settings.rows, seed=settings.seed, dirty=True)
    new.log("shop", shop=repr(shop))
    print(f"A generated shop, seed {settings.seed}: {shop.interactions!r}, "
          f"{len(shop.items):,} products, {len(shop.reviews):,} reviews\n")
    sections = _recommenders(settings, new, shop)
    sections += _reviews(settings, new, shop)
    shop.write(new.file("shop"))
    new.write(runs.CONFIG, _config.write(settings.stored(OPTIONS)))
    seconds = time.perf_counter() - started
    write_report(new.file(runs.REPORT), "A generated shop", sections)
    print(f"done in {seconds:.1f} s")


# ------------------------------------------------------------------ recommenders


def _recommenders(settings: Settings, new: runs.NewRun, shop: Shop) -> list[Section]:
    inter, report = shop.interactions.clean(seed=settings.seed)
    new.log("cleaned", **report.to_dict())
    print(f"Cleaning: every line is kept, or dropped for a reason\n{report}\n")
    parts = split(inter, "temporal", test=0.15, valid=0.1, seed=settings.seed)
    audit = parts.audit()
    new.log("split", audit=audit.to_dict())
    print(f"{parts!r}\n{str(audit).splitlines()[0].partition(' (')[0]}\n")

    models: dict[str, Recommender] = {
        "Popular": Popular(), "ItemKNN": ItemKNN(), "BPR": BPR(seed=settings.seed)
    }
    seconds = {}
    for name, model in models.items():
        before = time.perf_counter()
        model.fit(parts.train, items=shop.items, valid=parts.valid)
        seconds[name] = time.perf_counter() - before
        new.log("fitted", model=repr(model), fit_seconds=seconds[name])
    check = evaluate(models, parts, part="valid", k=settings.k, metrics=("ndcg",), baselines=[])
    best = max(models, key=lambda name: check[name, f"ndcg@{settings.k}"])
    result = evaluate(
        models, parts, k=settings.k, metrics=METRICS, baselines=[Random(settings.seed)],
        compare_to="Popular",
    )
    for name, spent in seconds.items():
        result.models[name].fit_seconds = spent
    summary = summarize([result], None)
    print(f"Recommenders\n{summary.tables()}\n")
    gain = result.compared[best][f"ndcg@{settings.k}"] if best != "Popular" else None
    if gain is not None:
        sure = f"p = {gain.p:.2g}" if gain.p > 1e-15 else "p < 1e-15"
        print(f"{best} is best on the validation part; on the test part it is {gain.mean:+.4f} "
              f"from Popular ({gain.low:+.4f} to {gain.high:+.4f}, {sure})\n")
    model = models[best]
    model.save(new.file(runs.MODEL))
    titles = titles_of(shop.items)
    new.write_json(runs.TITLES, titles)
    new.write_json(runs.METRICS, {
        **summary.to_dict(), "model": repr(model), "data_hash": inter.data_hash(),
        "chosen": best, "against_popular": None if gain is None else gain.to_dict(),
    })
    sections = [Section("Shop", repr(shop)), *metrics_sections(summary)]
    sections += _lists(settings, model, shop, titles)
    curves = curves_of(models["BPR"])
    if curves:
        sections.append(training_section(curves, "Training of BPR"))
    return [*sections, clean_section(report), data_section(inter),
            audit_section(audit, summary.protocol)]


def _lists(
    settings: Settings, model: Recommender, shop: Shop, titles: dict[str, str]
) -> list[Section]:
    """One user's last purchases and recommendations, and products like his last one."""
    user = settings.user
    if user is None:  # someone with a history of the usual length
        user = str(model.user_ids[np.argsort(model.history.lengths)[model.n_users // 2]])
    code = np.flatnonzero(model.user_ids == user)
    taken = model.history.take(code).items if len(code) else np.zeros(0, np.int64)
    last = [titles.get(str(item), str(item)) for item in model.item_ids[taken[-4:]]]
    said = f"{user} bought {len(taken)} times, last: {'; '.join(last)}" if last else \
        f"{user} has bought nothing yet"
    heads = ["user", "rank", "item", "title", "score", "source", "reason"]
    rows = list_rows(model.recommend([user], k=settings.k), titles)
    print(f"Recommendations of {type(model).__name__}. {said}")
    print(text_table(heads, rows) + "\n")
    sections = [Section(f"Recommendations for {user}", said + ".", heads, rows)]
    if len(taken):
        item = str(model.item_ids[taken[-1]])
        rows = list_rows(model.similar_items(item, 5), titles, "item")
        heads = ["item", "rank", "similar", "title", "score", "source", "reason"]
        sections.append(Section(f"Like {titles.get(item, item)}", "", heads, rows))
    return sections


# ------------------------------------------------------------------ reviews


def _reviews(settings: Settings, new: runs.NewRun, shop: Shop) -> list[Section]:
    defaults = Settings("reviews", {option.name: option.default for option in REVIEW_OPTIONS})
    sections, rows, words, found = [], [], [], {}
    for lang in NAMES:
        mine = shop.reviews.select(shop.reviews["language"] == lang)
        data = labelled(mine["text"], mine["rating"], False, defaults)
        scores = cross_validate(partial(Sentiment, lang=lang), data.texts, data.labels, 5)
        model = Sentiment(lang=lang).fit(data.texts, data.labels)
        model.save(new.file(f"reviews-{lang}.ecm"))
        new.log("reviews", lang=lang, accuracy=scores.accuracy.mean, f1=scores.f1)
        found[lang] = scores.to_dict()
        rows.append(_row(lang, data, model, scores))
        for label, top in model.top_words(6).items():
            words.append([NAMES[lang], label, ", ".join(term for term, _ in top)])
        how = f"{NAMES[lang]}, 5-fold cross-validation"
        sections += [
            Section(s.title + f" ({NAMES[lang]})", s.text, s.columns, s.rows, s.image)
            for s in review_sections(model, scores, how, 10)[:3]
        ]
        sections.append(_nearest(lang, data, model))
    new.write_json("reviews.json", found)
    heads = ["reviews in", "texts", "terms", "accuracy", "macro F1", "AUC", "commonest"]
    print("Reviews: TF-IDF and a linear classifier, 5-fold cross-validation; stars 1-2 against 4-5")
    print(text_table(heads, rows) + "\n")
    print(text_table(["", "speaks for", "terms"], words) + "\n")
    nearest = sections[3]
    print(f"Comments like {QUERIES['en']!r}:")
    print(text_table(nearest.columns, nearest.rows) + "\n")
    return sections


def _row(lang: str, data: Labelled, model: Sentiment, scores: Scores) -> list[Any]:
    a = scores.accuracy
    around = f"{a.mean:.4f} ±{(a.high - a.low) / 2:.4f}"
    return [NAMES[lang], len(data.texts), len(model.tfidf.vocabulary), around, scores.f1,
            scores.auc, scores.majority]


def _nearest(lang: str, data: Labelled, model: Sentiment) -> Section:
    query = QUERIES[lang]
    matches = SimilarTexts().fit(data.texts).query(query, 3)
    explained = model.explain(query)
    because = ", ".join(f"{term} {share:+.2f}" for term, share in explained.terms[:4])
    return Section(
        f"Comments like “{query}”", f"It reads {explained.label}: {because}.",
        ["cosine", "label", "comment"],
        [[m.score, str(data.labels[m.place]), m.text] for m in matches],
    )
