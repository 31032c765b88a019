"""What every step does, whoever enlarges: ask for prompts, keep finished parts, tell how it went."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.imaging.colour.grey import COLOUR_REMOVED, is_grey, to_luma
from chain_of_zoom.imaging.images import RGB8, RGBF, to_8_bits
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.upscaling.canvas import Canvas, PixelRect
from chain_of_zoom.upscaling.depth import PixelSource, enlarged_alpha
from chain_of_zoom.upscaling.plan import PlannedTile, UpscaleStep, overhead
from chain_of_zoom.upscaling.prompts import TilePrompts, overview
from chain_of_zoom.upscaling.record import StepRecord
from chain_of_zoom.upscaling.request import OnProgress, Progress, UpscaleRequest


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a run works with. work: the folder of canvases. photo: H x W x 3, of which prompters see an overview.

    grey: whether colour that a network brings in is taken out again.
    """

    backbone: Backbone
    prompter: Prompter
    request: UpscaleRequest
    book: TilePrompts
    work: Path
    photo: Samples
    grey: bool
    on_progress: OnProgress

    @cached_property
    def overview(self) -> RGB8:
        """What prompters see of the whole photo."""
        return overview(to_8_bits(self.photo))


class StepRun(ABC):
    """One step on its way from a source to a canvas.

    alpha: of the photo, if the canvas has it. before, total: tiles of the steps before, and of all steps.
    """

    def __init__(
        self,
        tools: Tools,
        step: UpscaleStep,
        tiles: Sequence[PlannedTile],
        source: PixelSource,
        canvas: Canvas,
        alpha: Samples | None,
        counts: tuple[int, int, int],
    ) -> None:
        self.tools, self.backbone, self.step, self.tiles = tools, tools.backbone, step, tiles
        self.source, self.canvas, self.alpha = source, canvas, alpha
        self.before, self.total, self.steps = counts
        self.seed = tools.request.seed + self.before
        self.kept, self.backbone_seconds = 0, 0.0
        self.fallbacks: list[str] = []

    def run(self) -> StepRecord:
        """The whole step. Raises BackboneError naming the tile, and OutputError; finished tiles are kept."""
        started = time.perf_counter()
        self.tell(0)
        self.make(self._prompts())
        return StepRecord(
            scale=float(self.step.scale),
            size=(self.step.output.width, self.step.output.height),
            tiles=len(self.tiles),
            kept=self.kept,
            overhead=round(overhead(self.step, self.tiles), 4),
            seconds=round(time.perf_counter() - started, 3),
            backbone_seconds=round(self.backbone_seconds, 3),
            fallbacks=tuple(self.fallbacks),
        )

    @abstractmethod
    def make(self, prompts: list[str]) -> None:
        """Fill the canvas. prompts: one per tile."""

    def note(self, what: str) -> None:
        """Say what went another way; the same is said once."""
        if what not in self.fallbacks:
            self.fallbacks.append(what)

    def tell(self, done: int) -> None:
        """Say how many tiles of this step are done."""
        self.tools.on_progress(Progress("tiles", self.step.number, self.steps, self.before + done, self.total))

    def keep(self, name: str, key: str, box: PixelRect, pixels: RGBF) -> None:
        """Put a finished part (float, in [0, 1] but for overshoot) into the canvas, with its alpha."""
        if self.tools.grey and not is_grey(pixels):
            self.note(COLOUR_REMOVED)
            pixels = to_luma(pixels)
        top = int(np.iinfo(self.canvas.dtype).max)
        scaled = pixels * np.float32(top)
        samples: Samples = np.clip(np.rint(scaled, out=scaled), 0, top, out=scaled).astype(self.canvas.dtype)
        samples = samples[..., : 3 if self.canvas.channels > 2 else 1]
        if self.alpha is not None:
            samples = np.concatenate([samples, enlarged_alpha(self.alpha, box, self._scale(), top)], axis=2)
        self.canvas.finish(name, key, box, samples)

    def _scale(self) -> tuple[Fraction, Fraction]:
        """Output pixels per pixel of the photo, where pixels coincide or the edges do."""
        if self.step.exact or self.alpha is None:
            return self.step.scale, self.step.scale
        height, width = self.alpha.shape
        return Fraction(self.step.output.width, width), Fraction(self.step.output.height, height)

    def _prompts(self) -> list[str]:
        """One text per tile; empty where the backbone reads none, so that no prompter is asked in vain."""
        if not self.backbone.info.text_aware:
            return [""] * len(self.tiles)
        asked = 0

        def tell() -> None:
            nonlocal asked
            asked += 1
            self.tools.on_progress(Progress("prompts", self.step.number, self.steps, asked, len(self.tiles)))

        across, down = self.step.ratio

        def picture(tile: PlannedTile) -> RGB8:
            x0, y0, x1, y1 = tile.box
            part = PixelRect(int(x0 / across), int(y0 / down), -int(-x1 // across), -int(-y1 // down))
            return to_8_bits(self.source.read(part)[..., :3])

        tools = self.tools
        return tools.book.ask(self.step, tools.prompter, tools.request.prompt, tools.overview, picture, tell)


def digest(pixels: Samples, *others: object) -> str:
    """Names what a part is made from."""
    hashed = hashlib.blake2b(repr((pixels.shape, str(pixels.dtype), *others)).encode(), digest_size=16)
    hashed.update(np.ascontiguousarray(pixels).data)
    return hashed.hexdigest()
