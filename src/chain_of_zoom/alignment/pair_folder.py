"""The folder that pairs are made in: photo by photo, and what lists them once they are complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

import msgspec

from chain_of_zoom.alignment.pairs import METADATA, FullPairRow, Split
from chain_of_zoom.errors import OccupiedError
from chain_of_zoom.files import make_folder, make_inner_folder, naming, write_atomic
from chain_of_zoom.imaging.texture import Spot
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.runs.lock import lock_folder

ABOUT = "pairs.json"
CONTACT = "contact.jpg"
PICTURES = "pictures"
WORK = "work"

Why = Literal["flat", "duplicate"]


class PairSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pairs are made; two runs with equal settings and photos make equal files.

    side: of every view, in pixels. spots: textured places per photo, 0 for the centre alone; those of a manifest go
    before. chain_share: of the pairs whose parent a backbone makes, by 1 to chain_depth steps of 4x. held_out: share of
    the photos. min_detail, min_entropy: of the window zoomed into, see PairView; below either it is flat. min_distance:
    bits in which the fingerprints of two zoomed views differ; below it the later one is a duplicate.
    backbone, backbone_sha256: null where no pair is to come from a chain.
    """

    side: int = 512
    spots: int = 4
    chain_share: float = 0.0
    chain_depth: int = 2
    backbone: str | None = None
    backbone_options: dict[str, str] = {}
    backbone_sha256: str | None = None
    held_out: float = 0.1
    min_detail: float = 3.0
    min_entropy: float = 1.5
    min_distance: int = 8
    seed: int = 0


class PairPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """A photo that pairs are made from. spots: those that a manifest gives."""

    name: str
    file: str
    sha256: str
    split: Split
    spots: tuple[Spot, ...] = ()


class FilteredView(msgspec.Struct, frozen=True, kw_only=True):
    """A pair that was not kept. value: detail or entropy of a flat one, bits to `like` of a duplicate."""

    name: str
    why: Why
    value: float
    like: str = ""


class PhotoEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one photo; fingerprints: of the zoomed views of its rows, in hexadecimal. skipped: why, if so."""

    rows: tuple[FullPairRow, ...] = ()
    fingerprints: tuple[str, ...] = ()
    filtered: tuple[FilteredView, ...] = ()
    skipped: str = ""


class PairSetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """pairs.json: how the pairs are made and from what; once complete, how many there are and what was left out."""

    version: Literal[1] = 1
    settings: PairSettings
    photos: tuple[PairPhoto, ...]
    complete: bool = False
    counts: dict[str, int] = {}
    filtered: tuple[FilteredView, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    software: dict[str, str] = {}

    def difference(self, other: PairSetRecord) -> str:
        """What sets two kinds of pairs apart; empty where nothing does."""
        mine, theirs = (msgspec.structs.asdict(about.settings) for about in (self, other))
        changed = [f"{key} is {theirs[key]}, not {mine[key]}" for key in mine if mine[key] != theirs[key]]
        if self.photos != other.photos:
            changed.append(f"of {len(other.photos)} photos, not of these {len(self.photos)}")
        return "; ".join(changed)


class PairFolder:
    """A folder of pairs, open for this process alone; `with` lets others have it again.

    about: complete when the very same pairs lie in it already. done: what a stopped run left, by the photo's SHA-256.
    Raises OccupiedError when it holds other pairs or files, unless `force`; OutputError when it cannot be written.
    """

    def __init__(self, path: Path, about: PairSetRecord, *, force: bool = False) -> None:
        self.path = path
        self.about = about
        self.done: dict[str, PhotoEntry] = {}
        with naming(make_folder(path)):
            self._unlock = lock_folder(self, path)
        try:
            with naming(path):
                self._open(force)
        except BaseException:
            self._unlock()
            raise

    def _open(self, force: bool) -> None:
        earlier = self._earlier()
        if earlier is None and not force:
            for name in (ABOUT, METADATA, CONTACT, PICTURES, WORK):
                if (self.path / name).exists():
                    raise OccupiedError(
                        f"{self.path / name} is there already and no {ABOUT} says where it comes from; "
                        "add --force to overwrite it, or name another folder with -o"
                    )
        if earlier and not force and (difference := self.about.difference(earlier)):
            raise OccupiedError(
                f"{self.path} holds other pairs: {difference}; accepted: the same photos and settings; "
                "add --force to replace them, or name another folder with -o"
            )
        if earlier and not force and earlier.complete and self._is_whole():
            self.about = earlier
            return
        if earlier and force:
            self._forget()
        make_inner_folder(self.path, PICTURES)
        make_inner_folder(self.path, WORK)
        self._write_about()
        found = {photo.sha256: self._entry(photo.sha256) for photo in self.about.photos}
        self.done = {sha256: entry for sha256, entry in found.items() if entry and self._has(entry.rows)}

    def write(self, name: str, data: bytes) -> str:
        """A picture; returns its path relative to the folder."""
        write_atomic(self.path / PICTURES / name, data)
        return f"{PICTURES}/{name}"

    def add(self, photo: PairPhoto, entry: PhotoEntry) -> None:
        """What came of a photo, whose pictures are there."""
        write_atomic(self.path / WORK / f"{photo.sha256}.json", msgspec.json.encode(entry))
        self.done[photo.sha256] = entry

    def finish(self, rows: Iterable[FullPairRow], contact: bytes, about: PairSetRecord) -> None:
        """The pairs are complete."""
        write_atomic(self.path / METADATA, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        write_atomic(self.path / CONTACT, contact)
        self.about = msgspec.structs.replace(about, complete=True)
        self._write_about()
        with naming(self.path):
            shutil.rmtree(self.path / WORK)

    def rows(self) -> list[FullPairRow]:
        """Those of a complete folder."""
        lines = (self.path / METADATA).read_bytes().splitlines()
        return [parse_json(line, FullPairRow) for line in lines]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._unlock()

    def _earlier(self) -> PairSetRecord | None:
        try:
            return parse_json((self.path / ABOUT).read_bytes(), PairSetRecord)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _write_about(self) -> None:
        write_atomic(self.path / ABOUT, format_json(self.about))

    def _entry(self, sha256: str) -> PhotoEntry | None:
        try:
            return parse_json((self.path / WORK / f"{sha256}.json").read_bytes(), PhotoEntry)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _is_whole(self) -> bool:
        try:
            return (self.path / CONTACT).is_file() and self._has(self.rows())
        except (OSError, msgspec.DecodeError):
            return False

    def _has(self, rows: Iterable[FullPairRow]) -> bool:
        return all(
            (self.path / name).is_file() for row in rows for name in (row.parent_file_name, row.zoomed_file_name)
        )

    def _forget(self) -> None:
        """Remove what earlier pairs consist of; other files in the folder are not touched."""
        shutil.rmtree(self.path / WORK, ignore_errors=True)
        for name in ("*_parent.png", "*_zoomed.png"):
            for file in make_inner_folder(self.path, PICTURES).glob(name):
                file.unlink()
        for name in (METADATA, CONTACT, ABOUT):
            (self.path / name).unlink(missing_ok=True)
