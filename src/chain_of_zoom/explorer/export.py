"""Save a view as `coz zoom` saves a zoom: states, sheet and record, with the pixels of the tiles, in one zip file."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from chain_of_zoom.chain.choice import Choice
from chain_of_zoom.chain.enlargement import resample_state
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.run import ZoomModels, ZoomRun
from chain_of_zoom.chain.schedule import MAX_MAGNIFICATION, Origin, Step
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.errors import UsageError
from chain_of_zoom.explorer.grid import SightRect
from chain_of_zoom.explorer.maker import TileMaker
from chain_of_zoom.explorer.tree import ZoomTree
from chain_of_zoom.imaging.geometry import PixelRect, Size, fit_scale
from chain_of_zoom.imaging.images import RGB8, resize

MAX_SIDE = 4096
"""Pixels of the longer side of what is saved."""
FROM_TILES = "cut from tiles of coz explore"
_HALF = Fraction(1, 2)


class TreeRun(ZoomRun):
    """A zoom whose states are cut from the tiles that are there, and that makes none.

    Where a tile of the level that fits is absent, the state is cut from the deepest level that is whole there, as the
    screen shows it; it then says so among its fallbacks.
    """

    def __init__(self, models: ZoomModels, request: ZoomRequest, maker: TileMaker, tree: ZoomTree) -> None:
        """Plan the states. Raises UsageError for a view that is none."""
        super().__init__(models, tree.photo.picture, request)
        self.maker = maker
        self.tree = tree

    def states(
        self, finished_states: Sequence[ScaleState] = (), choices: Sequence[Choice] = (), stop: int | None = None
    ) -> Iterator[ScaleState]:
        """Yield the states; nothing is computed, so there is nothing to choose or to go on with."""
        for step in self.steps:
            if step.enlarge:
                yield self._cut_state(step)
            else:
                yield resample_state(self._job((), ()), step)

    def _check_memory(self) -> None:
        """Cutting takes no memory worth a word."""

    def _cut_state(self, step: Step) -> ScaleState:
        grid, info, words = self.tree.grid, self.models.backbone.info, self.tree.recipe.words
        fitting = max(level for level in grid.levels if level <= 0 or step.source_scale / grid.scale(level) >= _HALF)
        level, image = self._cut(step, fitting)
        is_made = level > 0 and info.resample is None
        scale = min(step.source_scale, grid.scale(level))
        is_beyond = is_made and info.is_beyond_evidence(scale)
        recipe = self.tree.recipe
        turned = (f"windows turned for the backbone: {recipe.turn}",) if recipe.turn != "none" else ()
        absent = (f"tiles at {grid.scale(fitting)}x were absent",) if level < fitting else ()
        return ScaleState(
            image=image,
            magnification=float(step.magnification),
            source_scale=float(step.source_scale),
            origin=Origin.GENERATED if is_made else Origin.INTERPOLATED,
            window=step.window.floats(),
            prompter="text" if words else self.models.prompter.name,
            prompt_raw=words,
            prompt=words,
            prompt_used=info.text_aware and bool(words),
            beyond_evidence=is_beyond,
            fallbacks=(f"{FROM_TILES} at {grid.scale(level)}x the photo's own resolution", *turned, *absent),
        )

    def _cut(self, step: Step, fitting: int) -> tuple[int, RGB8]:
        """Resample the window of a step from the deepest level, up to the one that fits, that is whole there."""
        for level in range(fitting, 0, -1):
            scale = self.tree.grid.scale(level)
            region = step.window.scaled(scale, scale)
            area = PixelRect(*region.hull().whole())
            try:
                pixels = self.maker.read(self.tree, level, area)
            except KeyError:
                continue
            return level, resize(pixels, self.output, "bicubic", region.shifted(-area.x0, -area.y0))
        return 0, resize(self.tree.photo.picture.pixels, self.output, "bicubic", step.window)


def plan_export(
    models: ZoomModels, maker: TileMaker, tree: ZoomTree, sight: SightRect, size: tuple[int, int]
) -> TreeRun:
    """Plan what is saved of a view. size: of the screen that shows `sight`, in pixels. Raises UsageError.

    Of a view that reaches beyond the photo the part inside is saved, at the scale of the screen.
    """
    photo = tree.photo.size
    edges = [min(max(edge, 0.0), 1.0) for edge in sight]
    spans = Fraction(edges[2]) - Fraction(edges[0]), Fraction(edges[3]) - Fraction(edges[1])
    if min(spans) <= 0:
        raise UsageError("nothing of the photo is in sight; accepted: a view of it; move back to the photo")
    shares = [span / Fraction(sight[axis + 2] - sight[axis]) for axis, span in enumerate(spans)]
    output = Size(*(max(1, round(side * share)) for side, share in zip(size, shares, strict=True)))
    if max(output) > MAX_SIDE:
        raise UsageError(f"a view of {output} pixels; accepted: up to {MAX_SIDE} a side; use a smaller window")
    centre = [(edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2]
    magnification = float(fit_scale(photo, output) * output.width / (spans[0] * photo.width))
    request = ZoomRequest(
        at=",".join(f"{value:.15f}" for value in centre),
        zoom=min(max(round(magnification, 9), 1.0), float(MAX_MAGNIFICATION)),
        size=(output.width, output.height),
        prompt=tree.recipe.words,
        seed=tree.recipe.seed,
    )
    return TreeRun(models, request, maker, tree)


def export_view(run: TreeRun) -> tuple[str, bytes]:
    """Write a run to a zip file; return its name and its bytes."""
    stem = f"{Path(run.name).stem}_{magnification_name(float(run.steps[-1].magnification))}"
    with tempfile.TemporaryDirectory(prefix="coz-explore-") as folder:
        home = Path(folder) / stem
        run.photo = replace(run.photo, path=Path(folder) / run.name)  # the record shall name no folder of this machine
        with run.open(home):
            for _ in run.write():
                pass
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(home.iterdir()):
                archive.write(path, f"{stem}/{path.name}")
    return f"{stem}.zip", buffer.getvalue()
