"""EXIF, XMP and the colour profile of a file that Pillow opened; and EXIF as it may be written again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from chain_of_zoom.imaging.colour.claims import SILENT, Claim, exif_claim

PROGRAM = "Chain-of-Zoom"
ORIENTATION, DESCRIPTION, SOFTWARE = 0x0112, 0x010E, 0x0131
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
# What describes the photo rather than its file: description, camera, resolution, software, date, artist, computer,
# rating, copyright, Windows' own texts; then the directories of exposure and place.
PHOTO_TAGS = (
    *(DESCRIPTION, 0x010F, 0x0110, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT),
    *(SOFTWARE, 0x0132, 0x013B, 0x013C, 0x4746, 0x8298),
    *range(0x9C9B, 0x9CA0),
    *(EXIF_IFD, GPS_IFD),
)
# Sizes and colour spaces that no longer hold, and blocks whose inner offsets break when they are moved, of the
# exposure's directory: maker's note, space, width, height, interoperability, gamma.
DROPPED_TAGS = (0x927C, 0xA001, 0xA002, 0xA003, 0xA005, 0xA500)

MOST_PER_INCH = 65535  # what JFIF holds


@dataclass(frozen=True, kw_only=True)
class EmbeddedMetadata:
    """The metadata that go from a photo into the pictures made of it."""

    profile: bytes | None = None
    """ICC profile that their pixels are in; None for sRGB."""
    exif: bytes | None = None
    """As `clean_exif` leaves it."""

    @property
    def only_profile(self) -> EmbeddedMetadata:
        """Leave out EXIF, for sheets and strips, which have the photo's colours and are no photos."""
        return EmbeddedMetadata(profile=self.profile)


NO_METADATA = EmbeddedMetadata()


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The statements of a file about its pixels."""

    orientation: int = 1
    """1 to 8, as in EXIF."""
    exif: bytes | None = None
    """As `clean_exif` leaves it."""
    xmp: bytes | None = None
    """The packet, as in the file."""
    profile: bytes | None = None
    """ICC profile."""
    claim: Claim = SILENT
    """The colour space that EXIF claims."""
    resolution: tuple[float, float] | None = None
    """Pixels per inch across and down, once oriented."""
    notes: tuple[str, ...] = ()
    """What was left out, one sentence each."""


def read(image: Image.Image) -> Metadata:
    """Read the metadata of an opened picture."""
    exif = None
    with suppress(Exception):  # Pillow raises almost anything on damaged EXIF, and the picture is whole
        opened = image.getexif()
        exif = opened if opened or not image.info.get("exif") else None  # empty at the second try, if the first failed
    return build_metadata(exif, image.info.get("xmp"), image.info.get("icc_profile"), _density(image))


def build_metadata(
    exif: Image.Exif | None, xmp: object, profile: object, density: tuple[float, float] | None = None
) -> Metadata:
    """Build metadata of these parts; an `exif` that cannot be read (None) is left out and noted.

    density: pixels per inch that the file itself states, before EXIF.
    """
    notes: tuple[str, ...] = ("unreadable EXIF left out",)
    orientation, cleaned, claim = 1, None, SILENT
    if exif is not None:
        orientation = exif.get(ORIENTATION, 1)
        with suppress(Exception):
            claim = exif_claim(exif)
        with suppress(Exception):
            cleaned, notes = clean_exif(exif), ()
        density = density or _exif_density(exif)
    if density and orientation in range(5, 9):
        density = density[1], density[0]
    return Metadata(
        orientation=int(orientation) if orientation in range(1, 9) else 1,
        exif=cleaned,
        xmp=xmp if isinstance(xmp, bytes) else None,
        profile=profile if isinstance(profile, bytes) and profile else None,
        claim=claim,
        resolution=density,
        notes=notes,
    )


def _density(image: Image.Image) -> tuple[float, float] | None:
    """Read pixels per inch from a file's own header. Pillow's "dpi" of a JPEG may be 72 where nothing says so."""
    if image.format in ("PNG", "BMP"):
        return _plausible(image.info.get("dpi"), 1)
    return _plausible(image.info.get("jfif_density"), {1: 1, 2: 2.54}.get(image.info.get("jfif_unit", 0)))


def _exif_density(exif: Image.Exif) -> tuple[float, float] | None:
    per_inch = {2: 1, 3: 2.54}.get(exif.get(RESOLUTION_UNIT, 2))
    return _plausible((exif.get(X_RESOLUTION), exif.get(Y_RESOLUTION)), per_inch)


def _plausible(values: Any, per_inch: float | None) -> tuple[float, float] | None:
    """Read two numbers as pixels per inch, whole ones where PNG's metres hide them; None for nonsense."""
    with suppress(Exception):  # whatever is in a file
        across, down = (float(value) * (per_inch or 0) for value in values)
        if min(across, down) > 1 and max(across, down) <= MOST_PER_INCH:
            whole = round(across), round(down)
            near = max(abs(across - whole[0]), abs(down - whole[1])) < 0.0128
            return (float(whole[0]), float(whole[1])) if near else (across, down)
    return None


def clean_exif(exif: Image.Exif) -> bytes | None:
    """Reduce EXIF to what holds for other pixels: orientation 1, no thumbnail, maker's note or tags of a TIFF.

    None when nothing is left to say. Raises what Pillow raises on damaged EXIF.
    """
    tags = select_tags(exif)
    return _packed({**tags, ORIENTATION: 1}) if tags else None


def label_exif(exif: bytes | None, description: str, resolution: tuple[float, float] | None = None) -> bytes:
    """Write into EXIF what the picture is, what wrote it and its resolution, over what `exif` said of them."""
    tags = {**parse_exif(exif), DESCRIPTION: description, SOFTWARE: PROGRAM}
    if resolution:
        tags |= {X_RESOLUTION: resolution[0], Y_RESOLUTION: resolution[1], RESOLUTION_UNIT: 2}
    return _packed(tags)


def parse_exif(exif: bytes | None) -> dict[int, Any]:
    """Read the tags of `EmbeddedMetadata.exif`; directories become dictionaries."""
    parsed = Image.Exif()
    if exif:
        parsed.load(exif)
    return select_tags(parsed)


def select_tags(exif: Image.Exif) -> dict[int, Any]:
    """Select the tags that describe a photo, however its pixels change."""
    tags = {tag: exif[tag] for tag in PHOTO_TAGS if tag in exif}
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in tags:
            tags[tag] = {key: value for key, value in exif.get_ifd(tag).items() if key not in DROPPED_TAGS}
    return tags


def _packed(tags: Mapping[int, Any]) -> bytes:
    exif = Image.Exif()
    exif.update(tags)
    return exif.tobytes()
