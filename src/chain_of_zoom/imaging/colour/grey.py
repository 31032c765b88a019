"""Photos without colour, which stay so whatever a network makes of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.raster import Samples

COLOUR_REMOVED = "colour of the network removed: the photo is grey"

_ROWS = 64  # small enough to stay in the cache, and a photo with colour is known by its first rows
_RED, _GREEN, _BLUE = np.float32(0.2126), np.float32(0.7152), np.float32(0.0722)  # luma of BT.709, sRGB's primaries


def is_grey(pixels: NDArray[np.uint8 | np.uint16 | np.float32]) -> bool:
    """Whether red, green and blue of H x W x 3 are equal in every pixel: exactly, so that sepia is colour."""
    return all(
        np.array_equal(band[..., 0], band[..., 1]) and np.array_equal(band[..., 1], band[..., 2])
        for band in (pixels[row : row + _ROWS] for row in range(0, len(pixels), _ROWS))
    )


def to_luma(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the luma of H x W x 3 in all three channels."""
    plane = pixels[..., 0] * _RED + pixels[..., 1] * _GREEN + pixels[..., 2] * _BLUE
    return np.repeat(plane[..., None], 3, axis=2)


def remove_rounding(pixels: Samples) -> Samples:
    """Make a conversion of grey (H x W x 3) R=G=B again, where its rounding left a level of 255 at most.

    Where it left more, in a single pixel, the pixels come back as they are: then they were given a colour.
    """
    largest_rounding = np.iinfo(pixels.dtype).max // 255
    for row in range(0, len(pixels), _ROWS):
        band = pixels[row : row + _ROWS]
        if (band.max(axis=2) - band.min(axis=2)).max() > largest_rounding:
            return pixels
    return np.repeat(pixels[..., 1:2], 3, axis=2)
