"""Lists the pictures of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from chain_of_zoom.errors import BadInputError
from chain_of_zoom.imaging.decode import SUFFIXES


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False, and no error, where that cannot be told."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises inside folders that cannot be entered


def is_file(path: Path) -> bool:
    """Whether a path is an ordinary file; False, and no error, where that cannot be told."""
    return os.path.isfile(path)  # noqa: PTH113 - as above, and for names that are too long


def pictures_in(
    folder: Path,
    *,
    recursive: bool = False,
    skip: Callable[[Path], bool] = lambda path: False,
    list_unreadable: bool = False,
) -> list[Path]:
    """List the files of a folder that are pictures by their extension, in order of their names; there may be none.

    recursive: list the folders inside as well, but for those that `skip` is true for. Hidden files and folders, and
    links to folders, are left out. list_unreadable: list folders that cannot be read in place of their pictures.
    Raises BadInputError for a folder that cannot be read otherwise.
    """

    def walk(parent: Path) -> Iterator[Path]:
        try:
            entries = list(parent.iterdir())
        except OSError as error:
            if not list_unreadable:
                raise BadInputError(
                    f"{parent} cannot be read ({error.strerror}); accepted: a folder of pictures; check its permissions"
                ) from error
            yield parent
            return
        for path in entries:
            if path.name.startswith("."):
                continue
            if is_folder(path):
                if recursive and not path.is_symlink() and not skip(path):
                    yield from walk(path)
            elif path.suffix.lower() in SUFFIXES:
                yield path

    return sorted(walk(folder))
