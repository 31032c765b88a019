"""Sizes, boxes and zoom windows, in exact rational arithmetic.

Coordinates are those of the oriented picture: x to the right, y down, origin at the top left corner,
whole numbers on pixel edges. Fractions keep the record exact however deep the chain goes.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

Window = tuple[float, float, float, float]
"""Edges x0, y0, x1, y1 as records have them."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    """Columns."""
    height: int
    """Rows."""

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Point(NamedTuple):
    """A point in pixels."""

    x: Fraction
    """Distance from the left edge of the picture."""
    y: Fraction
    """Distance from its upper edge."""


class Box(NamedTuple):
    """A rectangle from (x0, y0) to (x1, y1), in pixels; whole numbers lie on pixel edges."""

    x0: Fraction
    """Left edge."""
    y0: Fraction
    """Upper edge."""
    x1: Fraction
    """Right edge."""
    y1: Fraction
    """Lower edge."""

    @property
    def width(self) -> Fraction:
        """Width in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> Fraction:
        """Height in pixels."""
        return self.y1 - self.y0

    @property
    def centre(self) -> Point:
        """The middle of the box."""
        return Point((self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2)

    @property
    def is_whole(self) -> bool:
        """True when all four edges are pixel edges."""
        return all(Fraction(edge).denominator == 1 for edge in self)

    def scaled(self, x: Fraction | int, y: Fraction | int) -> Box:
        """Return the same box in units that are x and y times finer."""
        return Box(self.x0 * x, self.y0 * y, self.x1 * x, self.y1 * y)

    def shifted(self, x: Fraction | int, y: Fraction | int) -> Box:
        """Return the box moved by (x, y)."""
        return Box(self.x0 + x, self.y0 + y, self.x1 + x, self.y1 + y)

    def hull(self) -> Box:
        """Return the smallest box of whole pixels that holds this one."""
        return pixel_box(floor(self.x0), floor(self.y0), ceil(self.x1), ceil(self.y1))

    def whole(self) -> tuple[int, int, int, int]:
        """Return the four edges as ints; the box must be whole."""
        assert self.is_whole, self
        return int(self.x0), int(self.y0), int(self.x1), int(self.y1)

    def floats(self) -> tuple[float, float, float, float]:
        """Return the four edges as floats, for records and for Pillow."""
        return float(self.x0), float(self.y0), float(self.x1), float(self.y1)


class PixelRect(NamedTuple):
    """A rectangle of whole pixels: columns x0 to x1, rows y0 to y1, ends not included."""

    x0: int
    """First column."""
    y0: int
    """First row."""
    x1: int
    """Column after the last."""
    y1: int
    """Row after the last."""

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size(self.x1 - self.x0, self.y1 - self.y0)

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def shifted(self, x: int, y: int) -> PixelRect:
        """Return the rectangle moved by (x, y)."""
        return PixelRect(self.x0 + x, self.y0 + y, self.x1 + x, self.y1 + y)

    def __str__(self) -> str:
        return f"{self.x0},{self.y0},{self.x1},{self.y1}"


def whole_picture(size: Size) -> Box:
    """Return the box of a whole picture."""
    return pixel_box(0, 0, size.width, size.height)


def pixel_box(x0: int, y0: int, x1: int, y1: int) -> Box:
    """Make a box of whole pixels."""
    return Box(Fraction(x0), Fraction(y0), Fraction(x1), Fraction(y1))


def round_half_up(value: Fraction) -> int:
    """Round to the nearest whole number, halves up (Python's own `round` sends halves to even)."""
    return floor(value + Fraction(1, 2))


def _start(length: Fraction, centre: Fraction, limit: int, unit: Fraction | None) -> Fraction:
    """Place a run of `length` pixels as centred as a picture of `limit` pixels allows; return its start."""
    start = centre - length / 2
    if unit:
        start = round_half_up(start / unit) * unit
    return min(max(start, Fraction(0)), limit - length)


def centred_window(width: Fraction, height: Fraction, spot: Point, picture: Size, unit: Fraction | None = None) -> Box:
    """Place a window in `picture`, as centred on `spot` as it allows; its corner is a multiple of `unit`."""
    assert 0 < width <= picture.width, (width, picture)
    assert 0 < height <= picture.height, (height, picture)
    x = _start(width, spot.x, picture.width, unit)
    y = _start(height, spot.y, picture.height, unit)
    return Box(x, y, x + width, y + height)


def snapped_window(size: Size, spot: Point, picture: Size) -> Box:
    """Place a window of whole pixels in `picture`, as centred on `spot` as the border allows."""
    return centred_window(Fraction(size.width), Fraction(size.height), spot, picture, Fraction(1))


def fit_scale(picture: Size, output: Size) -> Fraction:
    """Return picture pixels per output pixel of the 1x frame: the largest window of the output's shape."""
    return min(Fraction(picture.width, output.width), Fraction(picture.height, output.height))


def ceil_size(width: Fraction, height: Fraction) -> Size:
    """Return the smallest whole size that holds width x height."""
    return Size(ceil(width), ceil(height))


def covers(outer: Window, inner: Window, slack: float = 1e-6) -> bool:
    """Whether `inner` lies in `outer`, up to a share `slack` of its own size."""
    dx, dy = slack * (inner[2] - inner[0]), slack * (inner[3] - inner[1])
    return (
        outer[0] <= inner[0] + dx
        and outer[1] <= inner[1] + dy
        and outer[2] >= inner[2] - dx
        and outer[3] >= inner[3] - dy
    )
