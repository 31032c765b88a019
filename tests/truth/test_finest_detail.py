"""Real detail is measured on a photo spoilt by known amounts."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from conftest import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from chain_of_zoom.imaging.geometry import Box
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.truth.resolution import SOFT, DetailMeter, count_blur, cut_around
from chain_of_zoom.truth.spectrum import TILE, cut_tiles, measure_spectra

GAUSSIAN = 1.46  # a Gaussian of s px lets a tenth pass at a scale of 1.46 s px


def box(x0: float, y0: float, x1: float, y1: float) -> Box:
    return Box(*map(Fraction, (x0, y0, x1, y1)))


def spoil(photo: RGB8, **how: float) -> RGB8:
    image = Image.fromarray(photo)
    if factor := how.get("factor"):
        image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    if spread := how.get("blur"):
        image = image.filter(ImageFilter.GaussianBlur(spread))
    if quality := how.get("jpeg"):
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality)
        image = Image.open(data).convert("RGB")
    return np.asarray(image)


@pytest.mark.parametrize("how", [{}, {"jpeg": 90}, {"jpeg": 60}], ids=str)
def test_a_sharp_photo_is_not_called_soft(astronaut, how):
    assert DetailMeter(spoil(astronaut, **how)).finest < SOFT


@pytest.mark.parametrize(
    ("how", "scale"),
    [({"factor": 2}, 2), ({"factor": 3}, 3), ({"factor": 2, "jpeg": 85}, 2), ({"blur": 2}, 2 * GAUSSIAN)],
    ids=str,
)
def test_enlarged_and_blurred_photos_are_noticed_and_measured_within_a_quarter(astronaut, how, scale):
    finest = DetailMeter(spoil(astronaut, **how)).finest
    assert finest >= SOFT
    assert finest == pytest.approx(scale, rel=0.25)


def test_a_spot_out_of_focus_is_told_from_a_sharp_one(astronaut):
    photo = astronaut.copy()
    photo[:, 256:] = spoil(astronaut, blur=6)[:, 256:]
    meter = DetailMeter(photo)
    sharp, soft = meter.measure(box(140, 90, 160, 110)), meter.measure(box(380, 300, 400, 320))
    assert count_blur(sharp) == 1
    assert soft > 2 * SOFT  # 8.8 px were it alone; a wider look to measure that sees the sharp half too


def test_nothing_stands_out_of_noise_or_of_one_colour():
    assert DetailMeter(np.full((200, 300, 3), 117, np.uint8)).finest is None
    assert DetailMeter(noise(200, 300)).finest is None
    assert count_blur(None) == np.inf


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(1, 300), st.integers(1, 300))
def test_pictures_of_all_sizes_are_measured(height, width):
    photo = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    assert (DetailMeter(photo).finest or 1) >= 1


@settings(max_examples=40)
@given(st.floats(0, 300), st.floats(0, 200), st.floats(0, 50), st.integers(1, 250))
def test_a_cut_holds_the_window_as_far_as_the_photo_does(x, y, side, least):
    photo = noise(200, 300)
    window = box(x, y, min(x + side, 300), min(y + side, 200))
    cut = cut_around(photo, window, least)
    assert cut.shape[0] == min(max(np.ceil(float(window.height)), least), 200)
    assert cut.shape[1] == min(max(np.ceil(float(window.width)), least), 300)


def test_powers_are_variances_and_a_wave_lies_in_its_band():
    spectra = measure_spectra(cut_tiles(noise(400, 400), 30))
    np.testing.assert_allclose(spectra.bands.mean(axis=0), 255**2 / 12 * (0.299**2 + 0.587**2 + 0.114**2), rtol=0.25)
    wave = np.tile(np.sin(np.arange(TILE) * 2 * np.pi / 8), (1, TILE, 1)).astype(np.float32)
    edges = np.geomspace(1.75 / TILE, 0.5, 17)
    assert measure_spectra(wave).bands[0].argmax() == np.searchsorted(edges, 1 / 8) - 1


@pytest.mark.slow
def test_a_map_of_blur_tells_the_soft_half_from_the_sharp_one(astronaut):
    """One cell is measured with 128 px about it, so those beside the edge of the halves are left out."""
    photo = astronaut.copy()
    photo[:, 256:] = np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(4)))[:, 256:]
    blur = np.array(DetailMeter(photo[:384]).map_blur(8))
    assert blur.shape == (6, 8)
    assert np.median(blur[:, :3]) < 2
    assert np.median(blur[:, 5:]) == pytest.approx(1.46 * 4, rel=0.3)
    assert np.array(DetailMeter(noise(40, 90)).map_blur(3)).tolist() == [[np.inf] * 3]
