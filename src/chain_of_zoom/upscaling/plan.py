"""Plan an enlargement: from a photo's size and a scale to steps, and from a step to its tiles. Pure arithmetic.

Every step enlarges by the backbone's factor, the last by whatever remains, as in a zoom (chain/window.py): it is
enlarged by the factor too, and each of its pixels is the mean of the area that it covers; what it enlarges is reduced
first where that would make far more pixels than are wanted; where very little remains, the step before is stretched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any

from chain_of_zoom.backbones.base import Backbone, BackboneInfo, WholePictureBackbone
from chain_of_zoom.chain.window import PHOTO_SIDE, STATE_SIDE, STRETCH
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Box, PixelRect, Size, ceil_size, round_half_up
from chain_of_zoom.imaging.tiling import plan_spans
from chain_of_zoom.upscaling.request import UpscaleRequest

SIDE = 512
"""Side of a tile, where the backbone takes any."""
LEAST_RATIO = 2
"""Least enlargement of a photo for which it is reduced first: below, that costs 1 to 2 dB (docs/evidence.md)."""
HALOS = 5.5
"""Least side of a tile in halos, so that no more than 2.5 times the pixels are computed."""
OVERSIZE = 1.7
"""Pixels of the largest tile over those of a zoom's largest window, for the widest halo."""
HALO = 32
"""Context around a tile, in pixels, for a backbone that does not say how far it sees."""
LATENT_TILE, LATENT_OVERLAP = 64, 16
"""Side and overlap of tiles that blend, in latents (as published)."""


@dataclass(frozen=True, kw_only=True)
class PlannedTile:
    """One tile of a step."""

    row: int
    """Its row, from 0."""
    col: int
    """Its column, from 0."""
    window: PixelRect
    """The source pixels that are read, halo included."""
    box: PixelRect
    """The output pixels that it makes."""

    @property
    def name(self) -> str:
        """Its name in the journal."""
        return f"r{self.row}c{self.col}"

    def __str__(self) -> str:
        return f"tile in row {self.row}, column {self.col} (output pixels {self.box})"


@dataclass(frozen=True, kw_only=True)
class UpscaleStep:
    """One enlargement of the whole picture."""

    number: int
    """Its number, from 1."""
    scale: Fraction
    """Size of its output over that of the photo."""
    source: Size
    """Size of the picture that it enlarges."""
    output: Size
    """Size of the enlarged picture."""
    exact: bool
    """Whether the output is the enlargement by the backbone's factor, pixel by pixel."""
    reduced: Size | None = None
    """Size to which that is reduced before tiles read it; None where they read it as it is."""
    is_stretch: bool = False
    """Whether it is made by Lanczos alone."""
    tiles: Sequence[PlannedTile] = ()
    """Its tiles, row by row; their boxes partition the output, unless they blend."""

    @property
    def input(self) -> Size:
        """Size of the picture that its tiles read."""
        return self.reduced or self.source

    @property
    def ratio(self) -> tuple[Fraction, Fraction]:
        """Output pixels per pixel that tiles read, across and down."""
        return Fraction(self.output.width, self.input.width), Fraction(self.output.height, self.input.height)

    @property
    def source_ratio(self) -> tuple[Fraction, Fraction]:
        """Output pixels per pixel of the source, across and down."""
        return Fraction(self.output.width, self.source.width), Fraction(self.output.height, self.source.height)

    @property
    def overhead(self) -> float:
        """Pixels that the tiles read over pixels that there are: the price of the halos."""
        return sum(tile.window.pixels for tile in self.tiles) / (self.input.width * self.input.height)


def plan_upscale(photo: Size, request: UpscaleRequest, backbone: Backbone) -> list[UpscaleStep]:
    """Plan all steps of an enlargement with their tiles. Raises UsageError for settings that the backbone refuses."""
    info = backbone.info
    if isinstance(backbone, WholePictureBackbone):
        if not request.restraint.is_none:
            raise UsageError(
                f"--detail and --faithful do not go with {info.name}, which blends its tiles; leave them out"
            )
        whole, blend = backbone, request.blend or "smooth"
        steps = plan_steps(photo, request.exact_scale, info.factor, lambda size: whole.whole_size(size, blend))
        return [replace(step, tiles=_plan_blended_tiles(whole, step, request)) for step in steps]
    for option, value in (("--overlap", request.overlap), ("--blend", request.blend)):
        if value is not None:
            raise UsageError(f"{option} means nothing to {info.name}, whose tiles do not blend; leave it out")
    steps = plan_steps(photo, request.exact_scale, info.factor)
    if not info.resample and request.restraint.detail > 0:
        steps = [save_passes(step, info.factor) for step in steps]
    chained = len(steps) > 1
    side = choose_side(info, request.tile, chained=chained)
    return [replace(step, tiles=plan_tiles(step, side, choose_halo(info, chained=chained))) for step in steps]


def plan_steps(
    photo: Size, scale: Fraction, factor: int, enlarge: Callable[[Size], Size] | None = None
) -> list[UpscaleStep]:
    """Plan the steps to `scale` times the size, which is above 1; their tiles are still to be planned.

    enlarge: returns the size that a picture has after the backbone, where that is not `factor` times its own.
    """
    steps: list[UpscaleStep] = []
    source, reached = photo, Fraction(1)
    while reached < scale:
        exact = reached * factor <= scale
        reached = reached * factor if exact else scale
        output = Size(round_half_up(photo.width * reached), round_half_up(photo.height * reached))
        if enlarge and exact:
            output = enlarge(source)
        steps.append(UpscaleStep(number=len(steps) + 1, scale=reached, source=source, output=output, exact=exact))
        source = output
    return steps


def save_passes(step: UpscaleStep, factor: int) -> UpscaleStep:
    """Return a step that has its source reduced, or is a stretch, where the rule of zooms says so (chain/window.py)."""
    ratio = max(step.source_ratio)
    if step.number > 1 and ratio <= STRETCH:
        return replace(step, is_stretch=True)
    if ratio * PHOTO_SIDE >= factor or (step.number == 1 and step.scale < LEAST_RATIO):
        return step
    side = (PHOTO_SIDE if step.number == 1 else STATE_SIDE) / factor
    return replace(step, reduced=ceil_size(step.output.width * side, step.output.height * side))


def choose_side(info: BackboneInfo, side: int | None = None, *, chained: bool = False) -> int:
    """Return the side of the largest window of a tile, halo included: as asked for, or what suits the backbone.

    chained: whether there is more than one step. Raises UsageError for a side that leaves no core.
    """
    least = least_side(info, chained=chained)
    usual = max(SIDE if info.max_pixels is None else int(info.max_pixels**0.5), round(HALOS * choose_halo(info)))
    usual += 2 * (choose_halo(info, chained=chained) - choose_halo(info))
    if side is not None and side < least:
        raise UsageError(f"--tile {side}; accepted with {info.name}: from {least}; for example --tile {usual}")
    return side or usual


def least_side(info: BackboneInfo, *, chained: bool = False) -> int:
    """Return the side of the smallest tile that leaves a core. chained: as for `choose_halo`."""
    return 2 * choose_halo(info, chained=chained) + 8


def choose_halo(info: BackboneInfo, *, chained: bool = False) -> int:
    """Return the pixels of context around every tile.

    chained: whether there is more than one step. Of its own pixels a network sees further than of a photo's
    (docs/performance.md), so tiles of a chain take more. Windows of zooms do not: that would be twice the time of a
    small last ratio for what no eye sees.
    """
    usual = info.halo or HALO
    return max(usual, info.chained_halo) if chained else usual


def is_one_piece(info: BackboneInfo, pixels: int) -> bool:
    """Return whether a window goes to the network at once: tiles are planned somewhat larger than zooms' windows.

    It does not where the user asked for more, or a GPU turned out to have less room: then the backbone cuts it.
    """
    return info.max_pixels is None or pixels <= OVERSIZE * info.max_pixels


def plan_tiles(step: UpscaleStep, side: int, halo: int) -> list[PlannedTile]:
    """Plan windows of at most `side` x `side` source pixels whose boxes partition the output, row by row."""
    # Where pixels do not coincide, a box may begin inside a pixel of the source: room for it on either side.
    side -= 0 if step.exact else 2
    across, down = step.ratio
    columns = _plan_axis(step.input.width, step.output.width, across, side, halo)
    rows = _plan_axis(step.input.height, step.output.height, down, side, halo)
    return [
        PlannedTile(row=row, col=col, window=PixelRect(x[0], y[0], x[1], y[1]), box=PixelRect(x[2], y[2], x[3], y[3]))
        for row, y in enumerate(rows)
        for col, x in enumerate(columns)
    ]


def _plan_axis(length: int, output: int, ratio: Fraction, side: int, halo: int) -> list[tuple[int, int, int, int]]:
    """Return (first and last pixel read, first and last pixel made) of the tiles along one axis."""
    edges = [0, *(round_half_up(span.keep_stop * ratio) for span in plan_spans(length, side, halo)[:-1]), output]
    return [
        (max(floor(start / ratio) - halo, 0), min(ceil(stop / ratio) + halo, length), start, stop)
        for start, stop in pairwise(edges)
    ]


def blend_options(request: UpscaleRequest) -> dict[str, Any]:
    """Return how tiles of latents lie and blend: as asked for, else as large as published and smoothly."""
    return {
        "tile": LATENT_TILE if request.tile is None else request.tile,
        "overlap": LATENT_OVERLAP if request.overlap is None else request.overlap,
        "blend": request.blend or "smooth",
    }


def _plan_blended_tiles(
    backbone: WholePictureBackbone, step: UpscaleStep, request: UpscaleRequest
) -> list[PlannedTile]:
    """Return the backbone's own tiles, in source and output pixels. Raises UsageError for what it cannot blend."""
    factor = backbone.info.factor
    if not step.exact and request.blend == "published":
        raise UsageError(f"--blend published enlarges by {factor} only; accepted: powers of it, or --blend smooth")
    shrink = Fraction(1, factor)
    across, down = (ratio / factor for ratio in step.ratio)
    return [
        PlannedTile(
            row=tile.row,
            col=tile.col,
            window=_round_edges(tile.box.scaled(shrink, shrink)),
            box=_round_edges(tile.box.scaled(across, down)),
        )
        for tile in backbone.tiles(step.source, **blend_options(request))
    ]


def _round_edges(box: Box) -> PixelRect:
    return PixelRect(*(round(edge) for edge in box))
