"""HEIF (HEIC), the format of telephones: read by pillow-heif, an extra."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from chain_of_zoom.errors import BadInputError, MissingError
from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.formats.deep import stretch_to_16_bits
from chain_of_zoom.imaging.metadata import Metadata
from chain_of_zoom.imaging.raster import Layers
from chain_of_zoom.imaging.reading import Limits

_SAFE = (1, 23, 5)  # libheif before that can be made to write where it should not, and crashed on damaged files here
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_heif(data: bytes) -> bool:
    """Whether the file calls itself HEIF, and is not AVIF, which is one too."""
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS and b"avif" not in data[12:64]


def read(data: bytes, name: str, limits: Limits) -> tuple[Layers, Metadata]:
    """Read the pixels (libheif turns them itself) and the metadata. Raises MissingError without the extra."""
    try:
        import pillow_heif
    except ImportError:
        raise MissingError(
            f"{name}: HEIF needs the extra heif; accepted without: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF; "
            "pip install 'chain-of-zoom[heif]'"
        ) from None
    version = pillow_heif.libheif_version()
    if tuple(int(part) for part in version.split(".")[:3]) < _SAFE:
        raise MissingError(
            f"{name}: the libheif {version} that is installed has known holes; accepted: {'.'.join(map(str, _SAFE))} "
            "or newer; pip install -U 'chain-of-zoom[heif]'"
        )
    opened = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    limits.check_frames(len(opened), name)
    limits.check_size(opened.size[0], opened.size[1], name)
    info = opened.info
    pixels = np.asarray(opened)
    if pixels.dtype == np.uint16:
        pixels = stretch_to_16_bits(pixels, info["bit_depth"])
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    bands = pixels.shape[2]
    if bands not in (1, 3, 4):
        raise BadInputError(f"{name}: damaged ({bands} channels); try another file")
    alpha = pixels[..., 3] if bands == 4 else None
    notes = ("main one of several pictures",) if len(opened) > 1 else ()
    layers = Layers(samples=pixels[..., :3], space="grey" if bands == 1 else "rgb", alpha=alpha, notes=notes)
    carrier = Image.new("L", (1, 1))
    carrier.info = {key: info[key] for key in ("exif", "xmp", "icc_profile") if info.get(key)}
    return layers, replace(metadata.read(carrier), orientation=1)
