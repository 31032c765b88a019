"""Lay a material's texture over an enlarged window, fixed in the picture and without touching what was measured.

The picture is covered by overlapping cells. Each takes a piece of a tile, at a place that depends on nothing but the
cell's own place, turned to the grain there and as strong as the window's own detail foretells. So windows
that overlap, tiles of the explorer, and two zooms that meet show the same texture.
"""

from __future__ import annotations

import numpy as np

from chain_of_zoom.imaging.images import RGB8
from chain_of_zoom.texture.contrast import ContrastLaw, LocalTexture, foretell
from chain_of_zoom.texture.fine import FACTOR, Floats, keep_fine
from chain_of_zoom.texture.tiles import DIRECTIONS, GRAIN, STRANDS, load_tiles, turn_tile

PITCH = 32
"""Pixels of the enlarged picture from cell to cell; a cell is twice as wide."""
REACH = 8 + 8 + 20
"""Pixels of the window from which a pixel of the texture may depend: half a cell, what its contrast is averaged over,
and the octaves of that."""


def make_texture(window: RGB8, material: str, left: int, top: int, *, level: int, law: ContrastLaw) -> Floats:
    """Make the texture for a window (uint8, h x w x 3): float32, 4h x 4w, grey, in units of [0, 1], mean about 0.

    left, top: of the window in the whole picture, in the window's pixels. level: a number of its scale, so that no
    scale repeats the pattern of the one before. law: how strong it is, and how coarse: one that `vanishes` in more than
    4 pixels needs a material whose tiles are that coarse, which is GRAIN.
    """
    grey = window.astype(np.float32).mean(axis=2) / 255
    local = foretell(grey, material, law)
    height, width = grey.shape[0] * FACTOR, grey.shape[1] * FACTOR
    first_row, first_column = top * FACTOR // PITCH - 1, left * FACTOR // PITCH - 1
    rows, columns = (
        range(first_row, (top * FACTOR + height - 1) // PITCH + 1),
        range(first_column, (left * FACTOR + width - 1) // PITCH + 1),
    )
    canvas = np.zeros(((len(rows) + 1) * PITCH, (len(columns) + 1) * PITCH), np.float32)
    fade = np.sin(np.pi * (np.arange(2 * PITCH) + 0.5) / (2 * PITCH)).astype(np.float32)
    fade = np.outer(fade, fade)  # squares add up to 1: pieces that have nothing in common keep their strength
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            y = min(max((row + 1) * PITCH // FACTOR - top, 0), grey.shape[0] - 1)
            x = min(max((column + 1) * PITCH // FACTOR - left, 0), grey.shape[1] - 1)
            piece = _cut_piece(material, (level, row, column), local, y, x, law.vanishes)
            canvas[i * PITCH : (i + 2) * PITCH, j * PITCH : (j + 2) * PITCH] += fade * piece
    y, x = top * FACTOR - first_row * PITCH, left * FACTOR - first_column * PITCH
    texture = canvas[y : y + height, x : x + width]
    return keep_fine(texture, law.vanishes, left * FACTOR % law.vanishes, top * FACTOR % law.vanishes)


def _cut_piece(material: str, key: tuple[int, ...], local: LocalTexture, y: int, x: int, vanishes: int) -> Floats:
    """Cut the piece of a cell: its tile and place are drawn from the key, strength and grain read at (y, x)."""
    is_along = bool(np.isfinite(local.direction[y, x]))
    if material == GRAIN and is_along:
        material = STRANDS
    tiles = load_tiles()[material]
    first, second, third = _draw(key)
    direction = 0
    if tiles.is_directed and is_along:
        direction = round(float(local.direction[y, x]) / np.pi * DIRECTIONS) % DIRECTIONS
    tile = turn_tile(material, first % len(tiles.tiles), direction, vanishes)
    side, wide = tile.shape[0], 2 * PITCH
    if direction:  # turned tiles do not go on at their edges
        row, column = second % (side - wide), third % (side - wide)
        piece = tile[row : row + wide, column : column + wide]
    else:
        shifted = np.arange(wide)
        piece = tile[np.ix_((second % side + shifted) % side, (third % side + shifted) % side)]
    strong: Floats = piece * local.contrast[y, x]
    return strong


def _draw(key: tuple[int, ...]) -> tuple[int, int, int]:
    """Draw three numbers from whole ones, the same on every machine."""
    mixed = np.random.SeedSequence([number & 0xFFFFFFFF for number in key]).generate_state(3)
    return int(mixed[0]), int(mixed[1]), int(mixed[2])
