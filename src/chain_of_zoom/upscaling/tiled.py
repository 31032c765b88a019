"""A step by tiles with a halo: each is a window of its own to the backbone, and only its core is kept."""

from __future__ import annotations

import time

from chain_of_zoom.errors import BackboneError, ChainOfZoomError, ShortageError
from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import RGBF, crop_or_reduce, to_8_bits
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.upscaling.canvas import PixelRect
from chain_of_zoom.upscaling.depth import fine_detail
from chain_of_zoom.upscaling.plan import PlannedTile, is_one_piece
from chain_of_zoom.upscaling.step import StepRun, digest


class TiledStep(StepRun):
    """With any backbone."""

    def make(self, prompts: list[str]) -> None:
        """Tile by tile; those that an earlier run made from the same pixels and prompt are not made again."""
        for number, (tile, prompt) in enumerate(zip(self.tiles, prompts, strict=True)):
            window = self.source.read(tile.window)[..., :3]
            seed = self.seed + number
            key = digest(window, prompt, seed)
            if self.canvas.is_finished(tile.name, key, tile.box):
                self.kept += 1
            else:
                self.keep(tile.name, key, tile.box, self._tile(tile, window, prompt, seed))
            self.tell(number + 1)

    def _tile(self, tile: PlannedTile, window: Samples, prompt: str, seed: int) -> RGBF:
        result = self._enlarged(window, prompt, seed, tile)
        factor = self.backbone.info.factor
        x0, y0, x1, y1 = (edge * factor for edge in tile.window)
        detail = fine_detail(self.source, PixelRect(x0, y0, x1, y1), factor)
        return self._fit_to_box(result if detail is None else result + detail, tile)

    def _fit_to_box(self, result: RGBF, tile: PlannedTile) -> RGBF:
        """Return the part of an enlarged window that is the tile's box."""
        factor, box = self.backbone.info.factor, tile.box
        across, down = (factor / ratio for ratio in self.step.ratio)
        region = Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)
        region = region.shifted(-tile.window.x0 * factor, -tile.window.y0 * factor)
        return crop_or_reduce(result, region, Size(box.x1 - box.x0, box.y1 - box.y0))

    def _enlarged(self, window: Samples, prompt: str, seed: int, tile: PlannedTile) -> RGBF:
        """What the backbone makes of a window; a failure is tried once more before it ends the run."""
        try:
            return self._ask(window, prompt, seed)
        except ShortageError:
            raise
        except BackboneError as first:
            self.note(f"{tile} failed ({first}); computed again")
        try:
            return self._ask(window, prompt, seed)
        except BackboneError as second:
            raise BackboneError(
                f"{tile} at {float(self.step.scale):g}x failed twice ({second}); finished tiles are kept: "
                "run the same command to try again, or another --backbone"
            ) from second

    def _ask(self, window: Samples, prompt: str, seed: int) -> RGBF:
        started = time.perf_counter()
        try:
            (result,) = self.backbone(
                [to_8_bits(window)],
                [prompt],
                [seed],
                on_fallback=lambda _, what: self.note(what),
                at_once=is_one_piece(self.backbone.info, window.shape[0] * window.shape[1]),
            )
        except ChainOfZoomError:
            raise
        except Exception as error:
            raise BackboneError(f"{self.backbone.info.name}: {str(error) or type(error).__name__}") from error
        finally:
            self.backbone_seconds += time.perf_counter() - started
        return result
