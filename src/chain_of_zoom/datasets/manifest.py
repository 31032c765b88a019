"""Pictures to measure on or learn from: a folder of them, one, or a manifest that pins files, checksums and spots.

The sets of the papers are recognised by their layout: DIV2K_train_HR (0001.png to 0800.png), DIV2K_valid_HR (0801.png
to 0900.png), and folders of DIV8K (0001.png ...).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from chain_of_zoom.datasets import photos
from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import ACCEPTED
from chain_of_zoom.imaging.folder import is_file, is_folder, pictures_in
from chain_of_zoom.imaging.images import load
from chain_of_zoom.imaging.texture import RULE, Spot, textured
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json, printable
from chain_of_zoom.weights.files import file_sha256

WHERE = {
    "div2k": "get DIV2K at https://data.vision.ee.ethz.ch/cvl/DIV2K/ (DIV2K_train_HR.zip, DIV2K_valid_HR.zip)",
    "div8k": "get DIV8K at https://competitions.codalab.org/competitions/22217 (it asks to register)",
}
DIV2K_TRAIN = "DIV2K train"
_DIV2K = {"div2k_train_hr": (DIV2K_TRAIN, range(1, 801)), "div2k_valid_hr": ("DIV2K validation", range(801, 901))}


class ManifestPicture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One picture of a manifest. path: absolute, or relative to the manifest. spots: x, y in pixels."""

    id: str
    path: str
    sha256: str
    size: tuple[int, int]
    spots: tuple[Spot, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of pictures, pinned. Nothing of them is copied."""

    version: Literal[1] = 1
    name: str
    spot_rule: str = ""
    pictures: tuple[ManifestPicture, ...]

    def to_json(self) -> bytes:
        """Indented JSON."""
        return format_json(self)


@dataclass(frozen=True, kw_only=True)
class ManifestItem:
    """One picture. spots: those of a manifest, or None, and whoever uses it chooses."""

    id: str
    path: Path
    sha256: str
    spots: tuple[Spot, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A set of pictures. known: the published set that they are, all of it, or None."""

    name: str
    items: tuple[ManifestItem, ...]
    known: str | None = None


def read_data(path: Path, limit: int | None = None) -> Dataset:
    """The pictures of a folder, of a manifest, or one picture; the first `limit` of them.

    Raises BadInputError: nothing there, no picture, or a file that is not the one a manifest pinned.
    """
    if is_folder(path):
        name = printable(path.resolve().name)
        files = dict(zip(_ids(found := _pictures(path)), found, strict=True))
        items = [ManifestItem(id=key, path=file, sha256=_sha256(file)) for key, file in list(files.items())[:limit]]
        return Dataset(name=name, items=tuple(items), known=_known(item.path for item in items))
    if not is_file(path):
        raise BadInputError(
            f"{path}: no such folder or manifest; accepted: a folder of pictures, a picture, or a manifest; "
            f"{_where(path)}"
        )
    if path.suffix.lower() != ".json":
        name = printable(path.stem)
        return Dataset(name=name, items=(ManifestItem(id=name, path=path, sha256=_sha256(path)),))
    manifest = read_manifest(path)
    items = [_checked(picture, path.parent) for picture in manifest.pictures[:limit]]
    return Dataset(name=manifest.name, items=tuple(items), known=_known(item.path for item in items))


def read_manifest(path: Path) -> Manifest:
    """Raises BadInputError when the file is no manifest."""
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


def make_manifest(what: str, out: Path, *, spots: int = 3, seed: int = 0) -> Manifest:
    """The manifest of a set of photos by name, or of a folder. Raises MissingError and BadInputError.

    out: where it will lie; pictures below that folder are named relative to it.
    """
    if what in photos.SETS and not is_folder(Path(what)):
        files: Mapping[str, Path] = photos.paths(what)
        name = what
    elif is_folder(folder := Path(what)):
        found = _pictures(folder)
        files, name = dict(zip(_ids(found), found, strict=True)), folder.resolve().name
    else:
        raise BadInputError(
            f"{what}: neither a folder nor a set; accepted: a folder of pictures, {', '.join(photos.SETS)}; "
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
                spots=tuple(textured(photo.pixels, spots, seed)),
            )
        )
    return Manifest(name=name, spot_rule=f"{RULE}; seed {seed}", pictures=tuple(pictures))


def _pictures(folder: Path) -> list[Path]:
    found = [path for path in pictures_in(folder) if is_file(path)]
    if found:
        return found
    inside = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in _DIV2K]
    hint = f"name one of {', '.join(inside)} in it" if inside else _where(folder)
    raise BadInputError(f"{folder} holds no picture; {ACCEPTED}, right in it; {hint}")


def _ids(files: Iterable[Path]) -> list[str]:
    """Stems that can be written down, made different by -2, -3 where two files share one."""
    ids: list[str] = []
    for file in files:
        key, count = printable(file.stem), 1
        while key in ids:
            count += 1
            key = f"{printable(file.stem)}-{count}"
        ids.append(key)
    return ids


def _sha256(file: Path) -> str:
    """The SHA-256 of a file; of one that cannot be read a text of its own: it fails alone, when it is loaded."""
    try:
        return file_sha256(file)
    except OSError:
        return f"unreadable {printable(file)}"


def _checked(picture: ManifestPicture, home: Path) -> ManifestItem:
    path = home / picture.path
    if not is_file(path):
        raise BadInputError(f"{path} of the manifest is not there; accepted: the file it pins; {_where(path)}")
    if (sha256 := file_sha256(path)) != picture.sha256:
        raise BadInputError(
            f"{path} is not the file that the manifest pins (SHA-256 {sha256[:12]}..., not {picture.sha256[:12]}...); "
            "accepted: the same bytes; get it again, or make a new manifest with coz eval data"
        )
    return ManifestItem(id=picture.id, path=path, sha256=sha256, spots=picture.spots or None)


def _known(files: Iterable[Path]) -> str | None:
    """The published set that these files are, by folder and names; a part of one is not it."""
    files = list(files)
    folders = {file.resolve().parent for file in files}
    stems = [file.stem for file in files]
    if len(folders) != 1 or not all(re.fullmatch(r"\d{4}", stem) for stem in stems):
        return None
    folder = folders.pop()
    if (found := _DIV2K.get(folder.name.lower())) and [int(stem) for stem in stems] == list(found[1]):
        return found[0]
    return "DIV8K" if any("div8k" in part.lower() for part in folder.parts[-2:]) else None


def _where(path: Path) -> str:
    """Where to get what the path seems to mean."""
    text = str(path).lower()
    return next((hint for name, hint in WHERE.items() if name in text), "type: coz eval data photos -o photos.json")
