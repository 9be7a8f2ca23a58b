"""Evaluation of recommenders: full ranking, stated protocols, intervals, baselines beside."""

from ecommerce.evaluation.evaluate import evaluate
from ecommerce.evaluation.intervals import Difference, Estimate, mean_interval, paired_difference
from ecommerce.evaluation.protocol import Protocol
from ecommerce.evaluation.result import Entry, Result

__all__ = [
    "Difference",
    "Entry",
    "Estimate",
    "Protocol",
    "Result",
    "evaluate",
    "mean_interval",
    "paired_difference",
]
