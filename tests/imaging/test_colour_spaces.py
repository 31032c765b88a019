"""Colours whose space is said otherwise than by an ICC profile, against values computed by formula."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from makers import ADOBE_PROFILE, bmp, chunk, exif, iccp, srgb_encode
from numpy.typing import NDArray
from PIL import Image

from chain_of_zoom.imaging.colour.claims import SILENT, resolve
from chain_of_zoom.imaging.decode import decode_bytes
from chain_of_zoom.imaging.images import Picture, render
from chain_of_zoom.imaging.reading import Reading

DATA = Path(__file__).parent / "data"
D65 = (0.3127, 0.3290)
CHROMATICITIES = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    "Adobe": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65),
    "P3": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), D65),
    "BT.2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
}
ADOBE_GAMMA = 563 / 256
LINEAR = np.array(
    [[[0.2, 0.2, 0.2], [0.5, 0.5, 0.5], [1, 1, 1], [0.8, 0.1, 0.1]],
     [[0.1, 0.6, 0.1], [0.1, 0.1, 0.8], [0.7, 0.6, 0.1], [0.02, 0.02, 0.02]]]
)  # fmt: skip
WANTED = srgb_encode(LINEAR) * 255


def matrix(name: str) -> NDArray[np.float64]:
    """Linear RGB to XYZ, of D65."""
    red, green, blue, white = CHROMATICITIES[name]
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    x, y = white
    return columns * np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))


def seen(name: str, linear: NDArray[np.float64] = LINEAR) -> NDArray[np.float64]:
    """Linear sRGB as linear RGB of other primaries."""
    return np.clip(linear @ (np.linalg.inv(matrix(name)) @ matrix("sRGB")).T, 0, 1)


def pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084 of cd/m2."""
    power = (light / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2100 HLG of the light of a display of 1000 cd/m2, in BT.2020."""
    share = light / 1000
    scene = share * (share @ matrix("BT.2020")[1])[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


ADOBE = seen("Adobe") ** (1 / ADOBE_GAMMA)
P3 = srgb_encode(seen("P3"))
P3_PQ = pq(203 * seen("P3"))
PQ = pq(203 * seen("BT.2020"))
HLG = hlg(203 * seen("BT.2020"))


def chart(signal: NDArray[np.float64], bits: int = 8, side: int = 16) -> NDArray[np.uint8 | np.uint16]:
    values = np.rint(signal * ((1 << bits) - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    return values.repeat(side, 0).repeat(side, 1)


def png(pixels: NDArray[np.generic], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these pixels with chunks after its header."""
    bits = 8 * pixels.itemsize
    kind = {1: "b-w", 3: "srgb", 4: "srgb"}[pixels.shape[2]]
    if bits == 16:
        kind = {"b-w": "grey16", "srgb": "rgb16"}[kind]
    height, width, bands = pixels.shape
    data = np.ascontiguousarray(pixels).data
    image = pyvips.Image.new_from_memory(data, width, height, bands, "ushort" if bits == 16 else "uchar")
    plain = image.copy(interpretation=kind).pngsave_buffer(keep="none")
    return plain[:33] + b"".join(chunk(*parts) for parts in chunks) + plain[33:]


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 1e5))


def chrm(name: str) -> tuple[bytes, bytes]:
    red, green, blue, white = CHROMATICITIES[name]
    return b"cHRM", struct.pack(">8I", *(round(value * 1e5) for point in (white, red, green, blue) for value in point))


def cicp(*codes: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes(codes)


def saved(pixels: NDArray[np.uint8], kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def nclx(pixels: NDArray[np.uint8], primaries: int, transfer: int) -> bytes:
    """An AVIF of 8 bits with these codes, which Pillow writes as 1/13."""
    data = saved(pixels, "AVIF", quality=100, subsampling="4:4:4")
    said = b"nclx" + struct.pack(">HH", 1, 13)
    assert data.count(said) == 1
    return data.replace(said, b"nclx" + struct.pack(">HH", primaries, transfer))


def deep_nclx(pixels: NDArray[np.uint16], primaries: int, transfer: int) -> bytes:
    """An AVIF of 10 bits with these codes."""
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, "ushort")
    data = image.copy(interpretation="rgb16").heifsave_buffer(compression="av1", bitdepth=10, lossless=True)
    said = b"nclx" + struct.pack(">HH", 1, 13)
    assert data.count(said) == 1
    return data.replace(said, b"nclx" + struct.pack(">HH", primaries, transfer))


def endpoints(values: NDArray[np.float64]) -> bytes:
    return struct.pack("<9i", *np.rint(values * 2**30).astype(int).ravel())


def tiff(pixels: NDArray[np.generic], name: str, *tags: tuple[int, str, int, object]) -> bytes:
    """A TIFF with WhitePoint and PrimaryChromaticities."""

    def rationals(points: object) -> tuple[int, ...]:
        return tuple(part for value in np.ravel(points) for part in (round(value * 10000), 10000))

    red, green, blue, white = CHROMATICITIES[name]
    known = ((318, "2I", 2, rationals(white)), (319, "2I", 6, rationals((red, green, blue))))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb", extratags=[(*tag, True) for tag in (*known, *tags)])
    return buffer.getvalue()


def heic(primaries: int, transfer: int) -> bytes:
    said = b"nclx" + struct.pack(">HH", 1, 13)
    data = (DATA / "turned.heic").read_bytes()
    assert data.count(said) == 1
    return data.replace(said, b"nclx" + struct.pack(">HH", primaries, transfer))


def read(data: bytes, reading: Reading | None = None) -> Picture:
    return render(decode_bytes(data, Path("picture")), reading or Reading())


def middles(pixels: NDArray[np.generic], side: int = 16) -> NDArray[np.float64]:
    return pixels[side // 2 :: side, side // 2 :: side].astype(float)


P3_CHROMATICITIES = np.array([(x, y, 1 - x - y) for x, y in CHROMATICITIES["P3"][:3]])
GAMMA_2_2 = struct.pack("<3I", *[round(2.2 * 65536)] * 3)
P3_BY_GAMMA = chart(seen("P3") ** (1 / 2.2))
CURVE = np.rint(np.linspace(0, 1, 256) ** 1.8 * 65535).astype(int).tolist()

RIGHT = {
    "PNG gAMA 1": (lambda: png(chart(LINEAR), gama(1)), "profile PNG gAMA,"),
    "PNG gAMA 1, 16 bits": (lambda: png(chart(LINEAR, 16), gama(1)), "profile PNG gAMA,"),
    "PNG gAMA 1/1.8": (lambda: png(chart(LINEAR ** (1 / 1.8)), gama(1 / 1.8)), "profile PNG gAMA,"),
    "PNG gAMA and cHRM": (
        lambda: png(chart(ADOBE), gama(1 / ADOBE_GAMMA), chrm("Adobe")), "profile PNG gAMA and cHRM,"),
    "PNG cHRM": (lambda: png(chart(P3, 16), chrm("P3")), "profile PNG cHRM,"),
    "PNG cICP": (lambda: png(chart(P3), cicp(12, 13, 0, 1)), "profile Display P3 (PNG cICP 12/13),"),
    "PNG cICP, 16 bits": (lambda: png(chart(P3, 16), cicp(12, 13, 0, 1)), "profile Display P3 (PNG cICP 12/13),"),
    "PNG cICP of narrow range": (
        lambda: png(chart((16 + 219 * P3) / 255), cicp(12, 13, 0, 0)), "narrow range, 16 to 235, stretched"),
    "PNG cICP of narrow range, 16 bits": (
        lambda: png(chart((16 + 219 * P3) * 256 / 65535, 16), cicp(12, 13, 0, 0)), "narrow range"),
    "PNG cICP of sRGB and narrow range": (
        lambda: png(chart((16 + 219 * srgb_encode(LINEAR)) / 255), cicp(1, 13, 0, 0)), "narrow range"),
    "PNG cICP of linear light": (
        lambda: png(chart(seen("BT.2020"), 16), cicp(9, 8, 0, 1)), "profile BT.2020 (PNG cICP 9/8),"),
    "PNG cICP before iCCP": (
        lambda: png(chart(P3), cicp(12, 13, 0, 1), iccp(ADOBE_PROFILE)), "colour profile overridden by cICP"),
    "PNG cICP of sRGB before iCCP": (
        lambda: png(chart(WANTED / 255), iccp(ADOBE_PROFILE), cicp(1, 13, 0, 1)), "colour profile overridden by cICP"),
    "PNG iCCP before sRGB": (
        lambda: png(chart(ADOBE), iccp(ADOBE_PROFILE), (b"sRGB", b"\0"), gama(1)), "profile test,"),
    "PNG cICP before sRGB": (lambda: png(chart(P3), (b"sRGB", b"\0"), cicp(12, 13, 0, 1)), "profile Display P3"),
    "PNG cICP of PQ": (lambda: png(chart(PQ, 16), cicp(9, 16, 0, 1)), "BT.2020 (PNG cICP 9/16): HDR tone-mapped"),
    "PNG cICP of PQ and P3": (lambda: png(chart(P3_PQ, 16), cicp(12, 16, 0, 1)), "HDR tone-mapped"),
    "PNG cICP of HLG": (lambda: png(chart(HLG, 16), cicp(9, 18, 0, 1)), "HDR tone-mapped"),
    "PNG of EXIF R03": (lambda: png(chart(ADOBE), (b"eXIf", exif(65535, b"R03\0")[6:])), "Adobe RGB (EXIF)"),
    "JPEG of EXIF R03": (
        lambda: saved(chart(ADOBE), "JPEG", quality=97, subsampling=0, exif=exif(65535, b"R03\0")), "Adobe RGB (EXIF)"),
    "WebP of EXIF R03": (
        lambda: saved(chart(ADOBE), "WEBP", lossless=True, exif=exif(65535, b"R03\0")), "Adobe RGB (EXIF)"),
    "JPEG of EXIF space 2": (
        lambda: saved(chart(ADOBE), "JPEG", quality=97, subsampling=0, exif=exif(2)), "Adobe RGB (EXIF)"),
    "JPEG of EXIF and ICC": (
        lambda: saved(chart(ADOBE), "JPEG", quality=97, subsampling=0, exif=exif(1), icc_profile=ADOBE_PROFILE),
        "profile test,"),
    "AVIF nclx": (lambda: nclx(chart(P3), 12, 13), "profile Display P3 (nclx 12/13),"),
    "AVIF nclx of 10 bits": (lambda: deep_nclx(chart(P3, 16), 12, 13), "profile Display P3 (nclx 12/13),"),
    "AVIF nclx of PQ": (lambda: deep_nclx(chart(PQ, 16), 9, 16), "BT.2020 (nclx 9/16): HDR tone-mapped"),
    "AVIF nclx of HLG": (lambda: deep_nclx(chart(HLG, 16), 9, 18), "HDR tone-mapped"),
    "AVIF nclx of PQ of no primaries": (lambda: deep_nclx(chart(PQ, 16), 2, 16), "HDR tone-mapped"),
    "AVIF of BT.709": (lambda: nclx(chart(WANTED / 255), 1, 1), "BT.709 transfer taken as that of sRGB"),
    "BMP of a profile": (lambda: bmp(chart(ADOBE), b"MBED", profile=ADOBE_PROFILE), "profile test,"),
    "BMP of chromaticities": (
        lambda: bmp(P3_BY_GAMMA, b"\0\0\0\0", endpoints(P3_CHROMATICITIES), GAMMA_2_2), "profile BMP header,"),
    "BMP of XYZ": (
        lambda: bmp(P3_BY_GAMMA, b"\0\0\0\0", endpoints(matrix("P3").T), GAMMA_2_2), "profile BMP header,"),
    "BMP of gammas": (
        lambda: bmp(chart(LINEAR ** (1 / np.array([1, 1.8, 2.6]))), b"\0\0\0\0", b"",
                    struct.pack("<3I", 65536, round(1.8 * 65536), round(2.6 * 65536))), "profile BMP header,"),
    "BMP of gammas of encoding": (
        lambda: bmp(chart(LINEAR ** (1 / 1.8)), b"\0\0\0\0", b"", struct.pack("<3I", *[round(65536 / 1.8)] * 3)),
        "profile BMP header,"),
    "TIFF of primaries": (lambda: tiff(chart(P3), "P3"), "profile calibration tags of EXIF or TIFF,"),
    "TIFF of primaries, 16 bits": (lambda: tiff(chart(P3, 16), "P3"), "profile calibration tags"),
    "TIFF of a transfer function": (
        lambda: tiff(chart(LINEAR ** (1 / 1.8)), "sRGB", (301, "H", 256, CURVE)), "profile calibration tags"),
    "TIFF of three transfer functions": (
        lambda: tiff(chart(seen("P3") ** (1 / 1.8)), "P3", (301, "H", 768, CURVE * 3)), "profile calibration tags"),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_the_same_chart_is_the_same_however_its_space_is_said(name):
    data, says = RIGHT[name]
    picture = read(data())
    lossy = 3 if name.startswith(("JPEG", "AVIF")) else 0
    dark = 2 if "linear" in name or name == "BMP of gammas" else 0  # 8 bits of linear light are coarse there
    np.testing.assert_allclose(middles(picture.pixels), WANTED, atol=1.6 + lossy + dark)
    assert says in "; ".join(picture.notes)


AS_IT_IS = {
    "PNG gAMA 1/2.2": (lambda pixels: png(pixels, gama(1 / 2.2)), ()),
    "PNG gAMA 1/2.2 and cHRM": (lambda pixels: png(pixels, gama(1 / 2.2), chrm("sRGB")), ()),
    "PNG cHRM of sRGB": (lambda pixels: png(pixels, chrm("sRGB")), ()),
    "PNG sRGB before gAMA": (lambda pixels: png(pixels, gama(1), (b"sRGB", b"\0")), ()),
    "PNG cICP before gAMA": (lambda pixels: png(pixels, gama(1), cicp(1, 13, 0, 1)), ()),
    "PNG sRGB before EXIF": (lambda pixels: png(pixels, (b"sRGB", b"\0"), (b"eXIf", exif(2)[6:])), ()),
    "PNG of EXIF R98": (lambda pixels: png(pixels, (b"eXIf", exif(1, b"R98\0")[6:])), ()),
    "PNG of uncalibrated EXIF": (
        lambda pixels: png(pixels, (b"eXIf", exif(65535)[6:])),
        ("EXIF names no colour space (uncalibrated); taken as sRGB",)),
    "PNG gAMA 0": (lambda pixels: png(pixels, gama(0)), ("PNG gAMA: impossible gamma ignored",)),
    "PNG cHRM of a line": (
        lambda pixels: png(pixels, (b"cHRM", struct.pack(">8I", 31270, 32900, *[30000, 30000] * 3))),
        ("PNG cHRM: impossible primaries ignored",)),
    "PNG cHRM of nothing": (
        lambda pixels: png(pixels, (b"cHRM", bytes(32))), ("PNG cHRM: impossible primaries ignored",)),
    "PNG cHRM of a white outside": (
        lambda pixels: png(pixels, (b"cHRM", struct.pack(">8I", 70000, 29000, *chrm_points("sRGB")))),
        ("PNG cHRM: impossible primaries ignored",)),
    "PNG cICP of unknown codes": (
        lambda pixels: png(pixels, cicp(99, 13, 0, 1)), ("PNG cICP 99/13 ignored: unknown",)),
    "PNG cICP of an unknown transfer": (
        lambda pixels: png(pixels, cicp(1, 3, 0, 1)), ("PNG cICP 1/3 ignored: unknown",)),
    "PNG cICP of YCbCr": (lambda pixels: png(pixels, cicp(12, 13, 6, 1)), ("PNG cICP ignored: damaged",)),
    "PNG cICP unspecified": (lambda pixels: png(pixels, cicp(2, 2, 0, 1)), ()),
    "BMP of nothing": (lambda pixels: bmp(pixels, b"\0\0\0\0"), ()),
    "BMP of sRGB": (lambda pixels: bmp(pixels, b"sRGB", endpoints(matrix("P3").T), GAMMA_2_2), ()),
    "BMP of Windows' own": (lambda pixels: bmp(pixels, b"Win "), ()),
    "BMP calibrated as sRGB": (lambda pixels: bmp(pixels, b"\0\0\0\0", endpoints(matrix("sRGB").T), GAMMA_2_2), ()),
    "BMP of a linked profile": (
        lambda pixels: bmp(pixels, b"LINK", profile=b"C:\\a.icc\0"),
        ("linked colour profile not read; taken as sRGB",)),
    "BMP of a profile that is none": (
        lambda pixels: bmp(pixels, b"MBED", profile=b"nonsense"), ("unusable colour profile ignored",)),
    "BMP of impossible ends": (
        lambda pixels: bmp(pixels, b"\0\0\0\0", endpoints(np.ones((3, 3)) / 3)),
        ("BMP header: impossible primaries ignored",)),
    "TIFF of sRGB": (lambda pixels: tiff(pixels, "sRGB"), ()),
}  # fmt: skip


def chrm_points(name: str) -> tuple[int, ...]:
    return struct.unpack(">8I", chrm(name)[1])[2:]


@pytest.mark.parametrize("name", AS_IT_IS)
def test_what_is_srgb_or_makes_no_sense_is_left_to_the_bit(name):
    data, notes = AS_IT_IS[name]
    pixels = np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = read(data(pixels))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.notes == notes


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_by_gamma_is_the_grey_it_means(bits):
    ramp = np.linspace(0, 1, 32)[None, :, None].repeat(4, 0)
    picture = read(png(chart(ramp ** (1 / 1.8), bits, 1), gama(1 / 1.8)))
    np.testing.assert_allclose(picture.pixels, (srgb_encode(ramp) * 255).repeat(3, -1), atol=2 if bits == 16 else 4)


def test_a_palette_and_its_transparency_by_primaries():
    colours = np.rint(P3.reshape(8, 3) * 255).astype(np.uint8)
    image = Image.frombytes("P", (8, 1), bytes(range(8)))
    image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=bytes([255] * 7 + [0]))
    data = buffer.getvalue()
    picture = read(data[:33] + chunk(*chrm("P3")) + data[33:])
    np.testing.assert_allclose(picture.pixels[0, :7], WANTED.reshape(8, 3)[:7], atol=1.6)
    assert picture.pixels[0, 7].tolist() == [255, 255, 255]


def test_what_was_made_of_tags_can_be_kept_like_a_profile():
    picture = read(png(chart(P3), cicp(12, 13, 0, 1)), Reading(keep_profile=True))
    np.testing.assert_array_equal(picture.pixels, chart(P3))
    again = read(saved(picture.pixels, "PNG", icc_profile=picture.kept.profile))
    np.testing.assert_allclose(middles(again.pixels), WANTED, atol=1.6)
    assert "left in the space of profile Display P3 (PNG cICP 12/13)" in picture.notes


def test_kept_exif_does_not_call_converted_pixels_adobe_rgb():
    data = saved(chart(ADOBE), "JPEG", exif=exif(65535, b"R03\0"))
    kept = read(data, Reading(keep_metadata=True)).kept.exif
    parsed = Image.Exif()
    parsed.load(kept)
    assert 0xA001 not in parsed.get_ifd(0x8769)


@pytest.mark.parametrize("encode", [pq, hlg])
def test_highlights_of_hdr_roll_off_and_what_is_darker_keeps_its_light(encode):
    light = np.geomspace(0.5, 1000, 64)
    transfer = 16 if encode is pq else 18
    signal = encode(light[None, :, None].repeat(3, -1))
    levels = read(png(chart(signal, 16, 1), cicp(9, transfer, 0, 1))).pixels[0, :, 1].astype(float)
    dark = light < 90  # the knee of BT.2390 for 1000 on 203 cd/m2 is at 92
    np.testing.assert_allclose(levels[dark], srgb_encode(light[dark] / 203) * 255, atol=1)
    assert (np.diff(levels) >= 0).all()
    assert levels[-1] >= 254
    assert 200 < np.interp(203, light, levels) < 245
    assert np.interp(500, light, levels) < 254


def test_black_hdr_is_black():
    assert not read(png(np.zeros((4, 4, 3), np.uint16), cicp(9, 18, 0, 1))).pixels.any()
    assert not read(png(np.zeros((4, 4, 3), np.uint16), cicp(9, 16, 0, 1))).pixels.any()


def test_heif_says_its_primaries_too():
    pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
    plain = decode_bytes(heic(1, 13), Path("a"))
    picture = read(heic(12, 13))
    shares = plain.colour.astype(float) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    expected = srgb_encode(linear @ (np.linalg.inv(matrix("sRGB")) @ matrix("P3")).T) * 255
    assert np.abs(expected - plain.colour).max() > 10
    np.testing.assert_allclose(picture.pixels, expected, atol=1.6)
    assert "HDR tone-mapped" in "; ".join(read(heic(9, 16)).notes)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def test_the_codes_are_those_of_the_main_picture_of_several():
    """With a gain map there is another picture, of HDR."""
    colours = [box(b"colr", b"nclx" + struct.pack(">HHHB", *codes, 0, 128)) for codes in ((9, 16), (12, 13))]
    for wide in (0, 1):
        item, place = (">I", ">H") if wide else (">H", ">B")
        entries = b"".join(
            struct.pack(item, name) + b"\1" + struct.pack(place, index | (0x8000 if wide else 0x80))
            for name, index in ((7, 1), (3, 2))
        )
        properties = box(
            b"iprp",
            box(b"ipco", *colours),
            box(b"ipma", bytes([wide, 0, 0, wide]), struct.pack(">I", 2), entries),
        )
        main = box(b"pitm", bytes([wide, 0, 0, 0]), struct.pack(item, 3))
        gain = box(b"iinf", bytes(6), box(b"infe", b"\2\0\0\0\0\7\0\0tmap"))
        data = box(b"ftyp", b"avif") + box(b"meta", bytes(4), main, gain, properties)
        profile, encoding, notes = resolve(data, None, SILENT)
        assert encoding.name == "Display P3 (nclx 12/13)"
        assert profile == encoding.profile
        assert notes == ["HDR gain map left out"]
        for cut in range(len(data)):
            resolve(data[:cut], None, SILENT)


def test_a_gain_map_is_said_to_be_left_out():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description hdrgm:Version="1.0"/></x:xmpmeta>'
    buffer = io.BytesIO()
    base, gain = Image.fromarray(chart(WANTED / 255)), Image.new("L", (8, 8))
    base.save(buffer, "MPO", save_all=True, append_images=[gain], quality=97, subsampling=0, xmp=xmp)
    picture = read(buffer.getvalue())
    assert "HDR gain map left out" in picture.notes
    np.testing.assert_allclose(middles(picture.pixels), WANTED, atol=4)
    buffer = io.BytesIO()
    base.save(buffer, "MPO", save_all=True, append_images=[gain])
    assert read(buffer.getvalue()).notes == ()
