"""EXIF, XMP and the colour profile of a file that Pillow opened; and EXIF as it may be written again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

ORIENTATION, DESCRIPTION, SOFTWARE = 0x0112, 0x010E, 0x0131
EXIF_IFD, GPS_IFD, PROFILE = 0x8769, 0x8825, 0x8773
# What describes the photo rather than its file: description, camera, resolution, software, date, artist, computer,
# rating, copyright, Windows' own texts; then the directories of exposure and place.
KEPT = (
    *(DESCRIPTION, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, SOFTWARE, 0x0132, 0x013B, 0x013C, 0x4746, 0x8298),
    *range(0x9C9B, 0x9CA0),
    *(EXIF_IFD, GPS_IFD),
)
# Sizes that no longer hold, and blocks whose inner offsets break when they are moved.
DROPPED = {0x927C: "maker's note", 0xA002: "width", 0xA003: "height", 0xA005: "interoperability"}


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its pixels. orientation: 1 to 8, as in EXIF."""

    orientation: int = 1
    exif: bytes | None = None
    xmp: bytes | None = None
    profile: bytes | None = None
    notes: tuple[str, ...] = ()


def read(image: Image.Image) -> Metadata:
    """The metadata of an opened picture; what cannot be read is left out and noted."""
    notes = []
    orientation, exif = 1, None
    try:
        found = image.getexif()
        orientation = found.get(ORIENTATION, 1)
        exif = clean(found)
    except Exception:  # Pillow raises almost anything on damaged EXIF, and the picture is whole
        notes.append("unreadable EXIF left out")
    if orientation not in range(1, 9):
        orientation = 1
    xmp = image.info.get("xmp")
    return Metadata(
        orientation=orientation,
        exif=exif,
        xmp=xmp if isinstance(xmp, bytes) else None,
        profile=image.info.get("icc_profile") or None,
        notes=tuple(notes),
    )


def of_tags(tags: Mapping[int, tuple[Any, ...]]) -> Metadata:
    """The same of the tags of a TIFF that Pillow cannot open; its EXIF is left out."""
    orientation = tags.get(ORIENTATION, (1,))[0]
    profile = tags.get(PROFILE, (None,))[0]
    return Metadata(
        orientation=orientation if orientation in range(1, 9) else 1,
        profile=profile if isinstance(profile, bytes) and profile else None,
    )


def clean(exif: Image.Exif) -> bytes | None:
    """EXIF to be written with other pixels: orientation 1, no thumbnail, no maker's note, none of a TIFF's own tags.

    None when nothing is left to say. Raises what Pillow raises on damaged EXIF.
    """
    kept = Image.Exif()
    for tag in KEPT:
        if tag in exif:
            kept[tag] = exif[tag] if tag not in (EXIF_IFD, GPS_IFD) else dict(exif.get_ifd(tag))
    if EXIF_IFD in kept:
        kept[EXIF_IFD] = {tag: value for tag, value in kept[EXIF_IFD].items() if tag not in DROPPED}
    if not len(kept):
        return None
    kept[ORIENTATION] = 1
    return kept.tobytes()
