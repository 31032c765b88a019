"""Variants of picture files beside those of cases.py, and other files: which are read, with what note, or why not.

docs/make_formats.py makes a page of them. More variants are more entries: a group, a name, a function that makes the
bytes, and what the notes or the refusal say.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from cases import FLAT, RGB, RGB16, by_vips, paletted, saved
from makers import chunk, png
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = FLAT.shape[:2]
INDEX = FLAT[..., 0] // 16
NOISE = np.clip(np.kron(FLAT, np.ones((4, 4, 1))) + np.random.default_rng(7).integers(-19, 20, (128, 192, 3)), 0, 255)
PHOTO = NOISE.astype(np.uint8)
INKS = np.dstack([PHOTO, PHOTO[..., :1] // 2])
JPEG = partial(saved, PHOTO, "RGB", "JPEG", quality=90)


@dataclass(frozen=True, repr=False, kw_only=True)
class Variant:
    """A file of a group, and what its notes say, or its refusal; `expected` pixels where they are exact."""

    group: str
    name: str
    data: Callable[[], bytes]
    says: str = ""
    is_read: bool = True
    expected: NDArray[np.uint8] | None = None


def lossless_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Grey, of the predictor to the left (ITU-T T.81, annex H)."""
    height, width = pixels.shape
    values = pixels.astype(int)
    predictions = np.full_like(values, 128)
    predictions[1:, 0], predictions[:, 1:] = values[:-1, 0], values[:, :-1]
    bits = ""
    for step in (values - predictions).ravel().tolist():
        length = abs(step).bit_length()
        bits += f"{length:04b}" + (f"{step if step > 0 else step + (1 << length) - 1:0{length}b}" if length else "")
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")
    table = b"\xff\xc4\0\x1d\0" + bytes([0, 0, 0, 10]) + bytes(12) + bytes(range(10))
    frame = b"\xff\xc3\0\x0b\x08" + struct.pack(">HH", height, width) + b"\1\1\x11\0"
    return b"\xff\xd8" + table + frame + b"\xff\xda\0\x08\1\1\0\1\0\0" + scan + b"\xff\xd9"


def marked(data: bytes, frame: int | None = None, bits: int | None = None) -> bytes:
    """A JPEG whose frame header claims another kind or depth."""
    at = data.index(b"\xff\xc0")
    head = bytearray(data[at : at + 5])
    head[1], head[4] = frame or head[1], bits or head[4]
    return data[:at] + bytes(head) + data[at + 5 :]


def several() -> bytes:
    """A JPEG with a second picture behind it, as of cameras with two lenses."""
    buffer = io.BytesIO()
    first, second = Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)
    first.save(buffer, "MPO", save_all=True, append_images=[second], quality=90)
    return buffer.getvalue()


def bmp(
    pixels: bytes, bits: int, *, height: int = HEIGHT, header: int = 40, compression: int = 0, rest: bytes = b""
) -> bytes:
    """A BMP of WIDTH pixels a row; `rest`: masks and palette."""
    start = 14 + header + len(rest)
    if header == 12:
        head = struct.pack("<IHHHH", 12, WIDTH, height, 1, bits)
    else:
        size = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
        head = (size + bytes(header))[:header]
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + rest + pixels


def fields(masks: tuple[int, ...], bits: int) -> bytes:
    """FLAT as bit fields under these masks."""
    packed = np.zeros(FLAT.shape[:2], np.uint64)
    for samples, mask in zip(np.moveaxis(FLAT, -1, 0), masks, strict=False):
        low = (mask & -mask).bit_length() - 1
        top = mask >> low
        packed |= np.rint(samples * (top / 255)).astype(np.uint64) << np.uint64(low)
    data = packed[::-1].astype(f"<u{bits // 8}").tobytes()
    return bmp(data, bits, compression=3, rest=struct.pack(f"<{len(masks)}I", *masks))


def shades(count: int, size: int = 4) -> bytes:
    """A palette of greys."""
    return b"".join(bytes([level * 255 // (count - 1)] * 3) + bytes(size - 3) for level in range(count))


def runs(nibbles: bool) -> bytes:
    """INDEX in run lengths, a row at a time."""
    data = b""
    for row in INDEX[::-1]:
        for start in range(0, WIDTH, 16):
            value = int(row[start])
            data += bytes([16, value * 17 if nibbles else value])
        data += b"\0\0"
    return data + b"\0\1"


def few_rows(rows: int) -> bytes:
    """A PNG that says 32 rows and holds fewer, all else being right."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in FLAT[:rows]))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def flipped(data: bytes, at: int, bit: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def lossy_copy() -> bytes:
    """A JPEG that lost some bytes of its scan, as a decoder can notice."""
    data = JPEG(restart_marker_rows=1)
    at = data.index(b"\xff\xd2") + 8
    return data[:at] + data[at + 200 :]


GREYS = np.repeat((INDEX * 17)[..., None], 3, -1).astype(np.uint8)
READ = [
    ("JPEG", "grey", partial(saved, PHOTO[..., 0], "L", "JPEG"), ""),
    ("JPEG", "CMYK, with Adobe's marker (inverted)", partial(saved, INKS, "CMYK", "JPEG"), "plain inks"),
    ("JPEG", "RGB without YCbCr", partial(JPEG, keep_rgb=True), ""),
    ("JPEG", "progressive", partial(JPEG, progressive=True), ""),
    ("JPEG", "with restart markers", partial(JPEG, restart_marker_rows=1), ""),
    ("JPEG", "lossless, 8 bits", lambda: lossless_jpeg(PHOTO[..., 0]), ""),
    ("JPEG", "of several pictures (MPO)", several, ""),
    ("JPEG", "without its end marker", lambda: JPEG()[:-2], "end marker missing"),
    ("JPEG", "progressive, without its end marker", lambda: JPEG(progressive=True)[:-2], "end marker missing"),
    ("JPEG", "with bytes of a scan lost or flipped, where that shows", lossy_copy, "damaged (Corrupt JPEG data: "),
    ("PNG", "interlaced", partial(by_vips, RGB16, "pngsave", interlace=True), "16 bits scaled to 8"),
    ("PNG", "without its end marker", lambda: saved(FLAT, "RGB", "PNG")[:-12], "end marker missing"),
    ("PNG", "16 bits, without its end marker", lambda: png(RGB16, 2)[:-12], "end marker missing"),
    ("PNG", "with a wrong check sum of its pixels", lambda: flipped(saved(FLAT, "RGB", "PNG"), -14), "check sum"),
    ("GIF", "without its end marker", lambda: saved(INDEX, "L", "GIF")[:-1], "end marker missing"),
]  # fmt: skip
EXACT = [
    ("BMP", "bottom to top, 24 bits", partial(saved, FLAT, "RGB", "BMP"), FLAT),
    ("BMP", "top to bottom", lambda: bmp(FLAT[..., ::-1].tobytes(), 24, height=-HEIGHT), FLAT),
    ("BMP", "OS/2, header of 12 bytes", lambda: bmp(FLAT[::-1, :, ::-1].tobytes(), 24, header=12), FLAT),
    ("BMP", "OS/2, header of 64 bytes", lambda: bmp(FLAT[::-1, :, ::-1].tobytes(), 24, header=64), FLAT),
    ("BMP", "8 bits with a palette", lambda: bmp(INDEX[::-1].tobytes(), 8, rest=shades(16) + bytes(960)), GREYS),
    ("BMP", "4 bits", lambda: bmp((INDEX[::-1, ::2] << 4 | INDEX[::-1, 1::2]).tobytes(), 4, rest=shades(16)), GREYS),
    ("BMP", "1 bit", lambda: bmp(np.packbits(np.pad(INDEX[::-1] > 7, ((0, 0), (0, 16))), axis=1).tobytes(), 1,
                                 rest=shades(2)), np.where(GREYS > 119, 255, 0).astype(np.uint8)),
    ("BMP", "run lengths of bytes (RLE8)", lambda: bmp(runs(False), 8, compression=1, rest=shades(16) + bytes(960)),
     GREYS),
    ("BMP", "run lengths of nibbles (RLE4)", lambda: bmp(runs(True), 4, compression=2, rest=shades(16)), GREYS),
    *[
        ("BMP", f"bit fields {name}", partial(fields, masks, bits),
         np.rint(np.rint(FLAT / 255 * np.array(tops)) / np.array(tops) * 255).astype(np.uint8))
        for name, masks, bits, tops in (
            ("5-6-5", (0xF800, 0x07E0, 0x001F), 16, (31, 63, 31)),
            ("4-4-4", (0x0F00, 0x00F0, 0x000F), 16, (15, 15, 15)),
            ("8-8-8 from blue to red", (0xFF0000, 0xFF00, 0xFF), 32, (255, 255, 255)),
            ("8-8-8 from red to blue", (0xFF, 0xFF00, 0xFF0000), 32, (255, 255, 255)),
        )
    ],
]  # fmt: skip
HALF = len(JPEG()) // 2
REFUSED = [
    ("JPEG", "half of a file", lambda: JPEG()[:HALF], "cut short: 40 of 128 rows are there"),
    ("JPEG", "half of its scan, ended properly", lambda: JPEG()[:HALF] + b"\xff\xd9", "cut short: 40 of 128 rows"),
    ("JPEG", "half of a progressive file", lambda: JPEG(progressive=True)[:HALF], "of its scans are there"),
    ("JPEG", "the beginning of its header", lambda: JPEG()[:300], "cut short: it ends before its pixels"),
    ("JPEG", "12 bits", lambda: marked(JPEG(), bits=12), "a 12-bit JPEG, which is not read"),
    ("JPEG", "JPEG-LS", lambda: marked(JPEG(), frame=0xF7), "a JPEG-LS, which is not read"),
    ("JPEG", "hierarchical", lambda: marked(JPEG(), frame=0xC5), "a hierarchical JPEG, which is not read"),
    ("PNG", "half of a file", lambda: saved(RGB, "RGB", "PNG")[:420], "cut short: 6 of 12 rows are there"),
    ("PNG", "rows that are not there, ended properly", lambda: few_rows(20), "cut short: 20 of 32 rows are there"),
    ("PNG", "damaged pixels", lambda: flipped(saved(RGB, "RGB", "PNG"), 45, 7), "damaged ("),
    ("PNG", "a damaged header", lambda: flipped(saved(RGB, "RGB", "PNG"), 25), "a damaged PNG"),
    ("GIF", "half of a file", lambda: paletted("GIF")[:100], "cut short: it ends within its first frames"),
    ("GIF", "a large canvas of a tiny frame", lambda: canvas(65535, 6000),
     "393210000 pixels in 35 bytes; accepted: density"),
    ("WebP", "half of a file", lambda: saved(RGB, "RGB", "WEBP")[:200], "bytes are there"),
    ("AVIF", "half of a file", lambda: saved(RGB, "RGB", "AVIF")[:400], "bytes are there"),
    ("BMP", "half of a file", lambda: saved(FLAT, "RGB", "BMP")[:999], "cut short: 999 of 4,662 bytes are there"),
    ("BMP", "half of bit fields", lambda: fields((0xF00, 0xF0, 0xF), 16)[:999], "cut short: 9 of 32 rows are there"),
    ("BMP", "2 bits", lambda: bmp(bytes(12 * HEIGHT), 2, rest=bytes(16)), "a BMP of a rare kind"),
    ("BMP", "with a JPEG or PNG inside", lambda: bmp(JPEG(), 0, compression=4), "a BMP of a rare kind"),
    ("BMP", "run lengths of over 3 MB", lambda: bmp(b"\1\1" * 1_600_000, 8, compression=1, rest=shades(256)),
     "run lengths (RLE)"),
]  # fmt: skip


def canvas(width: int, height: int) -> bytes:
    """A GIF of a canvas of that size and a frame of one pixel."""
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6) + frame + b"\x3b"


# The beginning of a file and what the refusal calls it.
OTHERS = [
    (b"\xff\x0a" + bytes(60), "a JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "a JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), "a JPEG 2000"),
    (b"\xff\x4f\xff\x51" + bytes(60), "a JPEG 2000"),
    (b"II\xbc\x01" + bytes(60), "a JPEG XR"),
    (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(60), "a camera raw (Canon CR3 or CRW)"),
    (b"II\x1a\0\0\0HEAPCCDR" + bytes(60), "a camera raw (Canon CR3 or CRW)"),
    (b"FUJIFILMCCD-RAW 0201" + bytes(60), "a camera raw (Fujifilm RAF)"),
    (b"FOVb" + bytes(60), "a camera raw (Sigma X3F)"),
    (b"IIRO\x08\0\0\0" + bytes(60), "a camera raw (Olympus ORF)"),
    (b"IIU\0\x18\0\0\0" + bytes(60), "a camera raw (Panasonic RW2)"),
    (b"\0MRM" + bytes(60), "a camera raw (Minolta MRW)"),
    (b"%PDF-1.7\n" + bytes(60), "a PDF"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript or EPS file"),
    (b"8BPS\0\1" + bytes(100), "a Photoshop file (PSD)"),
    (b"gimp xcf v011\0", "a GIMP file (XCF)"),
    (b"P4\n8 8\n" + bytes(8), "a Netpbm bitmap (PBM)"),
    (b"P5\n96 64\n255\n" + bytes(99), "a Netpbm greymap (PGM)"),
    (b"P6\n# by hand\n96 64\n255\n" + bytes(99), "a Netpbm pixmap (PPM)"),
    (b"P7\nWIDTH 4\n", "a Netpbm map (PAM)"),
    (b"PF\n4 4\n-1.0\n" + bytes(99), "a float map (PFM)"),
    (b"v/1\x01\x02\0\0\0", "an OpenEXR"),
    (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "a Radiance HDR"),
    (b"\0\0\1\0\1\0\x20\x20\0\0\1\0\x18\0\xa8\x0c\0\0\x16\0\0\0", "an icon (ICO or CUR)"),
    (b"icns\0\0\1\0", "an icon (ICNS)"),
    (bytes(99) + b"TRUEVISION-XFILE.\0", "a Targa (TGA)"),
    (bytes(128) + b"DICM" + bytes(60), "a medical picture (DICOM)"),
    (b"SIMPLE  =                    T", "an astronomical picture (FITS)"),
    (b"AT&TFORM\0\0\0\1DJVU", "a DjVu"),
    (b"qoif\0\0\0\1", "a QOI"),
    (b"DDS \x7c\0\0\0", "a texture (DDS or KTX)"),
    (b"\n\5\1\x08" + bytes(60), "a PCX"),
    (b"\x93NUMPY\1\0v\0{'descr'", "a numpy array"),
    (b"\x89HDF\r\n\x1a\n", "an HDF or NetCDF file"),
    (b"RIFF\x24\0\0\0WAVEfmt ", "a sound file"),
    (b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(60), "a video"),
    (b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", "a video"),
    (b"\x1aE\xdf\xa3\1\0\0\0", "a video"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS, not the file itself"),
    (b"\0\5\x16\7\0\2\0\0Mac OS X", "what macOS stores beside a file (AppleDouble)"),
    (b"PK\3\4" + bytes(26) + b"word/document.xml", "an Office document"),
    (b"PK\3\4" + bytes(26) + b"mimetypeimage/openraster", "a Krita or OpenRaster file"),
    (b"PK\3\4" + bytes(26) + b"photos/a.jpg", "an archive (ZIP or alike)"),
    (b"\x1f\x8b\x08\0" + bytes(60), "an archive (ZIP or alike)"),
    (b"\x7fELF\2\1\1", "a program or data base"),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG"),
    (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn by hand -->\n<svg>', "an SVG"),
    (b"<!DOCTYPE html><p>404", "a web page (HTML)"),
    (b"\n <HTML lang='en'>", "a web page (HTML)"),
    (b'<?xml version="1.0"?><note/>', "an XML file"),
]
VARIANTS = [
    *[Variant(group=group, name=name, data=data, says=says) for group, name, data, says in READ],
    *[Variant(group=group, name=name, data=data, expected=expected) for group, name, data, expected in EXACT],
    *[Variant(group=group, name=name, data=data, says=says, is_read=False) for group, name, data, says in REFUSED],
]
