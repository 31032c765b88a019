"""Prompts of tiles, in a file that can be read, edited and given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from chain_of_zoom.chain.enlargement import prompt_from
from chain_of_zoom.errors import UsageError
from chain_of_zoom.files import write_atomic
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, resize
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_json
from chain_of_zoom.prompters.base import PromptContext, Prompter
from chain_of_zoom.upscaling.plan import PlannedTile, UpscaleStep

SHOWN = 512  # pixels of the overview's short side, and of a tile's long side, as a prompter sees them
LONGEST = 2048  # of the overview of a panorama
BATCH = 8


class TilePrompt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The prompt of one tile, as sent. box: x0, y0, x1, y1 in output pixels of its step."""

    row: int
    col: int
    box: tuple[int, int, int, int] | None = None
    prompt: str


class StepPrompts(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The prompts of one step. scale: of the photo, when the step is done; None where there is one step only."""

    scale: float | None = None
    tiles: list[TilePrompt]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    steps: list[StepPrompts]


class TilePrompts:
    """The prompts of all tiles of a run, kept in a file as they come."""

    def __init__(self, path: Path, steps: Sequence[tuple[UpscaleStep, Sequence[PlannedTile]]]) -> None:
        self.path = path
        self._steps = {float(step.scale): {(tile.row, tile.col): tile for tile in tiles} for step, tiles in steps}
        self._texts: dict[tuple[float, int, int], str] = {}

    def take(self, path: Path) -> None:
        """Take over the prompts of a file: the same as is written here, or one step's alone. Raises UsageError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read ({error.strerror or error}); accepted: a prompts file; check its name"
            ) from error
        try:
            steps = _decode(data)
        except msgspec.DecodeError as error:
            raise UsageError(
                f"{path.name} is no prompts file ({error}); accepted: "
                '{"steps": [{"scale", "tiles": [{"row", "col", "prompt"}]}]}; start from the one a run wrote'
            ) from error
        for step in steps:
            self._take(step, path.name)

    def _take(self, step: StepPrompts, name: str) -> None:
        scale = step.scale
        if scale is None and len(self._steps) == 1:
            (scale,) = self._steps
        if scale not in self._steps:
            known = ", ".join(f"{each:g}" for each in self._steps)
            raise UsageError(f'{name}: no step has the scale {scale}; accepted: {known}; add "scale" to every step')
        tiles = self._steps[scale]
        for each in step.tiles:
            tile = tiles.get((each.row, each.col))
            if tile is None or each.box not in (None, tuple(tile.box)):
                rows, columns = (1 + max(place[axis] for place in tiles) for axis in (0, 1))
                raise UsageError(
                    f"{name}: at scale {scale:g} no tile is in row {each.row}, column {each.col} with box {each.box}; "
                    f"accepted: {rows} rows and {columns} columns of this run; start from the file that it wrote"
                )
            self._texts[scale, each.row, each.col] = each.prompt

    def to_json(self) -> bytes:
        """The prompts that are known."""
        steps = [
            StepPrompts(
                scale=scale,
                tiles=[
                    TilePrompt(row=row, col=col, box=(*tile.box,), prompt=self._texts[scale, row, col])
                    for (row, col), tile in tiles.items()
                    if (scale, row, col) in self._texts
                ],
            )
            for scale, tiles in self._steps.items()
        ]
        return format_json(_File(steps))

    def ask(
        self,
        step: UpscaleStep,
        prompter: Prompter,
        text: str,
        overview: RGB8,
        read: Callable[[PlannedTile], RGB8],
        on_prompt: Callable[[], None],
    ) -> list[str]:
        """The prompts of a step's tiles, asking for those not known; each batch is in the file before the next."""
        scale = float(step.scale)
        tiles = self._steps[scale]
        missing = [tile for place, tile in tiles.items() if (scale, *place) not in self._texts]
        for start in range(0, len(missing), BATCH):
            some = missing[start : start + BATCH]
            contexts = [PromptContext([overview], shown(read(tile)), scale) for tile in some]
            for tile, raw in zip(some, prompter(contexts), strict=True):
                self._texts[scale, tile.row, tile.col] = prompt_from(raw, text, as_published=False)[1]
                on_prompt()
            self.save()
        return [self._texts[scale, row, col] for row, col in tiles]

    def save(self) -> None:
        """Write the file."""
        write_atomic(self.path, self.to_json())


def _decode(data: bytes) -> list[StepPrompts]:
    """Either form of the file."""
    keys = parse_json(data, dict[str, msgspec.Raw])
    if "steps" in keys:
        return parse_json(data, _File).steps
    return [parse_json(data, StepPrompts)]


def overview(colour: RGB8) -> RGB8:
    """The whole picture as a prompter sees it: short side 512 (method, section 3)."""
    height, width = colour.shape[:2]
    scale = min(SHOWN / min(height, width), LONGEST / max(height, width))
    return resize(colour, Size(max(1, round(width * scale)), max(1, round(height * scale))), "lanczos")


def shown(pixels: RGB8) -> RGB8:
    """A tile as a prompter sees it: long side 512."""
    height, width = pixels.shape[:2]
    scale = SHOWN / max(height, width)
    return resize(pixels, Size(max(1, round(width * scale)), max(1, round(height * scale))), "bicubic")
