"""Enlarge what backbones do not see, bits below the eighth and alpha: by bicubic, in floats, part by part."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.imaging.geometry import Box, PixelRect, Size
from chain_of_zoom.imaging.images import RGBF, to_8_bits
from chain_of_zoom.imaging.raster import Samples

REACH = 4
"""Pixels around a part that its bicubic enlargement depends on, and some."""
WHITE_16, WHITE_8 = np.float32(65535), np.float32(255)


class PixelSource(Protocol):
    """A picture that is read in parts: the photo, or the canvas of the step before."""

    @property
    def size(self) -> Size:
        """Width and height."""

    def read(self, rect: PixelRect) -> Samples:
        """Return a part: rows x columns x 3 (or 4, with alpha), uint8 or uint16."""


class PhotoSource:
    """A photo in memory (H x W x 3) as a source."""

    def __init__(self, colour: Samples) -> None:
        self.colour = colour
        self.size = Size(colour.shape[1], colour.shape[0])

    def read(self, rect: PixelRect) -> Samples:
        """Return a part of it."""
        return self.colour[rect.y0 : rect.y1, rect.x0 : rect.x1]


class ReducedSource:
    """A source reduced by Lanczos, part by part: parts meet without seams."""

    def __init__(self, source: PixelSource, size: Size) -> None:
        self.source = source
        self.size = size
        self._scale = Fraction(size.width, source.size.width), Fraction(size.height, source.size.height)

    def read(self, rect: PixelRect) -> Samples:
        """Return a part of it."""
        around = _reach_around(rect, self._scale, self.source.size, ceil(REACH / min(self._scale)))
        samples = self.source.read(around)
        planes = samples[..., :3].astype(np.float32)
        reduced = _resample_part(planes, around, rect, self._scale, Image.Resampling.LANCZOS)
        pixels: Samples = np.clip(np.rint(reduced), 0, np.iinfo(samples.dtype).max).astype(samples.dtype)
        return pixels


def stretch_part(source: PixelSource, part: PixelRect, scale: tuple[Fraction, Fraction]) -> RGBF:
    """Enlarge a source by Lanczos and return a part (in pixels of the result): rows x columns x 3, white is 1."""
    around = _reach_around(part, scale, source.size)
    samples = source.read(around)[..., :3]
    planes = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
    return _resample_part(planes, around, part, scale, Image.Resampling.LANCZOS)


def enlarge_detail(source: PixelSource, part: PixelRect, factor: int) -> RGBF | None:
    """Enlarge what 16 bits say beyond 8 about a part of the source, in units of white; return None for 8 bits.

    part: in pixels of the enlargement by `factor`. Added to what a backbone makes of the 8-bit picture, it gives smooth
    gradients back: the steps between levels are too small for a backbone to see detail in.
    """
    scale = (Fraction(factor), Fraction(factor))
    around = _reach_around(part, scale, source.size)
    deep = source.read(around)
    if deep.dtype == np.uint8:
        return None
    detail = deep.astype(np.float32) / WHITE_16 - to_8_bits(deep).astype(np.float32) / WHITE_8
    return _resample_part(detail, around, part, scale)


def enlarge_alpha(alpha: Samples, part: PixelRect, scale: tuple[Fraction, Fraction], top: int) -> Samples:
    """Enlarge a part (in pixels of the result) of alpha (H x W) by `scale`: rows x columns x 1, from 0 to `top`."""
    around = _reach_around(part, scale, Size(alpha.shape[1], alpha.shape[0]))
    plane = alpha[around.y0 : around.y1, around.x0 : around.x1, None].astype(np.float32)
    enlarged = _resample_part(plane, around, part, scale) * np.float32(top / np.iinfo(alpha.dtype).max)
    rounded: Samples = np.rint(np.clip(enlarged, 0, top)).astype(np.uint8 if top == 255 else np.uint16)
    return rounded


def _reach_around(part: PixelRect, scale: tuple[Fraction, Fraction], size: Size, reach: int = REACH) -> PixelRect:
    """Return the pixels that a part of a resampled picture depends on."""
    x, y = scale
    return PixelRect(
        max(floor(part.x0 / x) - reach, 0),
        max(floor(part.y0 / y) - reach, 0),
        min(ceil(part.x1 / x) + reach, size.width),
        min(ceil(part.y1 / y) + reach, size.height),
    )


def _resample_part(
    planes: RGBF,
    around: PixelRect,
    part: PixelRect,
    scale: tuple[Fraction, Fraction],
    resampler: Image.Resampling = Image.Resampling.BICUBIC,
) -> NDArray[np.float32]:
    """Return `part` of a resampled picture of which `planes` shows `around`: no seams between parts."""
    edges = Box(part.x0 / scale[0], part.y0 / scale[1], part.x1 / scale[0], part.y1 / scale[1])
    edges = edges.shifted(-around.x0, -around.y0)
    images = [Image.fromarray(np.ascontiguousarray(planes[..., i])) for i in range(planes.shape[2])]
    resized = [image.resize(part.size, resampler, edges.floats()) for image in images]
    return np.stack([np.asarray(image) for image in resized], axis=-1)
