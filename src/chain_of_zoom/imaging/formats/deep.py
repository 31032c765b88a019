"""PNG of 16 bits and AVIF of 10 or 12, which Pillow reads as 8 bits: read by libvips."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.metadata import Metadata
from chain_of_zoom.imaging.raster import Layers, Samples, by_rows
from chain_of_zoom.imaging.reading import Limits

_FIELDS = {"exif": "exif-data", "xmp": "xmp-data", "icc_profile": "icc-profile-data"}
_EXTENTS = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)  # ISO/IEC 23008-12, 6.5.3
_PNG = b"\x89PNG\r\n\x1a\n"
_AVIF = (b"ftypavif", b"ftypavis")


def is_avif(data: bytes) -> bool:
    """Whether the file calls itself AVIF first."""
    return data[4:12] in _AVIF


def is_deep(data: bytes) -> bool:
    """Whether this is a PNG or AVIF of more than 8 bits."""
    if is_avif(data):
        box = data.find(b"av1C") + 4  # AV1 in ISO base media files, section 2.3.3: high_bitdepth
        return box > 4 and int.from_bytes(data[box + 2 : box + 3]) & 0x40 != 0
    return data[:8] == _PNG and data[24:25] == b"\x10"


def check_extents(data: bytes, name: str, limits: Limits) -> None:
    """Raises BadInputError for an AVIF that claims sides beyond the limit; libvips writes to stderr of the wildest."""
    for extents in _EXTENTS.finditer(data):
        width, height = struct.unpack(">II", extents[1])
        if max(width, height) > limits.side:
            limits.check_size(width, height, name)


def read(data: bytes, orientation: int, name: str, limits: Limits) -> Layers:
    """Read the oriented pixels of such a file. Raises BadInputError and what libvips raises."""
    from chain_of_zoom.imaging.formats.vips import decode_upright, open_image

    is_png = data[:8] == _PNG
    with open_image("pngload" if is_png else "heifload", data, unlimited=not is_png) as image:
        limits.check_size(image.width, image.height, name, 4 + 5 * image.bands)  # as measured
        if image.format != "ushort" or image.bands > 4:
            raise BadInputError(f"{name}: damaged ({image.bands} channels, {image.format}); try another file")
        bits = 16 if is_png else image.get("bits-per-sample")
        pixels = decode_upright(image, orientation if is_png else 1)  # AVIF is turned by its decoder
    return _layers(stretch_to_16_bits(pixels, bits))


def read_large(data: bytes, name: str, limits: Limits) -> tuple[Layers, Metadata]:
    """Read an AVIF of more pixels than libavif's limit, 2^28, and its metadata. Raises as `read` does."""
    from chain_of_zoom.imaging.formats.vips import decode_upright, open_image

    with open_image("heifload", data, unlimited=True) as image:
        limits.check_size(image.width, image.height, name, 15)  # as measured
        limits.check_density(image.width * image.height, len(data), name)
        carrier = Image.new("L", (1, 1))
        carrier.info = {key: image.get(field) for key, field in _FIELDS.items() if image.get_typeof(field)}
        pixels = decode_upright(image, 1) if image.format == "uchar" else None
    layers = read(data, 1, name, limits) if pixels is None else _layers(pixels)
    return layers, replace(metadata.read(carrier), orientation=1)


def _layers(pixels: Samples) -> Layers:
    """Split H x W x 1 to 4 into grey or RGB, and alpha."""
    colours = 1 if pixels.shape[2] < 3 else 3
    alpha = pixels[..., colours] if pixels.shape[2] > colours else None
    return Layers(samples=pixels[..., :colours], space="grey" if colours == 1 else "rgb", alpha=alpha)


def stretch_to_16_bits(samples: NDArray[np.uint16], bits: int) -> Samples:
    """Stretch samples whose `bits` lie at the top of 16, as decoders give them, to white at 65535."""
    if bits == 16:
        return samples
    top = (1 << bits) - 1

    def stretch(rows: NDArray[np.uint16]) -> NDArray[np.uint16]:
        return (((rows >> (16 - bits)).astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)

    return by_rows(stretch, samples)
