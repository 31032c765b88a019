"""Load, resize, quantise and save pictures: the only code that touches image files and Pillow's modes.

A picture inside the program is a numpy array, uint8, H x W x 3, sRGB, range 0..255, already oriented.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from chain_of_zoom.errors import BadInputError, OutputError
from chain_of_zoom.imaging.geometry import Box, Size, whole_picture

RGB8 = NDArray[np.uint8]
RGBF = NDArray[np.float32]
Filter = Literal["nearest", "bicubic", "lanczos"]

MAX_PIXELS = 400_000_000
MAX_BYTES = 2_000_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
ACCEPTED = "accepted: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF"
MATTE = (255, 255, 255)

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A loaded picture.

    pixels: uint8, H x W x 3, sRGB, oriented. path: where it came from. sha256: of the file's bytes.
    notes: what was changed on the way in (orientation, profile, alpha, bit depth), one sentence each.
    """

    pixels: RGB8
    path: Path
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        """Width and height in pixels, after orientation."""
        return size_of(self.pixels)

    @classmethod
    def of_pixels(cls, pixels: RGB8, name: str = "array") -> Picture:
        """A picture that comes from no file; its SHA-256 is that of its pixels."""
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        return cls(pixels=pixels, path=Path(name), sha256=digest, notes=("pixels given as an array",))


def size_of(pixels: NDArray[np.generic]) -> Size:
    """Width and height of an H x W x C array."""
    return Size(pixels.shape[1], pixels.shape[0])


def load(path: str | os.PathLike[str]) -> Picture:
    """Read a picture file as oriented 8-bit sRGB.

    EXIF orientation is applied, an ICC profile converted, 16 bits are scaled to 8, alpha is laid on white,
    and the first frame of an animation taken; each is noted. Raises BadInputError, and nothing else,
    whatever is in the file.
    """
    path = Path(path)
    data = _read(path)
    try:
        with _our_pixel_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_header(image, path)
            pixels, notes = _to_rgb8(image)
    except BadInputError:
        raise
    except MemoryError as error:
        raise BadInputError(f"{path.name}: not enough memory to decode it; reduce the picture first") from error
    except Exception as error:  # decoders raise almost anything on damaged files
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else f"damaged ({error})"
        raise BadInputError(f"{path.name}: {reason}; {ACCEPTED}; try another file") from error
    return Picture(pixels=pixels, path=path, sha256=hashlib.sha256(data).hexdigest(), notes=tuple(notes))


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise BadInputError(f"{path} is a folder; accepted: one picture file; name a file in it")
        if path.exists() and not path.is_file():
            raise BadInputError(f"{path} is no ordinary file; accepted: one picture file; save it first")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadInputError(f"{path.name}: {size} bytes; accepted: up to {MAX_BYTES}; reduce the picture first")
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInputError(f"{path}: no such file; accepted: a picture file; check the spelling") from None
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: cannot be read ({error}); check its permissions") from error
    if not data:
        raise BadInputError(f"{path.name}: the file is empty; {ACCEPTED}; try another file")
    return data


@contextmanager
def _our_pixel_limit() -> Iterator[None]:
    """Pillow's own limit (179 MP) is below what cameras stitch; ours is checked on the header instead."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _check_header(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise BadInputError(f"{path.name}: {width}x{height} pixels; accepted: at least 1x1; try another file")
    if width * height > MAX_PIXELS:
        raise BadInputError(
            f"{path.name}: {width}x{height} pixels; accepted: up to {MAX_PIXELS // 1_000_000} megapixels; crop it first"
        )


def _to_rgb8(image: Image.Image) -> tuple[RGB8, list[str]]:
    notes: list[str] = []
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        notes.append("first frame of an animation or a multi-page file")
    profile = image.info.get("icc_profile")
    image.load()
    if image.getexif().get(0x0112, 1) not in (0, 1):
        image = ImageOps.exif_transpose(image)
        notes.append("EXIF orientation applied")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image, top = _deep_grey_to_8bit(image)
        notes.append(f"grey from 0 to {top:g} scaled to 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        matte = Image.new("RGBA", image.size, (*MATTE, 255))
        image = Image.alpha_composite(matte, image).convert("RGB")
        notes.append("alpha laid on white")
    if profile:
        image, note = _to_srgb(image, profile)
        notes.append(note)
    return np.asarray(image.convert("RGB")).copy(), notes


def _deep_grey_to_8bit(image: Image.Image) -> tuple[Image.Image, float]:
    """Deep grey scaled to 8 bits (Pillow's own conversion clips), and the value that became white.

    16-bit files are full scale; for 32-bit and float ones white is the least of 1 (float), 255 and 65535 that holds
    every value, or the largest value.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    top = 65535.0
    if not image.mode.startswith("I;16"):
        whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((white for white in whites if values.max() <= white), float(values.max()))
    return Image.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)), top


def _to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    from PIL import ImageCms

    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if image.mode == "RGB" and name.lower().startswith("srgb"):
            return image, f"profile {name}"
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert converted is not None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, "unusable colour profile ignored"
    return converted, f"profile {name} converted to sRGB"


def resize(pixels: RGB8, size: Size, how: Filter, box: Box | None = None) -> RGB8:
    """Resample `box` (whole picture by default) of a uint8 picture to `size`, antialiased when reducing.

    The published code's own resampler (Pillow), so its results are reproduced to the bit.
    """
    box = box or whole_picture(size_of(pixels))
    if box.is_whole:
        x0, y0, x1, y1 = box.whole()
        pixels = pixels[y0:y1, x0:x1]
        if size_of(pixels) == size:
            return pixels.copy()
        resized = Image.fromarray(pixels).resize(size, _FILTERS[how])
    else:
        resized = Image.fromarray(pixels).resize(size, _FILTERS[how], box=box.floats())
    return np.asarray(resized).copy()


def crop_padded(pixels: RGB8, left: int, top: int, size: Size) -> RGB8:
    """The window of `size` at (left, top), black where it leaves the picture."""
    return np.asarray(Image.fromarray(pixels).crop((left, top, left + size.width, top + size.height))).copy()


def enlarge(window: RGB8, factor: int) -> RGB8:
    """The bicubic enlargement of a window: what one-step backbones start from and prompters are shown."""
    height, width = window.shape[:2]
    return resize(window, Size(width * factor, height * factor), "bicubic")


def enlarge_part(picture: RGB8, factor: int, rows: slice, columns: slice) -> RGB8:
    """Some rows and columns of the Lanczos enlargement of a whole picture, to the bit, without making the rest.

    That enlargement is what whole pictures are refined from (method, section 3). Starts are multiples of the factor.
    """
    reach = 3  # of the Lanczos kernel, in pixels of the picture
    top, left = (max(span.start // factor - reach, 0) for span in (rows, columns))
    part = picture[top : -(-rows.stop // factor) + reach, left : -(-columns.stop // factor) + reach]
    enlarged = resize(part, Size(part.shape[1] * factor, part.shape[0] * factor), "lanczos")
    top, left = top * factor, left * factor
    return enlarged[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def area_reduce(pixels: RGBF, box: Box, size: Size) -> RGBF:
    """Average `box` of a float picture down to `size`, each output pixel the exact mean of the area it covers."""
    columns = _area_weights(box.x0, box.x1, size.width, pixels.shape[1])
    rows = _area_weights(box.y0, box.y1, size.height, pixels.shape[0])
    reduced = np.tensordot(rows, pixels, axes=(1, 0))
    return np.ascontiguousarray(np.tensordot(columns, reduced, axes=(1, 1)).swapaxes(0, 1))


def _area_weights(start: Fraction, stop: Fraction, count: int, length: int) -> NDArray[np.float32]:
    """count x length matrix: row i holds the share of every pixel in the i-th of `count` equal parts of the span."""
    edges = np.linspace(float(start), float(stop), count + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.maximum(overlap, 0)
    shares: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def to_uint8(pixels: RGBF, how: Literal["round", "truncate"] = "round") -> RGB8:
    """Float RGB in [0, 1] to 8 bits; `truncate` is floor(255 * clamp(y)), as published (method, section 2)."""
    scaled = np.clip(pixels, 0, 1) * np.float32(255)
    whole: RGB8 = (np.rint(scaled) if how == "round" else np.floor(scaled)).astype(np.uint8)
    return whole


def encode_png(pixels: RGB8, texts: Mapping[str, str] | None = None, xmp: str | None = None) -> bytes:
    """A PNG file as bytes, with text chunks and an XMP packet; the same input gives the same bytes."""
    from PIL import PngImagePlugin  # slow to import, and not needed until the first state is written

    info = PngImagePlugin.PngInfo()
    for key, text in (texts or {}).items():
        info.add_itxt(key, text)
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def decode_png(data: bytes) -> RGB8:
    """The pixels of a PNG that `encode_png` made."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB")).copy()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or absent: temporary name, fsync, rename. Raises OutputError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror or error}); name another folder with -o") from error
