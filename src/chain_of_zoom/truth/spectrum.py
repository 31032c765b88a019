"""Spectra of small tiles of a picture: at which scales there is something, and above which noise."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.images import RGB8

TILE = 64  # pixels: long enough for 4 periods of the coarsest scale that is told apart, short enough for one object
BANDS = 16
ROUNDING = 1 / 12  # variance that rounding to whole levels leaves

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Spectra(NamedTuple):
    """Powers of N tiles, as variance per pixel: white noise of variance v has power v in every band."""

    bands: NDArray[np.float32]
    """Mean power of rings of frequencies, from coarse to fine, N x BANDS."""
    corner: NDArray[np.float32]
    """Mean power of the finest diagonal frequencies, N, where photos have next to nothing but noise."""

    def estimate_noise(self) -> float:
        """Estimate the power of noise: that of the finest frequencies in the smoothest tiles."""
        return max(float(np.quantile(self.corner, 0.03)), ROUNDING)


def cut_tiles(pixels: RGB8, count: int) -> NDArray[np.float32]:
    """Cut about `count` tiles in a regular grid, luma, N x TILE x TILE.

    Neighbours overlap by half at most, so a small picture gives fewer. One without room for two is continued as in a
    mirror, which adds no detail.
    """
    missing = [max(0, TILE + TILE // 2 - side) for side in pixels.shape[:2]]
    if any(missing):
        pixels = np.pad(pixels, [*((0, length) for length in missing), (0, 0)], "symmetric")
    height, width = (side - TILE for side in pixels.shape[:2])
    step = max(TILE // 2, math.isqrt(height * width // count))
    corners = [(y, x) for y in range(0, height + 1, step) for x in range(0, width + 1, step)]
    return np.stack([pixels[y : y + TILE, x : x + TILE] @ _LUMA for y, x in corners])


def measure_spectra(tiles: NDArray[np.float32]) -> Spectra:
    """Return the powers of tiles (luma in levels, N x TILE x TILE) under a Hann window."""
    means = np.einsum("nyx,yx->n", tiles, _WINDOW**2)
    transform = np.fft.rfft2((tiles - means[:, None, None]) * _WINDOW).reshape(len(tiles), -1)
    powers = np.square(transform.real) + np.square(transform.imag)
    return Spectra(powers @ _RINGS, powers @ _CORNER)


def _make_window() -> NDArray[np.float32]:
    """Make a Hann window, TILE x TILE, whose squares sum to 1."""
    side = np.hanning(TILE + 2)[1:-1]
    window = np.outer(side, side)
    return (window / np.linalg.norm(window)).astype(np.float32)


def _make_masks() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make the weights of the frequencies in the rings and in the corner."""
    rows, columns = np.abs(np.fft.fftfreq(TILE))[:, None], np.fft.rfftfreq(TILE)[None]
    radius = np.hypot(rows, columns).ravel()
    edges = np.geomspace(1.75 / TILE, 0.5, BANDS + 1)
    rings = np.stack([(radius >= low) & (radius < high) for low, high in pairwise(edges)])
    corner = ((rows > 0.34) & (columns > 0.34)).ravel()
    return (rings.T / rings.sum(1)).astype(np.float32), (corner / corner.sum()).astype(np.float32)


_WINDOW = _make_window()
_RINGS, _CORNER = _make_masks()
