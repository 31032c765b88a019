"""Read a picture file with everything in it: colours in their own space, alpha, depth, metadata.

Whatever is in a file, all that leaves here is a Raster or one of this package's errors. `images.load` makes 8-bit sRGB
of it.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from chain_of_zoom.errors import BadInputError, ChainOfZoomError, UsageError
from chain_of_zoom.imaging import colour_tags, deep, hdr, heif, metadata, profiles, tiff
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.grey import is_grey, unrounded
from chain_of_zoom.imaging.limits import DEFAULT_LIMITS, Limits
from chain_of_zoom.imaging.metadata import Metadata
from chain_of_zoom.imaging.raster import Layers, Raster, Space
from chain_of_zoom.imaging.structure import check_blocks, count_frames
from chain_of_zoom.parsing import is_text, printable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF")
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif",
    ".avif", ".avifs", ".heic", ".heif", ".hif",
}  # fmt: skip
ACCEPTED = "accepted: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIF"

_SPACES: dict[str, Space] = {"L": "grey", "RGB": "rgb", "CMYK": "cmyk"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OPENING = threading.Lock()


def decode(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Raster:
    """Read a picture file. Raises BadInputError; MissingError for HEIF without the extra [heif]; nothing else."""
    try:
        path = Path(path)
    except TypeError:
        raise UsageError(f"{type(path).__name__} is no file; accepted: the name of a picture file") from None
    return decode_bytes(_read(path, limits), path, limits=limits)


def decode_bytes(data: bytes, path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Raster:
    """As `decode`, for the bytes of a file; errors and records call it `path`."""
    limits.check_bytes(len(data), path.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data, path, limits)
    except ChainOfZoomError:
        raise
    except MemoryError as error:
        raise BadInputError(f"{path.name}: not enough memory to decode it; reduce the picture first") from error
    except Exception as error:  # decoders raise almost anything on damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadInputError(f"{path.name}: damaged ({reason}); {ACCEPTED}; try another file") from error


def peek_size(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Size:
    """Width and height, not oriented, from the header alone where Pillow can tell. Raises as `decode` does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                size = Size(*image.size)
    except Exception:  # the decoder knows more, or can say what is wrong
        height, width = decode(path, limits=limits).colour.shape[:2]
        return Size(width, height)
    limits.check_size(*size, path.name)
    return size


def _read(path: Path, limits: Limits) -> bytes:
    if not is_text(str(path)):  # records and metadata could not name it
        raise BadInputError(f"{printable(path)!r}: the name is not UTF-8, or has a NUL; accepted: any other; rename it")
    try:
        if path.is_dir():
            raise BadInputError(f"{path} is a folder; accepted: one picture file; name a file in it")
        if path.exists() and not path.is_file():
            raise BadInputError(f"{path} is no ordinary file; accepted: one picture file; save it first")
        limits.check_bytes(path.stat().st_size, path.name)
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInputError(f"{path}: no such file; accepted: a picture file; check the spelling") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInputError(f"{path} cannot be read ({why}); check its permissions") from error
    if not data:
        raise BadInputError(f"{path.name}: the file is empty; {ACCEPTED}; try another file")
    return data


def _decode(data: bytes, path: Path, limits: Limits) -> Raster:
    layers, found = _layers(data, path.name, limits)
    profile, encoding, notes = colour_tags.resolve(data, found.profile, found.claim)
    colour, profile, changes = profiles.as_rgb(layers.samples, layers.space, profile)
    if encoding:
        colour = encoding.full_range(colour)
    if encoding and encoding.hdr:
        mapped = hdr.tone_map(colour, encoding)
        colour = unrounded(mapped) if is_grey(colour) else mapped
        changes.append(f"{encoding.name}: HDR tone-mapped to sRGB, white at {hdr.WHITE:g} cd/m2")
    alpha = layers.alpha
    if alpha is not None and alpha.min() == np.iinfo(alpha.dtype).max:
        alpha = None
    return Raster(
        colour=colour,
        alpha=alpha,
        profile=profile,
        resolution=found.resolution,
        exif=found.exif,
        xmp=found.xmp,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        notes=(*layers.notes, *found.notes, *notes, *changes),
    )


def _layers(data: bytes, name: str, limits: Limits) -> tuple[Layers, Metadata]:
    """The pixels of the first frame, from the decoder that reads all there is of them, and the metadata."""
    if heif.is_heif(data):
        return heif.read(data, name, limits)
    frames = 1
    if tiff.is_tiff(data):
        layers, found = tiff.read(data, name, limits)  # which says itself which page it is
    else:
        image = _open(data, name)
        limits.check_size(*image.size, name)
        frames = count_frames(data, image)
        limits.check_frames(frames, name)
        if deep.is_deep(data):
            found = metadata.read(image)
            layers = deep.read(data, found.orientation, name, limits)
        else:
            layers, found = _flat(image)
    notes = ["first frame of an animation or a multi-page file"] if frames > 1 else []
    if found.orientation != 1:
        notes.append(f"EXIF orientation {found.orientation} applied")
    return replace(layers, notes=(*notes, *layers.notes)), found


def _open(data: bytes, name: str) -> Image.Image:
    """The picture with its header read. Pillow's own limit, 179 MP, is below what cameras stitch."""
    check_blocks(data, name)
    with _OPENING:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            raise BadInputError(f"{name}: not a picture; {ACCEPTED}; try another file") from None
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _flat(image: Image.Image) -> tuple[Layers, Metadata]:
    """What Pillow reads in full: 8 bits."""
    image.load()
    found = metadata.read(image)
    # libwebp's way from YUV, the only colours of a lossy file, rounds grey to a level off
    exact = unrounded if image.format == "WEBP" else np.asarray
    if found.orientation != 1:
        image = image.transpose(_TURNS[found.orientation])
    if image.has_transparency_data:
        mode = "LA" if image.mode in ("1", "L", "LA") else "RGBA"
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        space: Space = "grey" if pixels.shape[2] == 2 else "rgb"
        return Layers(samples=exact(pixels[..., :-1]), space=space, alpha=pixels[..., -1]), found
    if image.mode not in _SPACES:
        image = image.convert("L" if image.mode == "1" else "RGB")
    pixels = exact(np.asarray(image))
    return Layers(samples=pixels.reshape(*pixels.shape[:2], -1), space=_SPACES[image.mode]), found
