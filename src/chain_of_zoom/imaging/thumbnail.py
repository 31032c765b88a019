"""Small copies of states, for pages."""

from __future__ import annotations

import io

from PIL import Image

SIDE = 320


def thumbnail(png: bytes) -> bytes:
    """A WebP of at most SIDE x SIDE pixels, with the label (XMP) that the PNG carries."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        profile = {key: value for key, value in image.info.items() if key == "icc_profile"}
        small.save(buffer, "WEBP", quality=80, method=4, xmp=image.info.get("xmp", b""), **profile)
    return buffer.getvalue()
