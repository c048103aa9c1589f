"""From a sample to all pages: totals with 95 % confidence intervals.

The sample of a stratum is drawn uniformly and without replacement. Strata are independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "Stratum", "add", "quantiles"]

Z = 1.959964  # the normal distribution has 95 % within so many standard deviations


class Estimate(msgspec.Struct, frozen=True):
    """A total and its 95 % confidence interval. All three are equal when nothing was left to chance."""

    value: int
    low: int
    high: int


class Stratum(NamedTuple):
    """Estimates from a sample.

    Attributes:
        weights: float64[n], above 0, of the pages in the sample, n >= 1.
        population: sum of the weights of all pages.
        fraction: sampled share of all pages, 0..1.
    """

    weights: NDArray[np.float64]
    population: float
    fraction: float

    def expansion(self) -> NDArray[np.float64]:
        """Return how many pages of the population each sampled one stands for: float64[n]."""
        expansion: NDArray[np.float64] = self.weights * (self.population / self.weights.sum())
        return expansion

    def total(self, values: NDArray[np.float64]) -> Estimate:
        """Estimate the sum of `values` (float64[n]) over all pages.

        With equal weights this is the mean times the number of pages, hence unbiased; the standard error has
        the finite population correction. With others it is the ratio estimator, its error linearised.
        """
        expansion = self.expansion()
        value = float((expansion * values).sum())
        count = len(values)
        deviations = expansion * (values - value / self.population)
        variance = (1 - self.fraction) * count / max(count - 1, 1) * float((deviations**2).sum())
        half = Z * math.sqrt(max(variance, 0.0))
        return _rounded(value, value - half, value + half)

    def pages_that(self, flags: NDArray[np.bool_]) -> Estimate:
        """Estimate how many of all pages have what `flags` (bool[n]) says.

        Wilson's interval, since what is rare has too few in a sample, often none, for a normal one.
        """
        share = float(self.weights[flags].sum() / self.weights.sum())
        unknown = 1 - self.fraction
        size = float(self.weights.sum() ** 2 / (self.weights**2).sum())
        spread = Z * Z * unknown / size
        centre = (share + spread / 2) / (1 + spread)
        half = math.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
        low, high = max(centre - half, 0.0), min(centre + half, 1.0)
        return _rounded(*(self.population * part for part in (share, min(low, share), max(high, share))))


def _rounded(value: float, low: float, high: float) -> Estimate:
    return Estimate(round(value), round(low), round(high))


def add(estimates: Sequence[Estimate]) -> Estimate:
    """Add independent estimates. Each side of the interval adds in squares (MOVER: Zou and Donner, 2008)."""
    value = sum(estimate.value for estimate in estimates)
    below = math.hypot(*(estimate.value - estimate.low for estimate in estimates))
    above = math.hypot(*(estimate.high - estimate.value for estimate in estimates))
    return _rounded(value, value - below, value + above)


def quantiles(values: NDArray[np.int32], weights: NDArray[np.float64], at: Sequence[float]) -> list[int]:
    """Return the smallest of `values` that at least the given shares of the weight do not exceed.

    Args:
        values: int32[n], n >= 1.
        weights: float64[n].
        at: shares, 0..1.
    """
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    # The slack keeps a share that falls on a boundary there, however the sum is rounded.
    found = np.searchsorted(reached, np.asarray(at) * reached[-1] * (1 - 1e-12))
    return [int(value) for value in values[order[np.minimum(found, len(values) - 1)]]]
