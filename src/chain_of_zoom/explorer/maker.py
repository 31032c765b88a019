"""Make tiles: read the window of each from the level above, have it painted, and keep the file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import NamedTuple, TypeVar, cast
from weakref import WeakValueDictionary

import msgspec
import numpy as np

from chain_of_zoom.backbones.base import Backbone, RefiningBackbone, WindowPlace
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.cluster.working import WorkerBackbone
from chain_of_zoom.explorer.batching import TileBatcher
from chain_of_zoom.explorer.blending import blend_pieces
from chain_of_zoom.explorer.grid import TilePlace
from chain_of_zoom.explorer.painting import TileJob, encode_tile, paint_tile
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.tree import ZoomTree
from chain_of_zoom.explorer.words import BY_USER, TileWords, ask_words
from chain_of_zoom.imaging.encode import encode_png
from chain_of_zoom.imaging.geometry import PixelRect, pixel_box
from chain_of_zoom.imaging.images import RGB8, decode_png, resize
from chain_of_zoom.prompters.base import Prompter

PIECES_HELD = 64
"""Pieces held in memory, each of up to 416 x 416 pixels, that neighbours are put together from."""
PIXELS_HELD = 128
"""Decoded tiles held in memory: the parents of what is made next."""
FILES_HELD = 64
"""Encoded tiles of photos held in memory: those that every page shows first."""


class ShownArea(NamedTuple):
    """An area of a level as the screen shows it."""

    pixels: RGB8
    """Its pixels, uint8, H x W x 3."""
    deepest: int
    """The deepest level that any of them is taken from."""
    absent: int
    """How many of its tiles are not made yet."""


Held = TypeVar("Held")


class TileMaker:
    """Makes tiles with one backbone and keeps them in a store, from any thread."""

    def __init__(self, backbone: Backbone, store: TileStore, prompter: Prompter | None = None) -> None:
        """Take what makes and keeps tiles. prompter: asked about the tiles of trees that name one."""
        self.backbone = backbone
        self.store = store
        self.prompter = prompter
        original, self._paint = backbone, cast("Callable[[TileJob], bytes]", partial(paint_tile, backbone))
        if isinstance(backbone, WorkerBackbone):
            original, self._paint = backbone.original, TileBatcher(backbone).paint
        self.windows_agree = not (backbone.info.seeded or isinstance(original, RefiningBackbone))
        self._pixels: OrderedDict[str, RGB8] = OrderedDict()
        self._pieces: OrderedDict[str, RGB8] = OrderedDict()
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._busy: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def has(self, tree: ZoomTree, place: TilePlace) -> bool:
        """Whether a tile is there: a photo's own always is."""
        return place.level <= 0 or tree.key(place) in self.store

    def make(self, tree: ZoomTree, place: TilePlace) -> None:
        """Make a generated tile, and before it those of its ancestors that are absent, and keep it.

        Its words are kept before it is made, so that it has the same whenever it is made again.
        Raises BackboneError and MissingError as backbone and prompter do, and OutputError where it cannot be written.
        """
        for parent in tree.grid.parents(place):
            if not self.has(tree, parent):
                self.make(tree, parent)
        data = self._blend(tree, place) if tree.grid.fade else self._paint_piece(tree, place)
        self.store.write(tree.photo.id, tree.key(place), data)

    def _blend(self, tree: ZoomTree, place: TilePlace) -> bytes:
        """Put a tile together from its own piece and, where they do not agree with it, those of its neighbours."""
        near = tree.grid.blending(place)
        if self.windows_agree and len({self._name_making(tree, piece) for piece in near}) == 1:
            near = (place,)
        pixels = blend_pieces(tree.grid, place, {piece: self._find_piece(tree, piece) for piece in near})
        words = self.find_words(tree, place) or TileWords()
        return encode_tile(pixels, describe_tile(tree, place, words.text), self.backbone.info)

    def _name_making(self, tree: ZoomTree, place: TilePlace) -> tuple[str, str]:
        """Say by what the piece of a tile differs from those beside it; a prompter is asked where it was not yet."""
        return self._settle_words(tree, place).text, tree.settle(place).turn

    def _settle_words(self, tree: ZoomTree, place: TilePlace) -> TileWords:
        """Return the words of a tile; written where they were not yet, by one thread, since others may word it anew."""
        with self._lock:
            busy = self._busy.setdefault(tree.words_key(place), threading.Lock())
        with busy:
            return self.find_words(tree, place) or self._write_words(tree, place)

    def _find_piece(self, tree: ZoomTree, place: TilePlace) -> RGB8:
        """Return the piece of a tile; made where it is not held, since those of a view are wanted close together."""
        key = tree.piece_key(place)
        with self._lock:
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            with self._lock:
                pixels = self._pieces.get(key)
            if pixels is None:
                pixels = decode_png(self._paint_piece(tree, place))
            self._hold(self._pieces, key, pixels, PIECES_HELD)
        return pixels

    def _paint_piece(self, tree: ZoomTree, place: TilePlace) -> bytes:
        """Let the backbone enlarge the window of a tile; return the part that its piece covers, as PNG."""
        words = self._settle_words(tree, place)
        window = tree.grid.window(place)
        job = TileJob(
            window=self.read(tree, place.level - 1, window),
            place=WindowPlace(window.x0, window.y0, float(tree.grid.scale(place.level - 1))),
            words=words.text,
            seed=tree.seed(place),
            turn=tree.settle(place).turn,
            restraint=tree.recipe.restraint or Restraint(),
            core=tree.grid.crop(place),
            is_grey=tree.photo.picture.is_grey,
            description=describe_tile(tree, place, words.text),
        )
        return self._paint(job)

    def find_words(self, tree: ZoomTree, place: TilePlace) -> TileWords | None:
        """Return the words of a generated tile; None where a prompter is still to write them."""
        decided = tree.settle(place).words
        if decided is not None:
            return TileWords(text=decided, by=BY_USER)
        if not tree.recipe.prompter:
            return TileWords(text=tree.recipe.words, by=BY_USER if tree.recipe.words else "")
        data = self.store.read_words(tree.photo.id, tree.words_key(place))
        try:
            return None if data is None else msgspec.json.decode(data, type=TileWords)
        except msgspec.DecodeError:
            return None

    def _write_words(self, tree: ZoomTree, place: TilePlace) -> TileWords:
        """Ask the prompter, which looks at the window, and at the tile above that holds the middle of it."""
        assert self.prompter is not None, tree.recipe.prompter
        grid, area = tree.grid, tree.grid.window(place)
        column, row = (area.x0 + area.x1) // 2, (area.y0 + area.y1) // 2
        (above,) = grid.covering(place.level - 1, PixelRect(column, row, column + 1, row + 1))
        parent, window = self.read(tree, above.level, grid.area(above)), self.read(tree, above.level, area)
        words = ask_words(self.prompter, parent, window, grid.factor, float(grid.scale(place.level)))
        self.store.write_words(tree.photo.id, tree.words_key(place), msgspec.json.encode(words))
        return words

    def read(self, tree: ZoomTree, level: int, area: PixelRect) -> RGB8:
        """Return the pixels of an area of one level. Raises KeyError where a tile of it is absent."""
        if level <= 0:
            return tree.photo.cut(level, area)
        pixels = np.empty((area.size.height, area.size.width, 3), np.uint8)
        for place in tree.grid.covering(level, area):
            owned = tree.grid.area(place)
            x0, y0 = max(owned.x0, area.x0), max(owned.y0, area.y0)
            x1, y1 = min(owned.x1, area.x1), min(owned.y1, area.y1)
            tile = self.pixels(tree, place)
            pixels[y0 - area.y0 : y1 - area.y0, x0 - area.x0 : x1 - area.x0] = tile[
                y0 - owned.y0 : y1 - owned.y0, x0 - owned.x0 : x1 - owned.x0
            ]
        return pixels

    def read_shown(self, tree: ZoomTree, level: int, area: PixelRect) -> ShownArea:
        """Return the pixels of an area as the screen shows them: absent tiles are enlarged from the level above."""
        if level <= 0:
            return ShownArea(self.read(tree, level, area), level, 0)
        pixels = np.empty((area.size.height, area.size.width, 3), np.uint8)
        deepest, absent = 0, 0
        for place in tree.grid.covering(level, area):
            owned = tree.grid.area(place)
            part = PixelRect(*map(max, owned[:2], area[:2]), *map(min, owned[2:], area[2:]))
            try:
                shown = ShownArea(self.read(tree, level, part), level, 0)
            except KeyError:
                shown = self._enlarge_shown(tree, level, part)
                absent += 1
            deepest = max(deepest, shown.deepest)
            pixels[part.y0 - area.y0 : part.y1 - area.y0, part.x0 - area.x0 : part.x1 - area.x0] = shown.pixels
        return ShownArea(pixels, deepest, absent)

    def _enlarge_shown(self, tree: ZoomTree, level: int, part: PixelRect) -> ShownArea:
        box = pixel_box(*part).scaled(*[Fraction(1, tree.grid.factor)] * 2)
        hull = PixelRect(*box.hull().whole())
        above = self.read_shown(tree, level - 1, hull)
        pixels = resize(above.pixels, part.size, "bicubic", box.shifted(-hull.x0, -hull.y0))
        return ShownArea(pixels, above.deepest, above.absent)

    def pixels(self, tree: ZoomTree, place: TilePlace) -> RGB8:
        """Return the pixels of a tile. Raises KeyError where it is absent."""
        if place.level <= 0:
            return tree.photo.cut(place.level, tree.grid.area(place))
        key = tree.key(place)
        with self._lock:
            pixels = self._pixels.get(key)
        if pixels is None:
            data = self.store.read(key)
            if data is None:
                raise KeyError(place)
            pixels = decode_png(data)
        self._hold(self._pixels, key, pixels, PIXELS_HELD)
        return pixels

    def encode(self, tree: ZoomTree, place: TilePlace) -> bytes | None:
        """Return a tile as PNG, None where it is absent."""
        if place.level > 0:
            return self.store.read(tree.key(place))
        name = tree.name_tile(place)
        with self._lock:
            data = self._files.get(name)
        if data is None:
            data = encode_png(self.pixels(tree, place), fast=True)
        self._hold(self._files, name, data, FILES_HELD)
        return data

    def _hold(self, held: OrderedDict[str, Held], key: str, value: Held, limit: int) -> None:
        """Hold a value as the latest one, and let go of those beyond the limit."""
        with self._lock:
            held[key] = value
            held.move_to_end(key)
            while len(held) > limit:
                held.popitem(last=False)


def describe_tile(tree: ZoomTree, place: TilePlace, words: str = "") -> str:
    """Say what a generated tile is, and by which words, for the label inside its file."""
    recipe, area = tree.recipe, tree.grid.area(place)
    weights = f" (weights SHA-256 {recipe.weights})" if recipe.weights else ""
    where = f"pixels {area.x0}, {area.y0} to {area.x1}, {area.y1} at {tree.grid.scale(place.level)}x the photo's own"
    by = f', by the words "{words}"' if words else ""
    return f"GENERATED by the model {recipe.backbone}{weights}, not photographed: {where}, photo {tree.photo.id}{by}"
