"""Pictures as the bytes of a file, always with their label: XMP in every format, and EXIF or PNG texts beside it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging import metadata
from chain_of_zoom.imaging.metadata import NOTHING, Kept
from chain_of_zoom.imaging.provenance import Label
from chain_of_zoom.imaging.raster import Samples

Format = Literal["png", "jpeg", "webp", "tiff", "avif"]

_DEEP: tuple[Format, ...] = ("png", "tiff")
_ROWS = 64  # of a strip of TIFF, and of a piece of PNG


def encode(pixels: Samples, kind: Format, label: Label, kept: Kept = NOTHING, *, quality: int = 92) -> bytes:
    """A picture file with its label.

    pixels: H x W x 3 or 4 (alpha last), uint8, or uint16 for PNG and TIFF; sRGB, or in `kept.profile`'s space.
    label: from `provenance.label`. quality: 1 to 100, of JPEG, WebP and AVIF; PNG and TIFF lose nothing.
    The same input gives the same bytes. Raises UsageError for what the format cannot hold.
    """
    if kind not in get_args(Format):
        raise UsageError(f"format {kind!r}; accepted: {', '.join(get_args(Format))}; for example png")
    if pixels.itemsize == 2 and kind not in _DEEP:
        raise UsageError(f"{kind} of 16 bits; accepted: {', '.join(_DEEP)}, or 8 bits; choose png or tiff")
    if pixels.shape[2] == 4 and kind == "jpeg":
        raise UsageError("jpeg with alpha; accepted: png, webp, tiff, avif, or no alpha; choose png")
    if kind == "tiff":
        return _tiff(pixels, label, kept)
    if kind == "png":
        return _deep_png(pixels, label, kept) if pixels.itemsize == 2 else encode_png(pixels, *label, kept=kept)
    options: dict[str, dict[str, Any]] = {"jpeg": {"subsampling": 0}, "avif": {"subsampling": "4:4:4"}}
    return _saved(pixels, kind, label, kept, quality=quality, **options.get(kind, {}))


def encode_png(
    pixels: Samples, texts: dict[str, str] | None = None, xmp: str | None = None, kept: Kept = NOTHING
) -> bytes:
    """A PNG of uint8 pixels, with or without a label; the same input gives the same bytes."""
    from PIL import PngImagePlugin  # slow to import, and not needed until the first state is written

    info = PngImagePlugin.PngInfo()
    for key, text in _texts(texts, xmp):
        info.add_itxt(key, text)
    options: dict[str, Any] = {}
    if kept.profile:
        options["icc_profile"] = kept.profile
    if kept.exif:
        options["exif"] = metadata.labelled(kept.exif, (texts or {}).get("Description", ""))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info, **options)
    return buffer.getvalue()


def _texts(texts: dict[str, str] | None, xmp: str | None) -> Iterator[tuple[str, str]]:
    yield from (texts or {}).items()
    if xmp:
        yield "XML:com.adobe.xmp", xmp


def _saved(pixels: Samples, kind: str, label: Label, kept: Kept, **options: Any) -> bytes:
    texts, xmp = label
    if kept.profile:
        options["icc_profile"] = kept.profile
    exif = metadata.labelled(kept.exif, texts["Description"])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, xmp=xmp.encode(), exif=exif, **options)
    return buffer.getvalue()


def _tiff(pixels: Samples, label: Label, kept: Kept) -> bytes:
    """Deflated strips with horizontal differences (TIFF 6.0, section 14), since Pillow writes no 16-bit colour."""
    from PIL import TiffImagePlugin

    texts, xmp = label
    height, width, channels = pixels.shape
    whole = pixels.astype(f"<u{pixels.itemsize}")
    whole[:, 1:] -= whole[:, :-1].copy()
    strips = [zlib.compress(whole[row : row + _ROWS].tobytes()) for row in range(0, height, _ROWS)]
    tags = TiffImagePlugin.ImageFileDirectory_v2(header := b"II*\0\x08\0\0\0")
    tags.update(metadata.parse(metadata.labelled(kept.exif, texts["Description"])))
    tags.update({256: width, 257: height, 258: (8 * pixels.itemsize,) * channels, 259: 8, 262: 2, 277: channels})
    tags.update({278: _ROWS, 279: tuple(map(len, strips)), 284: 1, 317: 2, 700: xmp.encode()})
    tags[273] = tuple(int(end) for end in np.cumsum([0, *map(len, strips[:-1])]))  # from the end of the directory
    if channels == 4:
        tags[338] = 2
    if kept.profile:
        tags[34675] = kept.profile
    return header + tags.tobytes(len(header)) + b"".join(strips)


def _deep_png(pixels: Samples, label: Label, kept: Kept) -> bytes:
    """A PNG of 16 bits, each row as differences from its left neighbours; Pillow writes none in colour."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, width, 2 * channels)
    packer = zlib.compressobj()
    packed = b""
    for row in range(0, height, _ROWS):
        piece = rows[row : row + _ROWS]
        piece = np.concatenate([piece[:, :1], piece[:, 1:] - piece[:, :-1]], axis=1).reshape(len(piece), -1)
        packed += packer.compress(np.insert(piece, 0, 1, axis=1).tobytes())
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2 if channels == 3 else 6, 0, 0, 0))]
    if kept.profile:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(kept.profile)))
    chunks += [(b"iTXt", key.encode() + bytes(5) + text.encode()) for key, text in _texts(*label)]
    if kept.exif:
        chunks.append((b"eXIf", metadata.labelled(kept.exif, label[0]["Description"])[6:]))
    chunks += [(b"IDAT", packed + packer.flush()), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
