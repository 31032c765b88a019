"""Lay levels of tiles over a photo, in whole numbers: which tile owns a pixel, and which pixels it is made from.

Level 0 is the photo. Levels below 0 are the photo reduced by 2 each; levels above 0 are enlarged by the backbone's
factor each. A tile of a level above 0 is made from one defined window of the level above it, whichever way a person
came: that is why the same spot always shows the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor, isqrt
from typing import NamedTuple, Self

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import PixelRect, Size

TILE_SIDE = 384
"""Side of a generated tile, in its own pixels, where the backbone takes windows that are large enough for it."""
PHOTO_TILE_SIDE = 512
"""Side of a tile of the photo's own pixels."""
SMALLEST_SIDE = 256
"""The photo is reduced until its longer side is no larger than this."""
MAX_SCALE = 65_536
"""Deepest enlargement: pixels of the deepest level for each pixel of the photo, along one side."""
USUAL_HALO = 4
"""Context in pixels for backbones that do not say how far they see."""
FADE = 8
"""Pixels of the level above over which a tile fades into its neighbours, where their windows do not agree."""
USUAL_WINDOW = 512
"""Side of the largest window where a backbone takes windows of any size."""


class TilePlace(NamedTuple):
    """Where a tile lies."""

    level: int
    """Its level."""
    column: int
    """Its column in the level, from 0 at the left."""
    row: int
    """Its row in the level, from 0 at the top."""


class SightRect(NamedTuple):
    """A rectangle of the photo, as fractions of its width and height."""

    x0: float
    """Its left edge."""
    y0: float
    """Its top edge."""
    x1: float
    """Its right edge."""
    y1: float
    """Its lower edge."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The levels and tiles of one photo for one kind of backbone."""

    photo: Size
    """Size of the photo in pixels, oriented."""
    factor: int
    """Linear enlargement from one generated level to the next."""
    cores: tuple[int, int]
    """Pixels of the level above that a tile covers along a side: at level 1, and at every deeper level."""
    halos: tuple[int, int]
    """Pixels of context around those: at level 1, and at every deeper level, where a network sees its own work."""
    fade: int = 0
    """Pixels of the level above, part of the halo, over which tiles of odd columns and rows fade into neighbours."""

    @classmethod
    def plan(cls, photo: Size, info: BackboneInfo) -> Self:
        """Lay the grid for a backbone: windows fit into one pass, halos are wide enough that neighbours agree.

        Where words or seeds differ from window to window, no halo makes them agree: there tiles fade into each other.
        """
        fade = FADE if info.text_aware or info.seeded else 0
        first = (info.halo or USUAL_HALO) + fade
        halos = first, max(first, info.chained_halo + fade)
        limit = USUAL_WINDOW if info.max_pixels is None else isqrt(info.max_pixels)
        cores = [min(TILE_SIDE // info.factor, limit - 2 * halo) // 8 * 8 for halo in halos]
        if min(cores) < 8:
            raise UsageError(
                f"backbone {info.name} takes windows of {limit}x{limit} pixels at most, which leave no room between "
                f"halos of {halos[1]}; accepted: a backbone with larger windows; for example --backbone realsr"
            )
        return cls(photo=photo, factor=info.factor, cores=(cores[0], cores[1]), halos=halos, fade=fade)

    @cached_property
    def shallowest(self) -> int:
        """The level that shows the photo smallest, 0 or below."""
        level = 0
        while max(self.photo) > SMALLEST_SIDE << -level:
            level -= 1
        return level

    @cached_property
    def deepest(self) -> int:
        """The last level."""
        level = 1
        while self.factor ** (level + 1) <= MAX_SCALE:
            level += 1
        return level

    @cached_property
    def levels(self) -> range:
        """All levels, from the shallowest to the deepest."""
        return range(self.shallowest, self.deepest + 1)

    def scale(self, level: int) -> Fraction:
        """Return the pixels of a level for each pixel of the photo, along one side."""
        return Fraction(self.factor) ** level if level > 0 else Fraction(1, 1 << -level)

    def size(self, level: int) -> Size:
        """Return width and height of a level in its own pixels."""
        if level <= 0:
            return reduced_size(self.photo, level)
        return Size(*(side * self.factor**level for side in self.photo))

    def side(self, level: int) -> int:
        """Return the side of the tiles of a level, in its own pixels; those at the right and lower edge are smaller."""
        return PHOTO_TILE_SIDE if level <= 0 else self.factor * self.core(level)

    def core(self, level: int) -> int:
        """Return the pixels of the level above that a tile of this generated level covers along a side."""
        return self.cores[0 if level == 1 else 1]

    def halo(self, level: int) -> int:
        """Return the pixels of the level above that are shown around its core."""
        return self.halos[0 if level == 1 else 1]

    def counts(self, level: int) -> tuple[int, int]:
        """Count the columns and rows of a level."""
        side, size = self.side(level), self.size(level)
        return -(-size.width // side), -(-size.height // side)

    def has(self, place: TilePlace) -> bool:
        """Whether there is such a tile."""
        if place.level not in self.levels:
            return False
        columns, rows = self.counts(place.level)
        return 0 <= place.column < columns and 0 <= place.row < rows

    def area(self, place: TilePlace) -> PixelRect:
        """Return the pixels of its level that a tile owns."""
        side, size = self.side(place.level), self.size(place.level)
        x, y = place.column * side, place.row * side
        return PixelRect(x, y, min(x + side, size.width), min(y + side, size.height))

    def window(self, place: TilePlace) -> PixelRect:
        """Return the pixels of the level above that a generated tile is made from, cut at the edge of the picture."""
        area, halo = self.area(place), self.halo(place.level)
        above = self.size(place.level - 1)
        return PixelRect(
            max(area.x0 // self.factor - halo, 0),
            max(area.y0 // self.factor - halo, 0),
            min(-(-area.x1 // self.factor) + halo, above.width),
            min(-(-area.y1 // self.factor) + halo, above.height),
        )

    def crop(self, place: TilePlace) -> PixelRect:
        """Return the part of its enlarged window that is its piece, in pixels of that."""
        window = self.window(place)
        return self.reach(place).shifted(-window.x0 * self.factor, -window.y0 * self.factor)

    def reach(self, place: TilePlace) -> PixelRect:
        """Return the pixels of its level that the piece of a tile covers: more than its own where it is even."""
        area, size, fade = self.area(place), self.size(place.level), self.fade * self.factor
        across, down = (fade * (number % 2 == 0) for number in place[1:])
        return PixelRect(
            max(area.x0 - across, 0),
            max(area.y0 - down, 0),
            min(area.x1 + across, size.width),
            min(area.y1 + down, size.height),
        )

    def blending(self, place: TilePlace) -> tuple[TilePlace, ...]:
        """List the tiles whose pieces a generated tile is put together from: itself, and neighbours where it is odd.

        Even columns and rows stand as they are made and reach into the odd ones, which fade into them. So a view takes
        few pieces beyond its own tiles.
        """
        steps = [(-1, 0, 1) if self.fade and number % 2 else (0,) for number in place[1:]]
        near = [
            TilePlace(place.level, place.column + across, place.row + down) for down in steps[1] for across in steps[0]
        ]
        return tuple(filter(self.has, near))

    def sources(self, place: TilePlace) -> tuple[TilePlace, ...]:
        """List the generated tiles that the piece of a tile is made from; none at level 1, made from the photo."""
        return tuple(self.covering(place.level - 1, self.window(place))) if place.level > 1 else ()

    def parents(self, place: TilePlace) -> tuple[TilePlace, ...]:
        """List the generated tiles that a tile is made from, by its own piece and those that it fades into."""
        return tuple(dict.fromkeys(source for piece in self.blending(place) for source in self.sources(piece)))

    def covering(self, level: int, area: PixelRect) -> Iterator[TilePlace]:
        """Yield the tiles that own the pixels of an area of their level, row by row."""
        side = self.side(level)
        for row in range(area.y0 // side, -(-area.y1 // side)):
            for column in range(area.x0 // side, -(-area.x1 // side)):
                yield TilePlace(level, column, row)

    def in_sight(self, level: int, sight: SightRect, limit: int) -> list[tuple[Fraction, TilePlace]]:
        """List the tiles of a level that lie in sight, at most `limit`, each with its distance from the centre.

        The distance is in sides of a tile, and the nearest come first.
        """
        size, side = self.size(level), self.side(level)
        edges = [Fraction(min(max(edge, 0.0), 1.0)) for edge in sight]
        x0, x1 = edges[0] * size.width, edges[2] * size.width
        y0, y1 = edges[1] * size.height, edges[3] * size.height
        if not (x0 < x1 and y0 < y1):
            return []
        centre_x, centre_y = (x0 + x1) / 2, (y0 + y1) / 2
        reach = isqrt(limit) + 1  # tiles on either side of the centre: more can never be among the nearest
        first_column, first_row = floor(x0 / side), floor(y0 / side)
        last_column, last_row = ceil(x1 / side) - 1, ceil(y1 / side) - 1
        middle_column, middle_row = floor(centre_x / side), floor(centre_y / side)
        tiles = []
        for row in range(max(first_row, middle_row - reach), min(last_row, middle_row + reach) + 1):
            for column in range(max(first_column, middle_column - reach), min(last_column, middle_column + reach) + 1):
                across = Fraction(2 * column + 1, 2) - centre_x / side
                down = Fraction(2 * row + 1, 2) - centre_y / side
                tiles.append((max(abs(across), abs(down)), TilePlace(level, column, row)))
        return sorted(tiles)[:limit]


def reduced_size(photo: Size, level: int) -> Size:
    """Return the size of a level of the photo's own pixels, 0 or below; half pixels count as whole ones."""
    return Size(*(-(-side // (1 << -level)) for side in photo))
