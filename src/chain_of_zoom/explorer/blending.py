"""Put a tile together from pieces that do not agree where they overlap: by weights that fade, and add up to one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.explorer.grid import Grid, TilePlace
from chain_of_zoom.imaging.geometry import PixelRect
from chain_of_zoom.imaging.images import RGB8, to_uint8


def blend_pieces(grid: Grid, place: TilePlace, pieces: Mapping[TilePlace, RGB8]) -> RGB8:
    """Return the pixels of a tile, uint8.

    pieces: those of `grid.blending`, or that of the tile alone where it agrees with them; each the pixels of its
    `grid.reach`.
    """
    area = grid.area(place)
    if len(pieces) == 1:
        reach, pixels = grid.reach(place), pieces[place]
        return pixels[area.y0 - reach.y0 : area.y1 - reach.y0, area.x0 - reach.x0 : area.x1 - reach.x0]
    blended = np.zeros((area.size.height, area.size.width, 3), np.float32)
    for owner, pixels in pieces.items():
        reach = grid.reach(owner)
        part = PixelRect(*map(max, area[:2], reach[:2]), *map(min, area[2:], reach[2:]))
        across = _weigh(grid, place.column, owner.column, area.x0, area.x1, grid.counts(place.level)[0])
        down = _weigh(grid, place.row, owner.row, area.y0, area.y1, grid.counts(place.level)[1])
        inside = np.s_[part.y0 - area.y0 : part.y1 - area.y0, part.x0 - area.x0 : part.x1 - area.x0]
        weights = np.multiply.outer(down, across)[inside]
        source = pixels[part.y0 - reach.y0 : part.y1 - reach.y0, part.x0 - reach.x0 : part.x1 - reach.x0]
        blended[inside] += weights[..., None] * source
    return to_uint8(blended / np.float32(255))


def _weigh(grid: Grid, number: int, owner: int, start: int, stop: int, count: int) -> NDArray[np.float32]:
    """Return the weight of a piece for each pixel of a tile along one axis.

    number, owner: column or row of the tile and of the piece. start, stop: pixels of the tile. count: of all columns
    or rows.
    """
    if number % 2 == 0:
        return np.ones(stop - start, np.float32)
    ramp = grid.fade * grid.factor
    middles = np.arange(stop - start, dtype=np.float32) + 0.5
    before = np.minimum(middles / ramp, 1)
    after = np.minimum(middles[::-1] / ramp, 1) if number + 1 < count else np.ones_like(middles)
    return {-1: 1 - before, 0: before + after - 1, 1: 1 - after}[owner - number]
