"""The strip below every frame of an animation: how far in it is, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from chain_of_zoom.imaging.fonts import find_font
from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.imaging.sheet import BACKGROUND, TEXT, Colour

NARROW = 128  # pixels of width from which words can be read


def strip_height(width: int) -> int:
    """Pixels, even; where the frame is too narrow for words, those of the bar alone."""
    return 2 * round(0.9 * _letters(width) + 5) if width >= NARROW else 8


def draw_strip(scale: Sequence[Colour], position: float, colour: Colour, texts: Sequence[str]) -> RGB8:
    """A bar with the colours of `scale` along its width (as many as pixels), bright up to `position`, from 0 to 1.

    Below it the longest of `texts` that fits, in `colour`: what the frame shows.
    """
    width = len(scale)
    strip = Image.new("RGB", (width, strip_height(width)), BACKGROUND)
    bar = max(4, round(_letters(width) * 0.3))
    reached = round(position * width)
    shades = np.array(scale, np.uint8)
    shades[reached:] //= 3
    strip.paste(Image.fromarray(np.repeat(shades[None], bar, axis=0)))
    draw = ImageDraw.Draw(strip)
    draw.rectangle((max(0, reached - 2), 0, max(0, reached - 2) + 2, bar + 1), TEXT)
    if width >= NARROW:
        letters = find_font(_letters(width))
        text = next((text for text in texts if letters.getlength(text) <= width - 12), texts[-1])
        draw.text((6, (bar + strip.height) / 2), text, colour, letters, anchor="lm")
    return np.asarray(strip).copy()


def _letters(width: int) -> int:
    """Font size in pixels."""
    return min(max(width // 26, 11), 28)
