"""Draw logged numbers over the steps of an alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from chain_of_zoom.pages.chart import Axes, Chart, ChartLine, nice_ticks

POINTS = 240
SHARE = 0.1
"""The share of the steps that the smoothed line averages, and that "first" and "last" do."""
COLOUR = "#56b4e9"

Log = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One number over steps."""

    name: str
    """What the number is called."""
    note: str
    """What it means."""
    chart: Chart
    """Two lines: the values, and smoothed values over them."""
    first: float
    """The mean of the first tenth of the steps."""
    last: float
    """The mean of the last tenth of the steps."""


def draw_curve(name: str, key: str, note: str, history: Sequence[Log]) -> Curve | None:
    """Return the curve of a logged number; None where it was never logged."""
    logged = [(entry["step"], entry[key]) for entry in history if key in entry]
    if not logged:
        return None
    size = -(-len(logged) // POINTS)
    groups = [logged[i : i + size] for i in range(0, len(logged), size)]
    steps = [mean(step for step, _ in group) for group in groups]
    values = [mean(value for _, value in group) for group in groups]
    radius = max(1, round(len(values) * SHARE / 2))
    smooth_values = [mean(values[max(0, i - radius) : i + radius + 1]) for i in range(len(values))]
    is_flat = min(values) == max(values)
    axes = Axes(
        x_range=(min(0.0, steps[0]), max(steps[-1], 1.0)),
        y_ticks=nice_ticks([values[0], values[0] + 1] if is_flat else values),
    )
    x_ticks = [tick for tick in nice_ticks([0.0, steps[-1]]) if tick <= steps[-1]]
    tenth = max(1, round(len(logged) * SHARE))
    first, last = mean(value for _, value in logged[:tenth]), mean(value for _, value in logged[-tenth:])
    raw_line = ChartLine(points=axes.points(zip(steps, values, strict=True)), colour=COLOUR, width=1, opacity=0.35)
    smooth_line = ChartLine(points=axes.points(zip(steps, smooth_values, strict=True)), colour=COLOUR, width=2.4)
    chart = Chart(
        title=name,
        label=f"{name} over steps, from {first:.3f} to {last:.3f}",
        lines=(raw_line, smooth_line),
        x_labels=tuple((axes.x(step), f"{step:g}") for step in x_ticks),
        y_labels=axes.y_labels(),
    )
    return Curve(name=name, note=note, chart=chart, first=first, last=last)
