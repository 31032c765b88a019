"""Remember the SHA-256 of large weight files, so that 24 GB are read for it once and not before every run.

One JSON file in the user's cache folder. A file counts as unchanged while its path, size, number (inode) and times of
writing and of change are the same: programs can set the first time back, and the second not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.weights.files import file_sha256
from chain_of_zoom.weights.hub import cache_folder

LARGE = 64_000_000
"""Bytes from which a file is remembered; smaller ones are read in an instant."""


class _Entry(NamedTuple):
    state: tuple[int, int, int, int]
    """Size, inode, and times of writing and of change in nanoseconds."""
    sha256: str
    """SHA-256 of the file in that state."""


def find_memory() -> Path:
    """Return the file of what is remembered, in the user's cache folder."""
    return cache_folder() / "weights.json"


def remember_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, from memory where it is large and unchanged. Raises OSError."""
    path = Path(path).resolve()
    status = path.stat()
    if status.st_size < LARGE:
        return file_sha256(path)
    state = (status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    memory, entries = find_memory(), _read_entries()
    entry = entries.get(str(path))
    if entry and entry.state == state:
        return entry.sha256
    sha256 = file_sha256(path)
    # Whatever another process wrote meanwhile is read again; what cannot be written is computed again next time.
    with suppress(OSError, OutputError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(memory, msgspec.json.encode(_read_entries() | {str(path): _Entry(state, sha256)}))
    return sha256


def combined_sha256(paths: Sequence[Path]) -> str | None:
    """Compute one SHA-256 over several files, in order; None when there are none."""
    if not paths:
        return None
    return hashlib.sha256("".join(remember_sha256(path) for path in paths).encode()).hexdigest()


def _read_entries() -> dict[str, _Entry]:
    """Read what is remembered; nothing where the file is absent or damaged."""
    try:
        return msgspec.json.decode(find_memory().read_bytes(), type=dict[str, _Entry])
    except (OSError, msgspec.DecodeError):
        return {}
