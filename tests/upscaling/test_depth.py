from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from chain_of_zoom.imaging.geometry import PixelRect
from chain_of_zoom.upscaling.depth import PhotoSource, enlarge_alpha, enlarge_detail


@pytest.mark.parametrize("scale", [Fraction(4), Fraction(16, 5), Fraction(50, 37)])
def test_parts_of_enlarge_alpha_are_parts_of_the_whole(scale):
    alpha = np.random.default_rng(0).integers(60, 190, (37, 50), dtype=np.uint8)
    size = (round(50 * scale), round(37 * scale))
    exact = (Fraction(size[0], 50), Fraction(size[1], 37))
    whole = enlarge_alpha(alpha, PixelRect(0, 0, *size), exact, 255)
    part = PixelRect(11, 5, size[0] - 3, size[1] - 14)
    difference = enlarge_alpha(alpha, part, exact, 255) != whole[5 : part.y1, 11 : part.x1]
    assert difference.mean() < 1e-3  # what lies on a half may be rounded either way
    plain = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
    assert np.abs(whole[..., 0].astype(int) - plain).max() <= 1  # Pillow rounds between its two passes


def test_alpha_keeps_its_ends_at_another_depth():
    opaque = np.full((9, 9), 255, np.uint8)
    assert enlarge_alpha(opaque, PixelRect(0, 0, 36, 36), (Fraction(4), Fraction(4)), 65535).min() == 65535


def test_eight_bits_have_no_finer_detail_and_sixteen_give_the_gradient_back():
    assert enlarge_detail(PhotoSource(np.zeros((9, 9, 3), np.uint8)), PixelRect(0, 0, 36, 36), 4) is None
    ramp = np.linspace(20000, 20900, 64).astype(np.uint16)  # 3.5 of 255 levels
    deep = np.repeat(np.repeat(ramp[None, :, None], 16, axis=0), 3, axis=2)
    rounded = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
    coarse = np.asarray(Image.fromarray(rounded).resize((256, 64), Image.Resampling.BICUBIC)).astype(np.float32) / 255
    detail = enlarge_detail(PhotoSource(deep), PixelRect(0, 0, 256, 64), 4)
    truth = np.asarray(Image.fromarray(deep[..., 0].astype(np.float32)).resize((256, 64), Image.Resampling.BICUBIC))
    error = np.abs((coarse + detail)[..., 0] * 65535 - truth)
    assert np.abs(coarse[..., 0] * 65535 - truth).max() > 100
    assert error.max() < 140  # the coarse picture is itself rounded to half of 257
    assert error.mean() < 0.55 * np.abs(coarse[..., 0] * 65535 - truth).mean()
