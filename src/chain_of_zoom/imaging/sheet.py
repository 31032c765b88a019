"""The contact sheet: every state side by side, with what it is and where the next one lies, readable at a glance."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chain_of_zoom.imaging.images import RGB8

Colour = tuple[int, int, int]

BACKGROUND: Colour = (24, 25, 28)
TEXT: Colour = (236, 236, 236)
FAINT: Colour = (168, 170, 176)
CELL = 384
GAP = 20
BORDER = 5
LINE = 26


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One state on the sheet.

    title: large, in the panel's colour. lines: smaller, below. next_window: (x0, y0, x1, y1) as fractions of the
    picture, drawn as a frame: what the next panel shows.
    """

    image: RGB8
    title: str
    lines: Sequence[str]
    colour: Colour
    next_window: tuple[float, float, float, float] | None = None
    next_colour: Colour = TEXT


def draw_sheet(
    heading: str, panels: Sequence[Panel], legend: Sequence[tuple[Colour, str]], columns: int | None = None
) -> RGB8:
    """A contact sheet as uint8 RGB, with `columns` panels a row, by default at most four."""
    columns = columns or (min(4, len(panels)) if len(panels) != 5 else 3)
    height, width = panels[0].image.shape[:2]
    scale = CELL / max(height, width)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    column = max(cell[0], CELL) + 2 * BORDER
    wrapped = [[part for line in panel.lines for part in _wrap(line, column, 17)][:6] for panel in panels]
    row = cell[1] + 2 * BORDER + 44 + LINE * max(len(lines) for lines in wrapped)
    total = GAP + columns * (column + GAP)
    head = _wrap(heading, total - 2 * GAP, 22)
    foot = [
        (colour, part, first == 0) for colour, text in legend for first, part in enumerate(_wrap(text, total - 80, 17))
    ]
    rows = ceil(len(panels) / columns)
    top = GAP + 32 * len(head) + GAP // 2
    sheet = Image.new("RGB", (total, top + rows * (row + GAP) + LINE * len(foot) + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(head):
        draw.text((GAP, GAP + 32 * i), line, TEXT, font(22))
    for i, (panel, lines) in enumerate(zip(panels, wrapped, strict=True)):
        x, y = GAP + (i % columns) * (column + GAP), top + (i // columns) * (row + GAP)
        _draw_panel(sheet, draw, panel, lines, (x, y), cell)
    y = top + rows * (row + GAP)
    for colour, line, first in foot:
        if first:
            draw.rectangle((GAP, y + 3, GAP + 24, y + 17), colour)
        draw.text((GAP + 36, y), line, FAINT, font(17))
        y += LINE
    return np.asarray(sheet).copy()


def _draw_panel(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    lines: Sequence[str],
    corner: tuple[int, int],
    cell: tuple[int, int],
) -> None:
    x, y = corner
    draw.rectangle((x, y, x + cell[0] + 2 * BORDER - 1, y + cell[1] + 2 * BORDER - 1), panel.colour)
    picture = Image.fromarray(panel.image).resize(cell, Image.Resampling.LANCZOS)
    sheet.paste(picture, (x + BORDER, y + BORDER))
    if panel.next_window:
        x0, y0, x1, y1 = panel.next_window
        frame = (
            x + BORDER + round(x0 * cell[0]),
            y + BORDER + round(y0 * cell[1]),
            x + BORDER + max(round(x1 * cell[0]), round(x0 * cell[0]) + 3) - 1,
            y + BORDER + max(round(y1 * cell[1]), round(y0 * cell[1]) + 3) - 1,
        )
        draw.rectangle((frame[0] - 1, frame[1] - 1, frame[2] + 1, frame[3] + 1), outline=(0, 0, 0), width=4)
        draw.rectangle(frame, outline=panel.next_colour, width=2)
    y += cell[1] + 2 * BORDER + 6
    draw.text((x, y), panel.title, panel.colour, font(26))
    for i, line in enumerate(lines):
        draw.text((x, y + 38 + LINE * i), line, TEXT if i == 0 else FAINT, font(17))


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of the system that has accents and other scripts, else Pillow's own, which has neither."""
    for name in ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "Arial.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _drawable(text: str) -> str:
    """`text`, without accents where only Pillow's own font is there: Muller rather than M□ller."""
    ours = font(17)
    if isinstance(ours, ImageFont.FreeTypeFont) and "Aileron" not in str(ours.getname()[0]):
        return text
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def _wrap(text: str, width: int, size: int) -> list[str]:
    """Break at spaces so that no line is wider than `width` pixels; a single long word is cut with an ellipsis."""
    letters = font(size)
    lines: list[str] = []
    for word in _drawable(text).split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and letters.getlength(joined) <= width:
            lines[-1] = joined
            continue
        while letters.getlength(word) > width and len(word) > 2:
            word = word[: len(word) * 3 // 4] + "…"
        lines.append(word)
    return lines
