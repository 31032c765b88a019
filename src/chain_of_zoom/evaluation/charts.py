"""Draw the means of every method, with their intervals, against depth: one chart a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain_of_zoom.evaluation.results import MethodNote, MetricNote, Results
from chain_of_zoom.pages.chart import Axes, Chart, ChartLine, ChartMark, nice_ticks

# Apart for every kind of colour vision as far as ten can be, and all light enough on a dark page (after Okabe and Ito).
COLOURS = ("#e69f00", "#56b4e9", "#2fbf8f", "#f0e442", "#5b8ff9", "#e8684a", "#cc79a7", "#b8b8b8", "#a3e635", "#c4a7ff")


@dataclass(frozen=True, kw_only=True)
class MethodStyle:
    """How the line of a method looks; the same backbone with the same prompter has one colour."""

    colour: str
    """A CSS colour."""
    dashed: bool
    """Whether the line is dashed, as those of direct zooms are."""


def style_methods(methods: Sequence[MethodNote]) -> dict[str, MethodStyle]:
    """Return the style of every method by its name."""
    colours: dict[tuple[str, str | None, str], str] = {}
    styles: dict[str, MethodStyle] = {}
    for method in methods:
        models = (method.backbone, method.writer, str(sorted(method.options.items())))
        colour = colours.setdefault(models, COLOURS[len(colours) % len(COLOURS)])
        styles[method.name] = MethodStyle(colour=colour, dashed=method.mode == "direct")
    return styles


def draw_charts(results: Results) -> list[tuple[MetricNote, Chart]]:
    """Return every metric that has a number, and its chart."""
    charts = [(metric, _draw_chart(results, metric.name)) for metric in results.metrics]
    return [(metric, chart) for metric, chart in charts if chart.lines]


def _draw_chart(results: Results, metric: str) -> Chart:
    cells = sorted((cell for cell in results.cells if cell.metric == metric), key=lambda cell: cell.depth)
    ends = [end for cell in cells for end in (cell.interval.mean, cell.interval.low, cell.interval.high)]
    positions = {depth: i for i, depth in enumerate(results.depths)}
    x_range = (0, len(positions) - 1) if len(positions) > 1 else (-1, 1)
    axes = Axes(x_range=x_range, y_ticks=nice_ticks([end for end in ends if end is not None]))
    styles = style_methods(results.methods)
    lines = []
    for method in results.methods:
        own_cells = [cell for cell in cells if cell.method == method.name]
        marks = []
        for cell in own_cells:
            mean, low, high = cell.interval.mean, cell.interval.low, cell.interval.high
            text = f"{method.name} at {cell.depth}x: {mean:.3g}"
            if low is None or high is None:
                low = high = mean
            else:
                text += f", 95% from {low:.3g} to {high:.3g}"
            x = axes.x(positions[cell.depth])
            marks.append(ChartMark(x=x, y=axes.y(mean), low=axes.y(low), high=axes.y(high), text=text))
        if marks:
            style = styles[method.name]
            points = axes.points((positions[cell.depth], cell.interval.mean) for cell in own_cells)
            lines.append(
                ChartLine(name=method.name, points=points, colour=style.colour, dashed=style.dashed, marks=tuple(marks))
            )
    return Chart(
        title=metric,
        label=f"{metric} against depth",
        lines=tuple(lines),
        x_labels=tuple((axes.x(position), f"{depth}x") for depth, position in positions.items()),
        y_labels=axes.y_labels(),
    )
