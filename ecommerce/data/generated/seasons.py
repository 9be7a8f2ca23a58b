"""Weekly demand of the generated shop's products: trend, season, promotions, rare sellers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .purchases import START

PERIOD = 52
INTERMITTENT_SHARE = 0.2
PROMOTION_SHARE = 0.05


@dataclass(frozen=True)
class Demand:
    """P products over W weeks.

    items: (P,) ids. weeks: (W,) unix time of each Monday. sales: (P, W) int64 units.
    promotion: (P, W) bool.
    """

    items: NDArray[np.str_]
    weeks: NDArray[np.int64]
    sales: NDArray[np.int64]
    promotion: NDArray[np.bool_]

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """Long columns: item, week (a date), sales, promotion; one row a product and week."""
        n_items, n_weeks = self.sales.shape
        dates = self.weeks.astype("datetime64[s]").astype("datetime64[D]").astype(np.str_)
        return {
            "item": np.repeat(self.items, n_weeks), "week": np.tile(dates, n_items),
            "sales": self.sales.ravel(), "promotion": self.promotion.ravel().astype(np.int64),
        }


@dataclass(frozen=True)
class DemandTruth:
    """What the demand was made of, (P,) each: mean = level (1 + trend t / W) season uplift.

    season: 1 + amplitude cos(2 pi (t - peak) / period). An intermittent item sells in a week with
    probability ``chance`` only. uplift: factor of a promotion.
    """

    period: int
    level: NDArray[np.float64]
    trend: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    peak: NDArray[np.int64]
    uplift: NDArray[np.float64]
    intermittent: NDArray[np.bool_]
    chance: NDArray[np.float64]


def make_demand(
    ids: NDArray[np.str_], n_weeks: int, rng: np.random.Generator
) -> tuple[Demand, DemandTruth]:
    """Sales of each product in each week (Poisson around the mean), and the truth."""
    n = len(ids)
    level = rng.lognormal(3.5, 0.6, n)
    trend = rng.uniform(-0.3, 0.8, n)
    amplitude = rng.uniform(0.2, 0.7, n)
    peak = rng.integers(PERIOD, size=n)
    uplift = rng.uniform(1.5, 3.0, n)
    intermittent = rng.permutation(n) < round(INTERMITTENT_SHARE * n)
    chance = np.where(intermittent, rng.uniform(0.1, 0.35, n), 1.0)
    promotion = rng.random((n, n_weeks)) < PROMOTION_SHARE
    week = np.arange(n_weeks)
    season = 1 + amplitude[:, None] * np.cos(2 * np.pi * (week - peak[:, None]) / PERIOD)
    mean = level[:, None] * (1 + trend[:, None] * week / n_weeks) * season
    mean = mean * np.where(promotion, uplift[:, None], 1.0)
    mean = np.where(intermittent[:, None], mean * 0.1, mean)
    sales = rng.poisson(mean)
    # A week in which a rare seller sells at all sells one or more.
    sells = rng.random((n, n_weeks)) < chance[:, None]
    sales = np.where(intermittent[:, None], np.where(sells, np.maximum(sales, 1), 0), sales)
    weeks = START + 7 * 86_400 * week.astype(np.int64)
    truth = DemandTruth(PERIOD, level, trend, amplitude, peak, uplift, intermittent, chance)
    return Demand(ids, weeks, sales.astype(np.int64), promotion), truth
