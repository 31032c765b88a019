"""Keep the prompts of tiles in a file that can be read, edited and given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from chain_of_zoom.chain.enlargement import prompt_from
from chain_of_zoom.errors import UsageError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, resize, size_of
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.upscaling.plan import PlannedTile, UpscaleStep

SEEN_SIDE = 512
"""Pixels of an overview's short side, and of a tile's long side, as a prompter sees them (as published)."""
OVERVIEW_LIMIT = 2048
"""Pixels of the long side of the overview of a panorama."""
BATCH = 8
"""Tiles about which a prompter is asked at once."""


class TilePrompt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The prompt of one tile, as it is sent."""

    row: int
    """Row of the tile, from 0."""
    col: int
    """Column of the tile, from 0."""
    box: tuple[int, int, int, int] | None = None
    """Edges x0, y0, x1, y1 of the tile, in output pixels of its step."""
    prompt: str
    """The text."""


class StepPrompts(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The prompts of one step."""

    scale: float | None = None
    """Size of the step's result over that of the photo; may be left out where there is one step only."""
    tiles: list[TilePrompt]
    """The prompts of its tiles."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    steps: list[StepPrompts]


class TilePrompts:
    """The prompts of all tiles of a run, and the file that holds them."""

    def __init__(self, path: Path, steps: Sequence[UpscaleStep]) -> None:
        self.path = path
        self._steps = {float(step.scale): {(tile.row, tile.col): tile for tile in step.tiles} for step in steps}
        self._texts: dict[tuple[float, int, int], str] = {}

    def read(self, path: Path) -> None:
        """Take over the prompts of a file that a run wrote, or of one with a single step. Raises UsageError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read ({error.strerror or error}); accepted: a prompts file; check its name"
            ) from error
        try:
            has_steps = "steps" in parse_json(data, dict[str, msgspec.Raw])
            steps = parse_json(data, _File).steps if has_steps else [parse_json(data, StepPrompts)]
        except msgspec.DecodeError as error:
            raise UsageError(
                f"{path.name} is no prompts file ({error}); accepted: "
                '{"steps": [{"scale", "tiles": [{"row", "col", "prompt"}]}]}; start from the one a run wrote'
            ) from error
        for step in steps:
            self._take(step, path.name)

    def _take(self, step: StepPrompts, file: str) -> None:
        scale = step.scale
        if scale is None and len(self._steps) == 1:
            (scale,) = self._steps
        if scale not in self._steps:
            accepted = ", ".join(f"{planned:g}" for planned in self._steps)
            raise UsageError(f'{file}: no step has the scale {scale}; accepted: {accepted}; add "scale" to every step')
        tiles = self._steps[scale]
        for entry in step.tiles:
            tile = tiles.get((entry.row, entry.col))
            if tile is None or entry.box not in (None, tuple(tile.box)):
                rows, columns = (1 + max(place[axis] for place in tiles) for axis in (0, 1))
                raise UsageError(
                    f"{file}: at scale {scale:g} no tile is in row {entry.row}, column {entry.col} with box "
                    f"{entry.box}; accepted: {rows} rows and {columns} columns of this run; start from the file that "
                    "it wrote"
                )
            self._texts[scale, entry.row, entry.col] = entry.prompt

    def to_json(self) -> bytes:
        """Return the file's bytes, with the prompts that are known."""
        steps = []
        for scale, tiles in self._steps.items():
            entries = [
                TilePrompt(row=row, col=col, box=(*tile.box,), prompt=self._texts[scale, row, col])
                for (row, col), tile in tiles.items()
                if (scale, row, col) in self._texts
            ]
            steps.append(StepPrompts(scale=scale, tiles=entries))
        return format_json(_File(steps))

    def save(self) -> None:
        """Write the file."""
        write_atomic(self.path, self.to_json())

    def complete_step(
        self,
        step: UpscaleStep,
        prompter: Prompter,
        text: str,
        overview: RGB8,
        read_tile: Callable[[PlannedTile], RGB8],
        on_prompt: Callable[[int], None],
    ) -> list[str]:
        """Return the prompts of a step's tiles, asking for those that are not known.

        Each batch is in the file before the next. text: the user's own, which follows. overview: the photo as
        `shrink_overview` has it. read_tile: returns a tile before its enlargement. on_prompt: receives the number of
        prompts that were asked for so far.
        """
        scale = float(step.scale)
        missing = [tile for tile in step.tiles if (scale, tile.row, tile.col) not in self._texts]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            contexts = [PromptContext([overview], _enlarge_tile(read_tile(tile)), scale) for tile in batch]
            for number, (tile, raw) in enumerate(zip(batch, prompter(contexts), strict=True), start + 1):
                self._texts[scale, tile.row, tile.col] = prompt_from(raw, text, as_published=False)[1]
                on_prompt(number)
            self.save()
        return [self._texts[scale, tile.row, tile.col] for tile in step.tiles]


def shrink_overview(colour: RGB8) -> RGB8:
    """Resize a whole picture to what a prompter sees of it.

    It is the photo in every step, not the step before: at this size they look the same.
    """
    size = size_of(colour)
    scale = min(SEEN_SIDE / min(size), OVERVIEW_LIMIT / max(size))
    return resize(colour, _scale_size(size, scale), "lanczos")


def _enlarge_tile(pixels: RGB8) -> RGB8:
    """Resize a tile to what a prompter sees of it."""
    size = size_of(pixels)
    return resize(pixels, _scale_size(size, SEEN_SIDE / max(size)), "bicubic")


def _scale_size(size: Size, scale: float) -> Size:
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))
