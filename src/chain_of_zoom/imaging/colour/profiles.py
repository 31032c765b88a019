"""Colour profiles (ICC): what a profile is, and pixels from its space to sRGB, in 8 and 16 bits.

Profiles are looked at with Pillow's binding of Little CMS, and pixels converted by libvips, which uses the same
library, in 16 bits too and on all cores.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from chain_of_zoom.imaging.colour.grey import is_grey, remove_rounding
from chain_of_zoom.imaging.colour.spaces import D50, srgb_encode
from chain_of_zoom.imaging.raster import Samples, Space, by_rows

INTENT = "perceptual"
_SPACES: dict[str, tuple[Space, str]] = {"RGB ": ("rgb", "RGB"), "GRAY": ("grey", "L"), "CMYK": ("cmyk", "CMYK")}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A usable ICC profile."""

    name: str
    """How it calls itself."""
    space: Space | None
    """Of the pixels that it describes; None for spaces that are not read."""
    is_srgb: bool
    """Whether it means sRGB to within one of 255 levels."""


@lru_cache(maxsize=8)
def examine(profile: bytes) -> Profile | None:
    """Examine an ICC profile; return None for one that is damaged or cannot be converted to sRGB."""
    from PIL import Image, ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = " ".join(ImageCms.getProfileDescription(opened).split())[:80] or "without a name"
        space, mode = _SPACES.get(opened.profile.xcolor_space, (None, ""))
        if space is None:
            return Profile(name=name, space=None, is_srgb=False)
        srgb, plain = ImageCms.createProfile("sRGB"), ImageCms.Flags.NOOPTIMIZE  # which takes longer than it saves
        transform = ImageCms.buildTransform(opened, srgb, mode, "RGB", flags=plain)
        if space != "rgb":
            return Profile(name=name, space=space, is_srgb=False)
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        converted = np.asarray(ImageCms.applyTransform(Image.fromarray(probe), transform))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return Profile(name=name, space=space, is_srgb=int(np.abs(converted.astype(int) - probe).max()) <= 1)


def name_profile(profile: bytes) -> str:
    """Return the name that a profile gives itself."""
    examined = examine(profile)
    return examined.name if examined else "unusable"


def is_srgb(profile: bytes) -> bool:
    """Whether pixels mean the same without the profile; an unusable one does not count."""
    examined = examine(profile)
    return examined is None or examined.is_srgb


def convert_to_rgb(samples: Samples, space: Space, profile: bytes | None) -> tuple[Samples, bytes | None, list[str]]:
    """Return H x W x 1, 3 or 4 samples as H x W x 3 RGB, their profile then (None: sRGB), and notes.

    RGB keeps its profile, and so does grey that has an RGB one; the others become sRGB.
    """
    examined = examine(profile) if profile else None
    notes: list[str] = []
    if profile and examined is None:
        notes.append("unusable colour profile ignored")
    elif examined and examined.space != space and (examined.space, space) != ("rgb", "grey"):
        notes.append(f"profile {examined.name} ignored: it is not for {space} pictures")
        examined = None
    if examined and profile and examined.space == "rgb":
        return _as_three(samples), profile, notes
    if examined and profile:
        return (
            convert(samples, space, profile),
            None,
            [*notes, f"{space} converted to sRGB: {_describe_conversion(examined)}"],
        )
    if space == "grey":
        return _as_three(samples), None, notes
    if space == "cmyk":
        notes.append("CMYK without a profile taken as plain inks: red = (1 - cyan)(1 - black), and so on")
        return _plain_inks(samples), None, notes
    if space == "lab":
        notes.append("CIELAB (D50) converted to sRGB")
        colour = lab_to_srgb(samples)
        neutral = 128 * (np.iinfo(samples.dtype).max // 255)
        return colour if (samples[..., 1:] != neutral).any() else remove_rounding(colour), None, notes
    return samples, None, notes


def to_srgb(samples: Samples, profile: bytes | None) -> tuple[Samples, list[str]]:
    """Convert RGB in `profile`'s space to sRGB of the same depth; return it with notes."""
    examined = examine(profile) if profile else None
    if not profile or not examined:
        return samples, []
    if examined.is_srgb:
        return samples, [f"profile {examined.name} is sRGB"]
    return convert(samples, "rgb", profile), [f"converted to sRGB: {_describe_conversion(examined)}"]


def _describe_conversion(examined: Profile) -> str:
    return f"profile {examined.name}, {INTENT} intent"


def convert(samples: Samples, space: Space, profile: bytes) -> Samples:
    """Convert samples in `profile`'s space to H x W x 3 sRGB of the same depth, out-of-gamut colours clipped.

    What was grey stays exactly so.
    """
    from chain_of_zoom.imaging.formats.vips import pyvips

    image = _vips_image(samples, space)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    if samples.dtype == np.uint8:
        converted = image.icc_transform("srgb", embedded=True, intent=INTENT, depth=8)
    else:  # in one step Little CMS makes a coarse table of 16-bit transforms: up to 14 of 255 levels off
        converted = image.icc_import(embedded=True, intent=INTENT, pcs="xyz").colourspace("rgb16")
    result: Samples = converted.numpy()
    return remove_rounding(result) if space == "grey" or (space == "rgb" and is_grey(samples)) else result


def _vips_image(samples: Samples, space: Space) -> Any:
    from chain_of_zoom.imaging.formats.vips import pyvips

    names = {"grey": ("b-w", "grey16"), "rgb": ("srgb", "rgb16"), "cmyk": ("cmyk", "cmyk")}
    deep = samples.dtype == np.uint16
    height, width, bands = samples.shape
    data = np.ascontiguousarray(samples).data
    image = pyvips.Image.new_from_memory(data, width, height, bands, "ushort" if deep else "uchar")
    return image.copy(interpretation=names[space][deep])


def _as_three(samples: Samples) -> Samples:
    """Return H x W x 1 grey as RGB without a copy of it; RGB as it is."""
    return np.broadcast_to(samples, (*samples.shape[:2], 3))


def _plain_inks(samples: Samples) -> Samples:
    top = int(np.iinfo(samples.dtype).max)

    def shine(rows: Samples) -> Samples:
        ink = rows.astype(np.uint32)
        light = (top - ink[..., :3]) * (top - ink[..., 3:])
        return ((light + top // 2) // top).astype(rows.dtype)

    return by_rows(shine, samples)


# XYZ of D50, as ICC's connection space has it, to linear sRGB of D65: Bradford adaptation and IEC 61966-2-1.
_XYZ_TO_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def lab_to_srgb(samples: Samples) -> Samples:
    """Convert CIELAB of D50 (ICC's encoding: L to full scale, a and b from -128 to 127 shifted to 0) to sRGB."""
    return by_rows(_lab_to_srgb, samples)


def _lab_to_srgb(samples: Samples) -> Samples:
    top = float(np.iinfo(samples.dtype).max)
    lab = samples.astype(np.float64) / top * [100.0, 255.0, 255.0] - [0.0, 128.0, 128.0]
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    linear = np.clip(xyz @ _XYZ_TO_SRGB.T, 0, 1)
    srgb: Samples = np.rint(srgb_encode(linear) * top).astype(samples.dtype)
    return srgb
