"""The contact sheet: every state side by side, with what it is and where the next one lies, readable at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from chain_of_zoom.imaging.fonts import UNKNOWN, Font, find_font, lacks_letters, wrap_text
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
    """One state on the sheet."""

    image: RGB8
    """uint8, H x W x 3."""
    title: str
    """Large, in the panel's colour."""
    lines: Sequence[str]
    """Smaller, below the title."""
    colour: Colour
    """Of the frame and the title."""
    next_window: tuple[float, float, float, float] | None = None
    """What the next panel shows, (x0, y0, x1, y1) as fractions of the picture; drawn as a frame."""
    next_colour: Colour = TEXT
    """Of that frame."""
    found_window: tuple[float, float, float, float] | None = None
    """What was found in the picture, likewise."""
    found_colour: Colour = TEXT
    """Of that frame."""


def draw_sheet(
    heading: str, panels: Sequence[Panel], legend: Sequence[tuple[Colour, str]], columns: int | None = None
) -> RGB8:
    """Draw a contact sheet as uint8 RGB, with `columns` panels a row, by default at most four."""
    columns = columns or (min(4, len(panels)) if len(panels) != 5 else 3)
    height, width = panels[0].image.shape[:2]
    scale = CELL / max(height, width)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    column = max(cell[0], CELL) + 2 * BORDER
    words = [_panel_words(panel, column) for panel in panels]
    row = cell[1] + 2 * BORDER + 44 + LINE * max(len(lines) for lines in words)
    total = GAP + columns * (column + GAP)
    head, head_font = wrap_text(heading, total - 2 * GAP, 22)
    if lacks_letters([heading, *(line for panel in panels for line in panel.lines)], 17):
        legend = [*legend, (BACKGROUND, UNKNOWN)]
    foot = [
        (colour, part, first == 0)
        for colour, text in legend
        for first, part in enumerate(wrap_text(text, total - 80, 17)[0])
    ]
    rows = ceil(len(panels) / columns)
    top = GAP + 32 * len(head) + GAP // 2
    sheet = Image.new("RGB", (total, top + rows * (row + GAP) + LINE * len(foot) + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(head):
        draw.text((GAP, GAP + 32 * i), line, TEXT, head_font)
    for i, (panel, lines) in enumerate(zip(panels, words, strict=True)):
        x, y = GAP + (i % columns) * (column + GAP), top + (i // columns) * (row + GAP)
        _draw_panel(sheet, draw, panel, lines, (x, y), cell)
    y = top + rows * (row + GAP)
    for colour, line, first in foot:
        if first:
            draw.rectangle((GAP, y + 3, GAP + 24, y + 17), colour)
        draw.text((GAP + 36, y), line, FAINT, find_font(17))
        y += LINE
    return np.asarray(sheet).copy()


def _panel_words(panel: Panel, width: int) -> list[tuple[str, Font]]:
    """Break a panel's lines into at most six, each with its font."""
    paragraphs = [wrap_text(line, width, 17) for line in panel.lines]
    return [(line, letters) for lines, letters in paragraphs for line in lines][:6]


def _draw_panel(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    lines: Sequence[tuple[str, Font]],
    corner: tuple[int, int],
    cell: tuple[int, int],
) -> None:
    x, y = corner
    draw.rectangle((x, y, x + cell[0] + 2 * BORDER - 1, y + cell[1] + 2 * BORDER - 1), panel.colour)
    picture = Image.fromarray(panel.image).resize(cell, Image.Resampling.LANCZOS)
    sheet.paste(picture, (x + BORDER, y + BORDER))
    for window, colour in ((panel.found_window, panel.found_colour), (panel.next_window, panel.next_colour)):
        if window is None:
            continue
        x0, y0, x1, y1 = window
        frame = (
            x + BORDER + round(x0 * cell[0]),
            y + BORDER + round(y0 * cell[1]),
            x + BORDER + max(round(x1 * cell[0]), round(x0 * cell[0]) + 3) - 1,
            y + BORDER + max(round(y1 * cell[1]), round(y0 * cell[1]) + 3) - 1,
        )
        draw.rectangle((frame[0] - 1, frame[1] - 1, frame[2] + 1, frame[3] + 1), outline=(0, 0, 0), width=4)
        draw.rectangle(frame, outline=colour, width=2)
    y += cell[1] + 2 * BORDER + 6
    draw.text((x, y), panel.title, panel.colour, find_font(26))
    for i, (line, letters) in enumerate(lines):
        draw.text((x, y + 38 + LINE * i), line, TEXT if i == 0 else FAINT, letters)
