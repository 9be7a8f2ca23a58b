"""Models that rank a shop's products for its users, all under one contract (base.Recommender)."""

import os

from ecommerce.recommend import store
from ecommerce.recommend.base import Recommender
from ecommerce.recommend.bpr import BPR
from ecommerce.recommend.itemknn import ItemKNN
from ecommerce.recommend.popular import Popular
from ecommerce.recommend.random import Random
from ecommerce.recommend.training import fit_by_split

MODELS: dict[str, type[Recommender]] = {
    model.__name__: model for model in (Popular, Random, ItemKNN, BPR)
}
"""Every model by name: what `load_model` and the command line know, and the contract tests run."""


def load_model(path: str | os.PathLike[str]) -> Recommender:
    """The model that `save` wrote to path, whatever its class.

    Raises FileNotFoundError, or ValueError where the file is cut short, altered, foreign, or of a
    class that this package does not know.
    """
    arrays, about = store.read(path)
    if about["model"] not in MODELS:
        raise ValueError(
            f"{os.fspath(path)} holds a {about['model']}, which this package does not know "
            f"({', '.join(MODELS)}); use the load of its own class"
        )
    return MODELS[about["model"]]._from_file(arrays, about)


__all__ = ["BPR", "MODELS", "ItemKNN", "Popular", "Random", "Recommender", "fit_by_split",
           "load_model"]
