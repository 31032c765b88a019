"""Load, resize, quantise and save pictures: the only code that touches image files and Pillow's modes.

A picture inside the program is a numpy array, uint8, H x W x 3, sRGB, range 0..255, already oriented.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.imaging.colour import profiles
from chain_of_zoom.imaging.colour.grey import is_grey
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.imaging.geometry import Box, Size, whole_picture
from chain_of_zoom.imaging.metadata import NO_METADATA, EmbeddedMetadata
from chain_of_zoom.imaging.raster import Raster, Samples, by_rows
from chain_of_zoom.imaging.reading import DEFAULT_READING, Reading, colour_name
from chain_of_zoom.imaging.transparency import composite

RGB8 = NDArray[np.uint8]
RGBF = NDArray[np.float32]
Filter = Literal["nearest", "bicubic", "lanczos"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A loaded picture."""

    pixels: RGB8
    """uint8, H x W x 3, sRGB, oriented."""
    path: Path
    """Where it came from."""
    sha256: str
    """Of the file's bytes."""
    notes: tuple[str, ...] = ()
    """What was changed on the way in (orientation, profile, alpha, bit depth), one sentence each."""
    kept: EmbeddedMetadata = NO_METADATA
    """The profile that the pixels are in instead of sRGB, and EXIF data, where the reading keeps them."""

    @property
    def size(self) -> Size:
        """Width and height in pixels, after orientation."""
        return size_of(self.pixels)

    @cached_property
    def is_grey(self) -> bool:
        """Whether red, green and blue are equal in every pixel."""
        return is_grey(self.pixels)

    @classmethod
    def of_pixels(cls, pixels: RGB8, name: str = "array") -> Picture:
        """Make a picture that comes from no file; its SHA-256 is that of its pixels."""
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        return cls(pixels=pixels, path=Path(name), sha256=digest, notes=("pixels given as an array",))


def size_of(pixels: NDArray[np.generic]) -> Size:
    """Return width and height of an H x W x C array."""
    return Size(pixels.shape[1], pixels.shape[0])


def load(path: str | os.PathLike[str], reading: Reading = DEFAULT_READING) -> Picture:
    """Read a picture file as oriented 8-bit sRGB.

    EXIF orientation is applied, a profile converted, 16 bits are scaled to 8, alpha is laid on the matte, and the first
    frame of an animation taken; each is noted. `reading` may choose otherwise.
    Raises BadInputError; MissingError for HEIF without its extra; nothing else, whatever is in the file.
    """
    return render(decode(path, limits=reading.limits, keep_damaged=reading.keep_damaged), reading)


def render(raster: Raster, reading: Reading = DEFAULT_READING) -> Picture:
    """Render a decoded file as 8-bit sRGB, as `load` gives it."""
    colour, notes = raster.colour, list(raster.notes)
    embedded = EmbeddedMetadata(
        profile=raster.profile if reading.keep_profile else None,
        exif=raster.exif if reading.keep_metadata else None,
    )
    if embedded.profile:
        notes.append(f"left in the space of profile {profiles.name_profile(embedded.profile)}")
    else:
        colour, changes = profiles.to_srgb(colour, raster.profile)
        notes += changes
    if raster.alpha is not None:
        colour = composite(colour, raster.alpha, reading.matte)
        notes.append(f"alpha laid on {colour_name(reading.matte)}")
    if colour.dtype == np.uint16:
        notes.append("16 bits scaled to 8")
    if embedded.exif:
        notes.append("EXIF data kept")
    pixels = np.require(to_8_bits(colour), requirements=["C", "W"])
    return Picture(pixels=pixels, path=raster.path, sha256=raster.sha256, notes=tuple(notes), kept=embedded)


def to_8_bits(colour: Samples) -> RGB8:
    """Round 16 bits of full scale to 8; return 8 bits as they are."""
    if colour.dtype == np.uint16:
        return by_rows(lambda rows: ((rows.astype(np.uint32) + 128) // 257).astype(np.uint8), colour)
    return cast("RGB8", colour)


def resize(pixels: RGB8, size: Size, how: Filter, box: Box | None = None) -> RGB8:
    """Resample `box` (whole picture by default) of a uint8 picture to `size`, antialiased when reducing.

    The published code's own resampler (Pillow), so its results are reproduced to the bit.
    """
    box = box or whole_picture(size_of(pixels))
    if box.is_whole:
        x0, y0, x1, y1 = box.whole()
        pixels = pixels[y0:y1, x0:x1]
        if size_of(pixels) == size:
            return pixels.copy()
        resized = Image.fromarray(pixels).resize(size, _FILTERS[how])
    else:
        resized = Image.fromarray(pixels).resize(size, _FILTERS[how], box=box.floats())
    return np.asarray(resized).copy()


def crop_padded(pixels: RGB8, left: int, top: int, size: Size) -> RGB8:
    """Cut out the window of `size` at (left, top), black where it leaves the picture."""
    return np.asarray(Image.fromarray(pixels).crop((left, top, left + size.width, top + size.height))).copy()


def enlarge(window: RGB8, factor: int) -> RGB8:
    """Enlarge a window bicubically: the start of one-step backbones, and the picture that prompters see."""
    height, width = window.shape[:2]
    return resize(window, Size(width * factor, height * factor), "bicubic")


def enlarge_part(picture: RGB8, factor: int, rows: slice, columns: slice) -> RGB8:
    """Make some rows and columns of the Lanczos enlargement of a whole picture, to the bit, and no others.

    That enlargement is what whole pictures are refined from (as published). Starts are multiples of the factor.
    """
    reach = 3  # of the Lanczos kernel, in pixels of the picture
    first_row, first_column = (max(span.start // factor - reach, 0) for span in (rows, columns))
    part = picture[first_row : -(-rows.stop // factor) + reach, first_column : -(-columns.stop // factor) + reach]
    enlarged = resize(part, Size(part.shape[1] * factor, part.shape[0] * factor), "lanczos")
    row, column = rows.start - first_row * factor, columns.start - first_column * factor
    return enlarged[row : row + rows.stop - rows.start, column : column + columns.stop - columns.start]


def area_reduce(pixels: RGBF, box: Box, size: Size) -> RGBF:
    """Average `box` of a float picture down to `size`, each output pixel the exact mean of the area it covers."""
    rows = _area_means(pixels, box.y0, box.y1, size.height)
    means = _area_means(rows.swapaxes(0, 1), box.x0, box.x1, size.width).swapaxes(0, 1)
    return np.ascontiguousarray(means, dtype=np.float32)


def crop_or_reduce(pixels: RGBF, box: Box, size: Size) -> RGBF:
    """Return `box` of a float picture at `size`: cut out where pixels coincide, else reduced by exact area means.

    The last step of a chain is enlarged by the backbone's full factor and then brought down to whatever ratio remains.
    Means of areas neither shift nor alias it; where the ratio is the factor itself, the pixels are the result already.
    """
    if box.is_whole and box.width == size.width and box.height == size.height:
        x0, y0, x1, y1 = box.whole()
        return pixels[y0:y1, x0:x1]
    return area_reduce(pixels, box, size)


def _area_means(
    pixels: NDArray[np.float32 | np.float64], start: Fraction, stop: Fraction, count: int
) -> NDArray[np.float64]:
    """Return means of `count` equal parts of the span along the first axis, by differences of running sums."""
    edges = np.linspace(float(start), float(stop), count + 1)
    whole = np.minimum(edges.astype(int), len(pixels) - 1)
    first, last = whole[0], whole[-1] + 1
    sums = np.zeros((last - first + 1, *pixels.shape[1:]))
    np.cumsum(pixels[first:last], axis=0, dtype=np.float64, out=sums[1:])
    parts = sums[whole - first] + (edges - whole)[:, None, None] * pixels[whole]
    means: NDArray[np.float64] = np.diff(parts, axis=0) / np.diff(edges)[:, None, None]
    return means


def to_float(pixels: RGB8) -> RGBF:
    """Convert 8 bits to float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def to_uint8(pixels: RGBF, how: Literal["round", "truncate"] = "round") -> RGB8:
    """Convert float RGB in [0, 1] to 8 bits; `truncate` is floor(255 * clamp(y)), as published (as published)."""
    scaled = np.clip(pixels, 0, 1) * np.float32(255)
    whole: RGB8 = (np.rint(scaled) if how == "round" else np.floor(scaled)).astype(np.uint8)
    return whole


def decode_png(data: bytes) -> RGB8:
    """Decode the pixels of a PNG that this program wrote, as they are."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB")).copy()


def profile_of_png(data: bytes) -> bytes | None:
    """Return the profile that those pixels are in, where it is not sRGB."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else None
