"""Data of a shop: readers, cleaning with a report, interactions, splits, a generated shop."""

from .errors import DataError
from .interactions import Interactions

__all__ = ["DataError", "Interactions"]
