"""Tables of texts, aligned for a terminal or as Markdown; the first row holds the headings."""

from __future__ import annotations

from collections.abc import Sequence

Rows = Sequence[Sequence[str]]


def format_plain_table(rows: Rows, *, left_columns: int = 1) -> list[str]:
    """Return the lines of an aligned table: the first `left_columns` columns start, all others end, at one place.

    All rows have as many cells as the first one. Two spaces lie between columns, none at the end of a line.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        texts = [text.ljust(width) for text, width in zip(row[:left_columns], widths, strict=False)]
        texts += [text.rjust(width) for text, width in zip(row[left_columns:], widths[left_columns:], strict=True)]
        lines.append("  ".join(texts).rstrip())
    return lines


def format_markdown_table(rows: Rows) -> str:
    """Return a Markdown table that ends in a line break."""
    lines = [f"| {' | '.join(map(_escape, row))} |\n" for row in rows]
    return "".join([lines[0], "|---" * len(rows[0]) + "|\n", *lines[1:]])


def _escape(cell: str) -> str:
    """Return a cell on one line, in which nothing ends the cell or is HTML."""
    return " ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;")
