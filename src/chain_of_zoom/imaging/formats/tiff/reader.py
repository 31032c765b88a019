"""TIFF, read by libvips in every depth and arrangement; Pillow cuts 16 bits to 8 and writes to stderr of damage."""

from __future__ import annotations

import io
import struct
import sys
from contextlib import suppress
from dataclasses import replace
from mmap import mmap
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.formats.tiff import directories as tag
from chain_of_zoom.imaging.formats.tiff import levels, rewritten
from chain_of_zoom.imaging.formats.tiff.directories import Directory, Structure
from chain_of_zoom.imaging.formats.tiff.unread import (
    BLACK_IS_0,
    CIELAB,
    INKS,
    PALETTE,
    RGB,
    WHITE_IS_0,
    name_rare_coding,
    name_rare_kind,
    name_raw_kind,
)
from chain_of_zoom.imaging.metadata import Metadata
from chain_of_zoom.imaging.orientation import make_upright
from chain_of_zoom.imaging.raster import Layers, Samples, Space, by_rows
from chain_of_zoom.imaging.reading import Limits

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE, _OLD_SUBFILE, _LARGEST, _XMP, _PROFILE, _NO_DATA = 254, 255, 281, 700, 34675, 42113
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_SEARCHED = 16  # directories among which the picture, or a sign of a camera raw, is looked for
_PREMULTIPLIED, _STRAIGHT = 1, 2  # alpha
_SPACES: dict[str, tuple[Space, int]] = {
    "b-w": ("grey", 1),
    "grey16": ("grey", 1),
    "srgb": ("rgb", 3),
    "rgb16": ("rgb", 3),
    "rgb": ("rgb", 3),
    "scrgb": ("rgb", 3),
    "cmyk": ("cmyk", 4),
}
_COLOURS: dict[int, tuple[Space, int]] = {
    WHITE_IS_0: ("grey", 1),
    BLACK_IS_0: ("grey", 1),
    RGB: ("rgb", 3),
    INKS: ("cmyk", 4),
    CIELAB: ("lab", 3),
}
_ACCEPTED = "accepted: grey, RGB, palette, CMYK and CIELAB"


def is_tiff(data: bytes) -> bool:
    """Whether the file begins like a TIFF or BigTIFF."""
    return data[:4] in _MAGIC


def unset_resolution(path: Path) -> None:
    """Unset the unit of the resolution, which libvips always writes, in every directory of its TIFF."""
    with path.open("r+b") as file, mmap(file.fileno(), 0) as data:
        structure = Structure(data)
        for at in structure.chain(sys.maxsize):
            place = structure.directory(at).place(metadata.RESOLUTION_UNIT)
            if place is not None:
                struct.pack_into(structure.order + "H", data, place, 1)


def read(data: bytes, name: str, limits: Limits) -> tuple[Layers, Metadata]:
    """Read the oriented pixels of the first whole page, and the metadata.

    Raises BadInputError, and other errors on damage.
    """
    from chain_of_zoom.imaging.formats.vips import pyvips

    structure = Structure(data)
    places = structure.chain(limits.frames + 1)
    limits.check_frames(len(places), name)
    pages = [structure.directory(at) for at in places[:_SEARCHED]]
    inside = [_subpages(structure, page) for page in pages]
    if kind := name_raw_kind(data, [*pages, *(page for subpages in inside for page in subpages)]):
        raise BadInputError(f"{name}: a camera raw ({kind}); accepted: photos; develop it to TIFF or JPEG first")
    if not pages:
        raise BadInputError(f"{name}: damaged (a TIFF without a page); {_ACCEPTED}; try another file")
    page, options = _picture(pages, inside[0])
    notes = ["first frame of an animation or a multi-page file"] if len(places) > 1 else []
    if page is not pages[0]:
        notes = ["first page that is no reduced copy or mask"]
    facts = _metadata(structure, page)
    if rare := name_rare_kind(page):
        raise BadInputError(f"{name}: a TIFF of {rare} is not read; {_ACCEPTED}; convert it to 8 or 16 bits of those")
    try:
        layers = _layers(structure, page, options, facts, name, limits)
    except pyvips.Error as error:
        raise _explain(error, page, name) from error
    return replace(layers, notes=(*notes, *layers.notes)), facts


def _subpages(structure: Structure, page: Directory) -> list[Directory]:
    """Return the directories inside of a page's that are there."""
    subpages = []
    for at in page.read_numbers(tag.SUBDIRECTORIES)[:_SEARCHED]:
        with suppress(ValueError, struct.error):
            subpages.append(structure.directory(at))
    return subpages


def _picture(pages: list[Directory], subpages: list[Directory]) -> tuple[Directory, dict[str, int]]:
    """Choose the first page that is no reduced copy and no mask, else the first; return libvips' name for it."""
    candidates = [(page, {"page": i}) for i, page in enumerate(pages)]
    candidates += [(page, {"subifd": i}) for i, page in enumerate(subpages)]
    whole = (
        (page, name)
        for page, name in candidates
        if not page.read_first(_SUBFILE) & (_REDUCED | _MASK) and page.read_first(_OLD_SUBFILE) != _OLD_REDUCED
    )
    return next(whole, candidates[0])


def _metadata(structure: Structure, page: Directory) -> Metadata:
    """Read the statements of the page's directory, which has the tags of EXIF too."""
    exif = None
    with suppress(Exception):  # Pillow raises almost anything, also on big-endian BigTIFF
        tags = Image.Exif()
        tags.endian, tags.bigtiff = structure.order, structure.big
        tags.load_from_fp(io.BytesIO(structure.data), page.at)
        exif = tags
    orientation = page.read_first(metadata.ORIENTATION, 1)
    facts = metadata.build_metadata(exif, page.read_array(_XMP).tobytes() or None, page.read_array(_PROFILE).tobytes())
    return replace(facts, orientation=orientation if orientation in range(1, 9) else 1)


def _explain(error: Exception, page: Directory, name: str) -> Exception:
    """Reduce an error of libvips to its reason, without names of functions and repetitions."""
    if "out of memory" in str(error):
        return MemoryError()
    if coding := name_rare_coding(page):
        return BadInputError(
            f"{name}: a TIFF compressed with {coding} is not read; accepted: LZW, Deflate, JPEG, PackBits, CCITT; "
            "save it with one of them (tiffcp -c lzw)"
        )
    reason = str(error).strip().splitlines()[-1].strip().removeprefix("tiff2vips: ")
    return BadInputError(f"{name}: damaged ({reason}); {_ACCEPTED}; try another file")


def _layers(
    structure: Structure, page: Directory, options: dict[str, int], facts: Metadata, name: str, limits: Limits
) -> Layers:
    from chain_of_zoom.imaging.formats.vips import decode_upright, open_image

    doubts: list[str] = []
    is_rewritten = _needs_rewriting(page)
    peak = 4 + 2.5 * page.samples * page.bits / 8  # bytes of memory a pixel, as measured
    if is_rewritten:
        space, colours = _COLOURS[page.read_first(tag.PHOTOMETRIC, BLACK_IS_0)]
        bands = page.samples
        limits.check_size(page.read_first(tag.WIDTH), page.read_first(tag.HEIGHT), name, peak)
        _check_channels(bands, colours, name)
        pixels = make_upright(rewritten.read(structure, page, min(bands, colours + 1), doubts), facts.orientation)
    else:
        with open_image("tiffload", structure.data, doubts, **options) as image:
            space, colours = _SPACES.get(image.interpretation, ("grey", 0))
            bands = image.bands
            limits.check_size(image.width, image.height, name, peak)
            _check_channels(bands if colours else 0, max(colours, 1), name)
            pixels = decode_upright(image, facts.orientation)
    extra = (page.read_numbers(tag.EXTRA) or ((_STRAIGHT,) if bands == colours + 1 else (0,)))[0]
    has_alpha = bands > colours and extra in (_PREMULTIPLIED, _STRAIGHT)
    samples, alpha, notes = _full_scale(
        pixels[..., :colours], pixels[..., colours : colours + 1] if has_alpha else None, space, page, facts
    )
    if is_rewritten and page.read_first(tag.PHOTOMETRIC, BLACK_IS_0) == WHITE_IS_0:
        samples = ~samples
    if is_rewritten and alpha is not None and extra == _PREMULTIPLIED:
        samples = _divide(samples, alpha)
    if bands > colours + has_alpha:
        notes.append("extra channels without a meaning left out")
    if doubts:
        notes.append(f"damaged in part ({doubts[0]})")
    return Layers(samples=samples, space=space, alpha=None if alpha is None else alpha[..., 0], notes=tuple(notes))


def _check_channels(bands: int, colours: int, name: str) -> None:
    if bands < colours:
        raise BadInputError(f"{name}: a TIFF of {bands} known channels is not read; {_ACCEPTED}; convert it first")


def _needs_rewriting(page: Directory) -> bool:
    """Whether libvips would not read the samples, or not as they are: it turns signed, deep and wide ones wrongly."""
    colours = page.read_first(tag.PHOTOMETRIC, BLACK_IS_0)
    is_plain = page.bits <= 8 and page.kind == "u"
    return (
        page.is_packed
        or page.is_in_planes
        or colours == CIELAB
        or (colours == WHITE_IS_0 and not is_plain)
        or (page.read_numbers(tag.EXTRA)[:1] == (_PREMULTIPLIED,) and page.bits > 16)
    )


def _full_scale(
    colour: NDArray[Any], alpha: NDArray[Any] | None, space: Space, page: Directory, facts: Metadata
) -> tuple[Samples, Samples | None, list[str]]:
    """Bring colour and alpha, H x W x C, to full scale of 8 or 16 bits; note what became black and white."""
    if space == "lab":
        return _encode_lab(colour), None if alpha is None else _scale_alpha(alpha), []
    if colour.dtype == np.uint8:
        return colour, alpha, []
    black, white, empty = 0.0, 65535.0, _no_data(page)
    if page.is_packed and page.bits < 16:
        return colour, alpha, [f"{page.bits} bits scaled to 16"]
    if colour.dtype == np.uint16:
        if space in ("grey", "rgb") and page.read_first(tag.PHOTOMETRIC) != PALETTE and not facts.profile:
            white = float(levels.find_narrow_white(colour, page.read_first(_LARGEST)))
        if white == 65535:
            return colour, alpha, []
    else:
        black, white = levels.find_range(colour, empty)
    samples, notes = levels.scale(colour, black, white, empty)
    notes = [f"{space} from {black:g} to {white:g} scaled to 16 bits", *notes]
    if alpha is not None and alpha.dtype != np.uint16:
        alpha = _scale_alpha(alpha)
    elif alpha is not None and alpha.max() <= white:
        alpha, _ = levels.scale(alpha, 0, white)
    return samples, alpha, notes


def _scale_alpha(alpha: NDArray[Any]) -> Samples:
    if alpha.dtype in (np.uint8, np.uint16):
        return alpha
    return levels.scale(alpha, 0, levels.find_alpha_white(alpha))[0]


def _no_data(page: Directory) -> float:
    """Return the number that stands for none, as GDAL writes it; NaN where there is none."""
    with suppress(ValueError):
        return float(page.read_array(_NO_DATA).tobytes().split(b"\0")[0])
    return float("nan")


def _encode_lab(lab: NDArray[Any]) -> Samples:
    """Bring CIELAB as a TIFF has it, a and b signed, to the encoding of Layers."""
    if lab.dtype == np.uint8:
        return cast("Samples", lab ^ np.array([0, 128, 128], np.uint8))

    def encode(rows: NDArray[Any]) -> Samples:
        if rows.dtype == np.uint16:
            chroma = rows[..., 1:].view(np.int16) / 256 + 128
            whole = np.rint(np.clip(chroma / 255, 0, 1) * 65535).astype(np.uint16)
            return np.concatenate([rows[..., :1], whole], axis=-1)
        shares = (np.nan_to_num(rows.astype(np.float64)) + [0, 128, 128]) / [100, 255, 255]
        return np.rint(np.clip(shares, 0, 1) * 65535).astype(np.uint16)

    return by_rows(encode, lab)


def _divide(samples: Samples, alpha: Samples) -> Samples:
    """Divide colours by the alpha that they are multiplied with."""
    top = np.iinfo(samples.dtype).max

    def divide(colour: Samples, share: Samples) -> Samples:
        return np.rint(np.minimum(colour * (top / np.maximum(share, 1)), top)).astype(samples.dtype)

    return by_rows(divide, samples, alpha)
