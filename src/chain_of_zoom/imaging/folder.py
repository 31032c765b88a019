"""The pictures of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import SUFFIXES


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False, and no error, where that cannot be told."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises inside folders that cannot be entered


def is_file(path: Path) -> bool:
    """Whether a path is an ordinary file; False, and no error, where that cannot be told."""
    return os.path.isfile(path)  # noqa: PTH113 - as above, and for names that are too long


def pictures_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The files of a folder that are pictures by their extension, in order of their names; none may be there.

    recursive: of the folders inside as well. Hidden files and folders, and links to folders, are left out.
    Raises BadInputError for a folder that cannot be read.
    """
    try:
        return sorted(_walk(folder, recursive=recursive))
    except OSError as error:
        where = error.filename or folder
        raise BadInputError(
            f"{where} cannot be read ({error.strerror}); accepted: a folder of pictures; check its permissions"
        ) from error


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if is_folder(path):
            if recursive and not path.is_symlink():
                yield from _walk(path, recursive=True)
        elif path.suffix.lower() in SUFFIXES:
            yield path
