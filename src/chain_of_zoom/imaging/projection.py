"""Make an enlargement agree with what it was made from: reduced by area it gives that picture again.

What is missing is added by a surface that is smooth from pixel to pixel, with the right mean over each (a parabola
per pixel and axis), so that no blocks appear. A pixel depends on its parent's and the ones beside that, no others:
tiles that overlap by more agree.
"""

from __future__ import annotations

from math import ceil, floor, inf, log10
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.geometry import Box, Size
from chain_of_zoom.imaging.images import RGBF

Floats = NDArray[np.float32]

ROUNDS = 12
"""Corrections at most. The first is exact but for values out of range, and for pixels that lie across two parents."""
TOLERANCE = 0.1 / 255
"""Largest error that is left as it is: rounding to 8 bits adds about as much."""


class BandedMap(NamedTuple):
    """A linear map of rows to rows, in which each new one depends on a few that follow each other."""

    first: NDArray[np.intp]
    """For every new row the first that it depends on; those outside repeat the outer ones."""
    weights: Floats
    """For every new row the weights of those rows."""

    def apply(self, values: Floats) -> Floats:
        """Map an array along its first axis: rows x columns x channels."""
        result = np.zeros((len(self.first), *values.shape[1:]), np.float32)
        for tap, weights in enumerate(self.weights.T):
            if weights.any():
                rows = values[np.clip(self.first + tap, 0, len(values) - 1)]
                rows *= weights[:, None, None]
                result += rows
        return result


class AxisGrid(NamedTuple):
    """Two grids of pixels along one axis: those of an enlargement, and the whole ones of its parent that it covers."""

    first: int
    """First whole pixel of the parent."""
    reduce: BandedMap
    """From the enlargement to means over each of those."""
    spread: BandedMap
    """From those to an enlargement with these means, by parabolas."""
    hold: BandedMap
    """From those to an enlargement that repeats each."""

    @classmethod
    def lay(cls, start: float, stop: float, count: int) -> Self:
        """Lay the grids: `count` pixels show the parent from `start` to `stop`, in its pixels.

        A part of a pixel at either end has no mean of its own, and where no whole one is, the whole span counts as one.
        """
        first, last = ceil(start - 1e-6), floor(stop + 1e-6)
        cells = last - first
        if cells < 1:
            first, cells, start, stop = floor(start), 1, 0.0, 1.0
        else:
            start, stop = start - first, stop - first
        unit = (stop - start) / count
        edges: NDArray[np.float64] = np.linspace(start, stop, count + 1)  # of the enlargement's pixels, in cells
        return cls(first, _average(cells, start, unit, count), _integrate(edges), _repeat(edges))


def _average(cells: int, start: float, unit: float, count: int) -> BandedMap:
    """Return the means of `count` pixels, `unit` wide and from `start`, over cells of width 1 from 0."""
    lower = (np.arange(cells) - start) / unit  # of each cell, in pixels
    first = np.floor(lower + 1e-6).astype(np.intp)
    taps = ceil(1 / unit - 1e-6) + 1
    pixels = first[:, None] + np.arange(taps)
    overlap = np.minimum(pixels + 1, (lower + 1 / unit)[:, None]) - np.maximum(pixels, lower[:, None])
    overlap = np.where((pixels < count) & (overlap > 1e-6), overlap, 0)
    return BandedMap(first, (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32))


def _integrate(edges: NDArray[np.float64]) -> BandedMap:
    """Return the means of pixels between edges, in cells, of parabolas that have the cells' means and meet."""
    whole = np.floor(edges[:-1] + 1e-9)
    begin, end = edges[:-1] - whole, edges[1:] - whole
    weights = np.zeros((len(whole), 4))
    weights[:, :3] += _primitive(np.minimum(end, 1)) - _primitive(begin)
    weights[:, 1:] += _primitive(np.maximum(end - 1, 0))
    return BandedMap(whole.astype(np.intp) - 1, (weights / (end - begin)[:, None]).astype(np.float32))


def _primitive(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrate a cell's parabola from 0 to t: weights of the means of the cell before, its own and the next one's.

    At both ends it has the mean of the two cells that meet there.
    """
    return np.stack([t / 2 - t**2 + t**3 / 2, t / 2 + 1.5 * t**2 - t**3, (t**3 - t**2) / 2], axis=1)


def _repeat(edges: NDArray[np.float64]) -> BandedMap:
    """Return, for pixels between edges, the share of each of the two cells at most that they lie in."""
    whole = np.floor(edges[:-1] + 1e-9)
    share = np.clip((edges[1:] - whole - 1) / np.diff(edges), 0, 1)
    return BandedMap(whole.astype(np.intp), np.stack([1 - share, share], axis=1).astype(np.float32))


class ParentGrid:
    """The grids of an enlargement and of its parent, on both axes."""

    def __init__(self, region: Box, size: Size) -> None:
        """Lay them. region: of the parent, in its pixels, which the enlargement of `size` shows."""
        x0, y0, x1, y1 = region.floats()
        self.columns, self.rows = AxisGrid.lay(x0, x1, size.width), AxisGrid.lay(y0, y1, size.height)

    def cut(self, parent: Floats) -> Floats:
        """Cut the parent's whole pixels out."""
        spans = (slice(axis.first, axis.first + len(axis.reduce.first)) for axis in (self.rows, self.columns))
        cut: Floats = parent[tuple(spans)]
        return cut

    def reduce(self, values: Floats) -> Floats:
        """Average an enlargement (H x W x C) over them."""
        return _apply(self.columns.reduce, self.rows.reduce.apply(values))

    def spread(self, values: Floats) -> Floats:
        """Enlarge smoothly, so that the averages are the values."""
        return self.rows.spread.apply(_apply(self.columns.spread, values))

    def hold(self, values: Floats) -> Floats:
        """Enlarge by repetition."""
        return self.rows.hold.apply(_apply(self.columns.hold, values))


def _apply(across: BandedMap, values: Floats) -> Floats:
    """Apply a map along the second axis."""
    return across.apply(values.swapaxes(0, 1)).swapaxes(0, 1)


def project(pixels: RGBF, parent: RGBF, region: Box) -> RGBF:
    """Change an enlargement as little and as smoothly as it takes to give its parent when it is reduced by area.

    pixels: float32, H x W x 3, of which values outside [0, 1] are clipped. parent: likewise, in [0, 1]. region: what
    of it the enlargement shows, in its pixels. Where fewer pixels than the parent's show it, it stays as it is.
    """
    size = Size(pixels.shape[1], pixels.shape[0])
    if size.width < region.width or size.height < region.height:
        return pixels
    grid = ParentGrid(region, size)
    means = grid.cut(parent)
    pixels = np.clip(pixels + grid.spread(means - grid.reduce(pixels)), 0, 1)
    for _ in range(ROUNDS - 1):
        error = means - grid.reduce(pixels)
        if np.abs(error).max() < TOLERANCE:
            break
        pixels = _use_headroom(grid, pixels, error, means)
    return pixels


def measure_agreement(pixels: RGBF, parent: RGBF, region: Box) -> float:
    """Measure how well an enlargement gives its parent again, in dB of PSNR; infinite where it does exactly.

    pixels, parent, region: as for `project`.
    """
    grid = ParentGrid(region, Size(pixels.shape[1], pixels.shape[0]))
    error = float(np.square(grid.reduce(pixels) - grid.cut(parent)).mean())
    return -10 * log10(error) if error else inf


def _use_headroom(grid: ParentGrid, pixels: RGBF, error: Floats, means: Floats) -> RGBF:
    """Lighten or darken what lies in each of the parent's pixels, the more the farther from white or black it is.

    So nothing leaves [0, 1], and the error is gone in one step wherever no pixel lies across two of the parent's.
    """
    reduced = means - error
    error = np.where(np.abs(error) < TOLERANCE / 4, np.float32(0), error)
    lighter = grid.hold(np.maximum(error, 0) / np.maximum(1 - reduced, 1e-6))
    darker = grid.hold(np.minimum(error, 0) / np.maximum(reduced, 1e-6))
    changed: RGBF = np.clip(pixels + lighter * (1 - pixels) + darker * pixels, 0, 1)
    return changed
