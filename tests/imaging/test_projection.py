"""The projection: exact for random pictures and factors, within range, and local."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conftest import noise
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.imaging.geometry import Box, Size, pixel_box
from chain_of_zoom.imaging.images import area_reduce, to_float
from chain_of_zoom.imaging.projection import TOLERANCE, ParentGrid, project


def guess(height: int, width: int, seed: int, contrast: float = 1.0) -> np.ndarray:
    """Make an enlargement that has nothing to do with its parent, partly out of range."""
    return (np.random.default_rng(seed).normal(0.5, contrast, (height, width, 3))).astype(np.float32)


@pytest.mark.slow
@given(st.integers(2, 9), st.integers(1, 8), st.integers(1, 8), st.integers(0, 999))
def test_whole_factors_are_exact_whatever_the_enlargement_is(factor, height, width, seed):
    parent = to_float(noise(height, width, seed))
    parent[0, 0], parent[-1, -1] = 0, 1
    region = pixel_box(0, 0, width, height)
    result = project(guess(height * factor, width * factor, seed), parent, region)
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1
    assert (
        np.abs(
            area_reduce(result, pixel_box(0, 0, width * factor, height * factor), Size(width, height)) - parent
        ).max()
        < TOLERANCE
    )


@pytest.mark.slow
@given(st.fractions(Fraction(3, 2), 6, max_denominator=12), st.fractions(0, 1, max_denominator=7), st.integers(0, 99))
def test_any_factor_and_place_is_exact_to_a_quarter_of_a_level(ratio, offset, seed):
    # Soft pictures in the middle of the range: a pixel that lies across two of the parent's has one value for both.
    parent = (0.4 + 0.2 * np.random.default_rng(seed).random((14, 15, 3))).astype(np.float32)
    height, width = round(8 * ratio), round(10 * ratio)
    region = Box(1 + offset, 2 + offset / 2, 1 + offset + width / ratio, 2 + offset / 2 + height / ratio)
    result = project(guess(height, width, seed, 0.05), parent, region)
    x0, y0, x1, y1 = -(-region.x0 // 1), -(-region.y0 // 1), region.x1 // 1, region.y1 // 1
    inside = Box(x0, y0, x1, y1).shifted(-region.x0, -region.y0).scaled(ratio, ratio)
    means = area_reduce(result, inside, Size(int(x1 - x0), int(y1 - y0)))
    error = (means - parent[y0:y1, x0:x1]) * 255
    assert np.sqrt((error**2).mean()) < 0.25  # 60 dB


def test_what_agrees_already_stays():
    parent = to_float(noise(6, 7))
    once = project(guess(24, 28, 1, 0.2), parent, pixel_box(0, 0, 7, 6))
    np.testing.assert_allclose(project(once, parent, pixel_box(0, 0, 7, 6)), once, atol=2 * TOLERANCE)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_smooth_correction_has_no_steps_at_the_edges_of_the_parents_pixels(factor):
    ramp = np.broadcast_to(np.linspace(0, 1, 12, dtype=np.float32)[None, :, None], (12, 12, 3))
    grid = ParentGrid(pixel_box(0, 0, 12, 12), Size(12 * factor, 12 * factor))
    steps = np.diff(grid.spread(ramp)[6, :, 0])[factor : -2 * factor]
    np.testing.assert_allclose(steps, 1 / 11 / factor, atol=1e-5)


def test_a_pixel_depends_on_its_parents_and_the_ones_beside_that_alone():
    parent, enlarged = to_float(noise(20, 20)), guess(80, 80, 3)
    whole = project(enlarged, parent, pixel_box(0, 0, 20, 20))
    part = project(enlarged[20:60, 20:60], parent[5:15, 5:15], pixel_box(0, 0, 10, 10))
    inner = slice(4, -4)  # one pixel of the parent
    np.testing.assert_allclose(part[inner, inner], whole[20:60, 20:60][inner, inner], atol=1e-5)


def test_fewer_pixels_than_the_parents_stay_as_they_are():
    pixels = guess(5, 5, 0)
    assert project(pixels, to_float(noise(9, 9)), pixel_box(0, 0, 9, 9)) is pixels


def test_a_window_within_one_pixel_gets_its_mean():
    parent = to_float(noise(3, 3))
    region = Box(Fraction(5, 4), Fraction(5, 4), Fraction(7, 4), Fraction(7, 4))
    result = project(guess(16, 16, 0, 0.3), parent, region)
    np.testing.assert_allclose(result.mean(axis=(0, 1)), parent[1, 1], atol=1e-3)
