"""Line charts: from numbers to places in an SVG, which the macros of `chart.html` draw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 12, 28

AxisLabel = tuple[float, str]
"""The place of a label along its axis, in SVG units, and its text."""


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Turn values into SVG units inside the margins of a chart; larger values lie to the right and higher up."""

    x_range: tuple[float, float]
    """The values at the left and the right edge."""
    y_ticks: Sequence[float]
    """The values that get a line across the chart, ascending; the first and the last are its edges."""

    def x(self, value: float) -> float:
        """Return the distance of a value from the left."""
        first, last = self.x_range
        return LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the distance of a value from the top."""
        lowest, highest = self.y_ticks[0], self.y_ticks[-1]
        return HEIGHT - BOTTOM - (value - lowest) / (highest - lowest) * (HEIGHT - TOP - BOTTOM)

    def y_labels(self) -> tuple[AxisLabel, ...]:
        """Return the labels of the vertical axis."""
        return tuple((self.y(value), f"{value:g}") for value in self.y_ticks)

    def points(self, values: Iterable[tuple[float, float]]) -> str:
        """Return the `points` of an SVG polyline through (x, y) values."""
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in values)


@dataclass(frozen=True, kw_only=True)
class ChartMark:
    """A dot with an interval; all places are in SVG units."""

    x: float
    """Distance from the left."""
    y: float
    """Distance of the dot from the top."""
    low: float
    """Distance of the lower end of the interval from the top; equal to y without an interval."""
    high: float
    """Distance of the upper end of the interval from the top; equal to y without an interval."""
    text: str
    """What a browser shows when the mouse rests on it."""


@dataclass(frozen=True, kw_only=True)
class ChartLine:
    """One line of a chart and the marks on it."""

    points: str
    """The `points` of an SVG polyline."""
    colour: str
    """Its CSS colour."""
    width: float = 2
    """Its width in SVG units."""
    opacity: float = 1
    """1 for opaque, less to let other lines show through."""
    dashed: bool = False
    """Whether it is drawn in dashes."""
    marks: tuple[ChartMark, ...] = ()
    """Its dots, from left to right."""
    name: str = ""
    """What it shows."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything that `chart.html` needs to draw one chart."""

    title: str
    """What the vertical axis shows."""
    label: str
    """What a screen reader says of the chart."""
    lines: tuple[ChartLine, ...]
    """Its lines; later ones are drawn over earlier ones."""
    x_labels: tuple[AxisLabel, ...]
    """Labels below the chart."""
    y_labels: tuple[AxisLabel, ...]
    """Labels to the left of the chart, each with a line across."""
    width: int = WIDTH
    """Width of the whole SVG."""
    height: int = HEIGHT
    """Height of the whole SVG."""
    left_margin: int = LEFT
    """Width of the margin that holds the labels of the vertical axis."""
    right_margin: int = RIGHT
    """Width of the margin on the other side."""


def nice_ticks(values: Sequence[float], count: int = 5) -> list[float]:
    """Return about `count` round numbers, at least two, from below the least value to above the greatest."""
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    greatest = max(abs(low), abs(high), 1e-9)
    span = high - low
    if span <= 1e-6 * greatest:
        span = greatest  # a reader cannot tell labels of finer steps apart
    raw_step = span / count
    exponent = math.floor(math.log10(raw_step))
    power = 10.0**exponent
    step = power * next(digit for digit in (1, 2, 5, 10) if digit * power >= raw_step * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return [round(i * step, max(0, 1 - exponent)) for i in range(first, last + 1)]
