"""How many frames or pages a file has, counted on its structure alone and never past a limit."""

from __future__ import annotations

import struct

from PIL import Image


def count_frames(data: bytes, image: Image.Image | None, stop: int) -> int:
    """Frames of a file, of which Pillow opened `image` if it could; counting ends at `stop`."""
    if data[:4] == b"GIF8":
        return _gif_frames(data, stop)
    if data[:2] in (b"II", b"MM"):
        return _tiff_pages(data, stop)
    if image is None or image.format == "MPO":  # the other pictures of an MPO are views or gain maps of the first
        return 1
    return int(getattr(image, "n_frames", 1))


def _gif_frames(data: bytes, stop: int) -> int:
    """Image descriptors, jumping from block to block (GIF89a, sections 15 to 26); Pillow would take seconds."""
    at = 13 + _colour_table(data[10])
    frames = 0
    try:
        while frames < stop and data[at] in (0x21, 0x2C):
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
    return frames


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _tiff_pages(data: bytes, stop: int) -> int:
    """Directories of the chain, without reading their tags (TIFF 6.0, section 2, and BigTIFF)."""
    order = "<" if data[:1] == b"I" else ">"
    big = 43 in data[2:4]
    count, entry, link = ("Q", 20, "Q") if big else ("H", 12, "I")
    start = 8 if big else 4
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + link, data, start)
        while at and at not in seen and len(seen) < stop:
            seen.add(at)
            (tags,) = struct.unpack_from(order + count, data, at)
            (at,) = struct.unpack_from(order + link, data, at + struct.calcsize(count) + tags * entry)
    except struct.error:
        pass
    return len(seen)
