"""Confidence intervals hold the true mean as often as they say, in simulation."""

import numpy as np
import pytest

from ecommerce.evaluation import mean_interval, paired_difference

TRIALS = 2_000


def share_covered(draw, truth, level=0.95):
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(TRIALS):
        estimate = mean_interval(draw(rng), level)
        inside += estimate.low <= truth <= estimate.high
    return inside / TRIALS


@pytest.mark.parametrize("n", [100, 1_000])
@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_hit_rates(n, p):
    assert 0.93 <= share_covered(lambda rng: (rng.random(n) < p).astype(float), p) <= 0.97


@pytest.mark.parametrize("n", [200, 2_000])
@pytest.mark.parametrize("found", [0.1, 0.5])
def test_ndcg_like_values(n, found):
    """0 for most users, 1/log2(place + 1) for the others."""
    gains = 1 / np.log2(np.arange(10) + 2)

    def draw(rng):
        return np.where(rng.random(n) < found, gains[rng.integers(0, 10, n)], 0.0)

    assert 0.93 <= share_covered(draw, found * gains.mean()) <= 0.97


def test_level_is_obeyed():
    def draw(rng):
        return rng.exponential(size=300)

    assert 0.77 <= share_covered(draw, 1.0, 0.80) <= 0.83
    assert 0.98 <= share_covered(draw, 1.0, 0.99) <= 1.0


def test_paired_differences():
    rng = np.random.default_rng(1)
    inside, false_alarms = 0, 0
    for _ in range(TRIALS):
        skill = rng.random(250)
        ours, theirs = skill + 0.2 * rng.random(250), skill + 0.2 * rng.random(250)
        found = paired_difference(ours, theirs)
        inside += found.low <= 0 <= found.high
        false_alarms += found.p < 0.05
    assert 0.93 <= inside / TRIALS <= 0.97
    assert 0.03 <= false_alarms / TRIALS <= 0.07
    assert paired_difference(np.ones(9), np.ones(9)).p == 1
    assert paired_difference(skill + 0.5, skill).p < 1e-6


def test_without_spread_or_values():
    assert np.isnan(mean_interval(np.array([])).mean)
    assert np.isnan(mean_interval(np.array([np.nan])).mean)
    one = mean_interval(np.array([0.3, np.nan]))
    assert one.mean == 0.3
    assert np.isnan(one.low)
    same = mean_interval(np.full(5, 0.25))
    assert (same.low, same.mean, same.high) == (0.25, 0.25, 0.25)
    everyone = mean_interval(np.ones(50))
    assert everyone.low < 0.95  # Wilson: not certain
    assert everyone.high == pytest.approx(1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval(np.array([0.2, 0.5]), 95)
