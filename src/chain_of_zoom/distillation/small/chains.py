"""Draws the chains that the small network learns from: a crop reduced once for each step, and a window to begin with.

The chain is walked as in a zoom: each step enlarges a window of the result before, and what it should have found is
there at every step. Everything follows from the crop and a random generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from chain_of_zoom.distillation.operations import GaussianNoise, Jpeg, Operation, apply
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, resize, size_of, to_uint8
from chain_of_zoom.networks.rrdb.span_layers import FACTOR

Reduction = Literal["bicubic", "area", "lanczos", "camera"]
REDUCTIONS: dict[Reduction, float] = {"bicubic": 0.36, "area": 0.36, "lanczos": 0.14, "camera": 0.14}
"""The ways to reduce, with their shares."""
BLUR = 0.2, 0.5
"""Range of the standard deviation of a camera's blur, in pixels of the reduced picture."""


@dataclass(frozen=True, kw_only=True)
class DrawnChain:
    """Holds a window and what the chain should find in it."""

    reduction: Reduction
    """How the crop was reduced."""
    start: RGB8
    """The window that the first step enlarges: uint8, m x m x 3."""
    truths: tuple[RGB8, ...]
    """For every step what its result should be: uint8, 4 times the window that it enlarges."""
    corners: tuple[tuple[int, int], ...]
    """For every step but the first the row and the column where its window begins in the result before."""


def draw_chain(crop: RGB8, steps: int, window: int, rng: Generator) -> DrawnChain:
    """Draw a chain of some steps from a crop whose side is a multiple of 4^steps.

    window: side of the largest window. Chains of one step begin with noise or JPEG in a quarter of the cases.
    """
    crop = np.ascontiguousarray(np.rot90(crop, int(rng.integers(4))))
    reduction = cast("Reduction", str(rng.choice(list(REDUCTIONS), p=list(REDUCTIONS.values()))))
    blur = float(rng.uniform(*BLUR)) if reduction == "camera" else 0.0
    levels = [crop, *(reduce_crop(crop, FACTOR**step, reduction, blur) for step in range(1, steps + 1))]
    side = min(window, len(levels[steps]))
    row, column = _draw_corner(len(levels[steps]), side, rng)
    start = levels[steps][row : row + side, column : column + side]
    if steps == 1:
        start = _degrade(start, rng)
    truths, corners = [], []
    for step in range(steps - 1, -1, -1):
        row, column, side = FACTOR * row, FACTOR * column, FACTOR * side
        truths.append(levels[step][row : row + side, column : column + side])
        if step:
            inner = min(window, side)
            corners.append(_draw_corner(side, inner, rng))
            row, column, side = row + corners[-1][0], column + corners[-1][1], inner
    return DrawnChain(reduction=reduction, start=start, truths=tuple(truths), corners=tuple(corners))


def reduce_crop(crop: RGB8, factor: int, reduction: Reduction, blur: float = 0.0) -> RGB8:
    """Reduce a crop by a whole factor. blur: of a camera, in pixels of the result, before the mean of areas."""
    size = size_of(crop)
    small = Size(size.width // factor, size.height // factor)
    if reduction in ("bicubic", "lanczos"):
        return resize(crop, small, reduction)
    picture = Image.fromarray(crop)
    if blur:
        picture = picture.filter(ImageFilter.GaussianBlur(blur * factor))
    return np.asarray(picture.resize(small, Image.Resampling.BOX))


def _draw_corner(length: int, side: int, rng: Generator) -> tuple[int, int]:
    row, column = rng.integers(0, length - side + 1, 2)
    return int(row), int(column)


def _degrade(window: RGB8, rng: Generator) -> RGB8:
    """Add light noise to an eighth of the windows, JPEG to another eighth, strong noise to a few.

    Without the strong noise a network of this shape explodes on it: its attention multiplies what it has not seen.
    """
    lot, seed = rng.random(), int(rng.integers(2**32))
    operations: list[Operation] = []
    if lot < 0.12:
        operations.append(GaussianNoise(float(rng.uniform(0.5, 4)), False, seed))
    elif lot < 0.24:
        operations.append(Jpeg(int(rng.integers(75, 96))))
    elif lot > 0.98:
        operations.append(GaussianNoise(float(rng.uniform(10, 100)), False, seed))
    *_, last = [window, *apply(window, operations)]
    return to_uint8(last) if operations else window
