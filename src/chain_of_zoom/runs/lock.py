"""One process at a time in a folder."""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from chain_of_zoom.errors import InUseError
from chain_of_zoom.files import remove_stale


def lock_folder(owner: object, folder: Path) -> Callable[[], object]:
    """Keep other processes out of a folder until the returned function is called, `owner` goes or the process ends.

    The lock is the kernel's: no file is left in the folder, and no lock is left over after a kill. On network drives
    without such locks nothing is locked. What a kill did leave, half a file under a temporary name, is removed.
    Raises InUseError when another process has it, and OSError when the folder cannot be opened.
    """
    try:
        import fcntl
    except ImportError:
        release = _lock_by_name(owner, folder)
    else:
        handle = os.open(folder, os.O_RDONLY)
        release = weakref.finalize(owner, os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            release()
            raise _refuse(folder) from None
        except OSError:  # no locks on this file system
            release()
    remove_stale(folder)
    return release


def _lock_by_name(owner: object, folder: Path) -> Callable[[], object]:
    """Lock a file that stands for the folder: Windows opens no folders, and could not remove one with a locked file."""
    msvcrt = importlib.import_module("msvcrt")
    name = os.path.normcase(folder.resolve(strict=True))
    file = Path(tempfile.gettempdir()) / f"coz-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()}.lock"
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError:
        os.close(handle)
        raise _refuse(folder) from None
    return weakref.finalize(owner, _unlock, handle, file)


def _unlock(handle: int, file: Path) -> None:
    os.close(handle)
    with suppress(OSError):  # another process has opened it by now
        file.unlink()


def _refuse(folder: Path) -> InUseError:
    return InUseError(f"another process is writing to {folder}; wait for it to end, or name another folder with -o")
