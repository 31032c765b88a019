"""What prompters are shown, cut from photos at several scales: the parent view, and its 4x zoom as the chain has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import Enlargement, ZoomJob
from chain_of_zoom.chain.schedule import Aim, plan_chain
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Box, Point, Size, snapped_window
from chain_of_zoom.imaging.images import RGB8, resize, size_of
from chain_of_zoom.imaging.texture import Spot, gradient_energy
from chain_of_zoom.prompters.fixed import Fixed

FACTOR = 4
GREYS = 64


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A square of a photo, to be zoomed into at a spot. number: of the spot; spot, box: in pixels of the photo."""

    number: int
    spot: Spot
    box: Box

    @property
    def frame(self) -> int:
        """Pixels of the photo across."""
        return int(self.box.width)


@dataclass(frozen=True, kw_only=True)
class PairView:
    """A parent and its zoom, uint8, side x side x 3. Boxes are in pixels of the photo."""

    parent: RGB8
    zoomed: RGB8
    window: RGB8
    box: Box
    zoomed_box: Box

    @cached_property
    def detail(self) -> float:
        """Root mean square step between neighbouring pixels of the window before its enlargement, in levels."""
        return math.sqrt(gradient_energy(self.window))

    @cached_property
    def entropy(self) -> float:
        """Of the window's greys in 64 classes, in bits: 0 to 6."""
        counts = np.bincount((self.window.mean(axis=2) * (GREYS / 256)).astype(int).ravel(), minlength=GREYS)
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log2(shares)).sum())

    @cached_property
    def fingerprint(self) -> int:
        """Difference hash of the zoomed view: 64 bits, each whether a cell of 9 x 8 is darker than the next one."""
        cells = resize(self.zoomed, Size(9, 8), "lanczos").astype(int).sum(axis=2)
        return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes())


def list_crops(picture: Size, spots: Sequence[Spot], side: int) -> list[Crop]:
    """Squares around every spot: the whole short side, a half, a quarter ... while they have `side` pixels."""
    found = []
    frame = min(picture)
    while frame >= side:
        for number, (x, y) in enumerate(spots, 1):
            box = snapped_window(Size(frame, frame), Point(Fraction(x), Fraction(y)), picture)
            found.append(Crop(number=number, spot=(x, y), box=box))
        frame //= 2
    return found


def cut_views(
    pixels: RGB8, wanted: Sequence[tuple[Crop, int]], side: int, backbone: Backbone, seed: int
) -> list[PairView]:
    """For every (crop, depth): the crop reduced to `side`, zoomed `depth` times by the backbone; and the next 4x.

    The steps, the states and the enlargement are those of the chain, on a picture that ends where the crop does.
    Raises UsageError for a backbone of another factor, where one is needed.
    """
    if backbone.info.factor != FACTOR and any(depth for _, depth in wanted):
        raise UsageError(
            f"{backbone.info.name} enlarges {backbone.info.factor} times; accepted: a backbone of factor {FACTOR}, "
            "since pairs are 4x apart; see coz backbones"
        )
    size = Size(side, side)
    jobs = []
    for crop, depth in wanted:
        x, y = (Fraction(at) - edge for at, edge in zip(crop.spot, crop.box[:2], strict=True))
        spot = Point(x * side / crop.frame, y * side / crop.frame)
        aim = Aim(picture=size, output=size, spot=spot, magnification=Fraction(FACTOR ** (depth + 1)))
        picture = resize(pixels, size, "lanczos", crop.box)
        jobs.append(ZoomJob(picture=picture, steps=plan_chain(aim, FACTOR), output=size, seed=seed))
    states: list[list[ScaleState]] = [[] for _ in jobs]
    for i, state in Engine(backbone, Fixed()).run([replace(job, steps=job.steps[:-1]) for job in jobs]):
        states[i].append(state)
    return [_view(job, done, crop) for job, done, (crop, _) in zip(jobs, states, wanted, strict=True)]


def _view(job: ZoomJob, done: list[ScaleState], crop: Crop) -> PairView:
    """The last step of a job, as its prompter would see it."""
    ahead = Enlargement(job, done)
    context = ahead.context
    x0, y0, x1, y1 = ahead.step.cut.whole()
    scale = Fraction(crop.frame, size_of(job.picture).width)
    boxes = [step.window.scaled(scale, scale).shifted(crop.box.x0, crop.box.y0) for step in job.steps[-2:]]
    return PairView(
        parent=context.states[-1],
        zoomed=context.zoomed,
        window=ahead.parent[y0:y1, x0:x1],
        box=boxes[0],
        zoomed_box=boxes[1],
    )
