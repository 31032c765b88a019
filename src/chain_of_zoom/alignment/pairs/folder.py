"""Keep the folder that pairs are made in: photo by photo, then the files that list all pairs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from chain_of_zoom.alignment.pairs.read import METADATA, FullPairRow, Split
from chain_of_zoom.files import explain_write_errors, make_inner_folder, write_atomic
from chain_of_zoom.imaging.spots import Spot
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.runs.folder import WorkFolder, list_changes

ABOUT = "pairs.json"
CONTACT = "contact.jpg"
PICTURES = "pictures"
WORK = "work"

Flaw = Literal["flat", "duplicate"]


class PairSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pairs are made; two runs with equal settings and photos make equal files."""

    side: int = 512
    """Width and height of every view, in pixels."""
    spots: int = 4
    """Textured places per photo, 0 for its centre alone; spots of a manifest replace them."""
    chain_share: float = 0.0
    """Share of the pairs whose parent a backbone makes, 0 to 1."""
    chain_depth: int = 2
    """Most steps of 4x that such a parent is away from the photo's pixels."""
    backbone: str | None = None
    """Name of that backbone; null where no pair comes from a chain."""
    backbone_options: dict[str, str] = {}
    """Its loader details, as text."""
    backbone_sha256: str | None = None
    """SHA-256 of its weights; null like the name."""
    held_out: float = 0.1
    """Share of the photos that nothing learns from."""
    min_detail: float = 3.0
    """Levels of detail in the window (see PairView) below which it is flat."""
    min_entropy: float = 1.5
    """Bits of entropy in the window below which it is flat."""
    min_distance: int = 8
    """Bits between fingerprints of two zoomed views, below which the later one is a duplicate."""
    seed: int = 0
    """Decides places, splits and chains."""


class PairPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """A photo that pairs are made from."""

    name: str
    """Unique beginning of the names of its pairs."""
    file: str
    """Name of the file."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    split: Split
    """What its pairs are for."""
    spots: tuple[Spot, ...] = ()
    """Places that a manifest gives, in pixels."""


class FilteredView(msgspec.Struct, frozen=True, kw_only=True):
    """A view that no pair was made from."""

    name: str
    """Name that the pair would have."""
    why: Flaw
    """What is wrong with it."""
    value: float
    """Detail or entropy of a flat view; bits to the other view of a duplicate."""
    like: str = ""
    """Name of the pair that a duplicate repeats."""


class PhotoEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The pairs of one photo."""

    rows: tuple[FullPairRow, ...] = ()
    """Lines of its pairs."""
    fingerprints: tuple[str, ...] = ()
    """Fingerprints of their zoomed views, in hexadecimal."""
    filtered: tuple[FilteredView, ...] = ()
    """Views that no pair was made from."""
    skipped: str = ""
    """Reason why the whole photo is skipped, or nothing."""


class PairSetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """pairs.json: how pairs are made and from what."""

    version: Literal[1] = 1
    """Version of this layout."""
    settings: PairSettings
    """How they are made."""
    photos: tuple[PairPhoto, ...]
    """The photos they are made from."""
    complete: bool = False
    """Whether the folder is finished; what follows is empty before."""
    counts: dict[str, int] = {}
    """Numbers of pairs by split and origin, and of what was filtered or skipped."""
    filtered: tuple[FilteredView, ...] = ()
    """Views that no pair was made from."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Photos that were skipped, and the reasons."""
    software: dict[str, str] = {}
    """Versions of the packages that made them."""

    def difference(self, earlier: PairSetRecord) -> str:
        """Describe how the settings and photos of earlier pairs differ from these; empty where they do not."""
        changes = list_changes(msgspec.structs.asdict(earlier.settings), msgspec.structs.asdict(self.settings))
        if self.photos != earlier.photos:
            changes.append(f"of {len(earlier.photos)} photos, not of these {len(self.photos)}")
        return "; ".join(changes)


class PairFolder(WorkFolder[PairSetRecord]):
    """The folder that a set of pairs is made in."""

    another = "other pairs"
    marker = ABOUT
    owns = (METADATA, CONTACT, PICTURES, WORK)

    about: PairSetRecord
    """Record of the pairs; a complete one when the very same pairs lie in the folder already."""
    entries: dict[str, PhotoEntry]
    """Entries of the photos whose pairs are there, by the SHA-256 of the photo."""

    def __init__(self, path: Path, about: PairSetRecord, *, force: bool = False) -> None:
        self.about = about
        self.entries = {}
        super().__init__(path, force=force)

    def parse(self, data: bytes) -> PairSetRecord:
        """Read the record of earlier pairs."""
        return parse_json(data, PairSetRecord)

    def difference(self, earlier: PairSetRecord) -> str:
        """Describe how the settings and photos of earlier pairs differ."""
        return self.about.difference(earlier)

    def claim(self, force: bool) -> PairSetRecord | None:
        """Claim the folder and take over the photos whose pairs are there."""
        earlier = super().claim(force)
        if earlier and earlier.complete and self._is_whole():
            self.about = earlier
            return earlier
        make_inner_folder(self.path, PICTURES)
        make_inner_folder(self.path, WORK)
        self._write_about()
        entries = {photo.sha256: self._read_entry(photo.sha256) for photo in self.about.photos}
        self.entries = {sha256: entry for sha256, entry in entries.items() if entry and self._has_pictures(entry.rows)}
        return earlier

    def clear(self, earlier: PairSetRecord | None) -> None:
        """Remove the files of earlier pairs; other files in the folder and its pictures are not touched."""
        if earlier:
            for pattern in ("*_parent.png", "*_zoomed.png"):
                for file in make_inner_folder(self.path, PICTURES).glob(pattern):
                    file.unlink()
            self.remove([WORK, METADATA, CONTACT, ABOUT])

    def write(self, name: str, data: bytes) -> str:
        """Write a picture; return its path relative to the folder."""
        write_atomic(self.path / PICTURES / name, data)
        return f"{PICTURES}/{name}"

    def add(self, photo: PairPhoto, entry: PhotoEntry) -> None:
        """Record the entry of a photo, whose pictures are written."""
        write_atomic(self.path / WORK / f"{photo.sha256}.json", msgspec.json.encode(entry))
        self.entries[photo.sha256] = entry

    def finish(self, rows: Iterable[FullPairRow], contact: bytes, about: PairSetRecord) -> None:
        """Write the files that list all pairs, and remove what only an unfinished run needs."""
        write_atomic(self.path / METADATA, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        write_atomic(self.path / CONTACT, contact)
        self.about = msgspec.structs.replace(about, complete=True)
        self._write_about()
        with explain_write_errors(self.path):
            self.remove([WORK])

    def read_rows(self) -> list[FullPairRow]:
        """Read the lines of a complete folder."""
        lines = (self.path / METADATA).read_bytes().splitlines()
        return [parse_json(line, FullPairRow) for line in lines]

    def _write_about(self) -> None:
        write_atomic(self.path / ABOUT, format_json(self.about))

    def _read_entry(self, sha256: str) -> PhotoEntry | None:
        try:
            return parse_json((self.path / WORK / f"{sha256}.json").read_bytes(), PhotoEntry)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _is_whole(self) -> bool:
        try:
            return (self.path / CONTACT).is_file() and self._has_pictures(self.read_rows())
        except (OSError, msgspec.DecodeError):
            return False

    def _has_pictures(self, rows: Iterable[FullPairRow]) -> bool:
        names = [name for row in rows for name in (row.parent_file_name, row.zoomed_file_name)]
        # A row from elsewhere may name any file, and the contact sheet would show it.
        return all(name == f"{PICTURES}/{Path(name).name}" and (self.path / name).is_file() for name in names)
