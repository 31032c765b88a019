from __future__ import annotations

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom.imaging.colour.transfer import fix_colors
from chain_of_zoom.imaging.images import to_uint8


def test_none_changes_nothing():
    np.testing.assert_array_equal(to_uint8(fix_colors(noise(9, 9), noise(9, 9, 1), "none")), noise(9, 9))


def test_adain_takes_over_mean_and_deviation():
    content = (noise(40, 30) // 4) + 90
    style = (noise(40, 30, 1) // 3) + 60
    fixed = fix_colors(content, style, "adain")
    np.testing.assert_allclose(fixed.mean((0, 1)), style.mean((0, 1)) / 255, atol=1e-5)
    np.testing.assert_allclose(fixed.std((0, 1), ddof=1), style.std((0, 1), ddof=1) / 255, atol=1e-3)


def test_wavelet_by_hand():
    """Against a plain 3x3 convolution with dilation, pixel by pixel."""
    content, style = noise(12, 10), noise(12, 10, 1)

    def low(pixels: np.ndarray) -> np.ndarray:
        pixels = pixels / 255
        for level in range(5):
            r = 2**level
            padded = np.pad(pixels, ((r, r), (r, r), (0, 0)), mode="edge")
            out = np.zeros_like(pixels)
            for dy, row in enumerate([[1, 2, 1], [2, 4, 2], [1, 2, 1]]):
                for dx, weight in enumerate(row):
                    out += weight / 16 * padded[dy * r : dy * r + 12, dx * r : dx * r + 10]
            pixels = out
        return pixels

    expected = np.clip(content / 255 - low(content) + low(style), 0, 1)
    np.testing.assert_allclose(fix_colors(content, style, "wavelet"), expected, atol=1e-5)


@pytest.mark.parametrize("how", ["adain", "wavelet"])
def test_a_picture_fixed_to_itself_stays(how):
    np.testing.assert_allclose(fix_colors(noise(64, 64), noise(64, 64), how), noise(64, 64) / 255, atol=1e-4)
