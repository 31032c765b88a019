"""How files are written: under names that nobody can guess, through no link, and whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from chain_of_zoom.errors import OutputError
from chain_of_zoom.resources import WINDOWS

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.coz\.tmp")


@contextmanager
def explain_write_errors(path: Path, kind: str = "folder") -> Iterator[None]:
    """Turn what the system refuses into an OutputError that names the file or folder. kind: what to name instead."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror or error}); name another {kind} with -o") from error


def check_names(*paths: Path) -> None:
    """Raise OutputError where the system takes no such name, being too long; whether files are there is no matter."""
    for path in paths:
        with explain_write_errors(path, "file"), suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()


def relate(path: Path, folder: Path) -> str:
    """Return the path as seen from a folder, with slashes; the whole path for one on another drive of Windows."""
    try:
        text = os.path.relpath(path, folder)
    except ValueError:
        text = str(path.absolute())
    return text.replace(os.sep, "/")


def make_folder(path: Path) -> Path:
    """Make a folder, and those around it, unless it is there. Raises OutputError."""
    with explain_write_errors(path):
        if "\0" in str(path):  # of which the system says no OSError
            raise OSError("a NUL in the name")
        path.mkdir(parents=True, exist_ok=True)
    return path


def make_inner_folder(path: Path, *names: str) -> Path:
    """Make the folder path/name/name... Raises OutputError, also where one below `path` is a link to elsewhere."""
    for name in names:
        path = path / name
        if path.is_symlink():
            raise OutputError(f"{path} is a link; accepted: a folder; remove it, or name another place with -o")
    return make_folder(path)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or absent. Raises OutputError."""
    with explain_write_errors(path), replacement(path) as file:
        file.write(data)


@contextmanager
def replacement(path: Path, folder: Path | None = None) -> Iterator[BinaryIO]:
    """Yield a new file, to be filled through it or by its name, that takes the place of `path` when the block ends.

    It lies in `folder`, on the same disk, which is that of `path` by default. What goes wrong in the block removes it,
    and what a killed process has left there is removed first. A link at `path` is replaced, not followed.
    Raises OSError.
    """
    folder = folder or path.parent
    _remove_stale_once(folder)
    temporary = folder / f".{secrets.token_hex(8)}.coz.tmp"
    file = temporary.open("x+b")  # O_EXCL: neither a file nor a link of that name was there
    try:
        with file:
            _lock(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not WINDOWS:  # still locked, so that nobody takes it for a leftover
                temporary.replace(path)
        if WINDOWS:  # where no open file can be moved
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def open_inner(path: Path, mode: str, **options: Any) -> Any:
    """Open a file of this program's in place, but not to empty it. Raises OSError, also for a link or a pipe."""

    def opened(name: str, flags: int) -> int:
        handle = os.open(name, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
        if os.fstat(handle).st_nlink > 1:  # a hard link: the file has another name elsewhere
            os.close(handle)
            raise OSError("it is a link")
        return handle

    return open(path, mode, opener=opened, **options)


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that this program gives to a file until it is whole."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_stale(folder: Path) -> None:
    """Remove temporary files that a killed process has left in a folder; those of one at work stay."""
    with suppress(OSError):
        for path in folder.iterdir():
            if is_temporary(path.name):
                with suppress(OSError), open_inner(path, "rb") as file:
                    if _lock(file.fileno()):
                        path.unlink()


@cache
def _remove_stale_once(folder: Path) -> None:
    remove_stale(folder)


def _lock(handle: int) -> bool:
    """Lock a file for this process, until it is closed; whether nobody else has it. Windows removes no open file."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
