"""The colour space of a file that says it otherwise than by an ICC profile, which is then made of what it says.

PNG: cICP, before the profile; then sRGB, gAMA and cHRM (PNG, third edition, section 4.3). AVIF and HEIF: nclx. BMP: the
header of versions 4 and 5. EXIF, where nothing else is said: Adobe RGB of the DCF, or TIFF's own tags.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import ExifTags, Image

from chain_of_zoom.imaging.colour.spaces import (
    ADOBE,
    ADOBE_GAMMA,
    BT2020,
    CURVES,
    HDR,
    PRIMARIES,
    Encoding,
    Floats,
    Primaries,
    from_calibration,
)
from chain_of_zoom.imaging.formats.blocks import find_meta_box, read_png_head, read_primary_properties

Claim = tuple[Encoding | None, tuple[str, ...]]  # of a part of a file; None: it says nothing usable. And notes.

SILENT: Claim = (None, ())
_SRGB: Claim = (Encoding(), ())
_HDR: dict[int, HDR] = {16: "PQ", 18: "HLG"}  # transfers of ITU-T H.273, table 3
_VIDEO = (1, 6, 7, 11, 12, 14, 15)  # the family of BT.709
_UNSPECIFIED = 2
_COLOUR_SPACE, _GAMMA, _WHITE_POINT, _PRIMARIES, _TRANSFER = 0xA001, 0xA500, 318, 319, 301  # of EXIF and TIFF
_UNCALIBRATED = 0xFFFF


def resolve(data: bytes, profile: bytes | None, exif: Claim) -> tuple[bytes | None, Encoding | None, list[str]]:
    """Return the profile of a file's pixels (None: sRGB), the encoding it was made of, if it was, and notes.

    profile: the file's own (ICC). exif: what its EXIF claims.
    """
    profile = profile or _bmp_profile(data)
    notes = ["HDR gain map left out"] if _has_gain_map(data) else []
    for encoding, remarks in _claims(data, profile, exif):
        notes += remarks
        if encoding:
            if profile:
                notes.append("colour profile overridden by cICP")
            return encoding.profile, encoding, notes
    return profile, None, notes


def exif_claim(exif: Image.Exif) -> Claim:
    """Read the claim of EXIF, or of a TIFF's first directory. Raises what Pillow raises on damaged ones."""
    details = exif.get_ifd(ExifTags.IFD.Exif)
    space, index = details.get(_COLOUR_SPACE), exif.get_ifd(ExifTags.IFD.Interop).get(1)
    if space == 1:
        return _SRGB
    if space == 2 or str(index).startswith("R03"):
        curve = np.linspace(0, 1, 4096)[None] ** ADOBE_GAMMA
        return Encoding(name="Adobe RGB (EXIF)", primaries=ADOBE, curves=curve), ()
    points, white, gamma = exif.get(_PRIMARIES, ()), exif.get(_WHITE_POINT, (0.3127, 0.3290)), details.get(_GAMMA)
    primaries = _pairs((*points, *white)) if len(points) == 6 and len(white) == 2 else None
    table = _table(exif.get(_TRANSFER, ()))
    encoding, notes = from_calibration(
        "calibration tags of EXIF or TIFF", primaries, () if gamma is None else [float(gamma)], table
    )
    if encoding is None and space == _UNCALIBRATED:
        notes = (*notes, "EXIF names no colour space (uncalibrated); taken as sRGB")
    return encoding, notes


def _claims(data: bytes, profile: bytes | None, exif: Claim) -> Iterator[Claim]:
    """Yield the claims of the parts of a file, the one that counts most first."""
    chunks = read_png_head(data) if data[:4] == b"\x89PNG" else {}
    if b"cICP" in chunks:
        yield _cicp(chunks[b"cICP"], bits=data[24])
    if profile:
        return
    if b"sRGB" in chunks:
        yield _SRGB
    if b"gAMA" in chunks or b"cHRM" in chunks:
        yield _png_calibration(chunks)
    if data[4:8] == b"ftyp":
        yield _nclx(data)
    if data[:2] == b"BM":
        yield _bmp_calibration(data)
    yield exif


def _coded(source: str, primaries: int, transfer: int, black: float = 0.0, white: float = 1.0) -> Claim:
    """Return the space that two codes of ITU-T H.273 name."""
    source = f"{source} {primaries}/{transfer}"
    if primaries == transfer == _UNSPECIFIED and white == 1:
        return SILENT
    hdr = _HDR.get(transfer)
    name, points = PRIMARIES.get((BT2020 if hdr else 1) if primaries == _UNSPECIFIED else primaries, ("", ()))
    if not points or transfer not in (*CURVES, *_VIDEO, *_HDR):
        return None, (f"{source} ignored: unknown",)
    notes = (f"{source}: BT.709 transfer taken as that of sRGB",) if transfer in _VIDEO else ()
    name = f"{name} ({source})"
    return Encoding(name=name, primaries=points, curves=CURVES.get(transfer), hdr=hdr, black=black, white=white), notes


def _cicp(chunk: bytes, bits: int) -> Claim:
    if len(chunk) != 4 or chunk[2] != 0 or chunk[3] > 1:  # other matrices are not for RGB
        return None, ("PNG cICP ignored: damaged",)
    if chunk[3]:
        return _coded("PNG cICP", chunk[0], chunk[1])
    unit = 256 / 65535 if bits == 16 else 1 / 255
    encoding, notes = _coded("PNG cICP", chunk[0], chunk[1], 16 * unit, 235 * unit)
    return encoding, (*notes, "PNG cICP: narrow range, 16 to 235, stretched")


def _png_calibration(chunks: dict[bytes, bytes]) -> Claim:
    gamma, points = chunks.get(b"gAMA"), chunks.get(b"cHRM")
    if len(gamma or bytes(4)) != 4 or len(points or bytes(32)) != 32:
        return None, ("PNG gAMA and cHRM ignored: damaged",)
    primaries: Primaries | None = None
    if points:
        white, *colours = _pairs(value / 1e5 for value in struct.unpack(">8I", points))
        primaries = (*colours, white)
    gammas = [1e5 / max(int.from_bytes(gamma), 1)] if gamma else []
    names = " and ".join(name for name, chunk in (("gAMA", gamma), ("cHRM", points)) if chunk)
    return from_calibration(f"PNG {names}", primaries, gammas)


def _nclx(data: bytes) -> Claim:
    try:
        properties = read_primary_properties(find_meta_box(data))
        codes = next(box[4:8] for kind, box in properties if kind == b"colr" and box[:4] == b"nclx")
        return _coded("nclx", *struct.unpack(">HH", codes))
    except (struct.error, LookupError, StopIteration):  # none, or damaged, which the decoder has seen to
        return SILENT


def _bmp_profile(data: bytes) -> bytes | None:
    """Return the profile that a BMP of version 5 embeds."""
    if data[:2] != b"BM" or len(data) < 138 or int.from_bytes(data[14:18], "little") < 124 or data[70:74] != b"DEBM":
        return None
    start, size = struct.unpack_from("<II", data, 126)
    return data[14 + start : 14 + start + size] or b"none"  # unusable


def _bmp_calibration(data: bytes) -> Claim:
    if len(data) < 122 or int.from_bytes(data[14:18], "little") < 108:
        return SILENT
    if data[70:74] == b"KNIL":
        return None, ("linked colour profile not read; taken as sRGB",)
    ends = np.array(struct.unpack_from("<9i", data, 74)).reshape(3, 3) / 2**30
    gammas = [value / 65536 for value in struct.unpack_from("<3I", data, 110)]
    gammas = [1 / gamma if 0 < gamma < 1 else gamma for gamma in gammas]  # of encoding, as PNG's: no display has such
    if data[70:74] != bytes(4) or not (ends.any() or any(gammas)):  # sRGB, Windows' own, or nothing
        return SILENT
    primaries: Primaries | None = None
    if ends.any():
        sums = ends.sum(axis=1)
        # Chromaticities, as many write, mean a white of D65; otherwise white is all of red, green and blue.
        white = ends.sum(axis=0) if np.abs(sums - 1).max() > 0.01 else np.array([0.3127, 0.3290, 0.3583])
        points = np.vstack([ends, white])
        primaries = _pairs((points[:, :2] / np.where(points.sum(axis=1), points.sum(axis=1), 1)[:, None]).ravel())
    return from_calibration("BMP header", primaries, gammas if any(gammas) else [])


def _has_gain_map(data: bytes) -> bool:
    """Whether a JPEG or HEIF has a second picture that makes the first one HDR: ISO 21496-1, Apple's, Ultra HDR."""
    if data[:2] == b"\xff\xd8":
        marks = (b"aux:hdrgainmap", b"hdrgm:Version", b"urn:iso:std:iso:ts:21496:-1")
        return b"MPF\0" in data[: 1 << 18] and any(mark in data for mark in marks)
    meta = find_meta_box(data) if data[4:8] == b"ftyp" else b""
    return b"aux:hdrgainmap" in meta or b"\0\0tmap" in meta


def _table(values: tuple[int, ...]) -> Floats | None:
    """Return the curves of a TIFF's TransferFunction: one or three for 8 or 16 bits."""
    if len(values) not in (256, 768, 65536, 196608):
        return None
    return np.array(values).reshape(1 if len(values) % 3 else 3, -1) / 65535


def _pairs(values: Iterable[float]) -> Primaries:
    numbers = [float(value) for value in values]
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
