"""Keep a picture on disk that is made tile by tile, in whatever memory there is, and survives a kill at any moment.

A tile counts as finished when the journal names it with the key of what it was made from and with the checksum that
its pixels on disk still have. So neither a torn write nor a lost page is ever taken for a tile, without waiting for
the disk after each of them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.errors import OutputError
from chain_of_zoom.files import make_inner_folder, open_inner, write_atomic
from chain_of_zoom.imaging.geometry import PixelRect, Size
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.parsing import parse_json


class _Entry(msgspec.Struct, frozen=True):
    """A line of the journal."""

    name: str
    key: str
    crc: int


class Canvas:
    """A file of height x width x channels samples, row by row, and the journal of its tiles beside it.

    Raw samples let any window be read and any tile be written without a library and without memory. Use it as a context
    manager. Raises OutputError when the disk is full or fails.
    """

    def __init__(self, path: Path, size: Size, channels: int, dtype: np.dtype[np.uint8 | np.uint16]) -> None:
        self.path, self.size, self.channels, self.dtype = path, size, channels, dtype
        self._pixel = channels * dtype.itemsize
        self._row = size.width * self._pixel
        self._journal_path = path.with_suffix(".journal")
        with self._failing(), ExitStack() as opened:
            entries, complete = _read_journal(self._journal_path)
            self._file = opened.enter_context(open_inner(path, "r+b" if path.exists() else "x+b", buffering=0))
            if self._file.seek(0, os.SEEK_END) != self.bytes:
                entries, complete = {}, 0
                self._reserve()
            self._journal = opened.enter_context(open_inner(self._journal_path, "ab", buffering=0))
            self._journal.truncate(complete)  # half a line is what a kill leaves
            self._opened = opened.pop_all()
        self._entries = entries

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.size.height * self._row

    def read(self, rect: PixelRect) -> Samples:
        """Return the samples of a rectangle, rows x columns x channels."""
        x0, y0, x1, y1 = rect
        pixels = np.empty((y1 - y0, x1 - x0, self.channels), self.dtype)
        with self._failing():
            if x1 - x0 == self.size.width:
                self._fill(pixels, y0 * self._row)
            else:
                for row, y in zip(pixels, range(y0, y1), strict=True):
                    self._fill(row, y * self._row + x0 * self._pixel)
        return pixels

    def write(self, rect: PixelRect, pixels: Samples) -> None:
        """Put samples into a rectangle of their size."""
        x0, y0, x1, y1 = rect
        assert pixels.shape == (y1 - y0, x1 - x0, self.channels), (pixels.shape, rect)
        assert pixels.dtype == self.dtype, pixels.dtype
        pixels = np.ascontiguousarray(pixels)
        with self._failing():
            if x1 - x0 == self.size.width:
                self._put(pixels, y0 * self._row)
            else:
                for row, y in zip(pixels, range(y0, y1), strict=True):
                    self._put(row, y * self._row + x0 * self._pixel)

    def strips(self, rows: int) -> Iterator[Samples]:
        """Yield the whole picture from top to bottom, `rows` rows at a time."""
        for y in range(0, self.size.height, rows):
            yield self.read(PixelRect(0, y, self.size.width, min(y + rows, self.size.height)))

    def finish(self, name: str, key: str, rect: PixelRect, pixels: Samples) -> None:
        """Write a tile, and then the line that says so. key: a hash of everything that it was made from."""
        self.write(rect, pixels)
        entry = _Entry(name, key, zlib.crc32(np.ascontiguousarray(pixels).data))
        with self._failing():
            self._journal.write(msgspec.json.encode(entry) + b"\n")
        self._entries[name] = entry

    def is_finished(self, name: str, key: str, rect: PixelRect) -> bool:
        """Return whether a tile with this key is there, with the pixels that were written."""
        entry = self._entries.get(name)
        return entry is not None and entry.key == key and entry.crc == zlib.crc32(self.read(rect).data)

    def key(self, name: str) -> str:
        """Return the key that a tile was finished with, or nothing."""
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
        filled = 0
        while filled < len(view):
            count = self._file.readinto(view[filled:])
            if not count:
                raise OSError("it is shorter than it was")
            filled += count

    def _put(self, pixels: Samples, offset: int) -> None:
        view = pixels.data.cast("B")
        self._file.seek(offset)
        start = 0
        while start < len(view):
            start += self._file.write(view[start:])

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
    """Read the complete lines of a journal: the last one for each tile, and how many bytes all of them are."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    entries: dict[str, _Entry] = {}
    complete = 0
    for line in data.splitlines(keepends=True):
        try:
            entry = parse_json(line, _Entry)
        except msgspec.DecodeError:
            break
        if not line.endswith(b"\n"):
            break
        entries[entry.name] = entry
        complete += len(line)
    return entries, complete


class PieceStore(MutableMapping[str, NDArray[np.float32]]):
    """Finished pieces of a backbone that blends tiles, as files of a folder.

    Of pieces whose names differ in the last part only, which is a hash, the newest stays. `new_tiles` holds the part
    before that, which names the tile, of every piece that was put in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.new_tiles: set[str] = set()
        make_inner_folder(folder.parent, folder.name)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        try:
            piece: NDArray[np.float32] = np.load(self.folder / f"{name}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise KeyError(name) from None
        return piece

    def __setitem__(self, name: str, piece: NDArray[np.float32]) -> None:
        buffer = BytesIO()
        np.save(buffer, piece, allow_pickle=False)
        write_atomic(self.folder / f"{name}.npy", buffer.getvalue())
        stem = name.rpartition("-")[0]
        self.new_tiles.add(stem.rpartition("-")[2])
        for older in self.folder.glob(f"{stem}-*.npy") if stem else ():
            if older.name != f"{name}.npy":
                older.unlink(missing_ok=True)

    def __delitem__(self, name: str) -> None:
        try:
            (self.folder / f"{name}.npy").unlink()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in self.folder.glob("*.npy"))

    def __len__(self) -> int:
        return sum(1 for _ in self)
