"""Curves over steps: where every point lies, for a template to draw as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from chain_of_zoom.pages.chart import nice_ticks

WIDTH, HEIGHT = 420, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 10, 26
POINTS = 240
SHARE = 0.1
"""Of the steps, that the smoothed line averages, and that "first" and "last" do."""

Log = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One number over steps. raw, smooth: points for an SVG polyline. first, last: means of a tenth of the steps."""

    name: str
    note: str
    raw: str
    smooth: str
    first: float
    last: float
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT


def curve(name: str, key: str, note: str, history: Sequence[Log]) -> Curve | None:
    """The curve of a logged number; None where it was never logged."""
    found = [(line["step"], line[key]) for line in history if key in line]
    if not found:
        return None
    size = -(-len(found) // POINTS)
    groups = [found[i : i + size] for i in range(0, len(found), size)]
    steps = [mean(step for step, _ in group) for group in groups]
    values = [mean(value for _, value in group) for group in groups]
    near = max(1, round(len(values) * SHARE / 2))
    smooth = [mean(values[max(0, i - near) : i + near + 1]) for i in range(len(values))]
    flat = min(values) == max(values)
    ticks = nice_ticks([values[0], values[0] + 1] if flat else values)
    across = [tick for tick in nice_ticks([0.0, steps[-1]]) if tick <= steps[-1]]
    bottom, top, begin, end = ticks[0], ticks[-1], min(0.0, steps[0]), max(steps[-1], 1.0)

    def x(step: float) -> float:
        return LEFT + (step - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    def line(heights: Sequence[float]) -> str:
        return " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in zip(steps, heights, strict=True))

    tenth = max(1, round(len(found) * SHARE))
    return Curve(
        name=name,
        note=note,
        raw=line(values),
        smooth=line(smooth),
        first=mean(value for _, value in found[:tenth]),
        last=mean(value for _, value in found[-tenth:]),
        x_ticks=tuple((x(step), f"{step:g}") for step in across),
        y_ticks=tuple((y(value), f"{value:g}") for value in ticks),
    )
