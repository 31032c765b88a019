"""The fine part of a texture: what is gone when it is reduced."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.geometry import Box
from chain_of_zoom.imaging.images import size_of
from chain_of_zoom.imaging.projection import ParentGrid

Floats = NDArray[np.float32]

FACTOR = 4


def keep_fine(texture: Floats, factor: int = FACTOR, left: int = 0, top: int = 0) -> Floats:
    """Take out of a texture (H x W) what is left of it when it is reduced by the factor.

    left, top: its place in pixels, beyond the last one where a pixel of the reduced picture begins. Pixels of that
    which it shows in part, at its edges, are not looked at.
    """
    height, width = texture.shape
    sides = (left, top, left + width, top + height)
    grid = ParentGrid(Box(*(Fraction(side, factor) for side in sides)), size_of(texture))
    planes = texture[..., None]
    fine: Floats = (planes - grid.spread(grid.reduce(planes)))[..., 0]
    return fine
