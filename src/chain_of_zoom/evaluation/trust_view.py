"""What the report shows of trust: said probability against the share that was right, and maps beside states."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from chain_of_zoom.evaluation.results import Results, TrustCheck
from chain_of_zoom.evaluation.trust import ERROR, MARKED, TENTHS, TRUST
from chain_of_zoom.pages.chart import Axes, Chart, ChartLine, ChartMark

FEWEST = 20
"""Blocks from which a share is drawn."""
_DIAGONAL = "#9aa3b5"
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class TrustRow:
    """One state with its maps, as files relative to the page."""

    label: str
    """Picture, method and depth."""
    pictures: tuple[tuple[str, str], ...]
    """What each shows, and its file: the state, its red blocks, its trust map, its true error, the truth."""


def draw_calibrations(results: Results, colours: Mapping[str, str]) -> list[Chart]:
    """Draw a chart for every method that has trust maps and a truth: the deeper a line, the more dashed."""
    charts = []
    for method in dict.fromkeys(check.method for check in results.trust):
        checks = [check for check in results.trust if check.method == method]
        axes = Axes(x_range=(0, 1), y_ticks=_TICKS)
        ideal = ChartLine(points=axes.points([(0, 0), (1, 1)]), colour=_DIAGONAL, width=1, opacity=0.6, name="ideal")
        lines = [_draw_line(check, axes, colours[method], is_dashed=place > 0) for place, check in enumerate(checks)]
        depths = " and, dashed, ".join(f"{check.depth}x" for check in checks)
        charts.append(
            Chart(
                title=f"{method} at {depths}",
                label=f"share of blocks that are right against the probability said by {method}",
                lines=(ideal, *lines),
                x_labels=tuple((axes.x(tick), f"{tick:.0%}") for tick in _TICKS),
                y_labels=tuple((axes.y(tick), f"{tick:.0%}") for tick in _TICKS),
            )
        )
    return charts


def _draw_line(check: TrustCheck, axes: Axes, colour: str, *, is_dashed: bool) -> ChartLine:
    points, marks = [], []
    for step, (blocks, right) in enumerate(check.tenths):
        if blocks < FEWEST:
            continue
        said, share = (step + 0.5) / TENTHS, right / blocks
        points.append((said, share))
        x, y = axes.x(said), axes.y(share)
        text = f"{check.depth}x: said {step * 10} to {step * 10 + 10}%, right {share:.0%} of {blocks} blocks"
        marks.append(ChartMark(x=x, y=y, low=y, high=y, text=text))
    return ChartLine(
        points=axes.points(points), colour=colour, dashed=is_dashed, marks=tuple(marks), name=f"{check.depth}x"
    )


def list_trust_rows(results: Results, spots: Collection[tuple[str, int]]) -> list[TrustRow]:
    """List the states at some spots that have a trust map, each with what there is to compare."""
    files = {(file.picture, file.spot, file.depth, file.method): file.file for file in results.shown}
    rows = []
    for picture, spot in spots:
        for check in results.trust:
            views = {about: f"{check.method}: {about}" for about in (MARKED, TRUST, ERROR)}
            names = {"state": check.method, **views, "truth": "truth"}
            found = [
                (about, files[picture, spot, check.depth, name])
                for about, name in names.items()
                if (picture, spot, check.depth, name) in files
            ]
            if len(found) == len(names):
                label = f"{picture}, {check.method} at {check.depth}x"
                rows.append(TrustRow(label=label, pictures=tuple(found)))
    return rows
