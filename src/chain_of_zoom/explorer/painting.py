"""Paint one tile: hand its window to the backbone, keep the part that is the tile, and write the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chain_of_zoom.backbones.base import Backbone, BackboneInfo, WindowPlace
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.imaging.colour.grey import is_grey, to_luma
from chain_of_zoom.imaging.encode import TRAINED_MODEL, encode_png, label
from chain_of_zoom.imaging.geometry import PixelRect, whole_picture
from chain_of_zoom.imaging.images import RGB8, RGBF, enlarge, size_of, to_float, to_uint8
from chain_of_zoom.imaging.orientation import Turn, turn_back, turn_pixels


class TileJob(NamedTuple):
    """All that a tile is painted from, in whatever process."""

    window: RGB8
    """Pixels of the level above, uint8, H x W x 3."""
    place: WindowPlace
    """Where the window lies in the photo."""
    words: str
    """The text for the backbone."""
    seed: int
    """Seed for the backbone."""
    turn: Turn
    """How the window is turned or mirrored for the backbone."""
    restraint: Restraint
    """How far the tile may go from plain enlargement and from the window."""
    core: PixelRect
    """The part of the enlarged window that is the tile, or the piece that it is put together from."""
    is_grey: bool
    """Whether the photo is grey, so that the tile is, too."""
    description: str
    """What the tile is, for the label inside its file."""


def paint_tile(backbone: Backbone, job: TileJob) -> bytes:
    """Return the tile as PNG. Raises BackboneError and MissingError as the backbone does."""
    return paint_tiles(backbone, [job])[0]


def paint_tiles(backbone: Backbone, jobs: Sequence[TileJob]) -> list[bytes]:
    """Return tiles as PNG, which the backbone enlarges together. Raises BackboneError and MissingError as it does."""
    windows = backbone(
        [turn_pixels(job.window, job.turn) for job in jobs],
        [job.words for job in jobs],
        [job.seed for job in jobs],
        places=[job.place for job in jobs],
    )
    return [_finish_tile(backbone, job, window) for job, window in zip(jobs, windows, strict=True)]


def _finish_tile(backbone: Backbone, job: TileJob, turned: RGBF) -> bytes:
    enlarged = turn_back(turned, job.turn)
    if not job.restraint.is_none:
        plain, window = to_float(enlarge(job.window, backbone.info.factor)), to_float(job.window)
        enlarged = job.restraint.apply(enlarged, plain, window, whole_picture(size_of(window)))
    part = enlarged[job.core.y0 : job.core.y1, job.core.x0 : job.core.x1]
    if job.is_grey and not is_grey(part):
        part = to_luma(part)
    return encode_tile(to_uint8(part), job.description, backbone.info)


def encode_tile(pixels: RGB8, description: str, info: BackboneInfo) -> bytes:
    """Encode a tile as PNG with a label inside. info: of the backbone that made it."""
    return encode_png(pixels, *label(description, None if info.resample else TRAINED_MODEL), fast=True)
