"""Where to zoom: the centre, or places with texture, the same ones on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.images import RGB8

CELL = 512
RULE = (
    "cells of a grid of 512 px, by the energy of their gradients: first the most detailed one, "
    "then others drawn from the most detailed quarter"
)

Spot = tuple[int, int]


def find_centre(pixels: RGB8) -> list[Spot]:
    """Return the middle of the picture."""
    return [(pixels.shape[1] // 2, pixels.shape[0] // 2)]


def find_textured_spots(pixels: RGB8, count: int, seed: int = 0) -> list[Spot]:
    """Find up to `count` spots (x, y in pixels) on textured places of a picture (uint8, H x W x 3).

    The picture is cut into whole cells of 512x512 px from its top left corner (smaller ones when its short side is
    smaller). The first spot is the middle of the cell with the highest mean squared gradient of grey; the others are
    drawn with `seed`, without repetition, from the quarter of the cells that has the most. A longer list begins with
    the shorter one. Fewer come back when there are fewer such cells.
    """
    side = min(CELL, *pixels.shape[:2])
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    corners = [(x * side, y * side) for y in range(rows) for x in range(columns)]
    energies = [measure_gradient_energy(pixels[y : y + side, x : x + side]) for x, y in corners]
    order = sorted(range(len(corners)), key=lambda i: -energies[i])
    detailed = order[1 : -(-len(order) // 4)]
    drawn = np.random.default_rng(seed).permutation(len(detailed))
    chosen = [order[0], *(detailed[i] for i in drawn)][:count]
    return [(corners[i][0] + side // 2, corners[i][1] + side // 2) for i in chosen]


def measure_gradient_energy(pixels: RGB8) -> float:
    """Return the mean squared step between neighbours of grey, in levels squared; uint8, H x W x 3."""
    grey: NDArray[np.float64] = pixels.mean(axis=2)
    steps = [np.diff(grey, axis=axis).ravel() for axis in (0, 1)]
    return float(np.square(np.concatenate(steps)).mean())
