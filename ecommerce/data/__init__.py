"""Data of a shop: readers, cleaning with a report, interactions, splits, a generated shop."""

from .clean import CleanReport
from .errors import DataError
from .interactions import NON_PRODUCT, Interactions

__all__ = ["NON_PRODUCT", "CleanReport", "DataError", "Interactions"]
