from __future__ import annotations

import sys
from math import hypot

import numpy as np
import pytest
from conftest import noise
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom import zoom
from chain_of_zoom.errors import MetricError, MissingError
from chain_of_zoom.evaluation.consistency import (
    INFOS,
    StateView,
    measure_chain,
    measure_consistency,
    put_on_common_grid,
)
from chain_of_zoom.evaluation.metrics.table import load_metric
from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import area_reduce, enlarge

SIDE = 384
WINDOWS = (4 * SIDE, 2 * SIDE, SIDE)


def world(side=WINDOWS[0], seed=3):
    """A picture with detail at every scale: noise whose amplitude falls with frequency, nearly grey."""
    generator = np.random.default_rng(seed)
    frequencies = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)).astype(np.float32)
    frequencies[0, 0] = 1
    one, other = (
        np.fft.irfft2(np.fft.rfft2(generator.standard_normal((side, side), np.float32)) / frequencies) for _ in range(2)
    )
    mixed = np.stack([one, one + other / 4, one - other / 4], axis=-1)
    return np.clip(128 + 40 * (mixed - mixed.mean()) / mixed.std(), 0, 255).astype(np.float32)


def levels(pixels):
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def window(side, centre=WINDOWS[0] / 2):
    return (centre - side / 2, centre - side / 2, centre + side / 2, centre + side / 2)


def seen(picture, box, size=SIDE):
    return area_reduce(picture, Box(*box), Size(size, size))


@pytest.fixture(scope="module")
def picture():
    return world()


@pytest.fixture(scope="module")
def still(picture):
    return chain(picture)


def chain(picture, *, move=0.0, tint=0.0):
    """1x, 2x and 4x of a picture; each step moves the content right by pixels of its own, and reddens it by levels."""
    views, moved = [], 0.0
    for step, side in enumerate(WINDOWS):
        moved += move * side / SIDE if step else 0
        x0, y0, x1, y1 = window(side)
        pixels = seen(picture, (x0 - moved, y0, x1 - moved, y1))
        views.append(StateView(levels(pixels + np.array([tint * step, 0, 0])), window(side)))
    return views


@pytest.mark.slow
def test_real_pixels_are_consistent(still):
    for found in measure_chain(still):
        assert found.parent.psnr > 50
        assert found.frame.psnr > 50
        assert found.parent.color < 0.3
        assert found.parent.gradient < 0.05
        assert hypot(*found.parent.shift) < 0.02
        assert hypot(*found.drift) < 0.02


@pytest.mark.slow
def test_a_slow_drift_is_seen_here_and_not_by_niqe(picture, still):
    """A pixel to the right and three levels of red in each step: the pictures stay as natural as they were."""
    drifting = chain(picture, move=1, tint=3)
    niqe = load_metric("niqe")
    for one, other in zip(still[1:], drifting[1:], strict=True):
        assert niqe(other.image) == pytest.approx(niqe(one.image), rel=0.05)
    first, second = measure_chain(drifting)
    # Half a pixel of the parent in each step, as the states are twice as fine.
    assert first.parent.shift == pytest.approx((0.5, 0), abs=0.03)
    assert second.parent.shift == pytest.approx((0.5, 0), abs=0.03)
    assert first.drift == pytest.approx((0.5, 0), abs=0.03)
    assert second.drift == pytest.approx((0.75, 0), abs=0.05)  # the second step's pixels are half as large
    assert second.parent.color_shift == pytest.approx((3, 0, 0), abs=0.5)
    assert second.frame.color_shift == pytest.approx((6, 0, 0), abs=0.5)
    clean = measure_chain(still)[1].name_numbers()
    drifted = second.name_numbers()
    for name, info in INFOS.items():
        assert (drifted[name] > clean[name]) == (info.direction == "lower"), name


@pytest.mark.slow
def test_invented_detail_is_free_here_and_wrong_against_real_pixels(still):
    """Texture of the right strength, whose mean over each of the parent's pixels is nothing."""
    parent, true = still[0], still[2].image
    plain = enlarge(np.ascontiguousarray(parent.image[144:240, 144:240]), 4)
    strength = (true.astype(float) - plain).std()
    texture = np.random.default_rng(0).normal(0, strength, (96, 4, 96, 4, 3))
    texture -= texture.mean(axis=(1, 3), keepdims=True)
    invented = levels(plain + texture.reshape(SIDE, SIDE, 3))
    against_parent = {
        name: measure_consistency(StateView(image, window(WINDOWS[2])), parent).psnr
        for name, image in {"true": true, "plain": plain, "invented": invented}.items()
    }
    assert min(against_parent.values()) > 36  # what bicubic loses of noise like this
    assert against_parent["invented"] > against_parent["plain"] - 1
    for name in ("psnr", "ssim"):
        metric = load_metric(name)
        assert metric(invented, true) < metric(plain, true)
    # And the other way round: detail that is right, on the wrong ground, is seen here.
    assert measure_consistency(StateView(levels(true + 12.0), window(WINDOWS[2])), parent).psnr < 30


def test_equal_pictures_have_the_cap():
    view = StateView(noise(40, 50), (0, 0, 50, 40))
    found = measure_consistency(view, view)
    assert (found.psnr, found.color, found.gradient, found.color_shift) == (100, 0, 0, (0, 0, 0))
    assert found.shift == pytest.approx((0, 0), abs=1e-6)
    assert found.size == (50, 40)


def test_a_bicubic_chain_is_nearly_perfectly_consistent(astronaut):
    """States of the engine itself; bicubic blurs the pixels of the photo a little, and its own enlargements less."""
    states = zoom(astronaut, magnification=64, size=(192, 192), backbone="bicubic").states
    for found in measure_chain(states):
        assert found.parent.psnr > 37
        assert found.parent.color < 0.25
        assert max(map(abs, found.parent.color_shift)) < 0.5
        if found.parent.shift is not None:
            assert hypot(*found.parent.shift) < 0.02


@pytest.mark.slow
@settings(max_examples=40)
@given(
    x=st.floats(0, 60),
    y=st.floats(0, 40),
    width=st.floats(0.05, 40),
    height=st.floats(0.05, 24),
    columns=st.integers(40, 90),
    rows=st.integers(24, 70),
)
def test_windows_may_lie_anywhere(x, y, width, height, columns, rows):
    """A slope has the same means at every scale, so a state of it differs from its parent by rounding alone."""

    def slope(x0, y0, x1, y1, columns, rows):
        across = x0 + (np.arange(columns) + 0.5) * (x1 - x0) / columns
        down = y0 + (np.arange(rows) + 0.5) * (y1 - y0) / rows
        return levels(
            np.stack([across + 0 * down[:, None], 2 * down[:, None] + 0 * across, across + down[:, None]], -1)
        )

    box = (x, y, x + width, y + height)
    state = StateView(slope(*box, columns, rows), box)
    photo = StateView(slope(0, 0, 100, 64, 100, 64), (0, 0, 100, 64))
    here, there = put_on_common_grid(state, photo)
    assert here.shape == there.shape
    whole = here.shape[:2] != (1, 1)
    # Where no whole pixel lies inside, a pixel is compared with a part of it: half a pixel of slope, at 2 levels each.
    assert np.abs(here - there).max() <= (1.01 if whole and min(here.shape[:2]) > 1 else 3.01)


def test_what_cannot_be_told_is_a_named_gap():
    flat = StateView(np.full((64, 64, 3), 80, np.uint8), (0, 0, 16, 16))
    found = measure_consistency(flat, StateView(np.full((64, 64, 3), 80, np.uint8), (0, 0, 64, 64)))
    assert (found.shift, found.size) == (None, (16, 16))
    assert found.gap == "shift cannot be told from 16x16 pixels like these"
    deep = measure_consistency(flat, StateView(np.full((2, 2, 3), 90, np.uint8), (0, 0, 64, 64)))
    assert (deep.size, deep.gradient) == ((1, 1), None)
    assert deep.color_shift == pytest.approx((-10, -10, -10))
    after = measure_chain([StateView(noise(64, 64), (0, 0, 64, 64)), StateView(noise(64, 64, 1), (0, 0, 32, 32)), flat])
    assert [found.drift for found in after] == [None, None]
    assert after[1].name_numbers()["consistency.1x-drift"] is None


def test_windows_that_make_no_sense_are_refused():
    photo = StateView(noise(32, 32), (0, 0, 32, 32))
    with pytest.raises(MetricError, match="leaves that of its ancestor"):
        measure_consistency(StateView(noise(8, 8), (30, 0, 34, 4)), photo)
    with pytest.raises(MetricError, match="leaves that of its ancestor"):
        measure_consistency(StateView(noise(8, 8), (4, 4, 4, 8)), photo)


def test_states_that_were_reduced_are_compared_with_the_photo_on_their_own_pixels(astronaut):
    """Measured states differ from the photo's means by the reducing filter; the one at 1:1 by nothing."""
    photo = StateView(astronaut, (0, 0, 512, 512))
    states = zoom(astronaut, magnification=16, size=(96, 96), backbone="bicubic").states
    found = [measure_consistency(state, photo) for state in states]
    assert [view.size for view in found] == [(96, 96), (96, 96), (96, 96), (32, 32)]
    assert found[2].psnr == 100
    assert min(view.psnr for view in found) > 35
    assert max(hypot(*view.shift) for view in found) < 0.02


def test_every_number_is_described(still):
    values = measure_chain(still[:2])[0].name_numbers()
    assert set(values) == set(INFOS)
    for name, value in values.items():
        assert INFOS[name].name == name
        assert INFOS[name].range[0] <= value <= INFOS[name].range[1]


def test_without_scipy_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    view = StateView(noise(8, 8), (0, 0, 8, 8))
    with pytest.raises(MissingError, match=r"chain-of-zoom\[eval\]"):
        measure_consistency(view, view)
