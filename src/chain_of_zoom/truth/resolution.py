"""Effective resolution: the finest scale, in pixels of a photo, at which it shows more than noise and JPEG blocks.

Of all tiles those speak that have the most to say; their spectrum gives the scale, by two polynomials that were fitted
to photos enlarged, blurred, compressed and made noisy by known amounts (benchmarks/truth/resolution.py, docs/truth.md).
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import RGB8, resize, size_of
from chain_of_zoom.truth.regression import QuadraticModel
from chain_of_zoom.truth.spectrum import ROUNDING, TILE, Spectra, cut_tiles, measure_spectra

MODELS = Path(__file__).with_name("resolution.json")

SOFT = 1.4  # px from which on a photo counts as enlarged or blurred; 1 is as sharp as its pixels allow
COARSEST = 6.0  # px from which on tiles are too short, and the photo is measured REDUCED times smaller
REDUCED = 4
TILES = 400
WINDOW = 2 * TILE  # px: smaller windows are measured with what is around them
CELLS = 12  # of a map of blur, along the longer side of the photo
_CLEAR = 4.0  # times the power of noise

Pool = Literal["strongest", "finest"]
POOLS: dict[Pool, int] = {"strongest": 16, "finest": 8}
"""How tiles are chosen, and how many: by their contrast, or by their fine detail in proportion to it."""


class DetailMeter:
    """Measures the real detail of one photo, of the whole and of windows of it."""

    def __init__(self, pixels: RGB8) -> None:
        """Take the photo, uint8, H x W x 3; nothing is measured yet."""
        self.pixels = pixels

    @cached_property
    def finest(self) -> float | None:
        """The finest scale of the whole photo in px, at least 1; None where it shows nothing above noise."""
        scale = estimate_scale(self.spectra, self.noise)
        return self._refine(scale, self.pixels)

    @cached_property
    def noise(self) -> float:
        """The power of the photo's noise, in levels squared."""
        return self.spectra.estimate_noise()

    @cached_property
    def spectra(self) -> Spectra:
        """The powers of tiles from all over the photo."""
        return measure_spectra(cut_tiles(self.pixels, TILES))

    def measure(self, window: Box) -> float | None:
        """Return the finest scale in a window in px, at least 1; None where it shows nothing above noise.

        window: in pixels of the photo, with something in common with it. A small one is measured with its surroundings.
        """
        tiles = cut_tiles(cut_around(self.pixels, window, WINDOW), TILES)
        scale = estimate_scale(measure_spectra(tiles), self.noise)
        return self._refine(scale, cut_around(self.pixels, window, WINDOW * REDUCED))

    def map_blur(self, cells: int = CELLS) -> tuple[tuple[float, ...], ...]:
        """Return the blur about the middle of every cell of a grid, `cells` along the longer side: rows of columns.

        1 is sharp; infinite where nothing stands out of the noise. It takes about 2 ms a cell.
        """
        width, height = size_of(self.pixels)
        columns, rows = (max(1, round(cells * side / max(width, height))) for side in (width, height))
        across, down = (
            [Fraction((2 * cell + 1) * side, 2 * count) for cell in range(count)]
            for side, count in ((width, columns), (height, rows))
        )
        return tuple(tuple(count_blur(self.measure(Box(x, y, x, y))) for x in across) for y in down)

    def _refine(self, scale: float | None, pixels: RGB8) -> float | None:
        """Measure coarse detail again, on pixels that are made smaller, since tiles are too short for it."""
        size = Size(*(side // REDUCED for side in size_of(pixels)))
        if (scale is not None and scale < COARSEST) or min(size) < TILE:
            return scale
        reduced = measure_spectra(cut_tiles(resize(pixels, size, "bicubic"), TILES))
        coarse = estimate_scale(reduced, max(self.noise / REDUCED**2, ROUNDING))
        return scale if coarse is None else max(scale or 0.0, REDUCED * coarse)


def count_blur(finest: float | None) -> float:
    """Count how many times coarser the finest detail is than the pixels: 1 where it is sharp, infinite without any."""
    if finest is None:
        return math.inf
    return 1.0 if finest < SOFT else finest


def estimate_scale(spectra: Spectra, noise: float) -> float | None:
    """Estimate the finest scale with detail in px, at least 1; None where fewer than two tiles stand out of the noise.

    Both choices of tiles are asked, and the finer answer counts: a photo with little in focus is not called soft.
    """
    pooled = [describe_pool(spectra, noise, pool) for pool in POOLS]
    scales = [
        float(np.exp(model.predict(features[None])[0]))
        for model, features in zip(_load_models(), pooled, strict=True)
        if features is not None
    ]
    return max(1.0, min(scales)) if scales else None


def describe_pool(spectra: Spectra, noise: float, pool: Pool) -> NDArray[np.float32] | None:
    """Describe the tiles of a pool: their mean spectrum and noise, relative to the coarse bands, BANDS + 3 numbers.

    None where fewer than two tiles stand out of the noise.
    """
    contrast = spectra.bands[:, 3:8].mean(axis=1)
    clear = np.flatnonzero(contrast > _CLEAR * noise)
    if len(clear) < 2:
        return None
    logs = np.log(spectra.bands[clear])
    rank = contrast[clear]
    if pool == "finest":
        rank = logs[:, 8:14].mean(axis=1) - 0.6 * np.log(rank)
    best = np.argsort(rank)[-POOLS[pool] :]
    mean, corner = logs[best].mean(axis=0), float(np.log(spectra.corner[clear][best]).mean())
    coarse = mean[:6].mean()
    return np.concatenate([mean - coarse, [corner - coarse, np.log(noise) - coarse, np.log(noise)]]).astype(np.float32)


def cut_around(pixels: RGB8, window: Box, side: int) -> RGB8:
    """Cut a window out of a photo, in whole pixels, with as much around it as makes both sides `side` at least."""
    spans = []
    for low, high, limit in ((window.y0, window.y1, len(pixels)), (window.x0, window.x1, pixels.shape[1])):
        length = min(max(math.ceil(high - low), side), limit)
        start = min(max(round((low + high - length) / 2), 0), limit - length)
        spans.append(slice(start, start + length))
    return pixels[spans[0], spans[1]]


@cache
def _load_models() -> tuple[QuadraticModel, ...]:
    models = msgspec.json.decode(MODELS.read_bytes(), type=dict[Pool, QuadraticModel])
    return tuple(models[pool] for pool in POOLS)
