"""EXIF, XMP and the colour profile of a file that Pillow opened; and EXIF as it may be written again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from chain_of_zoom.imaging.colour_tags import SILENT, Claim, exif_claim
from chain_of_zoom.imaging.provenance import SOFTWARE as NAME

ORIENTATION, DESCRIPTION, SOFTWARE = 0x0112, 0x010E, 0x0131
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
# What describes the photo rather than its file: description, camera, resolution, software, date, artist, computer,
# rating, copyright, Windows' own texts; then the directories of exposure and place.
KEPT = (
    *(DESCRIPTION, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, SOFTWARE, 0x0132, 0x013B, 0x013C, 0x4746, 0x8298),
    *range(0x9C9B, 0x9CA0),
    *(EXIF_IFD, GPS_IFD),
)
# Sizes and colour spaces that no longer hold, and blocks whose inner offsets break when they are moved, of the
# exposure's directory: maker's note, space, width, height, interoperability, gamma.
DROPPED = (0x927C, 0xA001, 0xA002, 0xA003, 0xA005, 0xA500)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What goes from a photo into the pictures made of it. profile: ICC, that their pixels are in. exif: as cleaned."""

    profile: bytes | None = None
    exif: bytes | None = None

    @property
    def only_profile(self) -> Kept:
        """For sheets and strips, which have the photo's colours and are no photos."""
        return Kept(profile=self.profile)


NOTHING = Kept()


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its pixels. orientation: 1 to 8, as in EXIF. claim: of EXIF, to a colour space."""

    orientation: int = 1
    exif: bytes | None = None
    xmp: bytes | None = None
    profile: bytes | None = None
    claim: Claim = SILENT
    notes: tuple[str, ...] = ()


def read(image: Image.Image) -> Metadata:
    """The metadata of an opened picture."""
    exif = None
    with suppress(Exception):  # Pillow raises almost anything on damaged EXIF, and the picture is whole
        found = image.getexif()
        exif = found if found or not image.info.get("exif") else None  # empty at the second try, if the first failed
    return of(exif, image.info.get("xmp"), image.info.get("icc_profile"))


def of(exif: Image.Exif | None, xmp: object, profile: object) -> Metadata:
    """Metadata of these parts; an `exif` that cannot be read (None) is left out and noted."""
    notes: tuple[str, ...] = ("unreadable EXIF left out",)
    orientation, cleaned, claim = 1, None, SILENT
    if exif is not None:
        orientation = exif.get(ORIENTATION, 1)
        with suppress(Exception):
            claim = exif_claim(exif)
        with suppress(Exception):
            cleaned, notes = clean(exif), ()
    return Metadata(
        orientation=int(orientation) if orientation in range(1, 9) else 1,
        exif=cleaned,
        xmp=xmp if isinstance(xmp, bytes) else None,
        profile=profile if isinstance(profile, bytes) and profile else None,
        claim=claim,
        notes=notes,
    )


def clean(exif: Image.Exif) -> bytes | None:
    """EXIF to be written with other pixels: orientation 1, no thumbnail, no maker's note, none of a TIFF's own tags.

    None when nothing is left to say. Raises what Pillow raises on damaged EXIF.
    """
    kept = entries(exif)
    return _packed({**kept, ORIENTATION: 1}) if kept else None


def labelled(exif: bytes | None, description: str) -> bytes:
    """EXIF that says what the picture is and what wrote it, over what `exif` said of both."""
    return _packed({**parse(exif), DESCRIPTION: description, SOFTWARE: NAME})


def parse(exif: bytes | None) -> dict[int, Any]:
    """The tags of `Kept.exif`; directories as dictionaries."""
    parsed = Image.Exif()
    if exif:
        parsed.load(exif)
    return entries(parsed)


def entries(exif: Image.Exif) -> dict[int, Any]:
    """The tags that describe a photo, however its pixels change."""
    found = {tag: exif[tag] for tag in KEPT if tag in exif}
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in found:
            found[tag] = {key: value for key, value in exif.get_ifd(tag).items() if key not in DROPPED}
    return found


def _packed(tags: Mapping[int, Any]) -> bytes:
    exif = Image.Exif()
    exif.update(tags)
    return exif.tobytes()
