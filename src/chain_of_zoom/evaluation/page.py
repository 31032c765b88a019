"""One page for a benchmark: tables, charts, examples to drag, prompts, settings, gaps and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from chain_of_zoom.evaluation.charts import draw_charts, style_methods
from chain_of_zoom.evaluation.markdown import ARROWS
from chain_of_zoom.evaluation.published import gap, published
from chain_of_zoom.evaluation.results import PAGE, Cell, MethodNote, Results
from chain_of_zoom.evaluation.score import INFLUENCE
from chain_of_zoom.evaluation.statistics import Paired
from chain_of_zoom.files import write_atomic
from chain_of_zoom.pages.render import render
from chain_of_zoom.prompters.words import PromptStatistics, prompt_statistics

KEPT = 2  # examples at either end


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method in a table: cells in the order of the metrics, None where there is no number."""

    method: MethodNote
    cells: Sequence[Cell | None]
    published: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Against:
    """A method against the first one."""

    method: str
    pairs: Sequence[Paired | None]


@dataclass(frozen=True, kw_only=True)
class Table:
    """One depth."""

    depth: int
    rows: Sequence[Row]
    against: Sequence[Against]


@dataclass(frozen=True, kw_only=True)
class Words:
    """The prompts of one method at one depth. change, contradiction: means over its pictures, where measured."""

    method: str
    depth: int
    statistics: PromptStatistics
    change: float | None
    contradiction: float | None


def write_page(results: Results, folder: Path) -> Path:
    """Write index.html into the folder that `results` were written to. Raises OutputError."""
    path = folder / PAGE
    write_atomic(path, page(results).encode())
    return path


def page(results: Results) -> str:
    """The page as HTML; pictures are files beside it."""
    best, worst, ranking = examples(results)
    by_depth = tables(results)
    absent = gap(results)
    return render(
        "evaluation.html",
        results=results,
        arrows=ARROWS,
        tables=by_depth,
        charts=draw_charts(results),
        styles=style_methods(results.methods),
        words=words(results),
        gaps=[*results.gaps, *([absent] if absent else [])],
        viewer=viewer(results, best, worst),
        ranking=ranking,
        has_published=any(each is not None for table in by_depth for row in table.rows for each in row.published),
    )


def tables(results: Results) -> list[Table]:
    """One table for every depth."""
    cells = {(cell.method, cell.depth, cell.metric): cell for cell in results.cells}
    pairs = {(pair.base, pair.other, pair.depth, pair.metric): pair for pair in results.pairs}
    names = [metric.name for metric in results.metrics]
    base, *others = results.methods
    return [
        Table(
            depth=depth,
            rows=[
                Row(
                    method=method,
                    cells=[cells.get((method.name, depth, name)) for name in names],
                    published=[published(results, method, depth, name) for name in names],
                )
                for method in results.methods
            ],
            against=[
                Against(
                    method=other.name,
                    pairs=[pairs.get((base.name, other.name, depth, name)) for name in names],
                )
                for other in others
            ],
        )
        for depth in results.depths
    ]


def examples(results: Results) -> tuple[list[tuple[str, int]], list[tuple[str, int]], str]:
    """The best and the worst (picture, spot) of the leading method by the leading metric, and that in words.

    Leading is the first metric, and the method whose mean of it is best at the greatest depth that has any.
    """
    for metric in results.metrics:
        for depth in reversed(results.depths):
            leading = next(
                (c.method for c in results.cells if (c.depth, c.metric) == (depth, metric.name) and c.best), ""
            )
            found = [v for v in results.values if (v.method, v.depth, v.metric) == (leading, depth, metric.name)]
            if found:
                found.sort(key=lambda v: v.value, reverse=metric.direction == "higher")
                order = [(v.picture, v.spot) for v in found]
                count = min(KEPT, len(order) // 2) or 1
                worst = [case for case in reversed(order[-count:]) if case not in order[:count]]
                return order[:count], worst, f"{metric.name} of {leading} at {depth}x"
    return [], [], ""


def viewer(results: Results, best: Sequence[tuple[str, int]], worst: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """What the examples need: for every picture and method the file at every depth."""
    cases: dict[tuple[str, int], dict[str, dict[int, str]]] = {}
    for one in results.shown:
        cases.setdefault((one.picture, one.spot), {}).setdefault(one.method, {})[one.depth] = one.file
    spots = {note.id: note.spots for note in results.pictures}

    def label(case: tuple[str, int]) -> str:
        return case[0] + (f", spot {case[1]}" if spots.get(case[0], 1) > 1 else "")

    keys = list(cases)
    names = [method.name for method in results.methods]
    truth = ["truth"] if any("truth" in files for files in cases.values()) else []
    return {
        "cases": [{"label": label(key), "files": cases[key]} for key in keys],
        "best": [keys.index(case) for case in best if case in cases],
        "worst": [keys.index(case) for case in worst if case in cases],
        "methods": names + truth,
        "depths": list(results.depths),
    }


def words(results: Results) -> list[Words]:
    """Statistics of the prompts of every method and depth that has any, and what they change."""
    texts: dict[tuple[str, int], list[str]] = {}
    for text in results.prompts:
        texts.setdefault((text.method, text.depth), []).append(text.prompt)
    changes: dict[tuple[str, int, str], list[float]] = {}
    for v in results.values:
        if v.metric in INFLUENCE:
            changes.setdefault((v.method, v.depth, v.metric), []).append(v.value)

    def average(method: str, depth: int, name: str) -> float | None:
        found = changes.get((method, depth, name))
        return mean(found) if found else None

    return [
        Words(
            method=method,
            depth=depth,
            statistics=prompt_statistics(found),
            change=average(method, depth, INFLUENCE[0]),
            contradiction=average(method, depth, INFLUENCE[1]),
        )
        for (method, depth), found in texts.items()
    ]
