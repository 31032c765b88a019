"""Steps that published metrics take from MATLAB: its luma, its grey, its halving, and local normalisation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.images import RGB8

Plane = NDArray[np.float64]


def luma(pixels: RGB8) -> Plane:
    """Return Y of `rgb2ycbcr` (ITU-R BT.601, 16..235), not rounded: uint8 H x W x 3 to float64 H x W."""
    weighted: Plane = pixels.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16
    return weighted


def grey(pixels: RGB8) -> Plane:
    """Return `rgb2gray` of a uint8 picture: whole levels 0..255, as float64 H x W."""
    weights = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
    levels: Plane = np.rint(pixels.astype(np.float64) @ weights)
    return levels


def normalise_locally(plane: Plane) -> Plane:
    """Return the MSCN: each pixel less the mean around it, over one plus the deviation around it (levels 0..255).

    "Around" is a 7x7 Gaussian of sigma 7/6, edges repeated (Mittal et al., IEEE SPL 2013, equation 1).
    """
    from scipy.ndimage import gaussian_filter

    mean, square = (gaussian_filter(part, 7 / 6, radius=3, mode="nearest") for part in (plane, plane * plane))
    away = plane - mean
    away[np.abs(away) < 1e-6] = 0  # rounding noise of flat areas, whose sign would count as a feature
    normalised: Plane = away / (np.sqrt(np.abs(square - mean * mean)) + 1)
    return normalised


def halve(plane: Plane) -> Plane:
    """Return `imresize(plane, 0.5)`: bicubic (a = -0.5) over twice its width, edges mirrored; even sides only."""
    halved: Plane = _halving_matrix(plane.shape[0]) @ plane @ _halving_matrix(plane.shape[1]).T
    return halved


@lru_cache(maxsize=8)
def _halving_matrix(length: int) -> Plane:
    """Return length/2 x length weights: row i holds those of the pixels that make pixel i."""
    assert length % 2 == 0, length
    x = np.abs(np.arange(-3.5, 4) / 2)
    kernel = np.where(x > 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 1.5 * x**3 - 2.5 * x**2 + 1)
    columns = 2 * np.arange(length // 2)[:, None] + np.arange(-3, 5)
    mirrored = np.where(columns < 0, -1 - columns, columns)
    mirrored = np.where(mirrored >= length, 2 * length - 1 - mirrored, mirrored)
    matrix = np.zeros((length // 2, length))
    np.add.at(matrix, (np.arange(length // 2)[:, None], mirrored), kernel / kernel.sum())
    return matrix
