"""Colour fix: give an enlarged picture the colours of the bicubic enlargement it came from (as published)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.images import RGB8, RGBF

ColorFix = Literal["none", "adain", "wavelet"]
COLOR_FIXES: tuple[ColorFix, ...] = ("none", "adain", "wavelet")

_LEVELS = 5
_EPSILON = 1e-5  # under the root, with the unbiased variance, as published


def fix_colors(pixels: RGB8, reference: RGB8, how: ColorFix) -> RGBF:
    """Give `pixels` (uint8, H x W x 3) the colours of `reference` (same shape): float32 in [0, 1], unrounded.

    adain: mean and deviation per channel. wavelet: the low frequencies of the reference under the high ones of pixels.
    """
    assert pixels.shape == reference.shape, (pixels.shape, reference.shape)
    content = pixels.astype(np.float32) / np.float32(255)
    style = reference.astype(np.float32) / np.float32(255)
    fixed: NDArray[np.floating] = content
    if how == "adain":
        fixed = (content - _mean(content)) / _deviation(content) * _deviation(style) + _mean(style)
    elif how == "wavelet":
        fixed = content - _low(content) + _low(style)
    clamped: RGBF = np.clip(fixed, 0, 1).astype(np.float32)
    return clamped


def _mean(pixels: RGBF) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = pixels.mean(axis=(0, 1), dtype=np.float64)
    return mean


def _deviation(pixels: RGBF) -> NDArray[np.float64]:
    variance = pixels.reshape(-1, 3).var(axis=0, dtype=np.float64, ddof=1)
    deviation: NDArray[np.float64] = np.sqrt(variance + _EPSILON)
    return deviation


def _low(pixels: RGBF) -> RGBF:
    """Blur five times: the kernel [1 2 1]/4 along each axis, 2^i pixels apart, edges repeated."""
    for level in range(_LEVELS):
        reach = 2**level
        for axis in (0, 1):
            padded = np.pad(pixels, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
            length = pixels.shape[axis]
            before, middle, after = (
                np.take(padded, range(start, start + length), axis=axis) for start in (0, reach, 2 * reach)
            )
            pixels = (before + 2 * middle + after) / np.float32(4)
    return pixels
