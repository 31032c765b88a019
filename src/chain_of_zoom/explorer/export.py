"""Save a view with the pixels of the tiles: as `coz zoom` saves a zoom, as a sheet, an animation or a picture."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from chain_of_zoom.backbones.base import WindowPlace
from chain_of_zoom.chain.choice import EDITED, Choice
from chain_of_zoom.chain.enlargement import resample_state
from chain_of_zoom.chain.request import ZoomRequest
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.chain.run import ZoomModels, ZoomRun
from chain_of_zoom.chain.schedule import MAX_MAGNIFICATION, Origin, Step
from chain_of_zoom.chain.state import ScaleState, magnification_name
from chain_of_zoom.errors import UsageError
from chain_of_zoom.explorer.grid import Grid, SightRect
from chain_of_zoom.explorer.maker import TileMaker
from chain_of_zoom.explorer.protocol import ExportKind
from chain_of_zoom.explorer.tree import ZoomTree
from chain_of_zoom.explorer.words import BY_USER, TileWords
from chain_of_zoom.imaging.encode import TRAINED_MODEL, encode_png, label
from chain_of_zoom.imaging.geometry import PixelRect, Size, fit_scale
from chain_of_zoom.imaging.images import RGB8, resize
from chain_of_zoom.movie.animation import MAX_SIDE as ANIMATION_SIDE
from chain_of_zoom.movie.animation import Animation, encode
from chain_of_zoom.truth.resolution import count_blur

MAX_SIDE = 4096
"""Pixels of the longer side of what is saved."""
MAX_REGION_PIXELS = 64_000_000
"""Pixels of a region at the resolution of its tiles."""
DEEP_ZOOM_TILE, XMP = 510, 2
"""Pixels of the side of a tile without its overlap, and the flag of libvips that keeps the label."""
FROM_TILES = "cut from tiles of coz explore"
_HALF = Fraction(1, 2)
_WRITERS = {"": "null", BY_USER: EDITED}
"""Names of those who write words, as records have them."""


class TreeRun(ZoomRun):
    """A zoom whose states are cut from the tiles that are there, and that makes none.

    Where a tile of the level that fits is absent, the one above it is enlarged, as on the screen; the state says so.
    """

    def __init__(self, models: ZoomModels, request: ZoomRequest, maker: TileMaker, tree: ZoomTree) -> None:
        """Plan the states. Raises UsageError for a view that is none."""
        self.maker = maker
        self.tree = tree
        super().__init__(models, tree.photo.picture, request)

    def states(
        self, finished_states: Sequence[ScaleState] = (), choices: Sequence[Choice] = (), stop: int | None = None
    ) -> Iterator[ScaleState]:
        """Yield the states; nothing is computed, so there is nothing to choose or to go on with."""
        for step in self.steps:
            if step.enlarge:
                yield self._cut_state(step)
            else:
                yield resample_state(self._job((), ()), step)

    @property
    def may_use_words(self) -> bool:
        """Whether any tile may be made with words."""
        return self.tree.may_use_words

    def _check_memory(self) -> None:
        """Cutting takes no memory worth a word."""

    def _cut_state(self, step: Step) -> ScaleState:
        info, recipe = self.models.backbone.info, self.tree.recipe
        level = fit_level(self.tree.grid, step.source_scale)
        scale = self.tree.grid.scale(level)
        region = step.window.scaled(scale, scale)
        area = PixelRect(*region.hull().whole())
        shown = self.maker.read_shown(self.tree, level, area)
        is_made = shown.deepest > 0 and info.resample is None
        words = self._find_words(step, level) if is_made else TileWords()
        turned = (f"windows turned for the backbone: {recipe.turn}",) if recipe.turn != "none" else ()
        count = len(list(self.tree.grid.covering(level, area)))
        some = f"{shown.absent} of {count} " if shown.absent < count else ""
        absent = (f"{some}tiles at {scale}x were absent",) if shown.absent else ()
        deepest = self.tree.grid.scale(shown.deepest)
        finest = self.meter.measure(step.window)
        depth = min(step.source_scale, deepest) * count_blur(finest)
        return ScaleState(
            image=resize(shown.pixels, self.output, "bicubic", region.shifted(-area.x0, -area.y0)),
            magnification=float(step.magnification),
            source_scale=float(step.source_scale),
            origin=Origin.GENERATED if is_made else Origin.INTERPOLATED,
            window=step.window.floats(),
            prompter=_WRITERS.get(words.by, words.by),
            prompt_raw=words.text,
            prompt=words.text,
            prompt_used=self.models.backbone.uses(words.text, WindowPlace(0, 0, float(scale) / info.factor)),
            finest=finest,
            beyond_evidence=is_made and info.acting_as(uses_words=self.may_use_words).is_beyond_evidence(depth),
            fallbacks=(f"{FROM_TILES} at {deepest}x the photo's own resolution", *turned, *absent),
        )

    def _find_words(self, step: Step, level: int) -> TileWords:
        """Return the words of the tile in the middle of a step's window."""
        scale, middle = self.tree.grid.scale(level), step.window.centre
        column, row = int(middle.x * scale), int(middle.y * scale)
        (place,) = self.tree.grid.covering(level, PixelRect(column, row, column + 1, row + 1))
        return self.maker.find_words(self.tree, place) or TileWords(by=self.tree.recipe.prompter)


def fit_level(grid: Grid, scale: Fraction | float) -> int:
    """Return the level that a screen shows at so many of its pixels for each of the photo: reduced to half at most."""
    return max((level for level in grid.levels if scale / grid.scale(level) >= _HALF), default=grid.shallowest)


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
    restraint = tree.recipe.restraint or Restraint()
    request = ZoomRequest(
        at=",".join(f"{value:.15f}" for value in centre),
        zoom=min(max(round(magnification, 9), 1.0), float(MAX_MAGNIFICATION)),
        size=(output.width, output.height),
        prompt=tree.recipe.words,
        seed=tree.recipe.seed,
        detail=restraint.detail,
        faithful=restraint.faithful,
    )
    return TreeRun(models, request, maker, tree)


class SavedFile(NamedTuple):
    """A file for a person to keep."""

    name: str
    """Its name, without folders."""
    data: bytes
    """Its bytes."""


def export_view(run: TreeRun, kind: ExportKind) -> SavedFile:
    """Make the file of a view, with the pixels on the screen. Raises UsageError, and MissingError without ffmpeg.

    kind: "zip" for all that `coz zoom` writes, "sheet" for its contact sheet, "webp" or "mp4" for a smooth zoom to
    here, "png" or "dzi" for what is in sight, at the resolution of its tiles.
    """
    stem = f"{Path(run.name).stem}_{magnification_name(float(run.steps[-1].magnification))}"
    if kind in ("png", "dzi"):
        return cut_region(run, stem, kind)
    if kind == "zip":
        return _export_folder(run, stem)
    states = list(run.states())
    if kind == "sheet":
        return SavedFile(f"{stem}_sheet.png", run.draw_sheet(states))
    suffix = f".{kind}"
    animation = Animation(states, side=ANIMATION_SIDE[suffix])
    return SavedFile(stem + suffix, encode(animation, iter(animation), suffix, run.describe()))


def _export_folder(run: TreeRun, stem: str) -> SavedFile:
    """Write a run to a folder and put it into a zip file."""
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
    return SavedFile(f"{stem}.zip", buffer.getvalue())


def cut_region(run: TreeRun, stem: str, kind: ExportKind) -> SavedFile:
    """Cut what is in sight at the resolution of its tiles: a PNG, or a zip of Deep Zoom tiles, which are PNGs, too."""
    step, info = run.steps[-1], run.models.backbone.info
    level = fit_level(run.tree.grid, step.source_scale)
    scale = run.tree.grid.scale(level)
    area = PixelRect(*step.window.scaled(scale, scale).hull().whole())
    if area.pixels > MAX_REGION_PIXELS:
        raise UsageError(f"a region of {area.size} pixels; accepted: up to {MAX_REGION_PIXELS}; use a smaller window")
    shown = run.maker.read_shown(run.tree, level, area)
    is_made = shown.deepest > 0 and info.resample is None
    by = f"GENERATED by the model {info.name}, not photographed" if is_made else "not made by a model"
    absent = f"; {shown.absent} tiles were absent" if shown.absent else ""
    text = f"Region {area} of {run.name} at {scale}x its own resolution, {by}{absent}"
    texts, xmp = label(text, TRAINED_MODEL if is_made else None)
    if kind == "png":
        return SavedFile(f"{stem}_region.png", encode_png(shown.pixels, texts, xmp))
    return SavedFile(f"{stem}_region.zip", encode_deep_zoom(shown.pixels, f"{stem}_region", xmp))


def encode_deep_zoom(pixels: RGB8, name: str, xmp: str) -> bytes:
    """Encode uint8 pixels (H x W x 3) as a Deep Zoom picture, lossless, in a zip file. xmp: the label in every tile."""
    from chain_of_zoom.imaging.formats.vips import pyvips

    image = pyvips.Image.new_from_array(pixels).copy()
    image.set_type(pyvips.GValue.blob_type, "xmp-data", xmp.encode())
    options = {"tile_size": DEEP_ZOOM_TILE, "overlap": 1, "suffix": ".png", "keep": XMP}
    archive: bytes = image.dzsave_buffer(imagename=name, **options)
    return archive
