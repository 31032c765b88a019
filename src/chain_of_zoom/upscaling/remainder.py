"""Fit an enlarged window to its tile; where its source was reduced first, the source's detail is given back to it."""

from __future__ import annotations

from math import ceil, floor

import numpy as np

from chain_of_zoom.imaging.geometry import Box, PixelRect
from chain_of_zoom.imaging.images import RGBF, crop_or_reduce
from chain_of_zoom.imaging.projection import project
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.upscaling.depth import PixelSource
from chain_of_zoom.upscaling.plan import PlannedTile, UpscaleStep

AROUND = 3
"""Pixels of the source around a tile that are given back with it, so that tiles agree where they meet."""


def fit_tile(step: UpscaleStep, tile: PlannedTile, enlarged: RGBF, factor: int, source: PixelSource) -> RGBF:
    """Return the pixels of a tile's box, float32, of its window enlarged by `factor`. source: before it was reduced."""
    if not step.reduced:
        return _cut(step, tile, tile.box, enlarged, factor)
    box = _grow(step, tile.box)
    across, down = step.source_ratio
    rect = _find_source(step, box)
    shown = Box(box.x0 / across, box.y0 / down, box.x1 / across, box.y1 / down).shifted(-rect.x0, -rect.y0)
    samples = source.read(rect)[..., :3]
    parent = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
    restored = project(_cut(step, tile, box, enlarged, factor), parent, shown)
    x, y = tile.box.x0 - box.x0, tile.box.y0 - box.y0
    return restored[y : y + tile.box.size.height, x : x + tile.box.size.width]


def read_detail(step: UpscaleStep, tile: PlannedTile, source: PixelSource) -> Samples:
    """Read the pixels that are given back to a tile."""
    return source.read(_find_source(step, _grow(step, tile.box)))[..., :3]


def _cut(step: UpscaleStep, tile: PlannedTile, box: PixelRect, enlarged: RGBF, factor: int) -> RGBF:
    across, down = (factor / ratio for ratio in step.ratio)
    region = Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)
    return crop_or_reduce(enlarged, region.shifted(-tile.window.x0 * factor, -tile.window.y0 * factor), box.size)


def _grow(step: UpscaleStep, box: PixelRect) -> PixelRect:
    """Return a part of the output with what is around it."""
    across, down = (ceil(AROUND * ratio) for ratio in step.source_ratio)
    width, height = step.output
    left, top = max(box.x0 - across, 0), max(box.y0 - down, 0)
    return PixelRect(left, top, min(box.x1 + across, width), min(box.y1 + down, height))


def _find_source(step: UpscaleStep, box: PixelRect) -> PixelRect:
    """Return the pixels of the source that a part of the output shows."""
    (across, down), (width, height) = step.source_ratio, step.source
    right, bottom = min(ceil(box.x1 / across), width), min(ceil(box.y1 / down), height)
    return PixelRect(floor(box.x0 / across), floor(box.y0 / down), right, bottom)
