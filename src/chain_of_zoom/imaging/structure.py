"""The blocks that a file is made of, walked over without decoding, so that mazes of them cost no time."""

from __future__ import annotations

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
