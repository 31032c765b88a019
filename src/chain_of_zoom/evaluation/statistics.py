"""Means, bootstrap intervals over pictures, and paired comparisons; all seeded, all by the same draws.

A picture is one observation, however many spots of it were measured: they share its light, its lens and its blur.
Intervals are percentiles of the means of resampled pictures (Efron and Tibshirani, 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Direction = Literal["higher", "lower"]

RESAMPLES = 2000
LEVEL = 0.95
LEAST = 6
"""Pictures from which a difference can be clear: with fewer, all of one sign are no rarer than 1 in 20 by chance."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over n pictures and its 95% interval; the interval is None for fewer than two pictures."""

    n: int
    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def is_clear(self) -> bool:
        """For differences: whether the interval lies on one side of zero, of pictures enough to say so."""
        return self.n >= LEAST and self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """`other` minus `base` over the pictures that both have.

    wins: share of the pictures on which `other` is better, ties counting half.
    """

    base: str
    other: str
    depth: int
    metric: str
    difference: Interval
    wins: float


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Draws of pictures. seed: of the draws; the same number of pictures gets the same draws."""

    seed: int = 0
    resamples: int = RESAMPLES

    def interval(self, values: Sequence[float]) -> Interval:
        """Mean and interval of one value per picture; at least one."""
        array = np.asarray(values, np.float64)
        if len(array) < 2:
            return Interval(n=len(array), mean=float(array.mean()))
        means = _shares(len(array), self.seed, self.resamples) @ array
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(n=len(array), mean=float(array.mean()), low=float(low), high=float(high))


@lru_cache(maxsize=8)
def _shares(count: int, seed: int, resamples: int) -> NDArray[np.float64]:
    """resamples x count: how much each picture counts in every resampled mean."""
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count))
    return np.stack([np.bincount(row, minlength=count) for row in draws]) / count


def share_of_wins(differences: Sequence[float], direction: Direction) -> float:
    """How often `other` is better, from its differences to `base`."""
    signs = np.sign(differences) * (1 if direction == "higher" else -1)
    return float(((signs + 1) / 2).mean())
