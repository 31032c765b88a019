"""EXIF data and resolution in JPEG and WebP as we have them: libvips makes up what is not given."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from chain_of_zoom.upscaling.png import Tags

_SOI = 2  # bytes of a JPEG before its first segment
_EXIF_FLAG = 0x08  # of a WebP's VP8X


class JpegFile:
    """A JPEG that libvips writes without JFIF and EXIF, with both put in. error: what the disk said, if it failed."""

    def __init__(self, file: BinaryIO, tags: Tags) -> None:
        self.error: OSError | None = None
        self._file, self._tags, self._is_empty = file, tags, True

    def write(self, chunk: bytes) -> int:
        """Take a chunk; the first holds the start. Returns its length, or -1 for an error."""
        try:
            if self._is_empty:
                self._file.write(chunk[:_SOI] + _segments(self._tags))
            self._file.write(chunk[_SOI if self._is_empty else 0 :])
        except OSError as error:
            self.error = error
            return -1
        self._is_empty = False
        return len(chunk)


def _segments(tags: Tags) -> bytes:
    """JFIF, which says 1:1 and no unit without a resolution, and EXIF."""
    unit, (across, down) = (1, tags.resolution) if tags.resolution else (0, (1, 1))
    jfif = b"JFIF\0" + struct.pack(">HBHHBB", 0x0102, unit, round(across), round(down), 0, 0)
    parts = [(0xFFE0, jfif)] + ([(0xFFE1, tags.exif)] if tags.exif else [])
    return b"".join(struct.pack(">HH", marker, len(data) + 2) + data for marker, data in parts)


def put_exif(webp: Path, exif: bytes) -> None:
    """Add EXIF data to a WebP that has other metadata, and so a VP8X: metadata may come in any order."""
    data = exif.removeprefix(b"Exif\0\0")
    with webp.open("r+b") as file:
        head = file.read(21)
        assert head[12:16] == b"VP8X", head
        file.seek(20)
        file.write(bytes([head[20] | _EXIF_FLAG]))
        file.seek(0, 2)
        file.write(b"EXIF" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))
