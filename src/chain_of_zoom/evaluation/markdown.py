"""Results as Markdown tables, for documents, and as plain text, for terminals."""

from __future__ import annotations

from chain_of_zoom.evaluation.page import ARROWS
from chain_of_zoom.evaluation.results import Cell, Results


def tables(results: Results) -> str:
    """One table for every depth: means, and the 95% interval below each; the best in bold."""
    return "\n".join(_table(results, depth) for depth in results.depths)


def plain(results: Results) -> str:
    """Means alone, aligned, the best with a star."""
    blocks = []
    width = max(len(method.name) for method in results.methods) + 2
    for depth in results.depths:
        heads = [f"{metric.name} {ARROWS[metric.direction]}" for metric in results.metrics]
        lines = ["".join([f"at {depth}x".ljust(width), *(f"{head:>{len(head) + 3}}" for head in heads)])]
        for method in results.methods:
            cells = [results.cell(method.name, depth, metric.name) for metric in results.metrics]
            texts = [f"{_short(cell):>{len(head) + 3}}" for cell, head in zip(cells, heads, strict=True)]
            lines.append(method.name.ljust(width) + "".join(texts))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def number(value: float) -> str:
    """Three figures or so, as many decimals as the size asks for."""
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def _short(cell: Cell | None) -> str:
    return "none" if cell is None else ("*" if cell.best else "") + number(cell.interval.mean)


def _table(results: Results, depth: int) -> str:
    heads = [f"{metric.name} {ARROWS[metric.direction]}" for metric in results.metrics]
    rows = [f"| at {depth}x | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for method in results.methods:
        cells = [results.cell(method.name, depth, metric.name) for metric in results.metrics]
        rows.append(f"| {method.name} | {' | '.join(_cell(cell, len(results.pictures)) for cell in cells)} |")
    return "\n".join([*rows, ""])


def _cell(cell: Cell | None, pictures: int) -> str:
    if cell is None:
        return "none"
    mean = number(cell.interval.mean)
    text = f"**{mean}**" if cell.best else mean
    if cell.interval.low is not None and cell.interval.high is not None:
        text += f" ({number(cell.interval.low)} to {number(cell.interval.high)})"
    return text if cell.interval.n == pictures else f"{text}, n {cell.interval.n}"
