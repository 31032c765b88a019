from __future__ import annotations

import numpy as np
import pytest
from conftest import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, zoom

from chain_of_zoom.evaluation.registration import find_shift


@pytest.fixture(scope="module")
def plane(astronaut):
    return astronaut.astype(float).mean(axis=2)


@pytest.mark.slow
@settings(max_examples=10)
@given(x=st.integers(-48, 48), y=st.integers(-48, 48), scale=st.sampled_from([4, 6]))
def test_fractions_of_a_pixel(x, y, scale):
    """A photo moved by whole pixels and then reduced has moved by a fraction; up to twelve pixels here."""
    full = SCENE
    size = 384
    cut = [full[64 - b : 64 - b + size, 64 - a : 64 - a + size] for a, b in ((0, 0), (x, y))]
    reference, image = (part.reshape(size // scale, scale, size // scale, scale).mean(axis=(1, 3)) for part in cut)
    found = find_shift(image, reference)
    assert found == pytest.approx((x / scale, y / scale), abs=0.05)


SCENE = gaussian_filter(np.random.default_rng(0).normal(0, 600, (512, 512)), 4) + 128


def test_brightness_and_blur_do_not_matter(plane):
    reference = plane[100:228, 100:228]
    image = gaussian_filter(plane, 1)[100:228, 98:226] * 0.9 + 20
    assert find_shift(image, reference) == pytest.approx((2, 0), abs=0.05)


def test_no_shift_is_told_where_there_is_none_to_see(plane):
    assert find_shift(plane[:15, :15], plane[:15, :15]) is None
    assert find_shift(np.full((64, 64), 9.0), np.full((64, 64), 9.0)) is None
    stripes = np.tile(np.sin(np.arange(64)) * 80 + 128, (64, 1))
    assert find_shift(stripes, stripes) is None  # along the stripes anything goes
    one, other = (noise(64, 64, seed).astype(float).mean(axis=2) for seed in (0, 1))
    assert find_shift(zoom(one, 2), zoom(other, 2)) is None
