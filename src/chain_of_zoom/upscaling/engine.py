"""The whole picture through the chain: every step into a canvas on disk, from which the next one reads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from chain_of_zoom.backbones.base import WholePictureBackbone
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.upscaling.canvas import Canvas
from chain_of_zoom.upscaling.depth import PhotoSource, PixelSource
from chain_of_zoom.upscaling.plan import PlannedTile, UpscaleStep
from chain_of_zoom.upscaling.record import StepRecord
from chain_of_zoom.upscaling.step import Tools
from chain_of_zoom.upscaling.tiled import TiledStep
from chain_of_zoom.upscaling.whole import WholeStep


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All there is to make. photo: H x W x 3. alpha: H x W, if the output holds it. dtype: of the output.

    grey: whether the photo has no colour, so that the output gets none. colours: channels of the output but for alpha,
    1 or 3. steps: each with its tiles. Canvases between steps have the photo's own depth, and three channels.
    """

    photo: Samples
    alpha: Samples | None
    grey: bool
    colours: int
    dtype: np.dtype[np.uint8 | np.uint16]
    steps: Sequence[tuple[UpscaleStep, Sequence[PlannedTile]]]

    @property
    def tiles(self) -> int:
        """Number of tiles of all steps."""
        return sum(len(tiles) for _, tiles in self.steps)

    @property
    def channels(self) -> int:
        """Of the output."""
        return self.colours + (self.alpha is not None)

    def canvas_bytes(self) -> int:
        """Disk that the canvases of all steps take."""
        pixels = [step.output.width * step.output.height for step, _ in self.steps]
        return sum(pixels[:-1]) * 3 * self.photo.itemsize + pixels[-1] * self.channels * self.dtype.itemsize


def run(plan: Plan, tools: Tools, stack: ExitStack) -> tuple[Canvas, list[StepRecord]]:
    """The finished canvas of the last step, and what there is to say of each. `stack` closes the files."""
    kind = WholeStep if isinstance(tools.backbone, WholePictureBackbone) else TiledStep
    source: PixelSource = PhotoSource(plan.photo)
    records: list[StepRecord] = []
    before = 0
    for step, tiles in plan.steps:
        last = step.number == len(plan.steps)
        path = tools.work / f"step{step.number}.raw"
        shape = (plan.channels, plan.dtype) if last else (3, plan.photo.dtype)
        canvas = stack.enter_context(Canvas(path, step.output, *shape))
        counts = (before, plan.tiles, len(plan.steps))
        records.append(kind(tools, step, tiles, source, canvas, plan.alpha if last else None, counts).run())
        source, before = canvas, before + len(tiles)
    return canvas, records
