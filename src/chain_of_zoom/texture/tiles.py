"""The tiles of every material: their finest detail alone, drawn by training/textures.py."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from chain_of_zoom.errors import MissingError
from chain_of_zoom.texture.fine import FACTOR, Floats, keep_fine

FILE = Path(__file__).with_name("tiles.npz")
UNIT = 24
"""Levels of a stored tile that are one standard deviation of it."""
DIRECTIONS = 8
"""Directions, over half a turn, that a tile is turned to."""
GRAIN, STRANDS = "grain", "strands"
"""Textures of no material: where the picture has no direction and where it has one."""


class TextureTiles(NamedTuple):
    """The tiles of one material."""

    tiles: tuple[Floats, ...]
    """Square and periodic, mean 0 and standard deviation 1; only what a reduction by 4, of GRAIN and STRANDS by 16,
    removes."""
    is_directed: bool
    """Whether they have a grain (wood, grass), which is turned to the direction of the picture; else it stays."""


@cache
def load_tiles() -> dict[str, TextureTiles]:
    """Read all tiles, by material. Raises MissingError for a damaged file."""
    try:
        with FILE.open("rb") as file, np.load(file) as archive:
            arrays = {name: archive[name] for name in archive.files}
            directed = set(arrays.pop("directed").tolist())
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise MissingError(
            f"{FILE.name} cannot be read ({error}); type: pip install --force-reinstall chain-of-zoom"
        ) from error
    return {
        name: TextureTiles(tuple(tile.astype(np.float32) / UNIT for tile in stack), name in directed)
        for name, stack in arrays.items()
    }


@cache
def hash_tiles() -> str:
    """Return the SHA-256 of the file of tiles."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


@cache
def turn_tile(material: str, number: int, direction: int, vanishes: int = FACTOR) -> Floats:
    """Return a tile whose grain runs at `direction` of DIRECTIONS to the right of upright: the middle of a turned one.

    It is as large as the tile, and periodic only where it was not turned. vanishes: how much it is reduced to be gone.
    """
    tile = load_tiles()[material].tiles[number]
    margin = tile.shape[0] // 4  # a turned square sticks out by a fifth of its side
    middle = slice(margin, -margin)
    if vanishes == FACTOR and material in (GRAIN, STRANDS):
        tile = keep_fine(np.pad(tile, margin, mode="wrap"))[middle, middle]
        tile = tile / tile.std()
    if direction == 0:
        return tile
    around = Image.fromarray(np.pad(tile, margin, mode="wrap"))
    turned = np.asarray(around.rotate(-180 * direction / DIRECTIONS, Image.Resampling.BICUBIC), dtype=np.float32)
    standardized: Floats = turned[middle, middle] / turned[middle, middle].std()
    return standardized
