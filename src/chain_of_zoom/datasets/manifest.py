"""Reads sets of pictures to measure on or learn from: a folder, one picture, or a manifest.

A manifest pins files, their checksums and spots to zoom into.

The sets of the papers are recognised by their layout: DIV2K_train_HR (0001.png to 0800.png), DIV2K_valid_HR (0801.png
to 0900.png), and folders of DIV8K (0001.png ...).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from chain_of_zoom.datasets import photos
from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import ACCEPTED
from chain_of_zoom.imaging.folder import is_file, is_folder, pictures_in
from chain_of_zoom.imaging.images import load
from chain_of_zoom.imaging.spots import RULE, Spot, find_textured_spots
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import make_unique, parse_json, printable
from chain_of_zoom.weights.files import file_sha256

WHERE = {
    "div2k": "get DIV2K at https://data.vision.ee.ethz.ch/cvl/DIV2K/ (DIV2K_train_HR.zip, DIV2K_valid_HR.zip)",
    "div8k": "get DIV8K at https://competitions.codalab.org/competitions/22217 (it asks to register)",
}
DIV2K_TRAIN = "DIV2K train"
_DIV2K = {"div2k_train_hr": (DIV2K_TRAIN, range(1, 801)), "div2k_valid_hr": ("DIV2K validation", range(801, 901))}


class ManifestPicture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pins one picture of a manifest."""

    id: str
    """Unique name of the picture; a plain file name."""
    path: str
    """Path of the file, absolute or relative to the manifest."""
    sha256: str
    """SHA-256 of the file."""
    size: tuple[int, int]
    """Width and height in pixels."""
    spots: tuple[Spot, ...] = ()
    """Spots to zoom into: x and y in pixels."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pins a set of pictures without copying them."""

    version: Literal[1] = 1
    """Version of the file format."""
    name: str
    """Name of the set."""
    spot_rule: str = ""
    """Rule that chose the spots, in words."""
    pictures: tuple[ManifestPicture, ...]
    """The pictures, in order."""

    def to_json(self) -> bytes:
        """Encode the manifest as indented JSON."""
        return format_json(self)


@dataclass(frozen=True, kw_only=True)
class ManifestItem:
    """Names one picture of a set."""

    id: str
    """Unique name within the set."""
    path: Path
    """Path of the file."""
    sha256: str
    """SHA-256 of the file."""
    spots: tuple[Spot, ...] | None = None
    """Spots of the manifest; None where the user of the set chooses them."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Names a set of pictures."""

    name: str
    """Name of the folder or manifest."""
    items: tuple[ManifestItem, ...]
    """The pictures, in order."""
    published_as: str | None = None
    """Name of the published set that these pictures are as a whole; None otherwise."""


def read_data(path: Path, limit: int | None = None) -> Dataset:
    """Read the pictures of a folder, of a manifest, or one picture; at most the first `limit` of them.

    Raises BadInputError where nothing or no picture is there, or a file is not the one that the manifest pins.
    """
    if is_folder(path):
        name = printable(path.resolve().name)
        files = list(_list_pictures(path).items())[:limit]
        items = [ManifestItem(id=key, path=file, sha256=_sha256(file)) for key, file in files]
        return Dataset(name=name, items=tuple(items), published_as=_recognise(item.path for item in items))
    if not is_file(path):
        raise BadInputError(
            f"{path}: no such folder or manifest; accepted: a folder of pictures, a picture, or a manifest; "
            f"{_where(path)}"
        )
    if path.suffix.lower() != ".json":
        name = printable(path.stem)
        return Dataset(name=name, items=(ManifestItem(id=name, path=path, sha256=_sha256(path)),))
    manifest = read_manifest(path)
    items = [_check_picture(picture, path.parent) for picture in manifest.pictures[:limit]]
    return Dataset(name=manifest.name, items=tuple(items), published_as=_recognise(item.path for item in items))


def read_manifest(path: Path) -> Manifest:
    """Read a manifest without its pictures. Raises BadInputError when the file is none."""
    try:
        manifest = parse_json(path.read_bytes(), Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInputError(
            f"{path} is no manifest ({error}); accepted: what `coz eval data` writes; type: coz eval data photos"
        ) from error
    for picture in manifest.pictures:
        if picture.id != Path(picture.id).name or picture.id in ("", ".."):
            raise BadInputError(f"{path} has the id {picture.id!r}; accepted: a plain file name; make it again")
    if len({picture.id for picture in manifest.pictures}) < len(manifest.pictures):
        raise BadInputError(f"{path} has an id twice; accepted: ids that differ; make it again with coz eval data")
    return manifest


def make_manifest(source: str, out: Path, *, spots: int = 3, seed: int = 0) -> Manifest:
    """Make the manifest of a set of photos by name, or of a folder. Raises MissingError and BadInputError.

    out: path that the manifest will be written to; pictures below its folder are named relative to it.
    """
    folder = Path(source)
    if source in photos.SETS and not is_folder(folder):
        files, name = photos.find_photos(source), source
    elif is_folder(folder):
        files, name = _list_pictures(folder), folder.resolve().name
    else:
        raise BadInputError(
            f"{source}: neither a folder nor a set; accepted: a folder of pictures, {', '.join(photos.SETS)}; "
            f"{_where(folder)}"
        )
    home = out.resolve().parent
    pictures = []
    for key, file in files.items():
        photo = load(file)
        path = file.resolve()
        pictures.append(
            ManifestPicture(
                id=key,
                path=os.path.relpath(path, home) if path.is_relative_to(home) else str(path),
                sha256=photo.sha256,
                size=(photo.size.width, photo.size.height),
                spots=tuple(find_textured_spots(photo.pixels, spots, seed)),
            )
        )
    return Manifest(name=name, spot_rule=f"{RULE}; seed {seed}", pictures=tuple(pictures))


def _list_pictures(folder: Path) -> dict[str, Path]:
    """List the pictures of a folder by ids: stems that can be written down, unique by -2, -3."""
    ids: set[str] = set()
    files = {make_unique(printable(path.stem), ids): path for path in pictures_in(folder) if is_file(path)}
    if files:
        return files
    inside = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in _DIV2K]
    hint = f"name one of {', '.join(inside)} in it" if inside else _where(folder)
    raise BadInputError(f"{folder} holds no picture; {ACCEPTED}, right in it; {hint}")


def _sha256(file: Path) -> str:
    """Return the SHA-256 of a file, or a unique text for one that cannot be read so that it fails alone, on loading."""
    try:
        return file_sha256(file)
    except OSError:
        return f"unreadable {printable(file)}"


def _check_picture(picture: ManifestPicture, home: Path) -> ManifestItem:
    """Find a picture of a manifest in `home`. Raises BadInputError where the file is not the pinned one."""
    path = home / picture.path
    if not is_file(path):
        raise BadInputError(f"{path} of the manifest is not there; accepted: the file it pins; {_where(path)}")
    if (sha256 := file_sha256(path)) != picture.sha256:
        raise BadInputError(
            f"{path} is not the file that the manifest pins (SHA-256 {sha256[:12]}..., not {picture.sha256[:12]}...); "
            "accepted: the same bytes; get it again, or make a new manifest with coz eval data"
        )
    return ManifestItem(id=picture.id, path=path, sha256=sha256, spots=picture.spots or None)


def _recognise(paths: Iterable[Path]) -> str | None:
    """Name the published set that these files are, by folder and names; None for others and for a part of a set."""
    files = list(paths)
    folders = {file.resolve().parent for file in files}
    stems = [file.stem for file in files]
    if len(folders) != 1 or not all(re.fullmatch(r"\d{4}", stem) for stem in stems):
        return None
    folder = folders.pop()
    name, numbers = _DIV2K.get(folder.name.lower(), ("", range(0)))
    if name and [int(stem) for stem in stems] == list(numbers):
        return name
    return "DIV8K" if any("div8k" in part.lower() for part in folder.parts[-2:]) else None


def _where(path: Path) -> str:
    """Say where to get the set that the path seems to mean."""
    text = str(path).lower()
    return next((hint for name, hint in WHERE.items() if name in text), "type: coz eval data photos -o photos.json")
