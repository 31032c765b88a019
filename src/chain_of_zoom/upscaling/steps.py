"""Run the steps of an enlargement, each from a source into a canvas on disk, from which the next one reads.

A part of a canvas has a key that hashes the pixels it is made from, its prompt and its seed. So a run that is resumed,
a prompt that was edited, and everything that depends on it in later steps follow one rule: parts without a journal
line with their key are made.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from math import floor
from typing import NamedTuple

import numpy as np

from chain_of_zoom.backbones.base import WholePictureBackbone, WindowPlace
from chain_of_zoom.chain.window import STRETCHED
from chain_of_zoom.errors import BackboneError, ShortageError
from chain_of_zoom.imaging.colour.grey import COLOUR_REMOVED, is_grey, to_luma
from chain_of_zoom.imaging.geometry import Box, PixelRect, Size, whole_picture
from chain_of_zoom.imaging.images import RGB8, RGBF, crop_or_reduce, enlarge, size_of, to_8_bits, to_float
from chain_of_zoom.imaging.raster import Samples
from chain_of_zoom.runs.ahead import work_ahead
from chain_of_zoom.runs.progress import OnProgress, Progress
from chain_of_zoom.upscaling.canvas import Canvas, PieceStore
from chain_of_zoom.upscaling.depth import (
    PhotoSource,
    PixelSource,
    ReducedSource,
    enlarge_alpha,
    enlarge_detail,
    stretch_part,
)
from chain_of_zoom.upscaling.job import UpscaleJob
from chain_of_zoom.upscaling.plan import PlannedTile, UpscaleStep, blend_options, is_one_piece
from chain_of_zoom.upscaling.prompts import TilePrompts
from chain_of_zoom.upscaling.remainder import fit_tile, read_detail
from chain_of_zoom.upscaling.request import StepRecord
from chain_of_zoom.upscaling.windows import EnlargedWindow, WindowTask, enlarge_window

END = "end"
"""Name of the journal's line that lists the bands of a finished step; its pixel is any."""
STRIP = 256
"""Rows of a source that are hashed at a time."""


def run_steps(
    job: UpscaleJob, prompts: TilePrompts, on_progress: OnProgress, stack: ExitStack
) -> tuple[Canvas, list[StepRecord]]:
    """Return the finished canvas of the last step, and the record of each; `stack` closes the files."""
    kind = BlendedStep if isinstance(job.chain.backbone, WholePictureBackbone) else TiledStep
    source: PixelSource = PhotoSource(job.colour)
    records: list[StepRecord] = []
    for step in job.steps:
        is_last = step.number == len(job.steps)
        samples = (job.channels, job.dtype) if is_last else (3, job.colour.dtype)
        canvas = stack.enter_context(Canvas(job.work / f"step{step.number}.raw", step.output, *samples))
        records.append(kind(job, step, source, canvas, prompts, on_progress).run())
        source = canvas
    return canvas, records


class StepRun(ABC):
    """One step on its way from a source to a canvas."""

    def __init__(
        self,
        job: UpscaleJob,
        step: UpscaleStep,
        source: PixelSource,
        canvas: Canvas,
        prompts: TilePrompts,
        on_progress: OnProgress,
    ) -> None:
        self.job, self.step, self.canvas = job, step, canvas
        self.parent = source
        self.source = ReducedSource(source, step.reduced) if step.reduced else source
        self.prompts, self.on_progress = prompts, on_progress
        self.backbone = job.chain.backbone
        self.alpha = job.alpha if step.number == len(job.steps) else None
        self.earlier_tiles = sum(len(earlier.tiles) for earlier in job.steps[: step.number - 1])
        self.seed = job.request.seed + self.earlier_tiles
        self.finished_tiles, self.reused_tiles, self.backbone_seconds = 0, 0, 0.0
        self.fallbacks: list[str] = []

    def run(self) -> StepRecord:
        """Run the whole step. Raises BackboneError naming the tile, and OutputError; finished tiles are kept."""
        started = time.perf_counter()
        self.report(0)
        self.fill_canvas(self._complete_prompts())
        return StepRecord(
            scale=float(self.step.scale),
            size=(self.step.output.width, self.step.output.height),
            tiles=len(self.step.tiles),
            kept=self.reused_tiles,
            overhead=round(self.step.overhead, 4),
            seconds=round(time.perf_counter() - started, 3),
            backbone_seconds=round(self.backbone_seconds, 3),
            fallbacks=tuple(self.fallbacks),
        )

    @abstractmethod
    def fill_canvas(self, prompts: list[str]) -> None:
        """Make every part that is not finished. prompts: one per tile."""

    def note(self, detour: str) -> None:
        """Note a detour from the plain way, once."""
        if detour not in self.fallbacks:
            self.fallbacks.append(detour)

    def report(self, finished: int) -> None:
        """Report how many tiles of this step are finished."""
        tiles = sum(len(step.tiles) for step in self.job.steps)
        step = self.step.number, len(self.job.steps)
        self.on_progress(Progress("tiles", self.earlier_tiles + finished, tiles, *step))

    def finish_part(self, name: str, key: str, rect: PixelRect, pixels: RGBF) -> None:
        """Put a part (float, in [0, 1] but for overshoot) into the canvas, with its alpha."""
        if self.job.is_grey and not is_grey(pixels):
            self.note(COLOUR_REMOVED)
            pixels = to_luma(pixels)
        top = int(np.iinfo(self.canvas.dtype).max)
        scaled = pixels * np.float32(top)
        samples: Samples = np.clip(np.rint(scaled, out=scaled), 0, top, out=scaled).astype(self.canvas.dtype)
        samples = samples[..., : 3 if self.canvas.channels > 2 else 1]
        if self.alpha is not None:
            samples = np.concatenate([samples, enlarge_alpha(self.alpha, rect, self._photo_scale(), top)], axis=2)
        self.canvas.finish(name, key, rect, samples)

    def _photo_scale(self) -> tuple[Fraction, Fraction]:
        """Return output pixels per pixel of the photo, where pixels coincide or the edges do."""
        if self.step.exact:
            return self.step.scale, self.step.scale
        photo = self.job.steps[0].source
        return Fraction(self.step.output.width, photo.width), Fraction(self.step.output.height, photo.height)

    def _complete_prompts(self) -> list[str]:
        """Return one text per tile; empty where the backbone reads none, so that no prompter is asked in vain."""
        job, step = self.job, self.step
        if not job.reads_prompts or step.is_stretch:
            return [""] * len(step.tiles)
        across, down = step.ratio

        def report(asked_tiles: int) -> None:
            self.on_progress(Progress("prompts", asked_tiles, len(step.tiles), step.number, len(job.steps)))

        def read_tile(tile: PlannedTile) -> RGB8:
            x0, y0, x1, y1 = tile.box
            rect = PixelRect(int(x0 / across), int(y0 / down), -int(-x1 // across), -int(-y1 // down))
            return to_8_bits(self.source.read(rect)[..., :3])

        return self.prompts.complete_step(step, job.chain.prompter, job.request.prompt, job.overview, read_tile, report)


class TiledStep(StepRun):
    """A step by tiles with a halo: each is a window of its own to the backbone, and only its core is kept."""

    def fill_canvas(self, prompts: list[str]) -> None:
        """Make the tiles that no earlier run made from the same pixels and prompt; several at a time elsewhere."""
        chain, tasks = self.job.chain, self._list_missing(prompts)
        if self.step.is_stretch:
            self._stretch(tasks)
            return
        for task, enlarged in work_ahead(self._enlarge, tasks, chain.lanes, chain.close):
            result = self._make_detail(task, enlarged)
            pixels = fit_tile(self.step, task.tile, result, self.backbone.info.factor, self.parent)
            self.finish_part(task.tile.name, task.key, task.tile.box, pixels)
            self.report_tile()

    def _stretch(self, tasks: Iterator[_TileTask]) -> None:
        """Make the tiles without the backbone."""
        self.note(STRETCHED.replace("state", "step"))
        for task in tasks:
            box = task.tile.box
            self.finish_part(task.tile.name, task.key, box, stretch_part(self.source, box, self.step.ratio))
            self.report_tile()

    def _list_missing(self, prompts: list[str]) -> Iterator[_TileTask]:
        """Yield the tiles to make, with the pixels that they are made from, as they are needed."""
        for number, (tile, prompt) in enumerate(zip(self.step.tiles, prompts, strict=True)):
            window, seed = self.source.read(tile.window)[..., :3], self.seed + number
            key = hash_inputs(window, prompt, seed)
            if self.step.reduced:
                key = hash_inputs(read_detail(self.step, tile, self.parent), key)
            if self.canvas.is_finished(tile.name, key, tile.box):
                self.reused_tiles += 1
                self.report_tile()
            else:
                yield _TileTask(tile, key, window, prompt, seed)

    def report_tile(self) -> None:
        """Report that one more tile is finished."""
        self.finished_tiles += 1
        self.report(self.finished_tiles)

    def _make_detail(self, task: _TileTask, enlarged: RGBF | None) -> RGBF:
        """Add what 16 bits add to what the backbone made of a window, as far as the request lets it go."""
        factor, restraint, window = self.backbone.info.factor, self.job.request.restraint, task.window
        deep = enlarge_detail(self.source, PixelRect(*(edge * factor for edge in task.tile.window)), factor)

        def deepen(pixels: RGBF) -> RGBF:
            return pixels if deep is None else pixels + deep

        if restraint.is_none:
            assert enlarged is not None
            return deepen(enlarged)
        plain = to_float(enlarge(to_8_bits(window), factor))
        result = plain if enlarged is None else enlarged
        parent = window.astype(np.float32) / np.float32(np.iinfo(window.dtype).max)
        return restraint.apply(deepen(result), deepen(plain), parent, whole_picture(size_of(window)))

    def _enlarge(self, task: _TileTask) -> RGBF | None:
        """Run the backbone on a window; a failure is tried once more. None where nothing of it would be seen."""
        if self.job.request.restraint.detail == 0:
            return None
        try:
            return self._ask_backbone(task)
        except ShortageError:
            raise
        except BackboneError as first:
            self.note(f"{task.tile} failed ({first}); computed again")
        try:
            return self._ask_backbone(task)
        except BackboneError as second:
            raise BackboneError(
                f"{task.tile} at {float(self.step.scale):g}x failed twice ({second}); finished tiles are kept: "
                "run the same command to try again, or another --backbone"
            ) from second

    def _ask_backbone(self, task: _TileTask) -> RGBF:
        earlier_scale = self.job.steps[self.step.number - 2].scale if self.step.number > 1 else Fraction(1)
        scale = earlier_scale * Fraction(self.step.input.width, self.step.source.width)
        tile = WindowTask(
            to_8_bits(task.window),
            task.prompt,
            task.seed,
            WindowPlace(task.tile.window.x0, task.tile.window.y0, float(scale)),
            is_one_piece(self.backbone.info, task.window.shape[0] * task.window.shape[1]),
        )
        result: EnlargedWindow = self.job.chain.ask(enlarge_window, tile)
        self.backbone_seconds += result.seconds
        for detour in result.fallbacks:
            self.note(detour)
        return result.pixels


class _TileTask(NamedTuple):
    """A tile to make."""

    tile: PlannedTile
    key: str
    window: Samples
    prompt: str
    seed: int


class BlendedStep(StepRun):
    """A step by a WholePictureBackbone, which blends tiles itself; its finished pieces lie beside the canvas."""

    def fill_canvas(self, prompts: list[str]) -> None:
        """Make band by band; the backbone takes the pieces that an earlier run made from its store."""
        key = self._hash_source(prompts)
        if self._is_finished(key):
            self.reused_tiles = len(self.step.tiles)
            return
        pieces = PieceStore(self.job.work / f"step{self.step.number}.pieces")
        bands: list[str] = []
        for rect, pixels in self._enlarge(prompts, pieces):
            bands.append(str(rect))
            self.finish_part(str(rect), key, rect, pixels)
            self.report(sum(tile.box.y1 <= rect.y1 for tile in self.step.tiles))
        self.reused_tiles = max(0, len(self.step.tiles) - len(pieces.new_tiles))
        corner = PixelRect(0, 0, 1, 1)
        self.canvas.finish(END, f"{key} {' '.join(bands)}", corner, self.canvas.read(corner))

    def _hash_source(self, prompts: list[str]) -> str:
        """Return the key of all bands, which depend on the whole source, all prompts and the seed."""
        key = hash_inputs(np.zeros(0, np.uint8), prompts, self.seed)
        width, height = self.source.size
        for y in range(0, height, STRIP):
            key = hash_inputs(self.source.read(PixelRect(0, y, width, min(y + STRIP, height))), key)
        return key

    def _is_finished(self, key: str) -> bool:
        finished_key, _, bands = self.canvas.key(END).partition(" ")
        rects = [PixelRect(*map(int, band.split(","))) for band in bands.split()]
        return finished_key == key and all(self.canvas.is_finished(str(rect), key, rect) for rect in rects)

    def _enlarge(self, prompts: list[str], pieces: PieceStore) -> Iterator[tuple[PixelRect, RGBF]]:
        """Yield the parts that the backbone makes, at the size of the output."""
        assert isinstance(self.backbone, WholePictureBackbone)
        parts = self.backbone.enlarge_whole(
            self._map_source(),
            prompts,
            self.seed,
            store=pieces,
            on_fallback=lambda _, detour: self.note(detour),
            **blend_options(self.job.request),
        )
        detailed = self._add_detail(parts)
        yield from detailed if self.step.exact else self._reduce(detailed)

    def _map_source(self) -> RGB8:
        """Return the source as one array of 8 bits; a canvas is mapped, not read."""
        if isinstance(self.source, Canvas):
            mapped = np.memmap(self.source.path, self.source.dtype, "r", shape=(*self.source.size[::-1], 3))
            return to_8_bits(mapped)
        assert isinstance(self.source, PhotoSource)
        return to_8_bits(self.source.colour)

    def _add_detail(self, parts: Iterator[tuple[Box, RGBF]]) -> Iterator[tuple[PixelRect, RGBF]]:
        """Yield the backbone's parts with what 16 bits add to them, and time the backbone."""
        while True:
            started = time.perf_counter()
            part = next(parts, None)
            self.backbone_seconds += time.perf_counter() - started
            if part is None:
                return
            rect, pixels = PixelRect(*part[0].whole()), part[1]
            detail = enlarge_detail(self.source, rect, self.backbone.info.factor)
            yield rect, pixels if detail is None else pixels + detail

    def _reduce(self, bands: Iterator[tuple[PixelRect, RGBF]]) -> Iterator[tuple[PixelRect, RGBF]]:
        """Reduce bands of the whole width, each down to the last output row that it fills."""
        width, down = self.step.output.width, self.backbone.info.factor / self.step.ratio[1]
        pending: RGBF | None = None
        first_row = finished_rows = 0  # of the enlargement, where `pending` begins; of the output
        for band, pixels in bands:
            pending = pixels if pending is None else np.concatenate([pending, pixels])
            rows = floor(band.y1 / down)
            if rows > finished_rows:
                top, bottom = finished_rows * down - first_row, rows * down - first_row
                region = Box(Fraction(0), top, Fraction(pending.shape[1]), bottom)
                reduced = crop_or_reduce(pending, region, Size(width, rows - finished_rows))
                yield PixelRect(0, finished_rows, width, rows), reduced
                finished_rows, next_row = rows, floor(rows * down)
                pending, first_row = pending[next_row - first_row :], next_row


def hash_inputs(pixels: Samples, *others: object) -> str:
    """Return a hash of pixels and of everything else that a part is made from."""
    digest = hashlib.blake2b(repr((pixels.shape, str(pixels.dtype), *others)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
