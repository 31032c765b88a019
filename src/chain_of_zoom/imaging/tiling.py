"""Cut a picture that is too large for one pass into tiles with a halo of context.

The cores of the tiles partition the picture; each tile is its core plus up to `halo` pixels on every side
that exists. A backbone runs on the tile, and only the core of its result is kept.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import NamedTuple

from chain_of_zoom.imaging.geometry import Size


class Span(NamedTuple):
    """One tile along one axis: pixels [start, stop) are read, [keep_start, keep_stop) are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


class Tile(NamedTuple):
    """One tile: its span of rows and its span of columns."""

    rows: Span
    columns: Span


def plan_spans(length: int, tile: int, halo: int) -> list[Span]:
    """Split `length` pixels into the fewest spans of at most `tile` pixels, halo included, cores as equal as can be."""
    assert tile > 2 * halo >= 0
    count = 1 if length <= tile else ceil((length - 2 * halo) / (tile - 2 * halo))
    # Equal tiles: end tiles have a halo on one side only, so their cores are one halo longer.
    core = (length - 2 * halo) / count
    edges = [0, *(round(halo + core * i) for i in range(1, count)), length]
    return [Span(max(a - halo, 0), min(b + halo, length), a, b) for a, b in pairwise(edges)]


def plan_tiles(size: Size, tile: int, halo: int) -> list[Tile]:
    """Tiles of at most `tile` x `tile` pixels, halo included, row by row."""
    columns = plan_spans(size.width, tile, halo)
    return [Tile(rows, span) for rows in plan_spans(size.height, tile, halo) for span in columns]
