"""libvips, quietly: imported only for what Pillow cannot do, which is TIFF, deep colour and its profiles."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyvips as pyvips
from numpy.typing import NDArray

logging.getLogger("pyvips").setLevel(logging.ERROR)  # it tells of every warning in a file on stderr


def oriented(image: Any, orientation: int) -> NDArray[Any]:
    """H x W x C samples of an image, turned as EXIF's `orientation` says."""
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    turned = image.autorot()
    return np.asarray(turned.numpy()).reshape(turned.height, turned.width, turned.bands)


def take_log() -> list[str]:
    """The lines of libvips' log of errors, which is one for all threads and empty afterwards."""
    text: bytes = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer())
    pyvips.vips_lib.vips_error_clear()
    return text.decode(errors="replace").splitlines()
