"""Cut what prompters are shown from photos, at several scales: a view, and its 4x zoom as the chain makes it."""

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
from chain_of_zoom.imaging.spots import Spot, measure_gradient_energy
from chain_of_zoom.prompters.fixed import Fixed

FACTOR = 4
GREYS = 64


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A square of a photo, which is zoomed into at a spot."""

    number: int
    """Number of the spot, from 1."""
    spot: Spot
    """Where the zoom goes, in pixels of the photo."""
    box: Box
    """The square, in pixels of the photo."""

    @property
    def frame(self) -> int:
        """Return how many pixels of the photo the square is across."""
        return int(self.box.width)


@dataclass(frozen=True, kw_only=True)
class PairView:
    """A parent view and its zoom. Pictures are uint8; boxes are in pixels of the photo."""

    parent: RGB8
    """The view that is zoomed into, side x side x 3."""
    zoomed: RGB8
    """Its 4x zoom, side x side x 3."""
    window: RGB8
    """The part of the parent that is enlarged, before its enlargement."""
    box: Box
    """What the parent shows."""
    zoomed_box: Box
    """What the zoomed view shows."""

    @cached_property
    def detail(self) -> float:
        """Return the root mean square step between neighbouring pixels of the window, in levels."""
        return math.sqrt(measure_gradient_energy(self.window))

    @cached_property
    def entropy(self) -> float:
        """Return the entropy of the window's greys in 64 classes, in bits: 0 to 6."""
        counts = np.bincount((self.window.mean(axis=2) * (GREYS / 256)).astype(int).ravel(), minlength=GREYS)
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log2(shares)).sum())

    @cached_property
    def fingerprint(self) -> int:
        """Return a difference hash of the zoomed view: 64 bits, 1 where a cell of 9 x 8 is darker than the next one."""
        cells = resize(self.zoomed, Size(9, 8), "lanczos").astype(int).sum(axis=2)
        return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes())


def list_crops(picture: Size, spots: Sequence[Spot], side: int) -> list[Crop]:
    """List squares around every spot: the whole short side, a half, a quarter ... while they have `side` pixels."""
    listed = []
    frame = min(picture)
    while frame >= side:
        for number, (x, y) in enumerate(spots, 1):
            box = snapped_window(Size(frame, frame), Point(Fraction(x), Fraction(y)), picture)
            listed.append(Crop(number=number, spot=(x, y), box=box))
        frame //= 2
    return listed


def cut_views(
    pixels: RGB8, requests: Sequence[tuple[Crop, int]], side: int, backbone: Backbone, seed: int
) -> list[PairView]:
    """Cut a view for every (crop, depth).

    The crop is reduced to `side` pixels and zoomed `depth` times by the backbone; the view is that state and its next
    4x. Steps, states and enlargement are those of the chain, on a picture that ends where the crop does.
    Raises UsageError for a backbone of another factor, where one is needed.
    """
    if backbone.info.factor != FACTOR and any(depth for _, depth in requests):
        raise UsageError(
            f"{backbone.info.name} enlarges {backbone.info.factor} times; accepted: a backbone of factor {FACTOR}, "
            "since pairs are 4x apart; see coz backbones"
        )
    size = Size(side, side)
    jobs = []
    for crop, depth in requests:
        x, y = (Fraction(at) - edge for at, edge in zip(crop.spot, crop.box[:2], strict=True))
        spot = Point(x * side / crop.frame, y * side / crop.frame)
        aim = Aim(picture=size, output=size, spot=spot, magnification=Fraction(FACTOR ** (depth + 1)))
        picture = resize(pixels, size, "lanczos", crop.box)
        jobs.append(ZoomJob(picture=picture, steps=plan_chain(aim, FACTOR), output=size, seed=seed))
    states: list[list[ScaleState]] = [[] for _ in jobs]
    for i, state in Engine(backbone, Fixed()).run([replace(job, steps=job.steps[:-1]) for job in jobs]):
        states[i].append(state)
    return [_make_view(job, earlier, crop) for job, earlier, (crop, _) in zip(jobs, states, requests, strict=True)]


def _make_view(job: ZoomJob, earlier: list[ScaleState], crop: Crop) -> PairView:
    """Return the last step of a job, as its prompter would see it. earlier: the states before that step."""
    next_step = Enlargement(job, earlier)
    context = next_step.context
    x0, y0, x1, y1 = next_step.step.cut.whole()
    scale = Fraction(crop.frame, size_of(job.picture).width)
    boxes = [step.window.scaled(scale, scale).shifted(crop.box.x0, crop.box.y0) for step in job.steps[-2:]]
    return PairView(
        parent=context.states[-1],
        zoomed=context.zoomed,
        window=next_step.parent[y0:y1, x0:x1],
        box=boxes[0],
        zoomed_box=boxes[1],
    )
