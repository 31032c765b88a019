"""From a photo's size and a scale to steps, and from a step to its tiles: pure arithmetic.

Every step enlarges by the backbone's factor, the last by whatever remains: it is enlarged by the factor too, and each
of its pixels is the mean of the area that it covers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from chain_of_zoom.backbones.base import BackboneInfo
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Size, round_half_up
from chain_of_zoom.imaging.tiling import plan_spans
from chain_of_zoom.upscaling.canvas import PixelRect

SIDE = 512  # of a tile, where the backbone takes any
HALOS = 5.5  # wide at least is a tile, so that no more than 2.5 times the pixels are computed
OVERSIZE = 1.7  # times the pixels of a zoom's largest window is a tile at most, where its halo is widest
HALO = 32  # around a tile, for a backbone that does not say how far it sees


@dataclass(frozen=True, kw_only=True)
class UpscaleStep:
    """One enlargement of the whole picture.

    scale: of the photo, when the step is done. source, output: sizes before and after. exact: whether the output is
    the enlargement by the backbone's factor, pixel by pixel.
    """

    number: int
    scale: Fraction
    source: Size
    output: Size
    exact: bool

    @property
    def ratio(self) -> tuple[Fraction, Fraction]:
        """Output pixels per source pixel, across and down."""
        return Fraction(self.output.width, self.source.width), Fraction(self.output.height, self.source.height)


@dataclass(frozen=True, kw_only=True)
class PlannedTile:
    """One tile of a step. window: the source pixels that are read, halo included. box: the output pixels it makes."""

    row: int
    col: int
    window: PixelRect
    box: PixelRect

    @property
    def name(self) -> str:
        """What it is called in the journal."""
        return f"r{self.row}c{self.col}"

    def __str__(self) -> str:
        return f"tile in row {self.row}, column {self.col} (output pixels {self.box})"


def plan_steps(
    photo: Size, scale: Fraction, factor: int, enlarged: Callable[[Size], Size] | None = None
) -> list[UpscaleStep]:
    """The steps to `scale` times the size, which is above 1.

    enlarged: the size that a picture has after a pass of the backbone, where that is not `factor` times its own.
    """
    steps: list[UpscaleStep] = []
    source, reached = photo, Fraction(1)
    while reached < scale:
        exact = reached * factor <= scale
        reached = reached * factor if exact else scale
        output = Size(round_half_up(photo.width * reached), round_half_up(photo.height * reached))
        if enlarged and exact:
            output = enlarged(source)
        steps.append(UpscaleStep(number=len(steps) + 1, scale=reached, source=source, output=output, exact=exact))
        source = output
    return steps


def tile_side(info: BackboneInfo, side: int | None = None, *, chained: bool = False) -> int:
    """Side of the largest window a tile may have, halo included: as asked for, or what suits the backbone.

    chained: when there is more than one step. Raises UsageError for one that leaves no core.
    """
    least = least_side(info, chained=chained)
    usual = max(SIDE if info.max_pixels is None else int(info.max_pixels**0.5), round(HALOS * halo(info)))
    usual += 2 * (halo(info, chained=chained) - halo(info))
    if side is not None and side < least:
        raise UsageError(f"--tile {side}; accepted with {info.name}: from {least}; for example --tile {usual}")
    return side or usual


def least_side(info: BackboneInfo, *, chained: bool = False) -> int:
    """Side of the smallest tile that leaves a core. chained: as for `halo`."""
    return 2 * halo(info, chained=chained) + 8


def halo(info: BackboneInfo, *, chained: bool = False) -> int:
    """Pixels of context around every tile. chained: when there is more than one step."""
    usual = info.halo or HALO
    return max(usual, info.chained_halo) if chained else usual


def is_one_piece(info: BackboneInfo, pixels: int) -> bool:
    """Whether a window goes in one piece: by default they are planned somewhat larger than zooms' windows.

    Not where the user asked for more, or a GPU turned out to have less room: then the backbone cuts it.
    """
    return info.max_pixels is None or pixels <= OVERSIZE * info.max_pixels


def plan_tiles(step: UpscaleStep, side: int, halo: int) -> list[PlannedTile]:
    """Windows of at most `side` x `side` source pixels whose boxes partition the output, row by row."""
    # Where pixels do not coincide, a box may begin inside a pixel of the source: room for it on either side.
    side -= 0 if step.exact else 2
    across, down = step.ratio
    columns = _axis(step.source.width, step.output.width, across, side, halo)
    rows = _axis(step.source.height, step.output.height, down, side, halo)
    return [
        PlannedTile(row=row, col=col, window=PixelRect(x[0], y[0], x[1], y[1]), box=PixelRect(x[2], y[2], x[3], y[3]))
        for row, y in enumerate(rows)
        for col, x in enumerate(columns)
    ]


def _axis(length: int, output: int, ratio: Fraction, side: int, halo: int) -> list[tuple[int, int, int, int]]:
    """(first and last pixel read, first and last pixel made) of the tiles along one axis."""
    edges = [0, *(round_half_up(span.keep_stop * ratio) for span in plan_spans(length, side, halo)[:-1]), output]
    return [
        (max(floor(start / ratio) - halo, 0), min(ceil(stop / ratio) + halo, length), start, stop)
        for start, stop in pairwise(edges)
    ]


def overhead(step: UpscaleStep, tiles: Sequence[PlannedTile]) -> float:
    """Pixels that the tiles read over pixels that there are: the price of the halos."""
    return sum(tile.window.pixels for tile in tiles) / (step.source.width * step.source.height)
