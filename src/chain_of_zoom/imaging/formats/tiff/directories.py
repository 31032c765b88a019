"""The directories of a TIFF or BigTIFF: where they lie, what their tags say, and the same samples described anew."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, SAMPLES, ROWS, STRIP_SIZES, PLANES = 273, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, SUBDIRECTORIES = 317, 322, 323, 324, 325, 330
EXTRA, FORMAT, SUBSAMPLING = 338, 339, 530
# Types of tags that hold whole numbers or bytes, as numpy has them (TIFF 6.0, section 2; BigTIFF's from 16 on).
_WHOLE = {
    **{1: "u1", 2: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 13: "u4"},
    **{16: "u8", 17: "i8", 18: "u8"},
}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}


class Directory:
    """One picture's tags, read when asked for."""

    def __init__(self, data: bytes | mmap, at: int, order: str, big: bool) -> None:
        self.at, self._data, self._order = at, data, order
        head, number, value = ("Q", "Q", "V8") if big else ("H", "I", "V4")
        fields = {"tag": "H", "type": "H", "count": number, "value": value}
        self._layout = np.dtype([(name, order + kind) for name, kind in fields.items()])
        self._start = at + struct.calcsize(head)
        count = struct.unpack_from(order + head, data, at)[0]
        whole = (len(data) - self._start) // self._layout.itemsize  # of a file that may be cut short
        self.entries = np.frombuffer(data, self._layout, min(count, whole), self._start)

    def place(self, tag: int) -> int | None:
        """Find where the value of a tag lies, or its offset; None when it is not there."""
        rows = np.flatnonzero(self.entries["tag"] == tag)
        field = self._layout.itemsize - self._layout["value"].itemsize
        return self._start + int(rows[0]) * self._layout.itemsize + field if len(rows) else None

    def read_array(self, tag: int) -> NDArray[Any]:
        """Read the whole numbers or bytes of a tag; none if it is missing, of another type or leaves the file."""
        offset, entry = self.place(tag), self.entries[self.entries["tag"] == tag][:1]
        if offset is None or int(entry["type"][0]) not in _WHOLE:
            return np.empty(0, np.uint8)
        dtype = np.dtype(self._order + _WHOLE[int(entry["type"][0])])
        count, room = int(entry["count"][0]), self._layout["value"].itemsize
        if count * dtype.itemsize > room:
            offset = struct.unpack_from(self._order + ("Q" if room == 8 else "I"), self._data, offset)[0]
        if offset + count * dtype.itemsize > len(self._data):
            return np.empty(0, np.uint8)
        return np.frombuffer(self._data, dtype, count, offset)

    def read_numbers(self, tag: int) -> tuple[int, ...]:
        """Read a tag as `read_array` does, as Python's numbers."""
        return tuple(self.read_array(tag).tolist())

    def read_first(self, tag: int, default: int = 0) -> int:
        """Read the first number of a tag."""
        return next(iter(self.read_array(tag)[:1].tolist()), default)

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return self.read_first(BITS, 1)

    @property
    def samples(self) -> int:
        """Samples of a pixel."""
        return self.read_first(SAMPLES, 1)

    @property
    def kind(self) -> str:
        """numpy's letter for the samples' numbers: u, i, f; c for complex ones and what else there may be."""
        return _KINDS.get(self.read_first(FORMAT, 1), "c")

    @property
    def is_in_planes(self) -> bool:
        """Whether each channel is stored by itself."""
        return self.read_first(PLANES, 1) == 2 and self.samples > 1

    @property
    def is_packed(self) -> bool:
        """Whether the samples are of a size that libvips does not read: 12 bits, 64 bits, RGB of 4 bits."""
        return self.bits not in (8, 16, 32) and not (self.bits in (1, 2, 4) and self.samples == 1)


class Structure:
    """A file's directories. Raises struct.error or ValueError where it is cut short."""

    def __init__(self, data: bytes | mmap) -> None:
        self.data = data
        self.order = "<" if data[:1] == b"I" else ">"
        self.big = 43 in data[2:4]
        self._count, self._link, self._entry = ("Q", "Q", 20) if self.big else ("H", "I", 12)

    def chain(self, stop: int) -> list[int]:
        """Find where the directories of the pages lie, up to `stop` of them, without reading their tags."""
        places: dict[int, None] = {}
        try:
            at = self._at(self._link, 8 if self.big else 4)
            while at and at not in places and len(places) < stop:
                places[at] = None
                start = at + struct.calcsize(self._count)
                at = self._at(self._link, start + self._at(self._count, at) * self._entry)
        except struct.error:  # cut short: the decoder will say so if the first page is
            pass
        return list(places)

    def directory(self, at: int) -> Directory:
        """Return the tags of the directory at this offset."""
        return Directory(self.data, at, self.order, self.big)

    def rewrite(self, directory: Directory, pages: Sequence[Mapping[int, Sequence[int]]]) -> bytes:
        """Return the file with a page for each of these changes to a directory's tags; a tag without values goes.

        Decoders are so led to samples that they would not read, or not as they are, under their own description.
        """
        link, room = self.order + self._link, 8 if self.big else 4
        tail, places, ends = bytearray(), [], []
        for changes in pages:
            rows = {int(row["tag"]): row.tobytes() for row in directory.entries}
            for tag, values in changes.items():
                packed = struct.pack(f"{self.order}{len(values)}{self._link}", *values)
                if len(packed) > room:
                    pointer = struct.pack(link, len(self.data) + len(tail))
                    tail, packed = tail + packed, pointer
                head = struct.pack(f"{self.order}HH{self._link}", tag, 16 if self.big else 4, len(values))
                rows[tag] = (head + packed.ljust(room, b"\0")) * (len(values) > 0)
            table = [rows[tag] for tag in sorted(rows) if rows[tag]]
            tail += bytes((len(self.data) + len(tail)) % 2)
            places.append(len(self.data) + len(tail))
            tail += struct.pack(self.order + self._count, len(table)) + b"".join(table) + bytes(room)
            ends.append(len(tail) - room)
        for end, place in zip(ends, places[1:], strict=False):
            struct.pack_into(link, tail, end, place)
        view = memoryview(self.data)
        return b"".join((view[:room], struct.pack(link, places[0]), view[2 * room :], tail))

    def _at(self, kind: str, offset: int) -> int:
        return int(struct.unpack_from(self.order + kind, self.data, offset)[0])
