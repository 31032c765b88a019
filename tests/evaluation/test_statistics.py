"""Intervals and comparisons, against scipy's bootstrap and by their own laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom.evaluation.statistics import Bootstrap, share_of_wins

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


def test_the_interval_is_scipys_percentile_bootstrap():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).gamma(2, 3, 40)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    ours = Bootstrap(seed=3, resamples=5000).interval(values)
    # Both are Monte Carlo: at 5,000 resamples an end moves by about 2% of the interval's width.
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.06 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.06 * width)


@pytest.mark.slow
@given(VALUES)
@settings(max_examples=50)
def test_the_interval_holds_the_mean_and_lies_within_the_values(values):
    found = Bootstrap().interval(values)
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert found.n == len(values)
    assert min(values) - slack <= found.low <= found.mean + slack
    assert found.mean - slack <= found.high <= max(values) + slack


@pytest.mark.slow
@given(VALUES, st.integers(0, 5))
@settings(max_examples=30)
def test_the_seed_decides(values, seed):
    assert Bootstrap(seed=seed).interval(values) == Bootstrap(seed=seed).interval(values)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        found = Bootstrap(resamples=500).interval(rng.normal(5, 2, 30))
        hits += found.low <= 5 <= found.high
    # The percentile bootstrap of 30 values covers about 93%; 100 trials scatter by 3%.
    assert 0.84 <= hits / 100 <= 1


def test_one_picture_has_no_interval():
    found = Bootstrap().interval([3.0])
    assert (found.n, found.mean, found.low, found.high) == (1, 3.0, None, None)


def test_wins_follow_the_direction_and_ties_count_half():
    assert share_of_wins([1, 2, -1, 0], "higher") == 0.625
    assert share_of_wins([1, 2, -1, 0], "lower") == 0.375


def test_a_difference_is_clear_on_one_side_of_zero_from_six_pictures_on():
    ahead = [1.0, 2.0, 1.5, 0.5, 1.2, 0.9]
    assert Bootstrap().interval(ahead).is_clear
    assert Bootstrap().interval([-v for v in ahead]).is_clear
    assert not Bootstrap().interval(ahead[:5]).is_clear
    assert not Bootstrap().interval([*ahead[:3], *(-v for v in ahead[:3])]).is_clear
    assert not Bootstrap().interval(ahead[:1]).is_clear
