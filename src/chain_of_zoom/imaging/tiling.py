"""Cut a picture that is too large for one pass into tiles, and the weights that blend tiles again.

The cores of the tiles partition the picture; each tile is its core plus context on every side that exists.
A backbone runs on the tile, and the core of its result is kept: cut out hard, or faded into its neighbours.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chain_of_zoom.imaging.geometry import Size

LATENT = 8
"""Pixels per latent, across and down, of Stable Diffusion's VAE."""


class Span(NamedTuple):
    """One tile along one axis."""

    start: int
    """First pixel that is read."""
    stop: int
    """End of the pixels that are read."""
    keep_start: int
    """First pixel whose result is used: where the core begins."""
    keep_stop: int
    """End of the core."""


class Tile(NamedTuple):
    """One tile of a picture."""

    rows: Span
    """From top to bottom."""
    columns: Span
    """From left to right."""


def plan_spans(length: int, tile: int, halo: int) -> list[Span]:
    """Split `length` pixels into the fewest spans of at most `tile` pixels, halo included, cores as equal as can be."""
    assert tile > 2 * halo >= 0
    count = 1 if length <= tile else ceil((length - 2 * halo) / (tile - 2 * halo))
    # Equal tiles: end tiles have a halo on one side only, so their cores are one halo longer.
    core = (length - 2 * halo) / count
    edges = [0, *(round(halo + core * i) for i in range(1, count)), length]
    return [Span(max(a - halo, 0), min(b + halo, length), a, b) for a, b in pairwise(edges)]


def plan_tiles(size: Size, tile: int, halo: int) -> list[Tile]:
    """Plan tiles of at most `tile` x `tile` pixels, halo included, row by row."""
    columns = plan_spans(size.width, tile, halo)
    return [Tile(rows, span) for rows in plan_spans(size.height, tile, halo) for span in columns]


def spread_spans(length: int, tile: int, overlap: int, step: int) -> list[Span]:
    """Plan the fewest spans of `tile` pixels (or `length`, if less) that overlap by `overlap` or more, evenly.

    Starts are multiples of `step`, which divides the length and the tile, and mirror each other; cores meet in the
    middle of the overlaps.
    """
    assert 0 <= overlap < tile
    assert length % step == tile % step == 0, (length, tile, step)
    tile = min(tile, length)
    count = ceil((length - overlap) / (tile - overlap)) if length > tile else 1
    free = (length - tile) // step
    early = [(2 * free * i // (count - 1) + 1) // 2 * step for i in range(count // 2)]
    middle = [free // 2 * step] * (count % 2)
    starts = [*early, *middle, *(length - tile - start for start in reversed(early))]
    edges = [0, *((a + b + tile) // 2 for a, b in pairwise(starts)), length]
    return [Span(start, start + tile, *core) for start, core in zip(starts, pairwise(edges), strict=True)]


def fade_weights(spans: list[Span], width: int, unit: int = 1) -> list[NDArray[np.float32]]:
    """Weight every unit of `unit` pixels of every span: fades `width` pixels wide where cores meet.

    Weights of all spans sum to one everywhere. Each fade is the same smooth step, mirrored on its two sides.
    """
    weights = []
    for number, span in enumerate(spans):
        centres: NDArray[np.float64] = np.arange(span.start, span.stop, unit) + np.float64(unit / 2)
        rise = _smooth_step(centres - span.keep_start, width) if number else np.ones(len(centres))
        fall = _smooth_step(centres - span.keep_stop, width) if number < len(spans) - 1 else np.zeros(len(centres))
        weights.append((rise - fall).astype(np.float32))
    return weights


def _smooth_step(distance: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    share = np.clip(distance / max(width, 1) + 0.5, 0, 1)
    return share * share * (3 - 2 * share)


def published_spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Plan the published grid: a tile every tile - overlap, the last one back at the border (as published).

    A picture smaller than a tile, which stops the published code, is one span. Cores are whole tiles.
    """
    assert 0 <= overlap < tile
    last = max(length - tile, 0)
    starts = range(0, last + tile - overlap, tile - overlap) if last else range(1)
    return [Span(start, stop := min(start + tile, length), start, stop) for start in (min(s, last) for s in starts)]


def published_weights(height: int, width: int) -> NDArray[np.float64]:
    """Return the published Gaussian window, not normalised: variance 0.01 of the squared side.

    Its centre lies at (width - 1) / 2 across and, half a latent too low, at height / 2 down.
    """

    def bell(side: int, centre: float) -> NDArray[np.float64]:
        bells: NDArray[np.float64] = np.exp(-(((np.arange(side) - centre) / side) ** 2) / 0.02) / np.sqrt(0.02 * np.pi)
        return bells

    return np.outer(bell(height, height / 2), bell(width, (width - 1) / 2))


def published_vae_spans(length: int, tile: int, pad: int) -> list[Span]:
    """Cut an axis as the published tiled VAE does: cores of up to `tile`, read with `pad` more on each side.

    Cores are as equal as multiples of 32 allow (16, 8... where those would be above `tile`); the outer ones reach to
    the border.
    """
    inner = length - 2 * pad
    count = max(ceil(inner / tile), 1)
    core = ceil(inner / count)
    core = next((c for c in (ceil(core / m) * m for m in (32, 16, 8, 4, 2)) if c <= tile), core)
    spans = []
    for start in (pad + core * number for number in range(count)):
        stop = min(start + core, length)
        keep = start if start > pad else 0, stop if stop < length - pad else length
        spans.append(Span(max(start - pad, 0), min(stop + pad, length), *keep))
    return spans
