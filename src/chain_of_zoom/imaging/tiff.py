"""TIFF, read by libvips in every depth and arrangement; Pillow cuts 16 bits to 8 and writes to stderr of damage."""

from __future__ import annotations

import io
import struct
from mmap import mmap
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.limits import Limits
from chain_of_zoom.imaging.metadata import Metadata
from chain_of_zoom.imaging.raster import Layers, Samples, Space

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PHOTOMETRIC, _RESOLUTION_UNIT, _EXTRA, _XMP, _PROFILE = 262, 296, 338, 700, 34675
_RGB, _CIELAB = 2, 8
_ALPHA = (1, 2)  # premultiplied, which libvips undoes, and not
_SPACES: dict[str, tuple[Space, int]] = {
    "b-w": ("grey", 1),
    "grey16": ("grey", 1),
    "srgb": ("rgb", 3),
    "rgb16": ("rgb", 3),
    "rgb": ("rgb", 3),
    "scrgb": ("rgb", 3),
    "cmyk": ("cmyk", 4),
}


def is_tiff(data: bytes) -> bool:
    """Whether the file begins like a TIFF or BigTIFF."""
    return data[:4] in _MAGIC


def count_pages(data: bytes, stop: int) -> int:
    """Directories of the chain, up to `stop`, without reading their tags (TIFF 6.0, section 2, and BigTIFF)."""
    shape = _Shape(data)
    seen: set[int] = set()
    try:
        at = shape.first()
        while at and at not in seen and len(seen) < stop:
            seen.add(at)
            at = shape.after(at)
    except struct.error:  # cut short: the decoder will say so if the first page is
        pass
    return len(seen)


def unset_resolution(path: Path) -> None:
    """Say, in every directory of a TIFF of libvips, which always writes a resolution, that it has no unit."""
    with path.open("r+b") as file, mmap(file.fileno(), 0) as data:
        shape = _Shape(data)
        at = shape.first()
        while at:
            for entry in shape.entries(at):
                if struct.unpack_from(shape.order + "H", data, entry)[0] == _RESOLUTION_UNIT:
                    struct.pack_into(shape.order + "H", data, entry + (12 if shape.big else 8), 1)
            at = shape.after(at)


def read(data: bytes, name: str, limits: Limits) -> tuple[Layers, Metadata]:
    """The oriented pixels of the first page, and the metadata. Raises BadInputError and what libvips raises."""
    from chain_of_zoom.imaging.vips import oriented, pyvips

    tags = _tags(data)
    found = metadata.of(tags, tags.get(_XMP), tags.get(_PROFILE))
    lab = tags.get(_PHOTOMETRIC) == _CIELAB
    image = pyvips.Image.tiffload_buffer(_called_rgb(data) if lab else data, fail_on="error")
    limits.check_size(image.width, image.height, name)
    space, colours = _SPACES.get(image.interpretation, ("grey", 0))
    if not colours or image.bands < colours or image.format in ("complex", "dpcomplex"):
        raise BadInputError(
            f"{name}: a TIFF of {image.bands} channels ({image.format}, {image.interpretation}); "
            "accepted: grey, RGB, palette, CMYK and CIELAB; convert it first"
        )
    pixels, notes = _full_scale(oriented(image, found.orientation), space)
    samples = pixels[..., :colours]
    if lab:
        samples, space = _shifted(samples), "lab"
    alpha: Samples | None = None
    extra = tags.get(_EXTRA, 2)
    if image.bands > colours and (extra if isinstance(extra, int) else extra[0]) in _ALPHA:
        alpha = pixels[..., colours]
    elif image.bands > colours:
        notes = (*notes, "extra channels without a meaning left out")
    return Layers(samples=samples, space=space, alpha=alpha, notes=notes), found


def _full_scale(pixels: NDArray[np.generic], space: Space) -> tuple[Samples, tuple[str, ...]]:
    """8 and 16 bits as they are; other numbers scaled to 16, and a note of the value that became white.

    White is the least of 1 (for floats), 255 and 65535 that holds every value, or the largest value.
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return cast("Samples", pixels), ()
    values = np.nan_to_num(pixels.astype(np.float64))
    whites = (1.0, 255.0, 65535.0) if pixels.dtype.kind == "f" else (255.0, 65535.0)
    top = next((white for white in whites if values.max() <= white), float(values.max()))
    samples: Samples = np.rint(np.clip(values / top, 0, 1) * 65535).astype(np.uint16)
    return samples, (f"{space} from 0 to {top:g} scaled to 16 bits",)


def _shifted(lab: Samples) -> Samples:
    """CIELAB as a TIFF has it, a and b signed, in the encoding of Layers."""
    if lab.dtype == np.uint8:
        return lab ^ np.array([0, 128, 128], np.uint8)
    chroma = lab[..., 1:].view(np.int16) / 256 + 128
    whole = np.rint(np.clip(chroma / 255, 0, 1) * 65535).astype(np.uint16)
    return np.concatenate([lab[..., :1], whole], axis=-1)


class _Shape:
    """Where directories and their entries lie, in both byte orders and both sizes of offsets."""

    def __init__(self, data: bytes | mmap) -> None:
        self.data = data
        self.order = "<" if data[:1] == b"I" else ">"
        self.big = 43 in data[2:4]
        self.count, self.entry, self.link = ("Q", 20, "Q") if self.big else ("H", 12, "I")

    def _at(self, kind: str, offset: int) -> int:
        return int(struct.unpack_from(self.order + kind, self.data, offset)[0])

    def first(self) -> int:
        return self._at(self.link, 8 if self.big else 4)

    def entries(self, at: int) -> range:
        start = at + struct.calcsize(self.count)
        return range(start, start + self._at(self.count, at) * self.entry, self.entry)

    def after(self, at: int) -> int:
        return self._at(self.link, self.entries(at).stop)


def _tags(data: bytes) -> Image.Exif:
    """The first directory, which has the tags of EXIF too."""
    shape = _Shape(data)
    tags = Image.Exif()
    tags.endian, tags.bigtiff = shape.order, shape.big
    tags.load_from_fp(io.BytesIO(data), shape.first())
    return tags


def _called_rgb(data: bytes) -> bytes:
    """A CIELAB TIFF as one of RGB, so that libvips, which stumbles over 8-bit ones, gives the samples as they are."""
    shape = _Shape(data)
    for at in shape.entries(shape.first()):
        if struct.unpack_from(shape.order + "H", data, at)[0] == _PHOTOMETRIC:
            value = at + (12 if shape.big else 8)
            return data[:value] + struct.pack(shape.order + "H", _RGB) + data[value + 2 :]
    return data
