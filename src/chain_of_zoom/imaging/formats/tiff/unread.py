"""Kinds of TIFF that are not read, by name: camera raws, and sound files in rare codings, colours and depths."""

from __future__ import annotations

from collections.abc import Sequence

from chain_of_zoom.imaging.formats.tiff import directories as tag
from chain_of_zoom.imaging.formats.tiff.directories import Directory

_RAW_MARK = {b"CR\2\0": "CR2", b"IIII": "IIQ", b"MMMM": "IIQ"}  # after the header
_DNG_VERSION, _LEAF_DATA = 50706, 34310
_SENSOR_COLOURS = (32803, 34892)  # colour filter array, linear raw
_SENSOR_CODINGS = (32767, 32770, 34713, 65000, 65535)  # of Sony, Samsung, Nikon, Kodak and Pentax

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, INKS, YCC, CIELAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS = {4: "a transparency mask", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32844: "LogL", 32845: "LogLuv"}
_DEPTHS = {"u": (*range(1, 17), 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
_CODINGS = {
    **{6: "old JPEG", 7: "JPEG", 22610: "JPEG XR", 34934: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL"},
    **{33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34892: "lossy JPEG"},
    **{34661: "JBIG", 34715: "JBIG2", 34887: "LERC", 34925: "LZMA", 34926: "ZSTD", 50000: "ZSTD"},
    **{34927: "WebP", 50001: "WebP", 34933: "PNG", 34676: "SGILog", 34677: "SGILog24"},
}
_USUAL_CODINGS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
_JPEG = (6, 7)
_BYTE_CODINGS = (1, 5, 8, 32773, 32946)  # none, LZW, Deflate and PackBits, which know nothing of samples


def name_raw_kind(data: bytes, pages: Sequence[Directory]) -> str | None:
    """Name the camera raw that this is, whose first page is but a thumbnail; None for others."""
    kind = _RAW_MARK.get(data[8:12])
    for page in pages:
        if page.read_numbers(_DNG_VERSION):
            return "DNG"
        if (
            page.read_first(tag.PHOTOMETRIC) in _SENSOR_COLOURS
            or page.read_first(tag.COMPRESSION) in _SENSOR_CODINGS
            or page.read_numbers(_LEAF_DATA)
        ):
            kind = kind or "NEF, ARW, PEF or the like"
    return kind


def name_rare_kind(page: Directory) -> str | None:
    """Name the colours and depths that neither libvips nor this package reads; None for others."""
    depths, kind = sorted(set(page.read_numbers(tag.BITS))), page.kind
    colours = page.read_first(tag.PHOTOMETRIC, BLACK_IS_0)
    numbers = f"{page.bits}-bit {({'u': 'numbers', 'i': 'signed numbers', 'f': 'floats'}).get(kind)}"
    if colours not in (WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, INKS, YCC, CIELAB):
        return _COLOURS.get(colours, f"colours of kind {colours}")
    if kind not in _DEPTHS:
        return "complex numbers"
    if len(depths) > 1:
        return f"channels of {' and '.join(map(str, depths))} bits"
    if page.bits not in _DEPTHS[kind]:
        return numbers
    if colours == CIELAB and (page.bits, kind == "f") not in ((8, False), (16, False), (32, True)):
        return f"CIELAB in {numbers}"
    if colours in (PALETTE, YCC) and (page.is_packed or page.is_in_planes):
        return f"{'a palette' if colours == PALETTE else 'YCbCr'} in {numbers} or planes"
    coding = page.read_first(tag.COMPRESSION, 1)
    if colours == YCC and coding not in _JPEG and (page.bits != 8 or page.read_numbers(tag.SUBSAMPLING)[:2] == (1, 1)):
        return f"YCbCr in {numbers} of full resolution"  # which libvips takes for RGB
    if page.is_packed and coding not in _BYTE_CODINGS:
        return f"{numbers} compressed with {_name_coding(coding)}"
    if page.is_packed and page.bits < 16 and page.read_first(tag.PREDICTOR, 1) != 1:
        return f"{numbers} with a predictor"
    return None


def name_rare_coding(page: Directory) -> str | None:
    """Name the page's compression where it is one that libvips need not know."""
    coding = page.read_first(tag.COMPRESSION, 1)
    return None if coding in _USUAL_CODINGS else _name_coding(coding)


def _name_coding(number: int) -> str:
    return _CODINGS.get(number, f"scheme {number}")
