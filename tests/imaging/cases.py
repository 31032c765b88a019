"""Every kind of picture, as a file and as the values that `load` should give, computed without the code under test."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyvips
import tifffile
from makers import (
    ADOBE_PROFILE,
    GREY_GAMMA,
    GREY_PROFILE,
    STORED,
    adobe_to_srgb,
    cmyk_profile,
    iccp,
    lab_to_srgb,
    png,
    srgb_encode,
)
from numpy.typing import NDArray
from PIL import Image, ImageCms

FLOATS = NDArray[np.float64]
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XYZ_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (12, 18), dtype=np.uint8)
RGB = RNG.integers(0, 256, (12, 18, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (12, 18), dtype=np.uint8)
INKS = RNG.integers(0, 256, (12, 18, 4), dtype=np.uint8)
SOLID = (RNG.integers(0, 2, (12, 18, 4)) * 255).astype(np.uint8)
LAB = np.stack([GREY, RGB[..., 0] // 3 + 85, RGB[..., 1] // 3 + 85], -1).astype(np.uint8)
PALETTE = RNG.integers(0, 256, (16, 3), dtype=np.uint8)
INDEX = RNG.integers(0, 16, (12, 18), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (12, 18), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (12, 18, 3), dtype=np.uint16)
ALPHA16 = RNG.integers(0, 65536, (12, 18), dtype=np.uint16)
PRINTER = RNG.integers(100, 156, (2, 2, 2, 2, 3), dtype=np.uint8)
PRINTER[0, 0, 0, 0], PRINTER[1, 1, 1], PRINTER[:, :, :, 1] = (255, 128, 128), (0, 128, 128), (0, 128, 128)
CMYK_PROFILE = cmyk_profile(PRINTER)


@dataclass(frozen=True, repr=False)
class Case:
    """A file, the 8-bit sRGB it should become (as floats), how far off it may be, and what the notes should say."""

    name: str
    data: Callable[[], bytes]
    expected: FLOATS
    within: float = 0.5  # of rounding
    says: str = ""


def saved(pixels: NDArray[np.generic], mode: str, kind: str, **options: object) -> bytes:
    height, width = pixels.shape[:2]
    image = Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def paletted(kind: str, alphas: bytes | None = None, **options: object) -> bytes:
    image = Image.fromarray(INDEX, "L").copy()
    image = Image.frombytes("P", image.size, INDEX.tobytes())
    image.putpalette(PALETTE.tobytes())
    if alphas:
        options["transparency"] = alphas
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels: NDArray[np.generic], photometric: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric=photometric, **options)
    return buffer.getvalue()


def by_vips(pixels: NDArray[np.generic], how: str, **options: object) -> bytes:
    height, width, bands = pixels.shape
    deep = pixels.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).data, width, height, bands, "ushort" if deep else "uchar"
    )
    image = image.copy(interpretation=("rgb16" if deep else "srgb") if bands > 2 else ("grey16" if deep else "b-w"))
    return getattr(image, f"{how}_buffer")(**options)


def grey(values: FLOATS) -> FLOATS:
    return np.repeat(np.asarray(values, float)[..., None], 3, -1)


def over(colour: FLOATS, alpha: FLOATS, matte: tuple[int, int, int] = (255, 255, 255)) -> FLOATS:
    """Colour of 0..255 over a matte, with alpha of 0..1."""
    return colour * alpha[..., None] + np.array(matte) * (1 - alpha[..., None])


def inks(share: FLOATS) -> FLOATS:
    return 255 * (1 - share[..., :3]) * (1 - share[..., 3:])


RGB_IN_ADOBE = adobe_to_srgb(RGB / 255) * 255
RGB16_IN_ADOBE = adobe_to_srgb(RGB16 / 65535) * 255
GREY_BY_GAMMA = grey(srgb_encode((GREY / 255) ** GREY_GAMMA) * 255)
PRINTED = lab_to_srgb(PRINTER[tuple(SOLID[..., i] // 255 for i in range(4))] * [100 / 255, 1, 1] - [0, 128, 128]) * 255
FROM_LAB = lab_to_srgb(LAB * [100 / 255, 1, 1] - [0, 128, 128]) * 255
LA = np.dstack([GREY, ALPHA])
RGBA = np.dstack([RGB, ALPHA])
RGBA16 = np.dstack([RGB16, ALPHA16])
PREMULTIPLIED16 = np.rint(RGBA16[..., :3] * (ALPHA16[..., None] / 65535)).astype(np.uint16)
CONVERTED = "converted to sRGB: profile test, perceptual intent"
LAID = "alpha laid on white"
LOSSLESS = {"lossless": True, "exact": True}
SHARP = {"quality": 98, "subsampling": 0}
FINE = {"quality": 100, "subsampling": "4:4:4"}
IN_ADOBE = {"icc_profile": ADOBE_PROFILE}
FLAT = np.repeat(np.repeat(RNG.integers(20, 235, (2, 3, 3), dtype=np.uint8), 16, 0), 16, 1)
ALPHAS = bytes(range(0, 256, 17))


def modes() -> list[Case]:
    """Modes without a profile, in the formats that have them."""
    one = (GREY > 127) * np.uint8(255)
    packed = Image.fromarray(one).convert("1", dither=Image.Dither.NONE)

    def bilevel(kind: str) -> bytes:
        buffer = io.BytesIO()
        packed.save(buffer, kind)
        return buffer.getvalue()

    key = tuple(int(v) for v in RGB[0, 0])
    keyed = RGB.copy()
    keyed[3:5] = RGB[0, 0]
    shown = np.where((keyed == RGB[0, 0]).all(-1, keepdims=True), 255, keyed).astype(float)
    grey_keyed = grey(np.where(GREY[0, 0] == GREY, 255, GREY))
    cases = [Case(f"1 {kind}", partial(bilevel, kind), grey(one)) for kind in ("PNG", "TIFF", "BMP", "GIF")]
    cases += [Case(f"L {kind}", partial(saved, GREY, "L", kind), grey(GREY)) for kind in ("PNG", "TIFF", "BMP", "GIF")]
    cases += [Case(f"RGB {kind}", partial(saved, RGB, "RGB", kind), RGB) for kind in ("PNG", "TIFF", "BMP")]
    cases += [Case(f"P {kind}", partial(paletted, kind), PALETTE[INDEX]) for kind in ("PNG", "TIFF", "BMP", "GIF")]
    cases += [
        Case("RGB WEBP", partial(saved, RGB, "RGB", "WEBP", **LOSSLESS), RGB),
        Case("RGB AVIF", partial(saved, FLAT, "RGB", "AVIF", **FINE), FLAT, 2),
        Case("RGB JPEG", partial(saved, FLAT, "RGB", "JPEG", **SHARP), FLAT, 4),
        Case("RGB JPEG progressive", partial(saved, FLAT, "RGB", "JPEG", progressive=True, **SHARP), FLAT, 4),
        Case("L JPEG", partial(saved, FLAT[..., 0], "L", "JPEG", quality=98), grey(FLAT[..., 0]), 4),
        Case("LA PNG", partial(saved, LA, "LA", "PNG"), over(grey(GREY), ALPHA / 255), says=LAID),
        Case("LA TIFF", partial(saved, LA, "LA", "TIFF"), over(grey(GREY), ALPHA / 255), says=LAID),
        Case("RGBA PNG", partial(saved, RGBA, "RGBA", "PNG"), over(RGB, ALPHA / 255), says=LAID),
        Case("RGBA TIFF", partial(saved, RGBA, "RGBA", "TIFF"), over(RGB, ALPHA / 255), says=LAID),
        Case("RGBA WEBP", partial(saved, RGBA, "RGBA", "WEBP", **LOSSLESS), over(RGB, ALPHA / 255), says=LAID),
        Case(
            "RGBA AVIF",
            partial(saved, np.dstack([FLAT, FLAT[..., 0]]), "RGBA", "AVIF", **FINE),
            over(FLAT, FLAT[..., 0] / 255),
            3,
            LAID,
        ),
        Case("PA PNG", partial(paletted, "PNG", ALPHAS), over(PALETTE[INDEX], INDEX * 17 / 255), says=LAID),
        Case("RGB PNG with a key", partial(saved, keyed, "RGB", "PNG", transparency=key), shown, says=LAID),
        Case("L PNG with a key", partial(saved, GREY, "L", "PNG", transparency=int(GREY[0, 0])), grey_keyed, says=LAID),
        Case("CMYK TIFF", partial(saved, INKS, "CMYK", "TIFF"), inks(INKS / 255), says="taken as plain inks"),
        Case("LAB TIFF", partial(tiff, np.dstack([LAB[..., :1], LAB[..., 1:] ^ 128]), "cielab"), FROM_LAB, says="D50"),
        Case("F TIFF", partial(tiff, (GREY / 255).astype(np.float32), "minisblack"), grey(GREY), says="from 0 to 1 "),
        Case("I TIFF", partial(tiff, GREY16.astype(np.int32), "minisblack"), grey(GREY16 / 257), 0.51, "65535"),
        Case("RGB TIFF white is 0", partial(tiff, 255 - GREY, "miniswhite"), grey(GREY)),
    ]  # fmt: skip
    flat_inks = np.dstack([FLAT, FLAT[..., :1]])
    cases.append(
        Case(
            "CMYK JPEG",
            partial(saved, flat_inks, "CMYK", "JPEG", **SHARP),
            inks(flat_inks / 255),
            4,
            "plain inks",
        )
    )
    return cases


def deep() -> list[Case]:
    """16 bits, by every door."""
    la16 = np.dstack([GREY16, ALPHA16])
    inks16 = RNG.integers(0, 65536, (12, 18, 4), dtype=np.uint16)
    lab16 = np.stack([GREY16, RGB16[..., 0] // 4, RGB16[..., 1] // 4], -1).astype(np.uint16)
    lab_values = np.stack([GREY16 / 655.35, lab16[..., 1] / 256, lab16[..., 2] / 256], -1)
    rgb, mixed = RGB16 / 257, over(RGB16 / 257, ALPHA16 / 65535)
    key = (b"tRNS", RGB16[0, 0].astype(">u2").tobytes())
    keyed = np.where((RGB16[0, 0] == RGB16).all(-1, keepdims=True), 255, rgb)
    says = "16 bits scaled to 8"
    cases = [
        Case("I;16 PNG", lambda: png(GREY16, 0), grey(GREY16 / 257), says=says),
        Case("LA16 PNG", lambda: png(la16, 4), over(grey(GREY16 / 257), ALPHA16 / 65535), 0.51, LAID),
        Case("RGB16 PNG", lambda: png(RGB16, 2), rgb, says=says),
        Case("RGBA16 PNG", lambda: png(RGBA16, 6), mixed, 0.51, LAID),
        Case("RGB16 PNG with a key", lambda: png(RGB16, 2, key), keyed, says=LAID),
        Case("RGB16 PNG interlaced", lambda: by_vips(RGB16, "pngsave", interlace=True), rgb, says=says),
        Case("I;16 TIFF", lambda: tiff(GREY16, "minisblack"), grey(GREY16 / 257), says=says),
        Case("I;16 TIFF white is 0", lambda: tiff(~GREY16, "miniswhite"), grey(GREY16 / 257), says=says),
        Case("LA16 TIFF", lambda: tiff(la16, "minisblack", extrasamples=["unassalpha"], planarconfig="contig"),
             over(grey(GREY16 / 257), ALPHA16 / 65535), 0.51, LAID),
        Case("RGBA16 TIFF", lambda: tiff(RGBA16, "rgb", extrasamples=["unassalpha"]), mixed, 0.51, LAID),
        Case("RGBA16 TIFF premultiplied", lambda: tiff(np.dstack([PREMULTIPLIED16, ALPHA16]), "rgb",
             extrasamples=["assocalpha"]), mixed, 0.51, LAID),
        Case("RGB16 TIFF and a channel", lambda: tiff(RGBA16, "rgb", extrasamples=["unspecified"]), rgb, 0.5,
             "extra channels"),
        Case("CMYK16 TIFF", lambda: tiff(inks16, "separated"), inks(inks16 / 65535), 0.51, "plain inks"),
        Case("LAB16 TIFF", lambda: tiff(lab16, "cielab"), lab_to_srgb(lab_values) * 255, 0.6, "D50"),
        Case("RGB10 AVIF", lambda: by_vips(FLAT.astype(np.uint16) * 257, "heifsave", compression="av1", bitdepth=10,
             lossless=True), FLAT, 0.6, says),
        Case("RGBA12 AVIF", lambda: by_vips(np.dstack([FLAT, FLAT[..., :1]]).astype(np.uint16) * 257, "heifsave",
             compression="av1", bitdepth=12, lossless=True), over(FLAT, FLAT[..., 0] / 255), 0.6, LAID),
    ]  # fmt: skip
    for name, options in {
        "big endian": {"byteorder": ">"},
        "BigTIFF": {"bigtiff": True},
        "deflate": {"compression": "deflate", "predictor": True},
        "tiled": {"tile": (16, 16)},
        "in strips": {"rowsperstrip": 5},
    }.items():
        cases.append(Case(f"RGB16 TIFF {name}", partial(tiff, RGB16, "rgb", **options), rgb, says=says))
    planes = np.moveaxis(RGB16, -1, 0)
    cases.append(Case("RGB16 TIFF in planes", partial(tiff, planes, "rgb", planarconfig="separate"), rgb, says=says))
    for kind in ("lzw", "deflate", "packbits"):
        cases.append(Case(f"RGB16 TIFF {kind}", partial(by_vips, RGB16, "tiffsave", compression=kind), rgb, says=says))
    return cases


def profiles() -> list[Case]:
    """Profiles of the right kind, of the wrong kind, broken, and sRGB itself; before alpha is laid on anything."""
    adobe16 = [(34675, "B", len(ADOBE_PROFILE), ADOBE_PROFILE, True)]
    deep = over(RGB16_IN_ADOBE, ALPHA16 / 65535)
    flat = np.round(adobe_to_srgb(FLAT / 255) * 255)
    palette = adobe_to_srgb(PALETTE[INDEX] / 255) * 255
    cases = [
        Case(f"RGB {kind} in Adobe RGB", partial(saved, RGB, "RGB", kind, **IN_ADOBE), RGB_IN_ADOBE, 1.6, CONVERTED)
        for kind in ("PNG", "TIFF")
    ]
    cases += [
        Case("RGB WEBP in Adobe RGB", partial(saved, RGB, "RGB", "WEBP", **LOSSLESS, **IN_ADOBE), RGB_IN_ADOBE, 1.6,
             CONVERTED),
        Case("RGB JPEG in Adobe RGB", partial(saved, FLAT, "RGB", "JPEG", **SHARP, **IN_ADOBE), flat, 7, CONVERTED),
        Case("RGB AVIF in Adobe RGB", partial(saved, FLAT, "RGB", "AVIF", **FINE, **IN_ADOBE),
             flat, 4, CONVERTED),
        Case("RGBA PNG in Adobe RGB", partial(saved, RGBA, "RGBA", "PNG", **IN_ADOBE), over(RGB_IN_ADOBE, ALPHA / 255),
             1.6, CONVERTED),
        Case("RGBA WEBP in Adobe RGB", partial(saved, RGBA, "RGBA", "WEBP", **LOSSLESS, **IN_ADOBE),
             over(RGB_IN_ADOBE, ALPHA / 255), 1.6, CONVERTED),
        Case("P PNG in Adobe RGB", partial(paletted, "PNG", **IN_ADOBE), palette, 1.6, CONVERTED),
        Case("P TIFF in Adobe RGB", partial(paletted, "TIFF", **IN_ADOBE), palette, 1.6, CONVERTED),
        Case("PA PNG in Adobe RGB", partial(paletted, "PNG", ALPHAS, **IN_ADOBE), over(palette, INDEX * 17 / 255), 1.6,
             CONVERTED),
        Case("1 PNG in Adobe RGB", partial(saved, (GREY > 127) * np.uint8(255), "L", "PNG", **IN_ADOBE),
             grey((GREY > 127) * 255), 1, CONVERTED),
        Case("L PNG in Adobe RGB", partial(saved, GREY, "L", "PNG", **IN_ADOBE), adobe_to_srgb(grey(GREY) / 255) * 255,
             1.6, CONVERTED),
        Case("RGB16 PNG in Adobe RGB", lambda: png(RGB16, 2, iccp(ADOBE_PROFILE)), RGB16_IN_ADOBE, 1.6, CONVERTED),
        Case("RGBA16 PNG in Adobe RGB", lambda: png(RGBA16, 6, iccp(ADOBE_PROFILE)), deep, 1.6, CONVERTED),
        Case("RGB16 TIFF in Adobe RGB", lambda: tiff(RGB16, "rgb", extratags=adobe16), RGB16_IN_ADOBE, 1.6, CONVERTED),
        Case("RGBA16 TIFF in Adobe RGB", lambda: tiff(RGBA16, "rgb", extrasamples=["unassalpha"], extratags=adobe16),
             deep, 1.6, CONVERTED),
        Case("CMYK TIFF of a printer", partial(saved, SOLID, "CMYK", "TIFF", icc_profile=CMYK_PROFILE), PRINTED, 1.1,
             "cmyk converted to sRGB: profile test"),
        Case("CMYK16 TIFF of a printer", lambda: tiff(SOLID.astype(np.uint16) * 257, "separated",
             extratags=[(34675, "B", len(CMYK_PROFILE), CMYK_PROFILE, True)]), PRINTED, 1.1, "cmyk converted"),
        Case("F TIFF of a grey gamma", partial(saved, (GREY / 255).astype(np.float32), "F", "TIFF",
             icc_profile=GREY_PROFILE), GREY_BY_GAMMA, 1.6, "grey converted to sRGB"),
        Case("I;16 PNG of a grey gamma", lambda: png(GREY.astype(np.uint16) * 257, 0, iccp(GREY_PROFILE)),
             GREY_BY_GAMMA, 1.6, "grey converted to sRGB"),
        Case("LA PNG of a grey gamma", partial(saved, LA, "LA", "PNG", icc_profile=GREY_PROFILE),
             over(GREY_BY_GAMMA, ALPHA / 255), 1.6, "grey converted to sRGB"),
        Case("LAB TIFF with a profile", lambda: tiff(np.dstack([LAB[..., :1], LAB[..., 1:] ^ 128]), "cielab",
             extratags=adobe16), FROM_LAB, 0.51, "it is not for lab pictures"),
    ]  # fmt: skip
    for kind in ("PNG", "TIFF"):
        cases.append(
            Case(f"L {kind} of a grey gamma", partial(saved, GREY, "L", kind, icc_profile=GREY_PROFILE), GREY_BY_GAMMA,
                 1.6, "grey converted to sRGB: profile test")
        )  # fmt: skip
    for name, profile, says in (
        ("sRGB", SRGB_PROFILE, "is sRGB"),
        ("XYZ", XYZ_PROFILE, "it is not for rgb pictures"),
        ("grey", GREY_PROFILE, "it is not for rgb pictures"),
        ("a printer", CMYK_PROFILE, "it is not for rgb pictures"),
        ("nonsense", b"nonsense", "unusable colour profile"),
        ("half a profile", ADOBE_PROFILE[:300], "unusable colour profile"),
    ):
        cases.append(
            Case(f"RGB PNG with {name}", partial(saved, RGB, "RGB", "PNG", icc_profile=profile), RGB, 0.5, says)
        )
    for name, profile in (("Adobe RGB", ADOBE_PROFILE), ("nonsense", b"nonsense"), ("grey", GREY_PROFILE)):
        data = partial(saved, INKS, "CMYK", "TIFF", icc_profile=profile)
        cases.append(Case(f"CMYK TIFF with {name}", data, inks(INKS / 255), 0.5, "plain inks"))
    return cases


def oriented() -> list[Case]:
    """All orientations of every format that carries them."""
    cases = []
    deep = FLAT[:, :, :] * np.uint16(257)
    for orientation, store in STORED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.ascontiguousarray(store(FLAT))
        tags = exif.tobytes()[6:]
        says = f"EXIF orientation {orientation} applied" if orientation > 1 else ""
        for kind, options, within in (
            ("JPEG", SHARP, 4),
            ("PNG", {}, 0.5),
            ("WEBP", LOSSLESS, 0.5),
            ("TIFF", {}, 0.5),
            ("AVIF", FINE, 2),
        ):
            data = partial(saved, stored, "RGB", kind, exif=exif, **options)
            cases.append(Case(f"{orientation} {kind}", data, FLAT, within, says))
        says = says or "16 bits scaled to 8"
        stored16 = np.ascontiguousarray(store(deep))
        cases.append(Case(f"{orientation} RGB16 PNG", partial(png, stored16, 2, (b"eXIf", tags)), FLAT, 0.5, says))
        tag = [(0x0112, "H", 1, orientation, True)]
        cases.append(Case(f"{orientation} RGB16 TIFF", partial(tiff, stored16, "rgb", extratags=tag), FLAT, 0.5, says))
    return cases


CASES = modes() + deep() + profiles() + oriented()
