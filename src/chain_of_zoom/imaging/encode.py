"""Pictures as the bytes of a PNG or JPEG file, with their label; PNG also with profile and EXIF data."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.imaging.metadata import NOTHING, Kept


def encode_png(
    pixels: RGB8,
    texts: dict[str, str] | None = None,
    xmp: str | None = None,
    kept: Kept = NOTHING,
    *,
    fast: bool = False,
) -> bytes:
    """A PNG of uint8 pixels (H x W x 3, or H x W for grey), with or without a label; the same input, the same bytes.

    fast: in a third of the time, 8% larger; for files by the thousand.
    """
    from PIL import PngImagePlugin  # slow to import, and not needed until the first state is written

    info = PngImagePlugin.PngInfo()
    for key, text in (texts or {}).items():
        info.add_itxt(key, text)
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    options: dict[str, Any] = {"compress_level": 1} if fast else {}
    if kept.profile:
        options["icc_profile"] = kept.profile
    if kept.exif:
        options["exif"] = metadata.labelled(kept.exif, (texts or {}).get("Description", ""))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info, **options)
    return buffer.getvalue()


def encode_jpeg(pixels: RGB8, xmp: str) -> bytes:
    """A JPEG of uint8 pixels with a label, for sheets of many photographs: a tenth of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88, xmp=xmp.encode())
    return buffer.getvalue()
