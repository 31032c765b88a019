"""Name every tile of a photo by what it is made from, and read its pixels."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

import msgspec
import numpy as np

from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.explorer.grid import Grid, TilePlace, reduced_size
from chain_of_zoom.imaging.geometry import PixelRect, Size
from chain_of_zoom.imaging.images import RGB8, Picture, resize
from chain_of_zoom.imaging.orientation import Turn
from chain_of_zoom.truth.resolution import DetailMeter

VERSION = 2
"""Counts up when the same key would name other pixels."""
_KEYS_HELD = 50_000


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What tiles are made with; two recipes that differ share no tile."""

    backbone: str
    """Name of the backbone."""
    weights: str | None
    """SHA-256 of its weights, None where it has none."""
    options: dict[str, str]
    """Its loader details, as typed."""
    device: str | None
    """Where it runs, as it says once its weights are read; None where it has no choice."""
    words: str = ""
    """The text that a backbone which reads prompts is given for every tile."""
    prompter: str = ""
    """Name of the prompter that writes the words of every tile; empty where there is none."""
    prompter_details: dict[str, str] = {}
    """Its loader details, and the SHA-256 of its weights by their roles."""
    seed: int = 0
    """Seed of the whole tree; every tile has one that follows from it and the place."""
    turn: Turn = "none"
    """How windows are turned or mirrored for the backbone; what it makes is turned back."""
    restraint: Restraint | msgspec.UnsetType = msgspec.UNSET
    """How far tiles may go; unset where they may go anywhere, so that their names stay as they were."""


class TileRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What one tile is made with, where a person decided on it."""

    words: str | None
    """The text that the backbone is given; None leaves it to the tree."""
    seed: int
    """Seed from which, with its place, that of the tile follows."""
    turn: Turn
    """How its window is turned or mirrored for the backbone."""


class OpenPhoto:
    """A photo that is being looked at, with the levels of its own pixels; `id` names it by them."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.id = name_photo(picture.pixels)
        self._levels = {0: picture.pixels}
        self._lock = threading.Lock()

    @property
    def size(self) -> Size:
        """Width and height in pixels, oriented."""
        return self.picture.size

    @property
    def name(self) -> str:
        """The name of its file, without folders."""
        return self.picture.path.name or "photo"

    @cached_property
    def blur(self) -> tuple[tuple[float, ...], ...]:
        """How blurred it is, by rows and columns of a grid: 1 for sharp, infinite where it shows nothing."""
        return DetailMeter(self.picture.pixels).map_blur()

    def cut(self, level: int, area: PixelRect) -> RGB8:
        """Return the pixels of an area of level 0 or below."""
        assert level <= 0, level
        with self._lock:
            if level not in self._levels:
                size = reduced_size(self.size, level)
                self._levels[level] = resize(self.picture.pixels, size, "lanczos")
        return self._levels[level][area.y0 : area.y1, area.x0 : area.x1]


class ZoomTree:
    """All tiles of one photo by one recipe. It makes none; `id` names the tree, also in URLs."""

    def __init__(
        self,
        photo: OpenPhoto,
        grid: Grid,
        recipe: Recipe,
        draft: ZoomTree | None = None,
        *,
        branch: str = "",
        tiles: Mapping[TilePlace, TileRecipe] = MappingProxyType({}),
    ) -> None:
        """Lay out the tree.

        draft: one of the same grid, made faster, whose tiles are shown until those of this are. branch: name of the
        decisions on single tiles, and tiles: what they are made with.
        """
        self.photo = photo
        self.grid = grid
        self.recipe = recipe
        self.draft = draft
        self.branch = branch
        self.plain_tile = TileRecipe(words=None, seed=recipe.seed, turn=recipe.turn)
        self.decided_tiles = {place: tile for place, tile in tiles.items() if tile != self.plain_tile}
        layout = photo.id, grid.factor, grid.cores, grid.halos, grid.fade
        self._stem = msgspec.json.encode((VERSION, recipe, *layout))
        self._words_stem = msgspec.json.encode((VERSION, recipe.prompter, recipe.prompter_details, *layout))
        self.id = _digest(self._stem + branch.encode())
        self._keys: OrderedDict[TilePlace, str] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def may_use_words(self) -> bool:
        """Whether any tile may be made with words: everybody's, a prompter's, or those decided for it alone."""
        decided = any(tile.words for tile in self.decided_tiles.values())
        return decided or bool(self.recipe.words or self.recipe.prompter)

    def settle(self, place: TilePlace) -> TileRecipe:
        """Return what a tile is made with."""
        return self.decided_tiles.get(place, self.plain_tile)

    def key(self, place: TilePlace) -> str:
        """Name a generated tile by its pieces, and so by its recipe, its place and all tiles that it is made from.

        So what grows from a tile that a person decided on has other names, too, and all else keeps its own.
        """
        assert place.level > 0, place
        with self._lock:
            if place in self._keys:
                self._keys.move_to_end(place)
                return self._keys[place]
            pieces = [self.piece_key(piece) for piece in self.grid.blending(place)]
            name = _digest(self._stem + msgspec.json.encode(pieces))  # a piece may be larger than its tile
            key = self._keys[place] = name if self.grid.fade else pieces[0]
            if len(self._keys) > _KEYS_HELD:
                self._keys.popitem(last=False)
            return key

    def piece_key(self, place: TilePlace) -> str:
        """Name what the backbone makes of the window of a tile."""
        parents = [self.key(parent) for parent in self.grid.sources(place)]
        decided = self.decided_tiles.get(place)
        return _digest(self._stem + msgspec.json.encode((place, parents, decided)))

    def words_key(self, place: TilePlace) -> str:
        """Name what the prompter writes about a tile, which is the same for all its alternatives."""
        parents = [self.key(parent) for parent in self.grid.sources(place)]
        return _digest(self._words_stem + msgspec.json.encode((place, parents)))

    def name_tile(self, place: TilePlace) -> str:
        """Name any tile: a generated one by its key, one of the photo's own by photo and place."""
        return self.key(place) if place.level > 0 else f"{self.photo.id}/{place.level}/{place.column}/{place.row}"

    def seed(self, place: TilePlace) -> int:
        """Give a tile a seed of its own, so that noise does not repeat from tile to tile."""
        digest = hashlib.blake2b(msgspec.json.encode((self.settle(place).seed, place)), digest_size=4).digest()
        return int.from_bytes(digest) >> 1


def name_photo(pixels: RGB8) -> str:
    """Name a photo by its pixels, 32 hexadecimal digits."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
