"""Photos as programs have them: a file's name, its bytes, an open file, a picture of Pillow, or an array of pixels."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.imaging.decode import decode, decode_bytes
from chain_of_zoom.imaging.limits import Limits
from chain_of_zoom.imaging.raster import Raster
from chain_of_zoom.imaging.reading import DEFAULT_READING, Reading

Photo = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any]
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # what PNG holds as it is
_ACCEPTED = "accepted: a file's name, bytes or open file, a picture of Pillow, or uint8 pixels"


def read_photo(photo: Photo, reading: Reading = DEFAULT_READING) -> Raster:
    """Decode a photo, wherever it is.

    Arrays are H x W x 3, uint8 or uint16 (full scale), sRGB. A picture of Pillow is read as the file that it would be
    saved to: with its profile, transparency and EXIF orientation.
    Raises BadInputError as `decode` does, and UsageError for anything else.
    """
    limits = reading.limits
    if isinstance(photo, str | os.PathLike):
        return decode(photo, limits=limits, keep_damaged=reading.keep_damaged)
    if isinstance(photo, np.ndarray):
        return _array(photo, limits)
    if isinstance(photo, Image.Image):
        return _pillow(photo, limits)
    data = getattr(photo, "getvalue", getattr(photo, "read", lambda: photo))()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise UsageError(f"photo of type {type(photo).__name__}; {_ACCEPTED}; for example np.asarray(photo, 'uint8')")
    return decode_bytes(bytes(data), Path("bytes"), limits=limits, keep_damaged=reading.keep_damaged)


def _array(pixels: NDArray[Any], limits: Limits) -> Raster:
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            f"array of {pixels.dtype} {pixels.shape}; accepted: uint8 or uint16, H x W x 3, sRGB; "
            "convert it first, for example np.asarray(Image.fromarray(array).convert('RGB'))"
        )
    limits.check_size(pixels.shape[1], pixels.shape[0], "array")
    sha256 = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    return Raster(colour=pixels, path=Path("array"), sha256=sha256, notes=("pixels given as an array",))


def _pillow(image: Image.Image, limits: Limits) -> Raster:
    """The picture by way of PNG, which loses nothing; its SHA-256 is that of the pixels, not of the way."""
    if image.mode not in _MODES:
        raise UsageError(
            f"a picture of Pillow in mode {image.mode}; accepted: {', '.join(_MODES)}; for example image.convert('RGB')"
        )
    limits.check_size(*image.size, "image")
    file = io.BytesIO()
    try:
        image.save(file, "PNG", exif=image.getexif(), compress_level=1)
        pixels = image.tobytes()
    except Exception as error:  # it is only now that Pillow reads the file
        raise BadInputError(f"the picture of Pillow cannot be read ({error}); accepted: one that loads") from error
    raster = decode_bytes(file.getvalue(), Path("image"), limits=limits)
    return replace(
        raster, sha256=hashlib.sha256(pixels).hexdigest(), notes=("a picture of Pillow, from memory", *raster.notes)
    )
