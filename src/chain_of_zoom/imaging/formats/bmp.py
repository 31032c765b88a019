"""BMP whose samples are bit fields, of which Pillow knows the common ones only."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.formats.signatures import explain_cut_short, explain_unread
from chain_of_zoom.imaging.raster import Layers
from chain_of_zoom.imaging.reading import Limits

_FIELDS = (3, 6)  # compressions: bit fields, and those with alpha
_SLOW = 3_000_000  # bytes of run lengths that Pillow needs two seconds for


def check(data: bytes, name: str) -> None:
    """Raises BadInputError for run lengths that would take too long."""
    if data[:2] == b"BM" and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0") and len(data) > _SLOW and data[14] >= 40:
        raise explain_unread(name, f"a BMP compressed with run lengths (RLE) of over {_SLOW:,} bytes")


def has_fields(data: bytes) -> bool:
    """Whether this is a BMP of bit fields (16 or 32 bits a pixel)."""
    if data[:2] != b"BM" or len(data) < 70:
        return False
    size, bits, compression = struct.unpack_from("<I10xHI", data, 14)
    return size >= 40 and size != 64 and bits in (16, 32) and compression in _FIELDS


def read(data: bytes, name: str, limits: Limits) -> Layers:
    """Read the pixels of such a file. Raises BadInputError."""
    start, size, width, height, bits, compression = struct.unpack_from("<IIii2xHI", data, 10)
    limits.check_size(width, abs(height), name)
    masks = struct.unpack_from("<4I", data, 54)
    if size < 56 and compression != 6:
        masks = (*masks[:3], 0)
    stride = (width * bits // 8 + 3) // 4 * 4
    rows = min(max(len(data) - start, 0) // stride, abs(height))
    if rows < abs(height):
        raise explain_cut_short(name, f"{rows} of {abs(height)} rows are there", "BMP")
    pixels = np.ndarray((abs(height), width), f"<u{bits // 8}", data, start, (stride, bits // 8))
    pixels = pixels if height < 0 else pixels[::-1]
    samples = np.dstack([_samples(pixels, mask) for mask in masks[:3]])
    return Layers(samples=samples, space="rgb", alpha=_samples(pixels, masks[3]) if masks[3] else None)


def _samples(pixels: NDArray[np.uint16 | np.uint32], mask: int) -> NDArray[np.uint8]:
    """Stretch the bits under a mask to 8 bits."""
    low = (mask & -mask).bit_length() - 1 if mask else 0
    top = max(mask >> low, 1)
    values = (pixels & mask) >> low
    if top > 255:  # of fine fields the first 8 bits
        values, top = values >> top.bit_length() - 8, 255
    return ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)
