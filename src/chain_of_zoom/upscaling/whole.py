"""A step by a backbone that enlarges whole pictures itself, in overlapping tiles of latents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, MutableMapping
from fractions import Fraction
from io import BytesIO
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.backbones.base import WholePictureBackbone
from chain_of_zoom.errors import UsageError
from chain_of_zoom.files import make_inner_folder, write_atomic
from chain_of_zoom.imaging.geometry import Box, Size, pixel_box
from chain_of_zoom.imaging.images import RGB8, RGBF, area_reduce, to_8_bits
from chain_of_zoom.upscaling.canvas import Canvas, PixelRect
from chain_of_zoom.upscaling.depth import PhotoSource, fine_detail
from chain_of_zoom.upscaling.plan import PlannedTile, UpscaleStep
from chain_of_zoom.upscaling.request import UpscaleRequest
from chain_of_zoom.upscaling.step import StepRun, digest

TILE, OVERLAP = 64, 16  # latents (method, section 3)
END = "end"
STRIP = 256  # rows read at a time


def blending(request: UpscaleRequest) -> dict[str, Any]:
    """How tiles lie and join: as asked for, else as published, smoothly."""
    return {
        "tile": TILE if request.tile is None else request.tile,
        "overlap": OVERLAP if request.overlap is None else request.overlap,
        "blend": request.blend or "smooth",
    }


def whole_size(backbone: WholePictureBackbone, request: UpscaleRequest) -> Callable[[Size], Size]:
    """From a picture's size to that of its enlargement by the factor."""
    return lambda size: backbone.whole_size(size, request.blend or "smooth")


def whole_tiles(backbone: WholePictureBackbone, step: UpscaleStep, request: UpscaleRequest) -> list[PlannedTile]:
    """The backbone's tiles, in source and output pixels. Raises UsageError for settings it cannot blend."""
    if not step.exact and request.blend == "published":
        raise UsageError(
            f"--blend published enlarges by {backbone.info.factor} only; accepted: powers of it, or --blend smooth"
        )
    factor = backbone.info.factor
    across, down = (ratio / factor for ratio in step.ratio)
    return [
        PlannedTile(
            row=tile.row,
            col=tile.col,
            window=_corners(tile.box, Fraction(1, factor), Fraction(1, factor)),
            box=_corners(tile.box, across, down),
        )
        for tile in backbone.tiles(step.source, **blending(request))
    ]


def _corners(box: Box, across: Fraction, down: Fraction) -> PixelRect:
    return PixelRect(*(round(edge) for edge in box.scaled(across, down)))


class WholeStep(StepRun):
    """With a WholePictureBackbone; its finished pieces lie in a folder beside the canvas."""

    def make(self, prompts: list[str]) -> None:
        """Band by band; the backbone takes the pieces that an earlier run made from its store."""
        key = self._key(prompts)
        if self._is_finished(key):
            self.kept = len(self.tiles)
            return
        pieces = PieceStore(self.tools.work / f"step{self.step.number}.pieces")
        parts: list[str] = []
        for box, pixels in self._parts(prompts, pieces):
            parts.append(str(box))
            self.keep(str(box), key, box, pixels)
            self.tell(sum(tile.box.y1 <= box.y1 for tile in self.tiles))
        self.kept = max(0, len(self.tiles) - len(pieces.made))
        self.canvas.finish(
            END, f"{key} {' '.join(parts)}", PixelRect(0, 0, 1, 1), self.canvas.read(PixelRect(0, 0, 1, 1))
        )

    def _key(self, prompts: list[str]) -> str:
        """Names the source, all prompts and the seed."""
        key = digest(np.zeros(0, np.uint8), prompts, self.seed)
        width, height = self.source.size
        for y in range(0, height, STRIP):
            key = digest(self.source.read(PixelRect(0, y, width, min(y + STRIP, height))), key)
        return key

    def _is_finished(self, key: str) -> bool:
        found, _, parts = self.canvas.key(END).partition(" ")
        boxes = [PixelRect(*map(int, part.split(","))) for part in parts.split()]
        return found == key and all(self.canvas.is_finished(str(box), key, box) for box in boxes)

    def _parts(self, prompts: list[str], pieces: PieceStore) -> Iterator[tuple[PixelRect, RGBF]]:
        """What the backbone makes, at the size of the output."""
        assert isinstance(self.backbone, WholePictureBackbone)
        enlarged = self._timed(
            self.backbone.enlarge_whole(
                self._picture(),
                prompts,
                self.seed,
                store=pieces,
                on_fallback=lambda _, what: self.note(what),
                **blending(self.tools.request),
            )
        )
        bands = ((PixelRect(*box.whole()), self._with_detail(box, pixels)) for box, pixels in enlarged)
        yield from bands if self.step.exact else self._reduced(bands)

    def _timed(self, made: Iterator[tuple[Box, RGBF]]) -> Iterator[tuple[Box, RGBF]]:
        while True:
            started = time.perf_counter()
            part = next(made, None)
            self.backbone_seconds += time.perf_counter() - started
            if part is None:
                return
            yield part

    def _picture(self) -> RGB8:
        """The source as one array of 8 bits; a canvas is mapped, not read."""
        if isinstance(self.source, Canvas):
            mapped = np.memmap(self.source.path, self.source.dtype, "r", shape=(*self.source.size[::-1], 3))
            return to_8_bits(mapped)
        assert isinstance(self.source, PhotoSource)
        return to_8_bits(self.source.colour)

    def _with_detail(self, box: Box, pixels: RGBF) -> RGBF:
        detail = fine_detail(self.source, PixelRect(*box.whole()), self.backbone.info.factor)
        return pixels if detail is None else pixels + detail

    def _reduced(self, bands: Iterator[tuple[PixelRect, RGBF]]) -> Iterator[tuple[PixelRect, RGBF]]:
        """Bands of the whole width reduced by area, each down to the last row that it fills."""
        factor, width = self.backbone.info.factor, self.step.output.width
        down = factor / self.step.ratio[1]
        rest: RGBF | None = None
        first = made = 0  # the first row of `rest`, and rows of the output that are done
        for band, pixels in bands:
            rest = pixels if rest is None else np.concatenate([rest, pixels])
            rows = floor(band.y1 / down)
            if rows > made:
                x1 = rest.shape[1]
                region = pixel_box(0, 0, x1, 0)._replace(y0=made * down - first, y1=rows * down - first)
                yield PixelRect(0, made, width, rows), area_reduce(rest, region, Size(width, rows - made))
                made, keep = rows, floor(rows * down)
                rest, first = rest[keep - first :], keep


class PieceStore(MutableMapping[str, NDArray[np.float32]]):
    """Finished pieces as files of a folder. Of pieces that differ in the last part of their names the newest stays.

    made: the second last parts, which say of which tile, of those that were put in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: set[str] = set()
        make_inner_folder(folder.parent, folder.name)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        try:
            piece: NDArray[np.float32] = np.load(self.folder / f"{name}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise KeyError(name) from None
        return piece

    def __setitem__(self, name: str, piece: NDArray[np.float32]) -> None:
        buffer = BytesIO()
        np.save(buffer, piece, allow_pickle=False)
        write_atomic(self.folder / f"{name}.npy", buffer.getvalue())
        stem = name.rpartition("-")[0]
        self.made.add(stem.rpartition("-")[2])
        for older in self.folder.glob(f"{stem}-*.npy") if stem else ():
            if older.name != f"{name}.npy":
                older.unlink(missing_ok=True)

    def __delitem__(self, name: str) -> None:
        try:
            (self.folder / f"{name}.npy").unlink()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in self.folder.glob("*.npy"))

    def __len__(self) -> int:
        return sum(1 for _ in self)
