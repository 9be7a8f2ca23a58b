"""ecommerce: a shop's models, built on minidl.

    import ecommerce as ec
    inter = ec.read_interactions("ml-100k")
    split = ec.split(inter, "ratio", test=0.25)
    model = ec.models.ItemKNN().fit(split.train)
    print(ec.evaluate(model, split))

Everything is loaded when it is first named.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecommerce import recommend as models  # noqa: F401
    from ecommerce import reviews  # noqa: F401
    from ecommerce.data import (  # noqa: F401
        NON_PRODUCT,
        DataError,
        Interactions,
        Split,
        make_shop,
        read_interactions,
        read_items,
        read_parts,
        read_reviews,
        split,
    )
    from ecommerce.evaluation.evaluate import evaluate  # noqa: F401
    from ecommerce.recommend import load_model as load  # noqa: F401

_MODULES = {
    "data": "ecommerce.data",
    "evaluation": "ecommerce.evaluation",
    "metrics": "ecommerce.metrics",
    "models": "ecommerce.recommend",
    "recommend": "ecommerce.recommend",
    "reviews": "ecommerce.reviews",
}
_NAMES = {
    "DataError": ("ecommerce.data", "DataError"),
    "Interactions": ("ecommerce.data", "Interactions"),
    "NON_PRODUCT": ("ecommerce.data", "NON_PRODUCT"),
    "Split": ("ecommerce.data", "Split"),
    "evaluate": ("ecommerce.evaluation", "evaluate"),
    "load": ("ecommerce.recommend", "load_model"),
    "make_shop": ("ecommerce.data", "make_shop"),
    "read_interactions": ("ecommerce.data", "read_interactions"),
    "read_items": ("ecommerce.data", "read_items"),
    "read_parts": ("ecommerce.data", "read_parts"),
    "read_reviews": ("ecommerce.data", "read_reviews"),
    "split": ("ecommerce.data", "split"),
}

__all__ = [*_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _NAMES:
        module, attribute = _NAMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'ecommerce' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
