"""How many frames a file has, without decoding them and never past a limit."""

from __future__ import annotations

from PIL import Image


def count_frames(data: bytes, image: Image.Image, stop: int) -> int:
    """Frames of a file that Pillow opened as `image`, up to `stop` for a GIF."""
    if image.format == "GIF":
        return _gif_frames(data, stop)
    if image.format == "MPO":  # the others are views or gain maps of the first
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
