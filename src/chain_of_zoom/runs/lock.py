"""One process at a time in a folder."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path

from chain_of_zoom.errors import OccupiedError
from chain_of_zoom.files import remove_stale


def lock_folder(owner: object, folder: Path) -> Callable[[], object]:
    """Keep other processes out of a folder until the returned function is called, `owner` goes or the process ends.

    The lock is the kernel's, on the folder itself: no file is left, and none is left over after a kill.
    On Windows, and on network drives without such locks, nothing is locked. What a kill did leave, half a file under
    a temporary name, is removed.
    Raises OccupiedError when another process has it, and OSError when the folder cannot be opened.
    """
    try:
        import fcntl
    except ImportError:
        remove_stale(folder)
        return lambda: None
    handle = os.open(folder, os.O_RDONLY)
    release = weakref.finalize(owner, os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        release()
        raise OccupiedError(
            f"another process is writing to {folder}; wait for it to end, or name another folder with -o"
        ) from None
    except OSError:  # no locks on this file system
        release()
    remove_stale(folder)
    return release
