"""What backbones do not see: bits below the eighth, and alpha. Both are enlarged by bicubic, in floats."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGBF, to_8_bits
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.upscaling.canvas import PixelRect

REACH = 4  # pixels around a part that its bicubic enlargement depends on, and some


class PixelSource(Protocol):
    """A picture that is read in parts: the photo, or the canvas of the step before."""

    @property
    def size(self) -> Size:
        """Width and height."""

    def read(self, corners: PixelRect) -> Samples:
        """A part: rows x columns x 3 (or 4, with alpha), uint8 or uint16."""


class PhotoSource:
    """A photo in memory as a source. colour: H x W x 3."""

    def __init__(self, colour: Samples) -> None:
        self.colour = colour
        self.size = Size(colour.shape[1], colour.shape[0])

    def read(self, corners: PixelRect) -> Samples:
        """A part of it."""
        return self.colour[corners.y0 : corners.y1, corners.x0 : corners.x1]


def fine_detail(source: PixelSource, part: PixelRect, factor: int) -> RGBF | None:
    """What 16 bits say beyond 8 about a part of the source enlarged by `factor`, in units of white; None for 8 bits.

    part: in pixels of the enlargement. Added to what a backbone makes of the 8-bit picture, it gives smooth gradients
    back: the steps between levels are too small for a backbone to see detail in.
    """
    around = _around(part, (Fraction(factor), Fraction(factor)), source.size)
    deep = source.read(around)
    if deep.dtype == np.uint8:
        return None
    rest = deep.astype(np.float32) / np.float32(65535) - to_8_bits(deep).astype(np.float32) / np.float32(255)
    return _enlarged(rest, around, part, (Fraction(factor), Fraction(factor)))


def enlarged_alpha(alpha: Samples, part: PixelRect, scale: tuple[Fraction, Fraction], top: int) -> Samples:
    """A part (in pixels of the result) of alpha (H x W) enlarged by `scale`, as rows x columns x 1 from 0 to `top`."""
    around = _around(part, scale, Size(alpha.shape[1], alpha.shape[0]))
    plane = alpha[around.y0 : around.y1, around.x0 : around.x1, None].astype(np.float32)
    enlarged = _enlarged(plane, around, part, scale) * np.float32(top / np.iinfo(alpha.dtype).max)
    rounded: Samples = np.rint(np.clip(enlarged, 0, top)).astype(np.uint8 if top == 255 else np.uint16)
    return rounded


def _around(part: PixelRect, scale: tuple[Fraction, Fraction], size: Size) -> PixelRect:
    """The pixels that a part of an enlargement depends on."""
    x, y = scale
    return PixelRect(
        max(floor(part.x0 / x) - REACH, 0),
        max(floor(part.y0 / y) - REACH, 0),
        min(ceil(part.x1 / x) + REACH, size.width),
        min(ceil(part.y1 / y) + REACH, size.height),
    )


def _enlarged(
    planes: RGBF, around: PixelRect, part: PixelRect, scale: tuple[Fraction, Fraction]
) -> NDArray[np.float32]:
    """`part` of the bicubic enlargement of a picture of which `planes` shows `around`: no seams between parts."""
    x, y = scale
    box = (part.x0 / x - around.x0, part.y0 / y - around.y0, part.x1 / x - around.x0, part.y1 / y - around.y0)
    size = (part.x1 - part.x0, part.y1 - part.y0)
    edges = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    images = [Image.fromarray(np.ascontiguousarray(planes[..., i])) for i in range(planes.shape[2])]
    return np.stack([np.asarray(image.resize(size, Image.Resampling.BICUBIC, edges)) for image in images], axis=-1)
