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
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from chain_of_zoom.errors import BadInputError, ChainOfZoomError, UsageError, suggest
from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.colour import claims, hdr, profiles
from chain_of_zoom.imaging.colour.grey import is_grey, remove_rounding
from chain_of_zoom.imaging.formats import bmp, deep, heif, jpeg
from chain_of_zoom.imaging.formats.blocks import check_blocks, count_frames, count_png_rows, describe_lack, find_flaws
from chain_of_zoom.imaging.formats.signatures import ACCEPTED as ACCEPTED
from chain_of_zoom.imaging.formats.signatures import explain_cut_short, explain_refusal, explain_unread, name_format
from chain_of_zoom.imaging.formats.tiff import reader as tiff
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.metadata import Metadata
from chain_of_zoom.imaging.orientation import make_upright
from chain_of_zoom.imaging.raster import Layers, Raster, Space
from chain_of_zoom.imaging.reading import DEFAULT_LIMITS, DEFAULT_READING, Limits, Reading
from chain_of_zoom.parsing import is_text, printable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF")
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif",
    ".avif", ".avifs", ".heic", ".heif", ".hif", ".mpo",
}  # fmt: skip

_SPACES: dict[str, Space] = {"L": "grey", "RGB": "rgb", "CMYK": "cmyk"}
_PEAKS = {"GIF": 13, "AVIF": 15, "WEBP": 18}  # bytes a pixel, as measured
_JPEG_SPACES: dict[int, Space] = {1: "grey", 3: "rgb", 4: "cmyk"}
_OPENING = threading.Lock()
Photo = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any]
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # what PNG holds as it is
_PHOTOS = "accepted: a file's name, bytes or open file, a picture of Pillow, or uint8 pixels"


def decode(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS, keep_damaged: bool = False) -> Raster:
    """Read a picture file. Raises BadInputError; MissingError for HEIF without the extra [heif]; nothing else.

    keep_damaged: take what is there of a JPEG that is cut short, with a note of how much that is.
    """
    try:
        path = Path(path)
    except TypeError:
        raise UsageError(f"{type(path).__name__} is no file; accepted: the name of a picture file") from None
    return decode_bytes(_read(path, limits), path, limits=limits, keep_damaged=keep_damaged)


def decode_bytes(data: bytes, path: Path, *, limits: Limits = DEFAULT_LIMITS, keep_damaged: bool = False) -> Raster:
    """Decode the bytes of a file as `decode` does; errors and records call it `path`."""
    limits.check_bytes(len(data), path.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data, path, limits, keep_damaged)
    except ChainOfZoomError:
        raise
    except MemoryError as error:
        raise BadInputError(f"{path.name}: not enough memory to decode it; reduce the picture first") from error
    except Exception as error:  # decoders raise almost anything on damaged files
        raise _refusal(error, data, path.name) from error


def peek_size(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Size:
    """Read width and height, not oriented, from the header alone where Pillow can tell. Raises as `decode` does."""
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
        raise BadInputError(f"{path}: no such file; accepted: a picture file; {_suggest_neighbour(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{path} cannot be read ({reason}); check its permissions") from error
    if not data:
        raise BadInputError(f"{path.name}: the file is empty; {ACCEPTED}; try another file")
    return data


def _suggest_neighbour(path: Path) -> str:
    """Return the picture beside a missing file whose name is spelled most like its, as a question."""
    names: list[str] = []
    with suppress(OSError):
        files = [file for file in path.parent.iterdir() if file.suffix.lower() in SUFFIXES]
        # By their stems: names that share nothing but ".jpg" are not alike.
        names = [file.name for file in files if is_text(file.name) and suggest(path.stem, [file.stem], "")]
    folder = "" if path.parent == Path() else f"{path.parent}{os.sep}"
    return suggest(path.name, names, "check the spelling", folder)


def _refusal(error: Exception, data: bytes, name: str) -> BadInputError:
    """Put into words for people what a decoder raised."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    kind = name_format(data)
    if isinstance(error, UnidentifiedImageError) or not kind:
        return explain_refusal(data, name)
    if reason.startswith("Unsupported"):
        return explain_unread(name, f"a {kind} of a rare kind ({reason})")
    if lack := describe_lack(data):
        return explain_cut_short(name, lack, kind)
    reason = "its pixels end early" if "truncated" in reason or "not enough image data" in reason else reason
    return BadInputError(f"{name}: damaged ({reason}); {ACCEPTED}; try another file")


def _decode(data: bytes, path: Path, limits: Limits, keep_damaged: bool) -> Raster:
    layers, facts = _layers(data, path.name, limits, keep_damaged)
    profile, encoding, notes = claims.resolve(data, facts.profile, facts.claim)
    colour, profile, changes = profiles.convert_to_rgb(layers.samples, layers.space, profile)
    if encoding:
        colour = encoding.full_range(colour)
    if encoding and encoding.hdr:
        mapped = hdr.tone_map(colour, encoding)
        colour = remove_rounding(mapped) if is_grey(colour) else mapped
        changes.append(f"{encoding.name}: HDR tone-mapped to sRGB, white at {hdr.WHITE:g} cd/m2")
    alpha = layers.alpha
    if alpha is not None and alpha.min() == np.iinfo(alpha.dtype).max:
        alpha = None
    return Raster(
        colour=colour,
        alpha=alpha,
        profile=profile,
        resolution=facts.resolution,
        exif=facts.exif,
        xmp=facts.xmp,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        notes=(*layers.notes, *facts.notes, *notes, *changes),
    )


def _layers(data: bytes, name: str, limits: Limits, keep_damaged: bool) -> tuple[Layers, Metadata]:
    """Read the pixels of the first frame, with the decoder that reads all there is of them, and the metadata."""
    if heif.is_heif(data):
        return heif.read(data, name, limits)
    if bmp.has_fields(data):
        return bmp.read(data, name, limits), Metadata()
    frames = 1  # of a JPEG, others are views or gain maps of the first
    if tiff.is_tiff(data):
        layers, facts = tiff.read(data, name, limits)  # which says itself which page it is
    elif jpeg.is_jpeg(data):
        layers, facts = _jpeg(data, name, limits, keep_damaged)
    else:
        try:
            image = _open(data, name, limits)
        except UnidentifiedImageError:
            if not deep.is_avif(data):
                raise
            return deep.read_large(data, name, limits)
        frames = count_frames(data, image)
        limits.check_frames(frames, name)
        if deep.is_deep(data):
            facts = metadata.read(image)
            layers = deep.read(data, facts.orientation, name, limits)
        else:
            layers, facts = _flat(image, data, name)
    notes = ["first frame of an animation or a multi-page file"] if frames > 1 else []
    if facts.orientation != 1:
        notes.append(f"EXIF orientation {facts.orientation} applied")
    return replace(layers, notes=(*notes, *layers.notes, *find_flaws(data))), facts


def _open(data: bytes, name: str, limits: Limits) -> Image.Image:
    """Open a picture by its header. Pillow's own limit, 179 MP, is below what cameras stitch."""
    check_blocks(data, name)
    bmp.check(data, name)
    if deep.is_avif(data):
        deep.check_extents(data, name, limits)
    with _OPENING:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    limits.check_size(*image.size, name, _PEAKS.get(image.format or "", 10))
    limits.check_density(image.width * image.height, len(data), name)
    return image


def _jpeg(data: bytes, name: str, limits: Limits, keep_damaged: bool) -> tuple[Layers, Metadata]:
    """Read a JPEG by libvips, with the metadata from Pillow."""
    header = jpeg.read_markers(data)
    jpeg.check(header, name)
    facts = metadata.read(_open(data, name, limits))
    pixels, notes = jpeg.read(data, header, name, keep_damaged=keep_damaged)
    space = _JPEG_SPACES[pixels.shape[2]]
    return Layers(samples=make_upright(pixels, facts.orientation), space=space, notes=notes), facts


def _flat(image: Image.Image, data: bytes, name: str) -> tuple[Layers, Metadata]:
    """Read a picture that Pillow reads in full: 8 bits."""
    image.load()
    if image.format == "PNG" and not np.asarray(image.crop((0, image.height - 2, *image.size))).any():
        # Pillow takes the end of the data for that of the picture, and leaves the rest black
        rows, height = count_png_rows(data)
        if rows < height:
            raise explain_cut_short(name, f"{rows} of {height} rows are there", "PNG")
    facts = metadata.read(image)
    # libwebp's way from YUV, the only colours of a lossy file, rounds grey to a level off
    exact = remove_rounding if image.format == "WEBP" else np.asarray
    if image.has_transparency_data:
        mode = "LA" if image.mode in ("1", "L", "LA") else "RGBA"
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        pixels = make_upright(pixels, facts.orientation)
        space: Space = "grey" if pixels.shape[2] == 2 else "rgb"
        return Layers(samples=exact(pixels[..., :-1]), space=space, alpha=pixels[..., -1]), facts
    if image.mode not in _SPACES:
        image = image.convert("L" if image.mode == "1" else "RGB")
    pixels = make_upright(exact(np.asarray(image)), facts.orientation)
    return Layers(samples=pixels.reshape(*pixels.shape[:2], -1), space=_SPACES[image.mode]), facts


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
        raise UsageError(f"photo of type {type(photo).__name__}; {_PHOTOS}; for example np.asarray(photo, 'uint8')")
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
    """Read the picture by way of PNG, which loses nothing; its SHA-256 is that of the pixels, not of the way."""
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
