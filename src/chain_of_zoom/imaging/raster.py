"""A decoded picture file with everything in it, before it is made into 8-bit sRGB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8 | np.uint16]
Space = Literal["grey", "rgb", "cmyk", "lab"]


@dataclass(frozen=True, kw_only=True)
class Raster:
    """A decoded picture as its file has it, oriented."""

    colour: Samples
    """H x W x 3, RGB in the space of `profile`, uint8 or uint16 in full scale: white is 255 or 65535."""
    alpha: Samples | None = None
    """H x W of the same dtype, not premultiplied; None where all is opaque."""
    profile: bytes | None = None
    """ICC profile of an RGB space; None for sRGB."""
    resolution: tuple[float, float] | None = None
    """Pixels per inch across and down, for printing, if the file says so."""
    exif: bytes | None = None
    """As Pillow writes it ("Exif\\0\\0" first), with orientation 1, without thumbnail and maker's note."""
    xmp: bytes | None = None
    """The packet, as in the file."""
    path: Path
    """Where it came from."""
    sha256: str
    """Of the file's bytes."""
    notes: tuple[str, ...] = ()
    """What was changed or left out, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What a decoder hands over: oriented samples in full scale, and alpha."""

    samples: Samples
    """H x W x 1, 3 or 4, of `space`. Lab's a and b are shifted: -128 is 0 and 127 full scale."""
    space: Space
    """What the channels mean."""
    alpha: Samples | None = None
    """H x W of the same dtype; None where all is opaque."""
    notes: tuple[str, ...] = ()
    """What was changed or left out, one sentence each."""


def by_rows(convert: Callable[..., NDArray[Any]], *arrays: NDArray[Any]) -> NDArray[Any]:
    """Convert arrays of H x W pixels a band of rows at a time, so that wide numbers in between cost no memory.

    `convert` takes the same rows of all arrays and gives as many, of one shape and dtype.
    """
    height, width = arrays[0].shape[:2]
    step = max(1, (1 << 18) // width)
    first = convert(*(array[:step] for array in arrays))
    result = np.empty((height, *first.shape[1:]), first.dtype)
    result[:step] = first
    for row in range(step, height, step):
        rows = slice(row, row + step)
        result[rows] = convert(*(array[rows] for array in arrays))
    return result
