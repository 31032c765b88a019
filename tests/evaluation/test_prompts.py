from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import noise
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom.errors import MetricError, MissingError
from chain_of_zoom.evaluation.score import measure_influence
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8


def waves(cycles: float) -> np.ndarray:
    """A grey wave with so many cycles over 64 pixels, as a difference to lay on a picture."""
    return 20 * np.cos(2 * np.pi * cycles * (np.arange(64) + 0.5) / 64)[None, :, None] * np.ones((64, 1, 3))


def laid(difference: np.ndarray) -> tuple[RGB8, RGB8]:
    ground = np.full((64, 64, 3), 128.0)
    return np.rint(ground + difference).astype(np.uint8), ground.astype(np.uint8)


def test_a_change_of_colour_contradicts_the_parent():
    found = measure_influence(*laid(np.full((64, 64, 3), 9.0)), Size(16, 16))
    assert found.energy == pytest.approx(81)
    assert found.contradiction == pytest.approx(1, abs=1e-12)


def test_frequencies_are_split_where_the_parent_ends():
    """A window of 16 pixels holds up to 8 cycles; rounding to levels spills a little."""
    assert measure_influence(*laid(waves(5)), Size(16, 16)).contradiction > 0.999
    assert measure_influence(*laid(waves(11)), Size(16, 16)).invention > 0.999
    both = measure_influence(*laid(waves(5) + waves(11)), Size(16, 16))
    assert both.contradiction == pytest.approx(0.5, abs=0.01)
    assert measure_influence(*laid(waves(11)), Size(32, 16)).contradiction > 0.999


@settings(max_examples=20)
@given(st.integers(0, 100), st.integers(1, 24), st.integers(1, 20))
def test_shares_and_energy_add_up(seed, width, height):
    one, other = noise(20, 24, seed), noise(20, 24, seed + 1)
    found = measure_influence(one, other, Size(width, height))
    assert found.energy == pytest.approx(np.square(one.astype(float) - other).mean())
    assert found.contradiction + found.invention == pytest.approx(1)
    assert found.contradiction == pytest.approx(width * height / 480, abs=0.2)  # white noise: as its share of bins


def test_no_change_has_no_shares_and_odd_sizes_are_refused():
    picture = noise(8, 8)
    same = measure_influence(picture, picture, Size(2, 2))
    assert (same.energy, same.contradiction, same.invention) == (0, None, None)
    with pytest.raises(MetricError, match="states of 8x8 and 9x9 from a window of 2x2"):
        measure_influence(picture, noise(9, 9), Size(2, 2))
    with pytest.raises(MetricError, match="window of 9x2"):
        measure_influence(picture, picture, Size(9, 2))


def test_without_scipy_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.fft", None)
    with pytest.raises(MissingError, match=r"chain-of-zoom\[eval\]"):
        measure_influence(noise(8, 8), noise(8, 8), Size(2, 2))
