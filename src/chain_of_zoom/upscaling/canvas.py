"""A picture on disk that is made tile by tile, in whatever memory there is, and survives a kill at any moment.

A tile counts as finished when the journal names it with the key of what it was made from and with the checksum that
its pixels on disk still have. So neither a torn write nor a lost page is ever taken for a tile, without waiting for
the disk after each of them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import numpy as np

from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import open_inner
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.parsing import parse_json


class PixelRect(NamedTuple):
    """A rectangle of whole pixels: columns x0 to x1, rows y0 to y1, ends not included."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def pixels(self) -> int:
        """How many it has."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def __str__(self) -> str:
        return f"{self.x0},{self.y0},{self.x1},{self.y1}"


class _Entry(msgspec.Struct, frozen=True):
    """A line of the journal."""

    name: str
    key: str
    crc: int


class Canvas:
    """height x width x channels samples in the file `path`, row by row, and the journal of its tiles beside it.

    Use it as a context manager. Raises OutputError when the disk is full or fails.
    """

    def __init__(self, path: Path, size: Size, channels: int, dtype: np.dtype[np.uint8 | np.uint16]) -> None:
        self.path, self.size, self.channels, self.dtype = path, size, channels, dtype
        self._pixel = channels * dtype.itemsize
        self._row = size.width * self._pixel
        self._journal_path = path.with_suffix(".journal")
        with self._failing(), ExitStack() as opened:
            entries, whole = _read_journal(self._journal_path)
            self._file = opened.enter_context(open_inner(path, "r+b" if path.exists() else "x+b", buffering=0))
            if self._file.seek(0, os.SEEK_END) != self.bytes:
                entries, whole = {}, 0
                self._reserve()
            self._journal = opened.enter_context(open_inner(self._journal_path, "ab", buffering=0))
            self._journal.truncate(whole)  # half a line is what a kill leaves
            self._opened = opened.pop_all()
        self._entries = entries

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.size.height * self._row

    def read(self, corners: PixelRect) -> Samples:
        """The samples of a rectangle."""
        x0, y0, x1, y1 = corners
        pixels = np.empty((y1 - y0, x1 - x0, self.channels), self.dtype)
        with self._failing():
            if x1 - x0 == self.size.width:
                self._fill(pixels, y0 * self._row)
            else:
                for row, y in zip(pixels, range(y0, y1), strict=True):
                    self._fill(row, y * self._row + x0 * self._pixel)
        return pixels

    def write(self, corners: PixelRect, pixels: Samples) -> None:
        """Put samples into a rectangle of their size."""
        x0, y0, x1, y1 = corners
        assert pixels.shape == (y1 - y0, x1 - x0, self.channels), (pixels.shape, corners)
        assert pixels.dtype == self.dtype, pixels.dtype
        pixels = np.ascontiguousarray(pixels)
        with self._failing():
            if x1 - x0 == self.size.width:
                self._put(pixels, y0 * self._row)
            else:
                for row, y in zip(pixels, range(y0, y1), strict=True):
                    self._put(row, y * self._row + x0 * self._pixel)

    def strips(self, rows: int) -> Iterator[Samples]:
        """The whole picture from top to bottom, `rows` rows at a time."""
        for y in range(0, self.size.height, rows):
            yield self.read(PixelRect(0, y, self.size.width, min(y + rows, self.size.height)))

    def finish(self, name: str, key: str, corners: PixelRect, pixels: Samples) -> None:
        """Write a tile, and then the line that says so. key: names all it was made from."""
        self.write(corners, pixels)
        entry = _Entry(name, key, zlib.crc32(np.ascontiguousarray(pixels).data))
        with self._failing():
            self._journal.write(msgspec.json.encode(entry) + b"\n")
        self._entries[name] = entry

    def is_finished(self, name: str, key: str, corners: PixelRect) -> bool:
        """Whether a tile made from what `key` names is there, with the pixels that were written."""
        entry = self._entries.get(name)
        return entry is not None and entry.key == key and entry.crc == zlib.crc32(self.read(corners).data)

    def key(self, name: str) -> str:
        """The key that a tile was finished with, or nothing."""
        entry = self._entries.get(name)
        return entry.key if entry else ""

    def close(self) -> None:
        """Close the files."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reserve(self) -> None:
        """Take the whole room now, where the system can, so that a full disk shows before hours of work."""
        self._file.truncate(0)
        self._file.truncate(self.bytes)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file.fileno(), 0, self.bytes)

    def _fill(self, pixels: Samples, offset: int) -> None:
        view = pixels.data.cast("B")
        self._file.seek(offset)
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done:])
            if not count:
                raise OSError("it is shorter than it was")
            done += count

    def _put(self, pixels: Samples, offset: int) -> None:
        view = pixels.data.cast("B")
        self._file.seek(offset)
        done = 0
        while done < len(view):
            done += self._file.write(view[done:])

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path}: {error.strerror or error}; finished tiles are kept; make room and run the same command "
                "again, or name another place with -o"
            ) from error


def _read_journal(path: Path) -> tuple[dict[str, _Entry], int]:
    """The whole lines of a journal, the last one for each tile, and how many bytes they are."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    entries: dict[str, _Entry] = {}
    whole = 0
    for line in data.splitlines(keepends=True):
        try:
            entry = parse_json(line, _Entry)
        except msgspec.DecodeError:
            break
        if not line.endswith(b"\n"):
            break
        entries[entry.name] = entry
        whole += len(line)
    return entries, whole
