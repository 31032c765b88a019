"""Text whose letters are known: does a letter stay the letter?"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import ceil, floor
from string import ascii_uppercase
from typing import ClassVar, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chain_of_zoom.evaluation.arena.scene import Plane, Scene, mix_colours, read_ink
from chain_of_zoom.imaging.geometry import Box, Size, Window
from chain_of_zoom.imaging.images import RGB8, area_reduce

MASTER = 512
"""Pixels of the side of a letter's box in the drawing that all its pictures are means of."""
RASTER = 32
"""Pixels of that box where letters are compared."""
SLACK = 3
"""Pixels of those by which a letter may have moved."""
LEAST = 10.0
"""Pixels of a state in the box of a letter that is compared at least."""
JITTER = 0.12
"""How far the page is moved at most, in boxes, so that letters lie on the pixels in any way."""


@cache
def draw_letter(letter: str) -> RGB8:
    """Draw a letter of Pillow's own font in the middle of its box, four fifths as high or wide: uint8, ink is 255."""
    glyph = Image.new("L", (2 * MASTER, 2 * MASTER))
    ImageDraw.Draw(glyph).text((MASTER // 4, MASTER // 4), letter, 255, ImageFont.load_default(MASTER))
    glyph = glyph.crop(glyph.getbbox())
    scale = 0.8 * MASTER / max(glyph.size)
    glyph = glyph.resize((round(glyph.width * scale), round(glyph.height * scale)), Image.Resampling.BICUBIC)
    box = Image.new("L", (MASTER, MASTER))
    box.paste(glyph, ((MASTER - glyph.width) // 2, (MASTER - glyph.height) // 2))
    return np.asarray(box)


@cache
def _integrate_letter(letter: str) -> Plane:
    """Return the ink of a letter above and to the left of every corner of the master's pixels, in boxes."""
    sums = np.zeros((MASTER + 1, MASTER + 1))
    sums[1:, 1:] = (draw_letter(letter) / (255 * MASTER**2)).cumsum(axis=0).cumsum(axis=1)
    return sums


def shrink_letter(letter: str, rows: Plane, columns: Plane) -> Plane:
    """Return the ink of a letter in pixels between edges, which are in boxes: 0 and 1 are the box's own."""
    sums = _interpolate(_interpolate(_integrate_letter(letter), rows).T, columns).T
    ink: Plane = np.diff(np.diff(sums, axis=0), axis=1) / np.diff(rows)[:, None] / np.diff(columns)
    return ink


def _interpolate(sums: Plane, edges: Plane) -> Plane:
    """Return rows of running sums at edges, in boxes."""
    places = np.clip(edges, 0, 1) * MASTER
    lower = np.minimum(places.astype(np.intp), MASTER - 1)
    share = (places - lower)[:, None]
    rows: Plane = sums[lower] * (1 - share) + sums[lower + 1] * share
    return rows


@cache
def list_templates() -> Plane:
    """Return all letters as they are compared, without the room that they may move by: 26 x pixels, standardised."""
    edges = np.linspace(0, 1, RASTER + 1)[SLACK : RASTER + 1 - SLACK]
    return _standardise(np.stack([shrink_letter(letter, edges, edges).ravel() for letter in ascii_uppercase]))


def _standardise(rows: Plane) -> Plane:
    """Give every row the mean 0 and the norm 1."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    standardised: Plane = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return standardised


def read_letter(ink: Plane) -> str:
    """Return the letter that a box of RASTER x RASTER shares of ink looks most like, wherever within the slack."""
    side = RASTER - 2 * SLACK
    cuts = np.lib.stride_tricks.sliding_window_view(ink, (side, side)).reshape(-1, side * side)
    # Not by a product of matrices: for ones so small the threads of a BLAS cost thirty times what they save.
    likeness = np.einsum("lp,cp->lc", list_templates(), _standardise(cuts))
    return ascii_uppercase[int(likeness.max(axis=1).argmax())]


class PlacedLetter(NamedTuple):
    """A letter of the page."""

    letter: str
    """The letter."""
    box: Window
    """Its box, in shares of the 1x view."""


class Letters(Scene):
    """A page of random capital letters, `height` pixels high in the 1x view; one stands about the middle."""

    height: ClassVar[float]
    """Side of a letter's box in pixels of the 1x view."""
    words = "newspaper page, columns of text, ink"
    measures: ClassVar[dict[str, str]] = {
        "letters": "share of the letters that look most like themselves among all 26; by chance 0.04"
    }
    takes = 4

    def __init__(self, side: int, seed: int) -> None:
        super().__init__(side, seed)
        self.pitch = self.height / side
        count = ceil(1 / self.pitch) + 3
        self.page = self.draws.integers(0, 26, (count, count))
        shift = self.draws.uniform(-JITTER, JITTER, 2) * self.pitch
        self.left, self.top = 0.5 - (count // 2 + 0.5) * self.pitch + shift

    def list_letters(self, window: Window) -> Iterator[PlacedLetter]:
        """Yield all letters whose boxes reach into a window."""
        spans = []
        for start, first, last in ((self.top, window[1], window[3]), (self.left, window[0], window[2])):
            numbers = range(floor((first - start) / self.pitch), ceil((last - start) / self.pitch))
            spans.append([number for number in numbers if 0 <= number < len(self.page)])
        for row in spans[0]:
            for column in spans[1]:
                x, y = self.left + column * self.pitch, self.top + row * self.pitch
                yield PlacedLetter(ascii_uppercase[self.page[row, column]], (x, y, x + self.pitch, y + self.pitch))

    def draw(self, window: Window, size: Size) -> Plane:
        """Draw every letter as the means of its master."""
        ink = np.zeros((size.height, size.width))
        columns = np.linspace(window[0], window[2], size.width + 1)
        rows = np.linspace(window[1], window[3], size.height + 1)
        for placed in self.list_letters(window):
            x0, y0, x1, y1 = placed.box
            across = slice(*_reach(columns, x0, x1))
            down = slice(*_reach(rows, y0, y1))
            ink[down, across] += shrink_letter(
                placed.letter,
                (rows[down.start : down.stop + 1] - y0) / self.pitch,
                (columns[across.start : across.stop + 1] - x0) / self.pitch,
            )
        return mix_colours(ink)

    def judge(self, state: RGB8, truth: RGB8, window: Window) -> dict[str, float | None]:
        """Read every letter that lies whole in the window and is large enough."""
        height, width = state.shape[:2]
        scale = width / (window[2] - window[0])
        if scale * self.pitch < LEAST:
            return {"letters": None}
        ink = read_ink(state).astype(np.float32)[..., None]
        verdicts: list[bool] = []
        for placed in self.list_letters(window):
            x0, y0, x1, y1 = ((edge - start) * scale for edge, start in zip(placed.box, window[:2] * 2, strict=True))
            if min(x0, y0) >= 0 and x1 <= width and y1 <= height:
                box = Box(*map(Fraction, (x0, y0, x1, y1)))
                raster = area_reduce(ink, box, Size(RASTER, RASTER))[..., 0]
                verdicts.append(read_letter(raster.astype(np.float64)) == placed.letter)
        return {"letters": float(np.mean(verdicts)) if verdicts else None}


def _reach(edges: Plane, start: float, stop: float) -> tuple[int, int]:
    """Return the first and the last of the pixels between edges that a span reaches into."""
    first = max(int(np.searchsorted(edges, start, side="right")) - 1, 0)
    return first, min(int(np.searchsorted(edges, stop, side="left")), len(edges) - 1)


class LargeText(Letters):
    """Letters that are easily read in the 1x view."""

    name, about, height, deepest = "text of 12 px", "letters 12 px high at 1x", 12.0, 16


class SmallText(Letters):
    """Letters that can just be read there."""

    name, about, height, deepest = "text of 6 px", "letters 6 px high at 1x", 6.0, 16


class TinyText(Letters):
    """Letters that cannot be read there."""

    name, about, height, deepest = "text of 3 px", "letters 3 px high at 1x", 3.0, 64
