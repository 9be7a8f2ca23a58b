"""Data of a shop: readers, cleaning with a report, interactions, splits, a generated shop."""

from .clean import CleanReport
from .errors import DataError
from .generated import Shop, make_shop
from .interactions import NON_PRODUCT, Interactions
from .items import Items, read_items
from .readers import read_interactions
from .review_files import Reviews, read_reviews
from .sequences import read_parts
from .splits import Split, split

__all__ = [
    "NON_PRODUCT",
    "CleanReport",
    "DataError",
    "Interactions",
    "Items",
    "Reviews",
    "Shop",
    "Split",
    "make_shop",
    "read_interactions",
    "read_items",
    "read_parts",
    "read_reviews",
    "split",
]
