"""Pictures and profiles with known values, written without the code under test."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

D50 = np.array([0.9642, 1.0, 0.8249])
# Columns red, green, blue: IEC 61966-2-1 adapted to D50 by Bradford, and Adobe RGB (1998), Annex A of its text.
SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
GAMMA = 2.19921875

# How an upright picture is stored so that this orientation makes it upright (EXIF 2.32, tag 274).
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, -1),
}


def srgb_encode(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light to sRGB, both 0..1, clipped."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def adobe_to_srgb(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adobe RGB to sRGB, both 0..1, as floats."""
    return srgb_encode((share**GAMMA) @ (np.linalg.inv(SRGB) @ ADOBE).T)


def lab_to_srgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of D50 to sRGB 0..1, as floats."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 108 / 841) * D50
    return srgb_encode(xyz @ np.linalg.inv(SRGB).T)


def png(pixels: NDArray[np.generic], colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """An unfiltered 16-bit PNG of big-endian samples; `chunks` go before the pixels."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    all_chunks = (head, *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in all_chunks)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"x\0\0" + zlib.compress(profile)


def icc(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    """A version 2 profile of these tags (ICC.1:2001-04)."""
    name = b"test"
    texts = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + name + b"\0" + bytes(12 + 67),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(D50),
    }
    tags = {**texts, **tags}
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s4x", start + len(body), 0x02400000, kind, space, pcs, b"acsp")
    head += bytes(24) + xyz(D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *np.rint(values * 65536).astype(int))


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(matrix: NDArray[np.float64], gamma: float) -> bytes:
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    tags = {name: xyz(column) for name, column in zip(names, matrix.T, strict=True)}
    return icc(b"RGB ", tags | {name: curve(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")})


def grey_profile(gamma: float) -> bytes:
    return icc(b"GRAY", {b"kTRC": curve(gamma)})


def cmyk_profile(corners: NDArray[np.uint8]) -> bytes:
    """A printer whose 16 solid combinations of inks (2 x 2 x 2 x 2 x 3) are these colours, in 8-bit Lab.

    No ink should be white and all inks black, or Little CMS makes them so.
    """
    ramp = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(np.eye(3, dtype=int) * 65536).ravel())
    table = head + ramp * 4 + corners.tobytes() + ramp * 3
    return icc(b"CMYK", {b"A2B0": table}, pcs=b"Lab ", kind=b"prtr")


def bmp(pixels: NDArray[np.uint8], kind: bytes, ends: bytes = b"", gammas: bytes = b"", profile: bytes = b"") -> bytes:
    """A BMP of version 5 (BITMAPV5HEADER)."""
    rows = np.ascontiguousarray(pixels[::-1, :, ::-1]).tobytes()
    height, width = pixels.shape[:2]
    head = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + bytes(16)
    head += kind[::-1] + ends.ljust(36, b"\0") + gammas.ljust(12, b"\0")
    head += struct.pack("<IIII", 4, 124 + len(rows) if profile else 0, len(profile), 0)
    size = 14 + len(head) + len(rows) + len(profile)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, 14 + len(head)) + head + rows + profile


def exif(space: int, index: bytes = b"") -> bytes:
    """EXIF of a colour space and, of four bytes, an interoperability index."""
    pointer = struct.pack("<HHII", 0xA005, 4, 1, 56)
    details = struct.pack("<HHHIHH", 1 + bool(index), 0xA001, 3, 1, space, 0) + pointer * bool(index) + bytes(4)
    inner = struct.pack("<HHHI4sI", 1, 1, 2, 4, index, 0) if index else b""
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 26, 0) + details + inner


def written(pixels: bytes, **tags: int | tuple[int, ...]) -> bytes:
    """A little-endian TIFF of one strip, with the tags that no writer here writes, all of type LONG."""
    numbers = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "samples": 277,
               "planes": 284, "predictor": 317, "extra": 338, "format": 339,
               "subsampling": 530}  # fmt: skip
    values = {numbers[name]: value if isinstance(value, tuple) else (value,) for name, value in tags.items()}
    values |= {273: (8,), 278: values[257], 279: (len(pixels),)}
    pixels += bytes(len(pixels) % 2)
    table, body, start = b"", b"", 8 + len(pixels) + 2 + 12 * len(values) + 4
    for number in sorted(values):
        packed = struct.pack(f"<{len(values[number])}I", *values[number])
        field = packed if len(packed) == 4 else struct.pack("<I", start + len(body))
        body += b"" if len(packed) == 4 else packed
        table += struct.pack("<HHI", number, 4, len(values[number])) + field
    head = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    return head + pixels + struct.pack("<H", len(values)) + table + bytes(4) + body


def packed(values: NDArray[np.integer], bits: int) -> bytes:
    """Rows of samples of so many bits, from the highest bit on, each row of whole bytes."""
    digits = (values.reshape(len(values), -1, 1) >> np.arange(bits)[::-1]) & 1
    return np.packbits(digits.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


ADOBE_PROFILE = rgb_profile(ADOBE, GAMMA)
GREY_GAMMA = 461 / 256
GREY_PROFILE = grey_profile(GREY_GAMMA)
