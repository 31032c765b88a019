"""Plans a batch: photos, folders of photos and spots become tasks, each with a folder of its own."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from chain_of_zoom.batch.summary import INDEX, SUMMARY, THUMBNAILS, Summary
from chain_of_zoom.chain.folder import RECORD
from chain_of_zoom.chain.record import Record
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.imaging.decode import ACCEPTED
from chain_of_zoom.imaging.folder import is_folder, pictures_in
from chain_of_zoom.parsing import make_unique, printable

RESERVED = (INDEX, SUMMARY, THUMBNAILS, "per-sample", "per-scale", "recursive")


@dataclass(frozen=True, kw_only=True)
class Task:
    """Describes one zoom of a batch."""

    photo: Path
    """Path of the photo."""
    request: ZoomRequest
    """Settings of the zoom."""
    name: str = ""
    """Name of its folder; "" until `assign_folder_names` names it after the photo."""


def plan_tasks(
    photos: Iterable[Path], spots: Sequence[str], base: ZoomRequest, out: Path, *, recursive: bool = False
) -> list[Task]:
    """Combine every photo with every spot, or with `at` of the base request; folders are replaced by their photos."""
    requests = [msgspec.structs.replace(base, at=spot) for spot in spots] or [base]
    files = [photo for path in photos for photo in expand(path, out, recursive=recursive)]
    return [Task(photo=photo, request=request) for photo in files for request in requests]


def expand(path: Path, out: Path, *, recursive: bool = False) -> list[Path]:
    """List the pictures of a folder, by extension and in order of their names; return any other path as it is.

    recursive: list the folders inside as well, but for hidden ones, `out`, and folders that zooms were written to.
    A folder without pictures, or one that cannot be read, stays in the list: it fails when its turn comes (see
    `check_folder`), and the others go on. Raises UsageError.
    """
    if not is_folder(path):
        return [path]
    if recursive and path.resolve() == out.resolve():
        raise UsageError(
            f"-o {out} is a folder of photos, and with --recursive the results would be photos of the next call; "
            "accepted: another folder; for example -o zooms"
        )
    home = out.resolve()

    def holds_results(folder: Path) -> bool:
        return folder.resolve() == home or _is_ours(folder)

    return pictures_in(path, recursive=recursive, skip=holds_results, list_unreadable=True) or [path]


def check_folder(path: Path) -> None:
    """Raise BadInputError for a folder among photos, which has no pictures or cannot be read; accept other paths."""
    if not is_folder(path):
        return
    try:
        next(path.iterdir(), None)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from error
    raise BadInputError(f"{path}: no pictures in this folder; {ACCEPTED}; --recursive looks further down")


def _is_ours(folder: Path) -> bool:
    """Return whether a folder is that of a run or of a batch."""
    for name, read in ((RECORD, Record.from_json), (SUMMARY, Summary.from_json)):
        try:
            read((folder / name).read_bytes())
        except (OSError, msgspec.DecodeError):
            continue
        return True
    return False


def assign_folder_names(tasks: Iterable[Task]) -> list[Task]:
    """Drop repeated tasks and give every other one a folder name of its own.

    The name is the task's own or the photo's stem; later tasks of the same name get -2, -3 in their order, so that the
    same command finds its folders again. Names that differ only in case or Unicode form are the same on many disks.
    """
    keys = {_key(name) for name in RESERVED}
    return [
        replace(task, name=make_unique(task.name or _stem(task.photo), keys, _key)) for task in dict.fromkeys(tasks)
    ]


def _stem(photo: Path) -> str:
    stem = printable(photo.stem)
    return stem if stem.strip(". ") else "photo"


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
