"""The blocks that a file is made of, walked over without decoding, so that mazes of them cost no time."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import Image

from chain_of_zoom.errors import BadInputError

MAX_BLOCKS = 100_000  # before or around one picture: segments of a JPEG, chunks of a PNG, blocks of a GIF
MAX_SCANS = 500  # of a progressive JPEG: encoders make about 10, and each is a pass over the whole picture


def check_blocks(data: bytes, name: str) -> None:
    """Raises BadInputError for a file of more blocks than pictures have; Pillow takes 5 µs for each."""
    blocks = 0
    if data[:2] == b"\xff\xd8":
        blocks = _jpeg_segments(data)
        if (scans := data.count(b"\xff\xda")) > MAX_SCANS:
            raise BadInputError(f"{name}: {scans} scans; accepted: a JPEG of up to {MAX_SCANS}; save it anew first")
    elif data[:4] == b"\x89PNG":
        blocks = _png_chunks(data)
    elif data[:4] == b"GIF8":
        blocks, _ = _gif_blocks(data, MAX_BLOCKS)
    if blocks >= MAX_BLOCKS:
        raise BadInputError(f"{name}: {blocks} blocks or more; accepted: up to {MAX_BLOCKS}; save it anew first")


def count_frames(data: bytes, image: Image.Image) -> int:
    """Frames of a file that Pillow opened as `image`."""
    if image.format == "GIF":  # Pillow would take seconds
        return _gif_blocks(data, MAX_BLOCKS)[1]
    if image.format == "MPO":  # the others are views or gain maps of the first
        return 1
    return int(getattr(image, "n_frames", 1))


def _jpeg_segments(data: bytes) -> int:
    """Segments before the first scan (ITU-T T.81, annex B)."""
    at, count = 2, 0
    while count < MAX_BLOCKS and data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
        count += 1
    return count


def _png_chunks(data: bytes) -> int:
    at, count = 8, 0
    while count < MAX_BLOCKS and at < len(data):
        at += 12 + int.from_bytes(data[at : at + 4])
        count += 1
    return count


def png_head(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG between IHDR and the pixels, the first of each name, and 64 bytes at most of each."""
    chunks: dict[bytes, bytes] = {}
    at = 33
    while at + 12 <= len(data) and (name := data[at + 4 : at + 8]) != b"IDAT":
        length = int.from_bytes(data[at : at + 4])
        chunks.setdefault(name, data[at + 8 : at + 8 + min(length, 64)])
        at += 12 + length
    return chunks


def meta_box(data: bytes) -> bytes:
    """What describes the pictures of an AVIF or HEIF file, past its box's version and flags; may be empty."""
    return next((data[start + 4 : stop] for kind, start, stop in _boxes(data, 0) if kind == b"meta"), b"")


def primary_properties(meta: bytes) -> list[tuple[bytes, bytes]]:
    """Kinds and contents of the properties of the main picture (ISO/IEC 14496-12, 8.11, and 23008-12, 9.3).

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
    """Kind, start and stop of the contents of the boxes in a part of a file (ISO/IEC 14496-12, section 4.2)."""
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


def _gif_blocks(data: bytes, stop: int) -> tuple[int, int]:
    """Blocks, and how many of them are frames (GIF89a, sections 15 to 26)."""
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
    except IndexError:  # cut short: the decoder will say so if the first frame is
        pass
    return blocks, frames


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
