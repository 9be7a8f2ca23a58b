"""Data of a shop: readers, cleaning with a report, interactions, splits, a generated shop."""

from .clean import CleanReport
from .errors import DataError
from .interactions import NON_PRODUCT, Interactions
from .readers import read_interactions
from .sequences import read_parts
from .splits import Split, split

__all__ = [
    "NON_PRODUCT",
    "CleanReport",
    "DataError",
    "Interactions",
    "Split",
    "read_interactions",
    "read_parts",
    "split",
]
