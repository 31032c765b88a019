"""Write one page for a benchmark: tables, charts, examples to drag, prompts, settings, gaps and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from chain_of_zoom.evaluation.charts import draw_charts, style_methods
from chain_of_zoom.evaluation.markdown import ARROWS
from chain_of_zoom.evaluation.published import explain_absence, find_published
from chain_of_zoom.evaluation.results import PAGE, Results
from chain_of_zoom.evaluation.score import CHANGE, CONTRADICTION
from chain_of_zoom.files import write_atomic
from chain_of_zoom.pages.render import render
from chain_of_zoom.prompters.words import PromptStatistics, summarise_prompts

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


def write_page(results: Results, folder: Path) -> Path:
    """Write index.html into the folder that `results` were written to. Raises OutputError."""
    path = folder / PAGE
    write_atomic(path, render_page(results).encode())
    return path


def render_page(results: Results) -> str:
    """Return the page as HTML; pictures are files beside it."""
    best, worst, ranking = choose_examples(results)
    absence = explain_absence(results)
    names = [metric.name for metric in results.metrics]
    keys = product(results.methods, results.depths, names)
    return render(
        "evaluation.html",
        results=results,
        arrows=ARROWS,
        published=partial(find_published, results),
        has_published=any(find_published(results, *key) is not None for key in keys),
        charts=draw_charts(results),
        styles=style_methods(results.methods),
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
