"""How sure a mean over users is: confidence intervals and paired differences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over users with its confidence interval; NaN limits where there is none."""

    mean: float
    low: float = float("nan")
    high: float = float("nan")

    def to_dict(self) -> dict[str, float | None]:
        return {name: None if np.isnan(v) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Difference(Estimate):
    """Mean of paired differences, its interval, and the two-sided p-value of "no difference"."""

    p: float = float("nan")


def mean_interval(values: Floats, level: float = 0.95) -> Estimate:
    """The mean of values (N,), NaN left out, and an interval that holds the true one in `level`.

    Values of 0 and 1 alone (hit rates) get Wilson's interval, which is right for small shares too:

        (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)

    others Johnson's, which allows for the skew of metrics that are 0 for most users:

        mean + γ s / (6 sqrt(n)) (1/sqrt(n)) (1 + 2 z²) ± z s / sqrt(n)

    with s the standard deviation and γ the skewness. z: the normal quantile of (1 + level) / 2.
    Users are taken as independent draws. Sources: Wilson 1927 (JASA 22); Johnson 1978, Modified t
    tests and confidence intervals for asymmetrical populations (JASA 73).
    """
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return Estimate(float("nan"))
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean)
    z = _z(level)
    if np.all((values == 0) | (values == 1)):
        middle = (mean + z * z / (2 * n)) / (1 + z * z / n)
        half = z * np.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return Estimate(mean, float(middle - half), float(middle + half))
    error = values - mean
    s = float(np.sqrt((error**2).sum() / (n - 1)))
    if s == 0:
        return Estimate(mean, mean, mean)
    skew = float((error**3).mean() / s**3)
    middle = mean + skew * s * (1 + 2 * z * z) / (6 * n)
    half = z * s / np.sqrt(n)
    return Estimate(mean, float(middle - half), float(middle + half))


def paired_difference(ours: Floats, theirs: Floats, level: float = 0.95) -> Difference:
    """Mean of ours - theirs over the same users (N,), with interval and p-value.

    A z-test of the mean difference: for the hundreds of users of an evaluation Student's
    distribution does not differ. p is 1 where every difference is 0.
    """
    difference = ours - theirs
    difference = difference[~np.isnan(difference)]
    n = len(difference)
    if n < 2:
        return Difference(float(difference.mean()) if n else float("nan"))
    mean = float(difference.mean())
    error = float(difference.std(ddof=1) / np.sqrt(n))
    if error == 0:
        return Difference(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    half = _z(level) * error
    p = 2 * NormalDist().cdf(-abs(mean) / error)
    return Difference(mean, mean - half, mean + half, p)


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"ci={level}: the confidence level must lie between 0 and 1, such as .95")
    return NormalDist().inv_cdf((1 + level) / 2)
