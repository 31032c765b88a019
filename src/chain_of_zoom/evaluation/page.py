"""Write one page for a benchmark: tables, charts, examples to drag, prompts, settings, gaps and failures.

The table of the paper stands beside ours when the same pictures were measured, and never otherwise. Its source: Table 1
of the paper (DIV2K train, 800 pictures, 512x512 px crops).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from chain_of_zoom.datasets.manifest import DIV2K_TRAIN
from chain_of_zoom.evaluation.arena.results import ArenaResults
from chain_of_zoom.evaluation.markdown import ARROWS, format_duels
from chain_of_zoom.evaluation.results import PAGE, MethodNote, MetricNote, NotMeasured, Results
from chain_of_zoom.evaluation.score import CHANGE, CONTRADICTION
from chain_of_zoom.evaluation.trust_view import draw_calibrations, list_trust_rows
from chain_of_zoom.files import write_atomic
from chain_of_zoom.pages.chart import Axes, Chart, ChartLine, ChartMark, nice_ticks
from chain_of_zoom.pages.render import render
from chain_of_zoom.prompters.text_statistics import PromptStatistics, summarise_prompts

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


METRICS = ("niqe", "musiq", "maniqa-pipal", "clipiqa")

# (backbone, recursion, prompter) -> depth -> numbers in the order of METRICS.
TABLE: dict[tuple[str, str, str | None], dict[int, tuple[float, float, float, float]]] = {
    ("nearest", "chain", None): {
        4: (12.13, 39.96, 0.340, 0.263),
        16: (22.12, 24.01, 0.338, 0.235),
        64: (27.41, 37.69, 0.380, 0.369),
        256: (34.85, 27.01, 0.418, 0.526),
    },
    ("osediff-sd3", "direct", "dape"): {
        4: (4.73, 67.00, 0.634, 0.701),
        16: (7.22, 51.25, 0.541, 0.608),
        64: (16.59, 22.54, 0.400, 0.431),
        256: (16.17, 28.89, 0.447, 0.520),
    },
    ("osediff-sd3", "chain", None): {
        4: (4.77, 66.99, 0.631, 0.698),
        16: (6.50, 59.19, 0.586, 0.669),
        64: (8.35, 51.82, 0.563, 0.631),
        256: (10.05, 46.28, 0.551, 0.586),
    },
    ("osediff-sd3", "chain", "dape"): {
        4: (4.73, 67.01, 0.634, 0.700),
        16: (6.55, 58.83, 0.595, 0.661),
        64: (8.66, 51.77, 0.573, 0.626),
        256: (10.46, 46.22, 0.556, 0.589),
    },
    ("osediff-sd3", "chain", "vlm-adapter"): {
        4: (4.66, 67.10, 0.636, 0.702),
        16: (6.40, 58.81, 0.597, 0.657),
        64: (8.23, 52.13, 0.579, 0.632),
        256: (9.83, 47.83, 0.569, 0.599),
    },
}


def find_published(results: Results, method: MethodNote, depth: int, metric: str) -> float | None:
    """Return the paper's number for the same pictures, method and metric, or None where there is none."""
    if results.protocol != "paper" or results.known != DIV2K_TRAIN or metric not in METRICS:
        return None
    if method.options.get("prompter", {}).get("multi_scale") == "False":
        return None
    writer = None if method.writer == "null" else method.writer
    numbers = TABLE.get((method.backbone, method.mode, writer), {}).get(depth)
    return numbers[METRICS.index(metric)] if numbers else None


def explain_absence(results: Results) -> NotMeasured | None:
    """Return why the published table does not stand beside ours; None where it does, or would not belong."""
    if results.protocol != "paper" or results.known == DIV2K_TRAIN:
        return None
    return NotMeasured(
        what="the published table",
        why=f"is of the 800 pictures of DIV2K train, and these are {results.known or 'others'}; "
        f"type: --data DIV2K_train_HR --metrics {','.join(METRICS)}",
    )


EXAMPLES = 2  # at either end

PictureSpot = tuple[str, int]
"""The id of a picture and the number of a spot in it."""


@dataclass(frozen=True, kw_only=True)
class PromptRow:
    """The prompts of one method at one depth."""

    method: str
    """The name of the method."""
    depth: int
    """How far the states are zoomed in."""
    statistics: PromptStatistics
    """What can be said of the texts alone."""
    change: float | None
    """The mean change of the pictures by their prompts in levels, where it was measured."""
    contradiction: float | None
    """The mean share of that change that the parent could have told, where it was measured."""


def write_page(results: Results, folder: Path, arena: ArenaResults | None = None) -> Path:
    """Write index.html into the folder that `results` were written to. Raises OutputError."""
    path = folder / PAGE
    write_atomic(path, render_page(results, arena).encode())
    return path


def render_page(results: Results, arena: ArenaResults | None = None) -> str:
    """Return the page as HTML; pictures are files beside it. arena: whose table stands in it, too."""
    best, worst, ranking = choose_examples(results)
    absence = explain_absence(results)
    names = [metric.name for metric in results.metrics]
    styles = style_methods(results.methods)
    keys = product(results.methods, results.depths, names)
    return render(
        "evaluation.html",
        results=results,
        arrows=ARROWS,
        published=partial(find_published, results),
        has_published=any(find_published(results, *key) is not None for key in keys),
        charts=draw_charts(results),
        styles=styles,
        calibrations=draw_calibrations(results, {name: style.colour for name, style in styles.items()}),
        trust_rows=list_trust_rows(results, [*best, *worst]),
        arena=arena,
        duels=format_duels(results),
        prompt_rows=describe_prompts(results),
        gaps=[*results.gaps, absence] if absence else results.gaps,
        viewer=list_views(results, best, worst),
        ranking=ranking,
    )


def choose_examples(results: Results) -> tuple[list[PictureSpot], list[PictureSpot], str]:
    """Return the best and the worst spots of the leading method by the leading metric, and a name for that order.

    Leading is the first metric, and the method whose mean of it is best at the greatest depth that has any.
    """
    for metric, depth in product(results.metrics, reversed(results.depths)):
        cells = [cell for cell in results.cells if (cell.metric, cell.depth) == (metric.name, depth)]
        method = next((cell.method for cell in cells if cell.best), "")
        values = [v for v in results.values if (v.method, v.depth, v.metric) == (method, depth, metric.name)]
        if values:
            values.sort(key=lambda v: v.value, reverse=metric.direction == "higher")
            order = [(v.picture, v.spot) for v in values]
            count = min(EXAMPLES, len(order) // 2) or 1
            worst = [spot for spot in reversed(order[-count:]) if spot not in order[:count]]
            return order[:count], worst, f"{metric.name} of {method} at {depth}x"
    return [], [], ""


def list_views(results: Results, best: Sequence[PictureSpot], worst: Sequence[PictureSpot]) -> dict[str, Any]:
    """Return what the script of the page needs: for every picture and method the file at every depth."""
    cases: dict[PictureSpot, dict[str, dict[int, str]]] = {}
    for file in results.shown:
        cases.setdefault((file.picture, file.spot), {}).setdefault(file.method, {})[file.depth] = file.file
    spots = {note.id: note.spots for note in results.pictures}
    views = []
    for (id, spot), files in cases.items():
        label = f"{id}, spot {spot}" if spots.get(id, 1) > 1 else id
        views.append({"label": label, "files": files})
    positions = {key: position for position, key in enumerate(cases)}
    methods = [method.name for method in results.methods]
    files_of = dict.fromkeys(file.method for file in results.shown)
    methods += [name for name in files_of if name not in (*methods, "truth")]  # maps of trust
    if any("truth" in files for files in cases.values()):
        methods.append("truth")
    return {
        "cases": views,
        "best": [positions[key] for key in best if key in positions],
        "worst": [positions[key] for key in worst if key in positions],
        "methods": methods,
        "depths": list(results.depths),
    }


def describe_prompts(results: Results) -> list[PromptRow]:
    """Return statistics of the prompts of every method and depth that has any, and what they change."""
    texts: dict[tuple[str, int], list[str]] = {}
    for text in results.prompts:
        texts.setdefault((text.method, text.depth), []).append(text.prompt)
    influences: dict[tuple[str, int, str], list[float]] = {}
    for v in results.values:
        if v.metric in (CHANGE, CONTRADICTION):
            influences.setdefault((v.method, v.depth, v.metric), []).append(v.value)

    def average(method: str, depth: int, metric: str) -> float | None:
        values = influences.get((method, depth, metric))
        return mean(values) if values else None

    return [
        PromptRow(
            method=method,
            depth=depth,
            statistics=summarise_prompts(prompts),
            change=average(method, depth, CHANGE),
            contradiction=average(method, depth, CONTRADICTION),
        )
        for (method, depth), prompts in texts.items()
    ]
