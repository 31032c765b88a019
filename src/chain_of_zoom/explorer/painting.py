"""Paint one tile: hand its window to the backbone, keep the part that is the tile, and write the file."""

from __future__ import annotations

from typing import NamedTuple

from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.imaging.colour.grey import is_grey, to_luma
from chain_of_zoom.imaging.encode import TRAINED_MODEL, encode_png, label
from chain_of_zoom.imaging.geometry import PixelRect
from chain_of_zoom.imaging.images import RGB8, to_uint8
from chain_of_zoom.imaging.orientation import Turn, turn_back, turn_pixels


class TileJob(NamedTuple):
    """All that a tile is painted from, in whatever process."""

    window: RGB8
    """Pixels of the level above, uint8, H x W x 3."""
    words: str
    """The text for the backbone."""
    seed: int
    """Seed for the backbone."""
    turn: Turn
    """How the window is turned or mirrored for the backbone."""
    core: PixelRect
    """The part of the enlarged window that is the tile."""
    is_grey: bool
    """Whether the photo is grey, so that the tile is, too."""
    description: str
    """What the tile is, for the label inside its file."""


def paint_tile(backbone: Backbone, job: TileJob) -> bytes:
    """Return the tile as PNG. Raises BackboneError and MissingError as the backbone does."""
    (turned,) = backbone([turn_pixels(job.window, job.turn)], [job.words], [job.seed])
    part = turn_back(turned, job.turn)[job.core.y0 : job.core.y1, job.core.x0 : job.core.x1]
    if job.is_grey and not is_grey(part):
        part = to_luma(part)
    source_type = None if backbone.info.resample else TRAINED_MODEL
    return encode_png(to_uint8(part), *label(job.description, source_type), fast=True)
