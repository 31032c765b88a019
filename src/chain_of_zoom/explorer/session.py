"""Hold what a server shows: photos, their trees, who looks where, and the one thread that makes tiles."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.errors import ChainOfZoomError, UsageError
from chain_of_zoom.explorer.grid import Grid, SightRect, TilePlace
from chain_of_zoom.explorer.maker import TileMaker
from chain_of_zoom.explorer.scheduler import WANTED_PER_CLIENT, TileScheduler
from chain_of_zoom.explorer.store import TileStore
from chain_of_zoom.explorer.tree import OpenPhoto, Recipe, ZoomTree
from chain_of_zoom.imaging.images import Picture

MAX_WORDS = 2_000
"""Characters of a prompt."""
TREES_HELD = 64
PHOTOS_HELD = 16

Event = dict[str, Any]


class TileId(NamedTuple):
    """A tile of a tree."""

    tree: str
    """Name of the tree."""
    place: TilePlace
    """Where in it the tile lies."""


@dataclass
class Viewer:
    """A page that is open somewhere."""

    hear: Callable[[Event], None]
    """Called with every event that concerns the page, from any thread."""
    tree: str = ""
    """Name of the tree that it shows."""
    waiting: int = field(default=0)
    """Tiles that it was last told to wait for."""


class ExplorerSession:
    """Photos, trees and viewers. Call it from any thread; `close` ends the thread that makes tiles."""

    def __init__(self, chain: ChainOfZoom, store: TileStore, *, seed: int = 0) -> None:
        """Start the thread that makes tiles. The weights of the chain's backbone are read."""
        self.chain = chain
        self.store = store
        self.seed = seed
        self.maker = TileMaker(chain.backbone, store)
        self.photos: OrderedDict[str, OpenPhoto] = OrderedDict()
        self.seconds: float | None = None
        self._trees: OrderedDict[str, ZoomTree] = OrderedDict()
        self._viewers: dict[str, Viewer] = {}
        self._scheduler = TileScheduler[TileId](self._has_tile, self._list_needed)
        self._change = threading.Condition(threading.RLock())
        self._is_closed = False
        self._worker = threading.Thread(target=self._work, name="tiles", daemon=True)
        self._worker.start()

    # Photos and trees

    def open_photo(self, picture: Picture) -> OpenPhoto:
        """Take a photo among those that can be looked at; of more than PHOTOS_HELD the oldest is let go."""
        photo = OpenPhoto(picture)
        with self._change:
            photo = self.photos.setdefault(photo.id, photo)
            self.photos.move_to_end(photo.id)
            while len(self.photos) > PHOTOS_HELD:
                oldest, _ = self.photos.popitem(last=False)
                for name in [name for name, tree in self._trees.items() if tree.photo.id == oldest]:
                    del self._trees[name]
        return photo

    def plant(self, photo: OpenPhoto, words: str = "") -> ZoomTree:
        """Return the tree of a photo with these words. Raises UsageError for words that are too long."""
        backbone, info = self.chain.backbone, self.chain.backbone.info
        if len(words) > MAX_WORDS:
            raise UsageError(f"{len(words)} characters of words; accepted: up to {MAX_WORDS}; shorten them")
        self.chain.load(words=False)
        recipe = Recipe(
            backbone=info.name,
            weights=self.chain.backbone_record.weights_sha256,
            options={k: v for k, v in self.chain.options["backbone"].items() if k not in ("device", "threads")},
            device=backbone.runs_on(),
            words=words if info.text_aware else "",
            seed=self.seed if info.seeded or info.text_aware else 0,
        )
        tree = ZoomTree(photo, Grid.plan(photo.size, info), recipe)
        with self._change:
            tree = self._trees.setdefault(tree.id, tree)
            self._trees.move_to_end(tree.id)
            while len(self._trees) > TREES_HELD:
                self._trees.popitem(last=False)
        return tree

    def find_tree(self, name: str) -> ZoomTree | None:
        """Return the tree of that name, None where there is none."""
        with self._change:
            return self._trees.get(name)

    def read_tile(self, tree: ZoomTree, place: TilePlace) -> bytes | None:
        """Return a tile as PNG, None where it is not made yet."""
        return self.maker.encode(tree, place)

    # Viewers

    def join(self, hear: Callable[[Event], None]) -> str:
        """Take in a page and give it a name that nobody can guess."""
        name = secrets.token_hex(16)
        with self._change:
            self._viewers[name] = Viewer(hear)
        return name

    def leave(self, name: str) -> None:
        """Let a page go; what it alone wanted is dropped."""
        with self._change:
            self._viewers.pop(name, None)
            self._scheduler.leave(name)

    def has_viewer(self, name: str) -> bool:
        """Whether a page of that name is here."""
        return name in self._viewers

    def count_viewers(self) -> int:
        """Count the pages that are open."""
        return len(self._viewers)

    def look(self, name: str, tree: ZoomTree, level: int, sight: SightRect) -> int:
        """Make what a page has in sight, and nothing that only it had before; return how many tiles that takes."""
        level = min(level, tree.grid.deepest)
        tiles = tree.grid.in_sight(level, sight, WANTED_PER_CLIENT) if level > 0 else []
        wanted = [(distance, TileId(tree.id, place)) for distance, place in tiles]
        with self._change:
            viewer = self._viewers[name]
            viewer.tree = tree.id
            self._scheduler.want(name, wanted)
            self._scheduler.forgive()
            viewer.waiting = self._scheduler.waiting(name)
            self._change.notify_all()
            return viewer.waiting

    def rest(self, name: str) -> None:
        """Make nothing for a page until it looks again."""
        with self._change:
            self._scheduler.want(name, [])
            viewer = self._viewers[name]
            viewer.waiting = 0
            viewer.hear(self._queue_event(0))

    def count_waiting(self) -> int:
        """Count the tiles that are still to be made for all pages."""
        with self._change:
            return self._scheduler.waiting()

    def close(self) -> None:
        """Make no more tiles; the one that is being made is finished first."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        self._worker.join()

    # The thread that makes tiles

    def _has_tile(self, tile: TileId) -> bool:
        tree = self._trees.get(tile.tree)
        return tree is None or self.maker.has(tree, tile.place)  # a tree that was let go needs no tile

    def _list_needed(self, tile: TileId) -> Sequence[TileId]:
        tree = self._trees[tile.tree]
        return [TileId(tile.tree, parent) for parent in tree.grid.parents(tile.place)]

    def _work(self) -> None:
        while True:
            with self._change:
                tile = None if self._is_closed else self._scheduler.take()
                while tile is None:
                    if self._is_closed:
                        return
                    self._change.wait()
                    tile = None if self._is_closed else self._scheduler.take()
                tree = self._trees[tile.tree]
            self._make(tile, tree)

    def _make(self, tile: TileId, tree: ZoomTree) -> None:
        """Make one tile and tell the pages that show its tree."""
        started, problem = time.monotonic(), ""
        try:
            self.maker.make(tree, tile.place)
        except ChainOfZoomError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        spent = time.monotonic() - started
        event: Event = {"type": "tile", "tree": tile.tree, "tile": tile.place}
        with self._change:
            if problem:
                is_last = self._scheduler.fail(tile)
                event |= {"type": "failed", "problem": problem, "final": is_last}
            else:
                self._scheduler.finish(tile)
                self.seconds = spent if self.seconds is None else 0.7 * self.seconds + 0.3 * spent
                event["seconds"] = round(spent, 3)
            for name, viewer in self._viewers.items():
                if viewer.tree == tile.tree:
                    viewer.hear(event)
                waiting = self._scheduler.waiting(name)
                if waiting or viewer.waiting:
                    viewer.waiting = waiting
                    viewer.hear(self._queue_event(waiting))

    def _queue_event(self, waiting: int) -> Event:
        eta = None if self.seconds is None else round(self._scheduler.waiting() * self.seconds, 1)
        return {"type": "queue", "waiting": waiting, "eta": eta if waiting else 0}
