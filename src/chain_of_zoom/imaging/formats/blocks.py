"""The blocks that a file is made of, walked over without decoding, so that mazes of them cost no time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from PIL import Image

from chain_of_zoom.errors import BadInputError

MAX_BLOCKS = 100_000  # before or around one picture: segments of a JPEG, chunks of a PNG, blocks of a GIF
_CHANNELS = {2: 3, 4: 2, 6: 4}  # of the colour types of a PNG that have more than one
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_blocks(data: bytes, name: str) -> None:
    """Raises BadInputError for a PNG or GIF of more blocks than pictures have; Pillow takes 5 µs for each."""
    if data[:4] == b"\x89PNG":
        check_count(sum(1 for _ in islice(_png_chunks(data), MAX_BLOCKS)), name)
    elif data[:4] == b"GIF8":
        check_count(_gif_blocks(data, MAX_BLOCKS)[0], name)


def check_count(blocks: int, name: str) -> None:
    """Raises BadInputError for so many blocks."""
    if blocks >= MAX_BLOCKS:
        raise BadInputError(f"{name}: {blocks} blocks or more; accepted: up to {MAX_BLOCKS}; save it anew first")


def count_frames(data: bytes, image: Image.Image) -> int:
    """Count the frames of a file that Pillow opened as `image`."""
    if image.format == "GIF":  # Pillow would take seconds
        return _gif_blocks(data, MAX_BLOCKS)[1]
    if image.format == "MPO":  # the others are views or gain maps of the first
        return 1
    return int(getattr(image, "n_frames", 1))


def find_flaws(data: bytes) -> tuple[str, ...]:
    """Note the damage in a PNG or GIF that Pillow does not mind."""
    if data[:4] == b"GIF8":
        return () if _gif_blocks(data, MAX_BLOCKS)[2] else ("end marker missing",)
    if data[:4] != b"\x89PNG":
        return ()
    is_ended, is_sound = False, True
    for kind, start, stop in _png_chunks(data):
        is_ended = is_ended or kind == b"IEND"
        if kind == b"IDAT":
            is_sound &= zlib.crc32(memoryview(data)[start - 4 : stop]).to_bytes(4) == data[stop : stop + 4]
    notes = () if is_sound else ("damaged (a check sum of the pixels is wrong): parts may be wrong",)
    return notes if is_ended else (*notes, "end marker missing")


def describe_lack(data: bytes) -> str:
    """Say how much is there of a file that is cut short; empty for one that is not, or where that is unknown."""
    size = len(data)
    if data[:4] == b"RIFF":
        whole = 8 + int.from_bytes(data[4:8], "little")
    elif data[:2] == b"BM":
        whole = int.from_bytes(data[2:6], "little")
    elif data[:4] == b"\x89PNG":
        with suppress(zlib.error):
            rows, height = count_png_rows(data)
            return f"{rows} of {height} rows are there" if rows < height else ""
        return ""
    elif data[:4] == b"GIF8":
        return "" if _gif_blocks(data, MAX_BLOCKS)[2] else "it ends within its first frames"
    else:
        return "" if (whole := _boxes_stop(data)) <= size else f"{size:,} of {whole:,} bytes are there"
    return f"{size:,} of {whole:,} bytes are there" if size < whole else ""


def read_png_head(data: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a PNG before the pixels: the first of each name, of each at most 64 bytes."""
    chunks: dict[bytes, bytes] = {}
    for name, start, stop in _png_chunks(data):
        if name == b"IDAT":
            break
        chunks.setdefault(name, data[start : min(stop, start + 64)])
    return chunks


def find_meta_box(data: bytes) -> bytes:
    """Return the box that describes the pictures of an AVIF or HEIF, past its version and flags; may be empty."""
    return next((data[start + 4 : stop] for kind, start, stop in _boxes(data, 0) if kind == b"meta"), b"")


def read_primary_properties(meta: bytes) -> list[tuple[bytes, bytes]]:
    """Return kinds and contents of the properties of the main picture (ISO/IEC 14496-12, 8.11, and 23008-12, 9.3).

    Raises struct.error and LookupError where such boxes are damaged.
    """
    parts = {kind: (start, stop) for kind, start, stop in _boxes(meta, 0)}
    start, _ = parts[b"pitm"]
    (primary,) = struct.unpack_from(">I" if meta[start] else ">H", meta, start + 4)
    boxes = {kind: (begin, end) for kind, begin, end in _boxes(meta, *parts[b"iprp"])}
    properties = [(kind, meta[begin:end]) for kind, begin, end in _boxes(meta, *boxes[b"ipco"])]
    at, _ = boxes[b"ipma"]
    item, index = ">I" if meta[at] else ">H", ">H" if meta[at + 3] & 1 else ">B"
    (entries,) = struct.unpack_from(">I", meta, at + 4)
    at += 8
    for _ in range(entries):
        (name,) = struct.unpack_from(item, meta, at)
        at += struct.calcsize(item)
        indices = struct.unpack_from(f">{meta[at]}{index[1]}", meta, at + 1)
        if name == primary:
            essential = 0x7FFF if index == ">H" else 0x7F
            return [properties[(place & essential) - 1] for place in indices if place & essential]
        at += 1 + meta[at] * struct.calcsize(index)
    return []


def _boxes(data: bytes, start: int, stop: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and stop of the contents of boxes in a part of a file (ISO/IEC 14496-12, section 4.2)."""
    stop = len(data) if stop is None else stop
    for _ in range(MAX_BLOCKS):
        if start + 8 > stop:
            return
        length, kind, head = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16]), 16
        end = min(start + length, stop) if length else stop
        if end < start + head:
            return
        yield kind, start + head, end
        start = end


def count_png_rows(data: bytes) -> tuple[int, int]:
    """Count the rows of a PNG that are there, and all; of an interlaced one, the same share. Raises zlib.error."""
    width, height, depth, colour, interlaced = struct.unpack_from(">IIBB2xB", data.ljust(29, b"\0"), 16)
    bits = depth * _CHANNELS.get(colour, 1)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    whole = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)
    inflater, count = zlib.decompressobj(), 0
    for kind, start, stop in _png_chunks(data):
        piece = data[start:stop] if kind == b"IDAT" else b""
        while piece and count < whole:
            count += len(inflater.decompress(piece, 1 << 20))
            piece = inflater.unconsumed_tail
    return min(count * height // max(whole, 1), height), height


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and stop of each chunk's contents (PNG, 5.3); the last may reach beyond the file."""
    at = 8
    while at < len(data):
        stop = at + 8 + int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 8], at + 8, stop
        at = stop + 4


def _boxes_stop(data: bytes) -> int:
    """Find where the boxes of an AVIF or HEIF end, by their lengths (ISO/IEC 14496-12, section 4.2)."""
    at = 0
    while data[4:8] == b"ftyp" and at + 16 <= len(data) and (length := int.from_bytes(data[at : at + 4])):
        at += max(int.from_bytes(data[at + 8 : at + 16]) if length == 1 else length, 8)
    return at


def _gif_blocks(data: bytes, stop: int) -> tuple[int, int, bool]:
    """Count the blocks and frames, and tell whether the trailer follows (GIF89a, sections 15 to 27)."""
    at = 13 + _colour_table(data[10]) if len(data) > 10 else 0
    blocks = frames = 0
    try:
        while blocks < stop and data[at] in (0x21, 0x2C):
            blocks += 1
            if data[at] == 0x2C:
                frames += 1
                at += 11 + _colour_table(data[at + 9])
            else:
                at += 2
            while data[at]:
                at += data[at] + 1
            at += 1
        is_ended = data[at] == 0x3B
    except IndexError:  # cut short: the decoder will say so if the first frame is
        is_ended = False
    return blocks, frames, is_ended


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
