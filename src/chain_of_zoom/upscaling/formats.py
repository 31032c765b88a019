"""What each output format holds, and its limits: known before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chain_of_zoom.errors import OutputError, UsageError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.parsing import is_text, printable

EXIF_MOST = 1 << 31  # a PNG's chunk


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """One format. most: pixels along a side. deep: holds 16 bits. alpha: holds it. exif: so many bytes of it at most.

    lossy: has a quality.
    """

    name: str
    suffixes: tuple[str, ...]
    most: int
    deep: bool
    alpha: bool
    exif: int
    lossy: bool

    def lossless(self, channels: int) -> bool:
        """Whether pixels of so many channels come back as they are; Deep Zoom's tiles with alpha are PNG."""
        return not self.lossy or (self.name == "Deep Zoom" and channels % 2 == 0)

    def holds_exif(self, exif: bytes | None) -> bool:
        """Whether EXIF data fits, and a label with it."""
        return len(exif or b"") <= self.exif - 1500

    def check(self, size: Size) -> None:
        """Raises OutputError when a picture of `size` does not fit."""
        if max(size) > self.most:
            roomier = " or ".join(f.suffixes[0] for f in FORMATS if f.most > max(size))
            raise OutputError(
                f"{size} pixels do not fit in {self.name}; accepted: up to {self.most} a side; "
                f"name a file that ends in {roomier}, for example -o big{FORMATS[-1].suffixes[0]}"
            )


# PNG: the format holds 2^31 - 1 a side, common readers a million. JPEG: libjpeg. TIFF: 64-bit offsets where needed;
# libvips writes no EXIF into it.
FORMATS = (
    OutputFormat(name="PNG", suffixes=(".png",), most=1_000_000, deep=True, alpha=True, exif=EXIF_MOST, lossy=False),
    OutputFormat(
        name="JPEG", suffixes=(".jpg", ".jpeg"), most=65_500, deep=False, alpha=False, exif=65_527, lossy=True
    ),
    OutputFormat(name="WebP", suffixes=(".webp",), most=16_383, deep=False, alpha=True, exif=EXIF_MOST, lossy=True),
    OutputFormat(name="TIFF", suffixes=(".tif", ".tiff"), most=10_000_000, deep=True, alpha=True, exif=0, lossy=False),
    OutputFormat(name="Deep Zoom", suffixes=(".dzi",), most=10_000_000, deep=False, alpha=True, exif=0, lossy=True),
)
ACCEPTED = ", ".join(suffix for each in FORMATS for suffix in each.suffixes)


def format_of(path: Path) -> OutputFormat:
    """The format that a file name asks for. Raises UsageError."""
    if not is_text(path.name):  # a record could not list it
        raise UsageError(f"-o {printable(path.name)!r} is not UTF-8, or has a NUL; accepted: any other name; change it")
    for each in FORMATS:
        if path.suffix.lower() in each.suffixes:
            return each
    raise UsageError(
        f"{path.name}: the name says no format to write; accepted: {ACCEPTED}; for example -o {path.stem or 'big'}.png"
    )
