"""Means, bootstrap intervals over pictures, and paired comparisons; all seeded, all by the same draws.

A picture is one observation, however many spots of it were measured: they share its light, its lens and its blur.
Intervals are percentiles of the means of resampled pictures (Efron and Tibshirani, 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.evaluation.metrics.base import Direction
from chain_of_zoom.evaluation.results import Cell, Interval, MetricValue, PairedDifference

RESAMPLES = 2000
LEVEL = 0.95

SpotValues = dict[str, dict[int, float]]
"""picture -> spot -> value."""
ValueTable = dict[tuple[str, int, str], SpotValues]
"""(method, depth, metric) -> picture -> spot -> value."""


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Draws of pictures; the same number of pictures gets the same draws."""

    seed: int = 0
    """The seed of the draws."""
    resamples: int = RESAMPLES
    """How many times the pictures are drawn."""

    def interval(self, values: Sequence[float]) -> Interval:
        """Return the mean and the interval of one value per picture; at least one."""
        array = np.asarray(values, np.float64)
        if len(array) < 2:
            return Interval(n=len(array), mean=float(array.mean()))
        means = _draw_shares(len(array), self.seed, self.resamples) @ array
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(n=len(array), mean=float(array.mean()), low=float(low), high=float(high))


def estimate_share(values: Sequence[float]) -> Interval:
    """Return the mean and Wilson's interval of one share, 0 to 1, per picture; at least one.

    A bootstrap of shares that are all 0, or all 1, would claim to be certain (Wilson, 1927).
    """
    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return Interval(n=n, mean=mean)
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle, reach = mean + z * z / (2 * n), z * sqrt(mean * (1 - mean) / n + (z / (2 * n)) ** 2)
    scale = 1 + z * z / n
    return Interval(n=n, mean=mean, low=max(0.0, (middle - reach) / scale), high=min(1.0, (middle + reach) / scale))


@lru_cache(maxsize=8)
def _draw_shares(count: int, seed: int, resamples: int) -> NDArray[np.float64]:
    """Return resamples x count: how much each picture counts in every resampled mean."""
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count))
    return np.stack([np.bincount(row, minlength=count) for row in draws]) / count


def share_of_wins(differences: Sequence[float], direction: Direction) -> float:
    """Return the share of positive outcomes for the method that `base` was subtracted from; ties count half."""
    signs = np.sign(differences) * (1 if direction == "higher" else -1)
    return float(((signs + 1) / 2).mean())


def group_values(values: Iterable[MetricValue]) -> ValueTable:
    """Group values by method, depth and metric; pictures stay in their order."""
    table: ValueTable = {}
    for v in values:
        table.setdefault((v.method, v.depth, v.metric), {}).setdefault(v.picture, {})[v.spot] = v.value
    return table


def average_pictures(
    table: ValueTable, directions: Mapping[str, Direction], bootstrap: Bootstrap, shares: Collection[str] = ()
) -> tuple[Cell, ...]:
    """Return the mean over pictures of every method, depth and metric, and mark the best.

    A method that failed on a picture cannot be the best by having fewer. shares: the metrics that are yes or no.
    """
    intervals: dict[tuple[str, int, str], Interval] = {}
    for key, pictures in table.items():
        means = [sum(spots.values()) / len(spots) for spots in pictures.values()]
        intervals[key] = estimate_share(means) if key[2] in shares else bootstrap.interval(means)
    most_pictures: dict[tuple[int, str], int] = {}
    for (_, depth, metric), interval in intervals.items():
        most_pictures[depth, metric] = max(most_pictures.get((depth, metric), 0), interval.n)
    best: dict[tuple[int, str], float] = {}
    for (_, depth, metric), interval in intervals.items():
        if interval.n == most_pictures[depth, metric]:
            choose = max if directions[metric] == "higher" else min
            best[depth, metric] = choose(best.get((depth, metric), interval.mean), interval.mean)
    return tuple(
        Cell(
            method=method,
            depth=depth,
            metric=metric,
            interval=interval,
            best=interval.n == most_pictures[depth, metric] and interval.mean == best[depth, metric],
        )
        for (method, depth, metric), interval in intervals.items()
    )


def subtract_pictures(base: SpotValues, values: SpotValues) -> list[float]:
    """Return `values` minus `base` for every picture that both have, as the mean over the spots that both have."""
    differences: list[float] = []
    for picture, spots in base.items():
        shared_spots = [spot for spot in spots if spot in values.get(picture, {})]
        if shared_spots:
            total = sum(values[picture][spot] - spots[spot] for spot in shared_spots)
            differences.append(total / len(shared_spots))
    return differences


def compare_methods(
    table: ValueTable, methods: Sequence[str], directions: Mapping[str, Direction], bootstrap: Bootstrap
) -> tuple[PairedDifference, ...]:
    """Compare every two methods, the earlier one as base, at every depth and metric, on pictures that both have."""
    pairs: list[PairedDifference] = []
    for (base, depth, metric), pictures in table.items():
        for method in methods[methods.index(base) + 1 :]:
            differences = subtract_pictures(pictures, table.get((method, depth, metric), {}))
            if differences:
                interval = bootstrap.interval(differences)
                wins = share_of_wins(differences, directions[metric])
                pairs.append(
                    PairedDifference(
                        base=base, other=method, depth=depth, metric=metric, difference=interval, wins=wins
                    )
                )
    return tuple(pairs)
