"""What a batch is to do: photos, folders of photos and spots become tasks, each with a folder of its own."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from chain_of_zoom.batch.summary import INDEX, SUMMARY, THUMBNAILS, Summary
from chain_of_zoom.chain.folder import RECORD
from chain_of_zoom.chain.record import Record
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.errors import BadInputError, UsageError
from chain_of_zoom.imaging.decode import ACCEPTED, SUFFIXES
from chain_of_zoom.imaging.folder import is_folder
from chain_of_zoom.parsing import printable

RESERVED = (INDEX, SUMMARY, THUMBNAILS, "per-sample", "per-scale", "recursive")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One zoom of a batch. name: of its folder; "" for one named after the photo (see `assign_folder_names`)."""

    photo: Path
    request: ZoomRequest
    name: str = ""


def plan_tasks(
    photos: Iterable[Path], spots: Sequence[str], base: ZoomRequest, out: Path, *, recursive: bool = False
) -> list[Task]:
    """Every photo with every spot (`at` of the base request when there are none), folders replaced by their photos."""
    requests = [msgspec.structs.replace(base, at=spot) for spot in spots] or [base]
    found = [photo for path in photos for photo in expand(path, out, recursive=recursive)]
    return [Task(photo=photo, request=request) for photo in found for request in requests]


def expand(path: Path, out: Path, *, recursive: bool = False) -> list[Path]:
    """The pictures of a folder, by extension and in order of their names; anything else as it is.

    recursive: of the folders inside as well, but for hidden ones, `out`, and those that zooms were written to.
    A folder without pictures, or one that cannot be read, stays: it fails when its turn comes, and the others go on.
    Raises UsageError.
    """
    if not is_folder(path):
        return [path]
    if recursive and path.resolve() == out.resolve():
        raise UsageError(
            f"-o {out} is a folder of photos, and with --recursive the results would be photos of the next call; "
            "accepted: another folder; for example -o zooms"
        )
    return sorted(_pictures(path, out.resolve(), recursive=recursive)) or [path]


def _pictures(folder: Path, out: Path, *, recursive: bool) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError:  # `check_folder` says why when its turn comes
        yield folder
        return
    for path in entries:
        if path.name.startswith("."):
            continue
        if is_folder(path):
            if recursive and not path.is_symlink() and path.resolve() != out and not _is_ours(path):
                yield from _pictures(path, out, recursive=True)
        elif path.suffix.lower() in SUFFIXES:
            yield path


def check_folder(path: Path) -> None:
    """Raises BadInputError for a folder: what stays of one among photos has no pictures, or cannot be read."""
    if not is_folder(path):
        return
    try:
        next(path.iterdir(), None)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from error
    raise BadInputError(f"{path}: no pictures in this folder; {ACCEPTED}; --recursive looks further down")


def _is_ours(folder: Path) -> bool:
    """True for the folder of a run or of a batch."""
    for name, read in ((RECORD, Record.from_json), (SUMMARY, Summary.from_json)):
        try:
            read((folder / name).read_bytes())
        except (OSError, msgspec.DecodeError):
            continue
        return True
    return False


def assign_folder_names(tasks: Iterable[Task]) -> list[Task]:
    """The tasks, each with a folder name of its own, without repetitions.

    The name is the task's own or the photo's stem; taken ones get -2, -3 in the order of the tasks, so that the same
    command finds its folders again. Names that differ only in case or Unicode form are the same on many disks.
    """
    taken = {_key(name) for name in RESERVED}
    result = []
    for task in dict.fromkeys(tasks):
        stem = task.name or _stem(task.photo)
        names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
        name = next(name for name in names if _key(name) not in taken)
        taken.add(_key(name))
        result.append(replace(task, name=name))
    return result


def _stem(photo: Path) -> str:
    stem = printable(photo.stem)
    return stem if stem.strip(". ") else "photo"


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
