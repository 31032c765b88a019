"""Line charts of means with intervals against depth: where everything lies, for a template to draw as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain_of_zoom.evaluation.results import MethodNote, Results
from chain_of_zoom.pages.ticks import nice_ticks

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 12, 28

# Apart for every kind of colour vision as far as ten can be, and all light enough on a dark page (after Okabe and Ito).
COLOURS = ("#e69f00", "#56b4e9", "#2fbf8f", "#f0e442", "#5b8ff9", "#e8684a", "#cc79a7", "#b8b8b8", "#a3e635", "#c4a7ff")


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a method is drawn; the same backbone with the same prompter has one colour, direct zooms are dashed."""

    colour: str
    dashed: bool


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A mean: its place, the ends of its interval (equal to y where there is none), and what to say of it."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One method's marks, from left to right."""

    method: str
    look: Look
    marks: tuple[Mark, ...]

    @property
    def points(self) -> str:
        """For an SVG polyline."""
        return " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in self.marks)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One metric against depth. ticks: (place, text) on the axes."""

    metric: str
    direction: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT


def looks(methods: Sequence[MethodNote]) -> dict[str, Look]:
    """How each method is drawn."""
    kinds: dict[tuple[str, str | None, str], str] = {}
    found: dict[str, Look] = {}
    for method in methods:
        kind = (method.backbone, method.writer, str(sorted(method.options.items())))
        colour = kinds.setdefault(kind, COLOURS[len(kinds) % len(COLOURS)])
        found[method.name] = Look(colour=colour, dashed=method.mode == "direct")
    return found


def charts(results: Results) -> list[Chart]:
    """One chart for every metric that has a number."""
    found = [_chart(results, metric.name, metric.direction) for metric in results.metrics]
    return [chart for chart in found if chart.lines]


def _chart(results: Results, metric: str, direction: str) -> Chart:
    cells = [cell for cell in results.cells if cell.metric == metric]
    edges = [edge for cell in cells for edge in (cell.interval.mean, cell.interval.low, cell.interval.high)]
    ticks = nice_ticks([edge for edge in edges if edge is not None])
    step = (WIDTH - LEFT - RIGHT) / max(1, len(results.depths) - 1)
    places = {
        depth: LEFT + (i * step if len(results.depths) > 1 else step / 2) for i, depth in enumerate(results.depths)
    }
    bottom, top = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    drawn = looks(results.methods)
    lines = []
    for method in results.methods:
        marks = []
        for cell in cells:
            if cell.method == method.name:
                mean, low, high = cell.interval.mean, cell.interval.low, cell.interval.high
                text = f"{method.name} at {cell.depth}x: {mean:.3g}"
                if low is None or high is None:
                    low = high = mean
                else:
                    text += f", 95% from {low:.3g} to {high:.3g}"
                marks.append(Mark(x=places[cell.depth], y=y(mean), low=y(low), high=y(high), text=text))
        if marks:
            marks.sort(key=lambda mark: mark.x)
            lines.append(Line(method=method.name, look=drawn[method.name], marks=tuple(marks)))
    return Chart(
        metric=metric,
        direction=direction,
        lines=tuple(lines),
        x_ticks=tuple((x, f"{depth}x") for depth, x in places.items()),
        y_ticks=tuple((y(value), f"{value:g}") for value in ticks),
    )
