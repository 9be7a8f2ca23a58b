"""warmup: compile the kernels of this package's models before they are needed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ecommerce.recommend import MODELS
from minidl import warmup


def run(name: str, argv: Sequence[str]) -> int:
    """The command; `minidl.warmup` does the work, and knows the models below only from here."""
    parser = argparse.ArgumentParser(
        prog="python -m ecommerce warmup", description=__doc__,
        epilog="example: python -m ecommerce warmup --for BPR sentiment",
    )  # fmt: skip
    parser.add_argument("--for", nargs="+", default=[], dest="models", metavar="MODEL")
    return warmup.run(_works(), parser.parse_args(list(argv)).models)


def _works() -> dict[str, Callable[[], Any]]:
    works: dict[str, Callable[[], Any]] = {
        name: partial(_recommender, model) for name, model in MODELS.items()
    }
    return {**works, "sentiment": _sentiment}


def _recommender(model: Any) -> None:
    """Learn from a generated shop and recommend: once small, once large enough for threads."""
    from ecommerce.data.generated import make_shop

    for rows in (2_000, 20_000):
        seen = make_shop(rows, seed=0).interactions
        users = np.asarray(seen.user_ids[: rows // 20])
        model().fit(seen).recommend(users, 10)


def _sentiment() -> None:
    from ecommerce.reviews import Sentiment

    texts = ["good, works well", "bad, broke at once"] * 200
    model = Sentiment(lang="en").fit(texts, ["good", "bad"] * 200)
    model.predict(texts[:10])
