"""Write the means of a benchmark as Markdown tables, for documents, and as aligned text, for terminals."""

from __future__ import annotations

from collections.abc import Callable

from chain_of_zoom.evaluation.results import Cell, Results
from chain_of_zoom.pages.table import format_markdown_table, format_plain_table
from chain_of_zoom.prompters.duel import describe_duel

ARROWS = {"higher": "↑", "lower": "↓"}


def format_markdown(results: Results) -> str:
    """Return one Markdown table for every depth: means with their 95% intervals, the best in bold; then the duels."""
    count = len(results.pictures)

    def describe(cell: Cell | None) -> str:
        if cell is None:
            return "none"
        text = format_number(cell.interval.mean)
        if cell.best:
            text = f"**{text}**"
        if cell.interval.low is not None and cell.interval.high is not None:
            text += f" ({format_number(cell.interval.low)} to {format_number(cell.interval.high)})"
        return text if cell.interval.n == count else f"{text}, n {cell.interval.n}"

    tables = [format_markdown_table(_fill_rows(results, depth, describe)) for depth in results.depths]
    duels = "".join(f"- {line}\n" for line in format_duels(results))
    return "\n".join([*tables, duels] if duels else tables)


def format_plain(results: Results) -> str:
    """Return one aligned table for every depth: means alone, the best with a star; then the duels."""

    def describe(cell: Cell | None) -> str:
        if cell is None:
            return "none"
        star = "*" if cell.best else ""
        return star + format_number(cell.interval.mean)

    tables = [format_plain_table(_fill_rows(results, depth, describe)) for depth in results.depths]
    blocks = [*tables, format_duels(results)] if results.duels else tables
    return "\n\n".join("\n".join(lines) for lines in blocks)


def format_duels(results: Results) -> list[str]:
    """Return in one sentence for every method and depth what the judge prefers."""
    return [f"preferred at {duel.depth}x: {describe_duel(duel)}" for duel in results.duels]


def _fill_rows(results: Results, depth: int, describe: Callable[[Cell | None], str]) -> list[list[str]]:
    rows = [[f"at {depth}x", *(f"{metric.name} {ARROWS[metric.direction]}" for metric in results.metrics)]]
    for method in results.methods:
        cells = [results.cell(method.name, depth, metric.name) for metric in results.metrics]
        rows.append([method.name, *map(describe, cells)])
    return rows


def format_number(value: float) -> str:
    """Return about three figures of a number: no decimals from 100 on, three below 1."""
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3f}"
