"""Keep tiles on disk: one folder per photo, each tile whole or absent, the longest unused removed for room."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from chain_of_zoom.errors import OutputError, UsageError
from chain_of_zoom.files import make_inner_folder, write_atomic

DEFAULT_BUDGET = 4_000_000_000
"""Bytes of all tiles together."""
_ROOM_AFTER = 0.9  # of the budget is what stays when room is made, so that it is not made for every tile
_KEY = re.compile(r"[0-9a-f]{32}")
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


class TileStore:
    """The tiles in a cache folder. Safe to use from several threads; several processes may share the folder."""

    def __init__(self, folder: Path, budget: int = DEFAULT_BUDGET) -> None:
        """Look at what the folder holds. budget: bytes. Raises OutputError where it cannot be a folder."""
        self.folder = make_inner_folder(folder)
        self.budget = budget
        self._lock = threading.Lock()
        self._tiles: OrderedDict[str, tuple[Path, int]] = OrderedDict()  # the longest unused first
        tiles = []
        for path in self.folder.glob("*/*/*.png"):
            if _KEY.fullmatch(path.stem) and not path.is_symlink():
                with suppress(OSError):
                    status = path.stat()
                    tiles.append((status.st_mtime, path, status.st_size))
        for _, path, count in sorted(tiles):
            self._tiles[path.stem] = path, count
        self.total = sum(count for _, count in self._tiles.values())

    def __contains__(self, key: str) -> bool:
        return key in self._tiles

    def __len__(self) -> int:
        return len(self._tiles)

    def read(self, key: str) -> bytes | None:
        """Return a tile's PNG, or None where there is none, or a broken one, which is removed."""
        entry = self._tiles.get(key)
        if entry is None:
            return None
        try:
            data = entry[0].read_bytes()
        except OSError:
            data = b""
        if not (data.startswith(_PNG_START) and data.endswith(_PNG_END)):
            self._forget(key)
            return None
        with self._lock, suppress(KeyError):
            self._tiles.move_to_end(key)
        with suppress(OSError):
            os.utime(entry[0])  # the order of use outlives this process
        return data

    def write(self, photo_id: str, key: str, data: bytes) -> None:
        """Keep a tile, and remove the longest unused where the budget asks for it. Raises OutputError."""
        path = make_inner_folder(self.folder, photo_id, key[:2]) / f"{key}.png"
        write_atomic(path, data)
        with self._lock:
            self.total += len(data) - self._tiles.get(key, (path, 0))[1]
            self._tiles[key] = path, len(data)
            self._tiles.move_to_end(key)
            surplus = self._choose_surplus()
        for unused in surplus:
            self._forget(unused)

    def read_words(self, photo_id: str, key: str) -> bytes | None:
        """Return what was kept of the words of a tile, None where nothing was. key: 32 hexadecimal digits."""
        try:
            return (self.folder / photo_id / key[:2] / f"{key}.json").read_bytes()
        except OSError:
            return None

    def write_words(self, photo_id: str, key: str, data: bytes) -> None:
        """Keep the words of a tile, which outlive it: made again, it has them, too. Raises OutputError."""
        write_atomic(make_inner_folder(self.folder, photo_id, key[:2]) / f"{key}.json", data)

    def clear(self) -> int:
        """Remove all tiles and what else is kept with them, and return how many tiles they were."""
        with self._lock:
            count = len(self._tiles)
            self._tiles.clear()
            self.total = 0
            for path in self.folder.iterdir():
                if _KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    try:
                        shutil.rmtree(path)
                    except OSError as error:
                        raise OutputError(f"cannot remove {path} ({error.strerror}); check its permissions") from error
        return count

    def _choose_surplus(self) -> list[str]:
        """List the tiles to remove so that the others, the newest among them, keep to the budget."""
        if self.total <= self.budget:
            return []
        surplus, total = [], self.total
        for key, (_, count) in list(self._tiles.items())[:-1]:
            if total <= self.budget * _ROOM_AFTER:
                break
            surplus.append(key)
            total -= count
        return surplus

    def _forget(self, key: str) -> None:
        with self._lock:
            entry = self._tiles.pop(key, None)
            if entry:
                self.total -= entry[1]
                with suppress(OSError):
                    entry[0].unlink()


def default_folder() -> Path:
    """Return the folder for tiles, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chain-of-zoom" / "explorer"


def parse_budget(text: str) -> int:
    """Read a number of bytes such as `500M` or `4G`. Raises UsageError."""
    units = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([KMGT]?)B?", text.strip().upper())
    if not match or (budget := int(float(match[1]) * units[match[2]])) < 10**6:
        raise UsageError(f"--cache-size {text}; accepted: a number from 1M, with K, M, G or T; for example 4G")
    return budget
