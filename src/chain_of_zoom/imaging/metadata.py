"""EXIF, XMP and the colour profile of a file that Pillow opened; and EXIF as it may be written again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

ORIENTATION, DESCRIPTION, SOFTWARE = 0x0112, 0x010E, 0x0131
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
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
    """The metadata of an opened picture."""
    exif = None
    with suppress(Exception):  # Pillow raises almost anything on damaged EXIF, and the picture is whole
        exif = image.getexif()
    return of(exif, image.info.get("xmp"), image.info.get("icc_profile"))


def of(exif: Image.Exif | None, xmp: object, profile: object) -> Metadata:
    """Metadata of these parts; an `exif` that cannot be read (None) is left out and noted."""
    notes: tuple[str, ...] = ("unreadable EXIF left out",)
    orientation, cleaned = 1, None
    if exif is not None:
        orientation = exif.get(ORIENTATION, 1)
        with suppress(Exception):
            cleaned, notes = clean(exif), ()
    return Metadata(
        orientation=int(orientation) if orientation in range(1, 9) else 1,
        exif=cleaned,
        xmp=xmp if isinstance(xmp, bytes) else None,
        profile=profile if isinstance(profile, bytes) and profile else None,
        notes=notes,
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
