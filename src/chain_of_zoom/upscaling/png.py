"""PNG as a stream: strips in, bytes out, of any size, 8 or 16 bits, in the memory of a few strips."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.resources import available_cores

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}


@dataclass(frozen=True, kw_only=True)
class Tags:
    """What is written beside the pixels: texts by keyword, an XMP packet, an ICC profile, EXIF as Pillow writes it.

    resolution: pixels per inch, across and down.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    xmp: str | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    resolution: tuple[float, float] | None = None


def png_stream(size: Size, strips: Iterable[Samples], tags: Tags, *, packed: bool = True) -> Iterator[bytes]:
    """The file, piece by piece. strips: rows x width x 1 to 4 (grey or RGB, and alpha), uint8 or uint16, top to bottom.

    packed: filtered and compressed, strips in parallel; else as they are, for a reader beside us.
    """
    strips = iter(strips)
    first = next(strips)
    bits, channels = first.dtype.itemsize * 8, first.shape[2]
    yield b"\x89PNG\r\n\x1a\n"
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, _COLOUR_TYPE[channels], 0, 0, 0))
    if tags.profile:
        yield _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(tags.profile))
    if tags.resolution:
        yield _chunk(b"pHYs", struct.pack(">IIB", *(round(density / 0.0254) for density in tags.resolution), 1))
    if tags.exif:
        yield _chunk(b"eXIf", tags.exif.removeprefix(b"Exif\0\0"))
    texts = {**tags.texts, **({"XML:com.adobe.xmp": tags.xmp} if tags.xmp else {})}
    for keyword, text in texts.items():
        yield _chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode())
    yield _chunk(b"IDAT", b"\x78\x01")
    check = 1
    for rows, deflated in _deflated(_lines(first, strips, packed=packed), packed=packed):
        check = zlib.adler32(rows.data, check)
        yield _chunk(b"IDAT", deflated)
    end = zlib.compressobj(wbits=-15)
    yield _chunk(b"IDAT", end.flush() + struct.pack(">I", check))
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _lines(first: Samples, strips: Iterator[Samples], *, packed: bool) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Strips as big-endian bytes below the row before them, and how far apart the bytes of neighbours are."""
    above = np.zeros((1, first.shape[1] * first.shape[2] * first.itemsize), np.uint8)
    strip: Samples | None = first
    while strip is not None:
        rows = np.ascontiguousarray(strip.astype(strip.dtype.newbyteorder(">"), copy=False)).view(np.uint8)
        lines = np.concatenate([above, rows.reshape(len(strip), -1)])
        yield lines, (strip.shape[2] * strip.itemsize if packed else 0)
        above = lines[-1:]
        strip = next(strips, None)


def _deflated(
    lines: Iterator[tuple[NDArray[np.uint8], int]], *, packed: bool
) -> Iterator[tuple[NDArray[np.uint8], bytes]]:
    """Filtered rows and their deflate blocks, as many strips at a time as there are cores."""
    workers = available_cores()
    waiting: deque[Future[tuple[NDArray[np.uint8], bytes]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for each, step in lines:
            waiting.append(pool.submit(_packed, each, step))
            if len(waiting) > (workers if packed else 0):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _packed(lines: NDArray[np.uint8], step: int) -> tuple[NDArray[np.uint8], bytes]:
    """Rows behind their filter byte, and the same deflated. step 0: neither filtered nor compressed.

    Each byte less the mean of its neighbours to the left and above, and only runs matched: what networks make becomes
    5 to 14% smaller than with zlib's level 6 and a filter chosen by the row, in a tenth of the time.
    """
    height, width = len(lines) - 1, lines.shape[1]
    rows = np.empty((height, 1 + width), np.uint8)
    rows[:, 0] = 3 if step else 0
    if step:
        left = np.zeros_like(lines[1:])
        left[:, step:] = lines[1:, :-step]
        # (a + b) // 2 without leaving 8 bits
        rows[:, 1:] = lines[1:] - ((left & lines[:-1]) + ((left ^ lines[:-1]) >> 1))
        packer = zlib.compressobj(3, wbits=-15, strategy=zlib.Z_RLE)
    else:
        rows[:, 1:] = lines[1:]
        packer = zlib.compressobj(0, wbits=-15)
    return rows, packer.compress(rows.data) + packer.flush(zlib.Z_SYNC_FLUSH)
